"""Saved models compute the same when they come back, and damaged ones do not come back."""

import json

import pytest
import safetensors.torch
import torch

import envs_reps
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.model_file import KIND, VERSION, load_model, read_model, save_model
from rpp_rl.io.tensor_file import read_weights, write_weights


def make_model(name="Ant-v4/D4", **options):
    spec = envs_reps.load(*name.split("/"))
    model = TransitionModel(spec, widths=(32, 24), **options)
    model.fit_scaling(torch.randn(20, 3, spec.obs_rep.size), torch.randn(20, 2, spec.action.size))
    return model


@pytest.mark.parametrize("name", ["Ant-v4/D4", "Ant-v4/D4xyaw", "Humanoid-v4/O2"])
@pytest.mark.parametrize(
    "options", [{"mode": "emlp", "activation": "tanh"}, {"mode": "rpp", "head": "gaussian", "ensemble": 2}]
)
def test_a_model_comes_back_bit_for_bit(name, options, tmp_path):
    model = make_model(name, **options)
    save_model(model, tmp_path / "model.safetensors", about={"a": [1]}, extra={"x": torch.arange(3)})
    before = torch.get_rng_state()
    again, about, extra = read_model(tmp_path)  # a run's folder
    assert torch.equal(torch.get_rng_state(), before)
    x, u = torch.randn(5, model.rep_out.size), torch.randn(5, 2, model.spec.action.size)
    assert torch.equal(again.rollout(x, u), model.rollout(x, u))
    assert (again.settings, again.training, about) == (model.settings, False, {"a": [1]})
    assert again.spec.to_dict() == model.spec.to_dict()
    assert extra["x"].tolist() == [0, 1, 2]


def test_a_file_that_is_cut_short_or_changed_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(make_model(), path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-3] ^= 1
    for content in (b"", whole[:50], whole[:-1], bytes(changed)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
            load_model(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, {"rpp_rl": json.dumps({"kind": "an agent", "version": 1})})
    with pytest.raises(ValueError, match="expected a transition model, got an agent"):
        load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.safetensors")


def test_a_model_of_a_newer_version_of_the_settings_is_refused(tmp_path, monkeypatch):
    model = make_model()
    monkeypatch.setattr(TransitionModel, "settings", {**model.settings, "layers": 3})
    save_model(model, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds no model that this rpp_rl can make: .*layers"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["settings"].update(ensemble=10**6), "ask for matrices of .* numbers are stored"),
        (lambda d: d["settings"].update(widths=[4096] * 3), "ask for matrices of .* numbers are stored"),
        (lambda d: d["settings"].update(widths=[10**9]), "expected widths of 1 to 4096"),
        (lambda d: d["settings"].update(widths="88"), "expected at most 32 widths, got 88"),
        (lambda d: d["settings"].update(hidden=[1]), "holds no model"),
        (lambda d: d["settings"].update(activation=3), "activation must be one of"),
        (lambda d: d.update(settings=[1]), "holds no model"),
        (lambda d: d["spec"].update(env_id="\x1b[31m" * 1000), "a name that is no short text"),
        (lambda d: d["spec"].update(env_id=[1]), "a name that is no short text"),
        (lambda d: d["spec"]["group"]["generators"].__setitem__(0, [[2.0, 0.0], [0.0, 0.5]]), "not represent"),
    ],
)
def test_what_a_file_says_of_itself_is_checked_before_anything_is_built(tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    save_model(make_model(), path)
    document, tensors = read_weights(path, KIND, VERSION)
    del document["kind"], document["version"]
    change(document)
    write_weights(path, KIND, VERSION, document, dict(tensors))
    with pytest.raises(ValueError, match=message):
        load_model(path)
