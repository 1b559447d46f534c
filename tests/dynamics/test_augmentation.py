"""Augmentation: chunks become chunks of the same robot, and a plain network learns the symmetry from them."""

import numpy as np
import pytest
import torch

import envs_reps
from rpp_rl.dynamics.augmentation import Augmentation
from rpp_rl.dynamics.evaluation import equivariance_errors
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.training import rollout_loss
from tests.dynamics.test_training import make_model, make_trainer, run


@pytest.mark.parametrize("mode", ["emlp", "mlp"])
@torch.no_grad()
def test_only_a_symmetric_model_does_not_notice(mode):
    spec = envs_reps.load("Ant-v4", "D4")
    torch.manual_seed(0)
    model = TransitionModel(spec, mode=mode, widths=(32, 32)).double()
    augmentation = Augmentation(spec).double()
    states, actions = torch.randn(40, 4, spec.obs_rep.size).double(), torch.randn(40, 3, spec.action_rep.size).double()
    g = augmentation.draw(np.random.default_rng(0), (40,))
    assert len(set(g.tolist())) == 8
    moved = augmentation(g, states, actions)
    assert (moved[0] - states).abs().max() > 0.1
    change = abs(float(rollout_loss(model, *moved) - rollout_loss(model, states, actions)))
    assert change < 1e-6 if mode == "emlp" else change > 1e-3


def test_every_chunk_is_moved_by_one_element():
    spec = envs_reps.load("Ant-v4", "D4")
    augmentation = Augmentation(spec)
    x = torch.randn(3, 1, 1, spec.obs_rep.size).expand(3, 2, 5, -1)
    g = torch.tensor([[1, 5], [0, 2], [7, 7]])
    moved, _ = augmentation(g, x, torch.zeros(3, 2, 5, spec.action_rep.size))
    for chunk, number in np.ndindex(3, 2):
        image = torch.tensor(spec.obs_rep.element_matrices[g[chunk, number]], dtype=x.dtype) @ x[chunk, number, 0]
        torch.testing.assert_close(moved[chunk, number], image.expand(5, -1))


def test_a_plain_network_learns_the_symmetry():
    errors = {}
    for augment in (False, True):
        trainer = run(make_trainer(make_model("mlp"), augment=augment, n_epochs=60, learning_rate=1e-2))
        states = trainer.test_states[:, 0].numpy()
        (error,) = equivariance_errors(trainer.model, states, trainer.test_actions.numpy()).values()
        errors[augment] = error[0]
    assert errors[True] < 0.7 * errors[False]


def test_an_infinite_group_is_refused():
    with pytest.raises(ValueError, match="drawn from finite groups"):
        Augmentation(envs_reps.load("Humanoid-v5", "O2"))
