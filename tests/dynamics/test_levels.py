"""A level between both pathways of a model: what it commutes with, its decay, and that files keep it."""

import pytest
import torch

import envs_reps
from rpp_rl.dynamics.model import TransitionModel, widths_of_equal_size
from rpp_rl.dynamics.model_file import read_model, save_model
from rpp_rl.dynamics.training import PAPER_PRIOR, adam
from rpp_rl.nn.chain import Level
from rpp_rl.symmetry import Element
from tests.dynamics.test_training import make_trainer

ANT = envs_reps.load("Ant-v4", "D4")


def make_model(**options):
    torch.manual_seed(0)
    model = TransitionModel(ANT, widths=(16,), subgroup=("f",), **options)
    with torch.no_grad():
        for level in model.modules():
            if isinstance(level, Level):
                level.equiv_weight.normal_(std=0.3)
    return model.double()


def asymmetry(model, word):
    """How far a step is from equivariant under one element, relative to the change of the state."""
    rho_x, rho_u = (torch.as_tensor(rep.rho(Element(word, ()))) for rep in (ANT.obs_rep, ANT.action_rep))
    x, u = (torch.randn(32, rep.size, dtype=torch.float64) for rep in (ANT.obs_rep, ANT.action_rep))
    with torch.no_grad():
        change, moved = model(x, u) - x, model(x @ rho_x.T, u @ rho_u.T) - x @ rho_x.T
        return float((moved - change @ rho_x.T).norm() / change.norm())


def test_levels_commute_with_the_subgroup_alone():
    model = make_model()
    assert asymmetry(model, (1,)) < 1e-6
    assert asymmetry(model, (0,)) > 0.05, "control: a quarter turn"
    assert make_model(mode="mlp").level is None


def test_levels_decay_more_slowly_and_have_no_variance():
    groups = adam(make_model(), 8.0, 1e-3, subgroup_decay=0.25).param_groups
    assert [group["weight_decay"] for group in groups] == [0.0, 8.0, 2.0]
    with pytest.raises(ValueError, match="levels decay, and have no variance"):
        make_trainer(make_model(), prior=PAPER_PRIOR)


def test_levels_count_as_parameters_and_stay_in_files(tmp_path):
    with_level, without = (widths_of_equal_size(ANT, (64,), mode="rpp", subgroup=s) for s in (("f",), ()))
    assert with_level < without
    model = make_model().float()
    save_model(model, tmp_path / "model.safetensors")
    loaded = read_model(tmp_path / "model.safetensors")[0]
    x, u = torch.randn(3, ANT.obs_rep.size), torch.randn(3, ANT.action_rep.size)
    torch.testing.assert_close(loaded(x, u), model(x, u))
