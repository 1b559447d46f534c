"""``evaluate-model``: its numbers are those of the library, seeds are put together, mistakes end in one line."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from rpp_rl.cli.evaluate_model import main as evaluate_model
from rpp_rl.dynamics import Episodes, TransitionModel, load_model, read_episodes, save_model, write_episodes
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.dynamics.evaluation import evaluate
from rpp_rl.dynamics.model_file import MODEL_FILE, TEST_FILE
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs import evaluate_model as module
from tests.kit.toy_models import POINTS, constant


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three seeds of an RPP model, one strict model, and trajectories of 30 steps."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    for name, mode, seed in (("a", "rpp", 0), ("b", "rpp", 1), ("c", "rpp", 2), ("strict", "emlp", 0)):
        torch.manual_seed(seed)
        save_model(TransitionModel(POINTS, mode=mode, widths=(8,)), folder / f"{name}.safetensors")
    states, actions = constant(4, 30, rng)
    episodes = Episodes(tuple(states.astype(np.float32)), tuple(actions.astype(np.float32)), POINTS.env_id)
    write_episodes(episodes, folder / "data.npz")
    return folder


@pytest.fixture
def flags(folder):
    return ["--buffer", str(folder / "data.npz"), "--horizons", "10", "30", "--device", "cpu"]


def models(folder, *names):
    return [str(folder / f"{name}.safetensors") for name in names]


def test_seeds_are_put_together(folder, flags, capsys):
    assert evaluate_model([*models(folder, "a", "b", "strict", "c"), *flags, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rpp, strict = document["models"]
    assert [rpp["model"], strict["model"]] == ["RPP Z2, 8", "EMLP Z2, 8"]
    assert rpp["runs"] == models(folder, "a", "b", "c")
    test = read_episodes(folder / "data.npz").windows(30)
    results = [evaluate(load_model(path), test, (10, 30)) for path in rpp["runs"]]
    for metric in ("honest", "release", "diverged"):
        for k in (10, 30):
            values = [getattr(result, metric)[k] for result in results]
            assert rpp[metric][str(k)]["mean"] == pytest.approx(sum(values) / 3)
            deviation = (sum((v - sum(values) / 3) ** 2 for v in values) / 2) ** 0.5
            assert rpp[metric][str(k)]["std"] == pytest.approx(deviation)
    assert strict["honest"]["10"]["std"] is None
    assert len(rpp["rms_errors"]["mean"]) == 30
    assert len(rpp["rms_errors"]["mean"][0]) == len(rpp["spread"]) == 4
    assert len(rpp["block_errors"]["positions [m]"]["mean"]) == 30
    assert max(strict["equivariance_errors"]["m"]["mean"]) < 1e-4
    assert document["horizons"] == [10, 30]


def test_both_metrics_are_printed_by_name(folder, flags, capsys):
    assert evaluate_model([*models(folder, "a", "b"), *flags]) == 0
    text = capsys.readouterr().out
    test = read_episodes(folder / "data.npz").windows(30)
    first, second = (evaluate(load_model(path), test, (10, 30)) for path in models(folder, "a", "b"))
    for metric in ("honest", "release"):
        assert f"in the {metric} metric" in text
        a, b = (100 * getattr(result, metric)[10] for result in (first, second))
        assert f"{(a + b) / 2:.3g} ± {abs(a - b) / 2**0.5:.2g}" in text
    lines = {" ".join(line.split()[:-2]): line.split()[-2:] for line in text.splitlines() if line.strip()}
    at = [[result.block_errors["velocities [m/s]"][k - 1] for k in (10, 30)] for result in (first, second)]
    assert lines["velocities [m/s]"] == [f"{50 * (a + b):.3g}" for a, b in zip(*at, strict=True)]
    assert "equivariance error under m" in lines


def test_diverging_models_are_reported_and_written_as_json(folder, flags, tmp_path, capsys):
    model = load_model(folder / "a.safetensors")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e6)
    save_model(model, tmp_path / "wild.safetensors")
    assert evaluate_model([str(tmp_path / "wild.safetensors"), *flags, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert found["diverged"]["30"]["mean"] == 1
    assert 0.9 < found["honest"]["30"]["mean"] <= 1
    assert found["rms_errors"]["mean"][-1] == [None] * 4


def test_pictures_are_drawn_of_errors_and_of_trajectories(folder, flags, tmp_path, capsys):
    assert evaluate_model([*models(folder, "a", "strict"), *flags, "--plot", str(tmp_path / "errors.png")]) == 0
    pictures = sorted(tmp_path.iterdir())
    assert [picture.name for picture in pictures] == ["errors.png", "errors_trajectories.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_unknown_formats_of_pictures_leave_nothing_behind(folder, flags, tmp_path, refused):
    line = refused(evaluate_model, *models(folder, "a"), *flags, "--plot", tmp_path / "errors.gibberish")
    assert "gibberish" in line
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_what_to_install(folder, flags, tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "rpp_rl[plot]" in refused(evaluate_model, *models(folder, "a"), *flags, "--plot", tmp_path / "errors.png")


def test_mistakes_end_in_one_line(folder, flags, tmp_path, refused):
    (model,) = models(folder, "a")
    assert "at least 31 steps, got at most 30" in refused(evaluate_model, model, *flags[:2], "--horizons", "31")
    assert "give some with --buffer" in refused(evaluate_model, model)
    (tmp_path / "cut.safetensors").write_bytes((folder / "a.safetensors").read_bytes()[:-10])
    assert "cut.safetensors" in refused(evaluate_model, tmp_path / "cut.safetensors", *flags)
    assert "missing" in refused(evaluate_model, tmp_path / "missing", *flags)
    assert "meta" in refused(evaluate_model, model, *flags[:4], "--device", "meta")
    states, actions = constant(2, 30, np.random.default_rng(0))
    episodes = tuple(states.astype(np.float32)), tuple(actions.astype(np.float32))
    write_episodes(Episodes(*episodes, "Ant-v4"), tmp_path / "ant.npz")
    assert "Ant-v4" in refused(evaluate_model, model, "--buffer", tmp_path / "ant.npz")
    write_episodes(Episodes(tuple(s[:, :3] for s in episodes[0]), episodes[1]), tmp_path / "small.npz")
    assert "4 and 2 numbers, the data have 3 and 2" in refused(
        evaluate_model, model, "--buffer", tmp_path / "small.npz", *flags[2:]
    )


@pytest.fixture
def run(folder, tmp_path, rng):
    """The folder of a run: its model, with the checksum of the data it has learnt from, and its test trajectories."""
    states, actions = constant(3, 40, rng)
    episodes = Episodes(tuple(states.astype(np.float32)), tuple(actions.astype(np.float32)), POINTS.env_id)
    save_model(load_model(folder / "a.safetensors"), tmp_path / MODEL_FILE, about={"checksum": episodes.checksum})
    write_episodes(episodes, tmp_path / "learnt_from.npz")
    shutil.copy(folder / "data.npz", tmp_path / TEST_FILE)
    return tmp_path


@pytest.mark.parametrize("name", [".", MODEL_FILE])
def test_a_run_is_tested_with_what_it_has_held_out(run, name, capsys):
    """All of it as it is: shorter horizons do not cut the trajectories into more of them."""
    assert evaluate_model([str(run / name), "--horizons", "10", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    expected = evaluate(load_model(run), read_episodes(run / TEST_FILE).windows(30), (10,))
    assert found["honest"]["10"]["mean"] == pytest.approx(expected.honest[10])
    assert found["release"]["10"]["mean"] == pytest.approx(expected.release[10])
    assert found["n_trajectories"] == [4]


def test_what_was_learnt_from_is_no_test(run, refused):
    line = refused(evaluate_model, run, "--buffer", run / "learnt_from.npz", "--horizons", "10")
    assert "learned from" in line


def test_horizons_longer_than_the_held_out_trajectories_are_refused(run, refused):
    assert "longest horizon is 31 steps, the trajectories have 30" in refused(evaluate_model, run, "--horizons", "31")


def test_models_of_different_data_are_no_seeds_of_one_model(run, folder, refused):
    line = refused(evaluate_model, run, folder / "b.safetensors", "--buffer", folder / "data.npz", "--horizons", "10")
    assert "learned from different data" in line


def test_models_of_different_trainings_are_told_apart(folder, flags, tmp_path, capsys):
    for name, n_epochs in (("short", 2), ("long", 5)):
        model, path = load_model(folder / "a.safetensors"), tmp_path / f"{name}.safetensors"
        save_model(model, path, extra={"history": torch.zeros(n_epochs, 2)})
    assert evaluate_model([*models(tmp_path, "short", "long"), *flags, "--json"]) == 0
    kinds = [found["model"] for found in json.loads(capsys.readouterr().out)["models"]]
    assert kinds == ["RPP Z2, 8, 2 epochs", "RPP Z2, 8, 5 epochs"]


def make_run(folder, path, *, about=None, data=None, **settings):
    """The folder of a finished run of five epochs, with its settings."""
    path.mkdir(exist_ok=True)
    record = {"checksum": "same", "is_complete": True, **(about or {})}
    save_model(
        load_model(folder / "a.safetensors"), path / MODEL_FILE, about=record, extra={"history": torch.zeros(3, 3)}
    )
    shutil.copy(data or folder / "data.npz", path / TEST_FILE)
    config = ModelConfig(env=POINTS.env_id, n_epochs=5, **settings)
    RunFolder(path, POINTS.env_id).write_settings(config, "train-model", 0)
    return str(path)


def test_settings_that_differ_are_never_pooled(folder, tmp_path, capsys):
    runs = [
        make_run(folder, tmp_path / "a", seed=0),
        make_run(folder, tmp_path / "b", seed=1, device="cpu", log_folder="elsewhere"),
        make_run(folder, tmp_path / "c", seed=0, learning_rate=3e-3),
        make_run(folder, tmp_path / "d", seed=0, learning_rate=3e-3, residual_decay=None),
    ]
    assert evaluate_model([*runs, "--json", "--horizons", "10"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {found["model"]: found["runs"] for found in document["models"]} == {
        "RPP Z2, 8, 5 epochs, learning_rate 0.01, residual_decay auto": runs[:2],
        "RPP Z2, 8, 5 epochs, learning_rate 0.003, residual_decay auto": runs[2:3],
        "RPP Z2, 8, 5 epochs, learning_rate 0.003, residual_decay none": runs[3:],
    }
    assert document["notes"] == []
    bare = tmp_path / "bare.safetensors"
    shutil.copy(tmp_path / "a" / MODEL_FILE, bare)
    data = ["--buffer", str(folder / "data.npz"), "--horizons", "10", "--json"]
    assert evaluate_model([*runs[:2], str(bare), *data]) == 0
    kinds = [found["model"] for found in json.loads(capsys.readouterr().out)["models"]]
    assert kinds == ["RPP Z2, 8, 5 epochs", "RPP Z2, 8, 3 epochs"]


def test_data_that_differ_are_said(folder, tmp_path, capsys, refused):
    states, actions = constant(4, 30, np.random.default_rng(1))
    episodes = Episodes(tuple(states.astype(np.float32)), tuple(actions.astype(np.float32)), POINTS.env_id)
    write_episodes(episodes, tmp_path / "other.npz")
    one = make_run(folder, tmp_path / "a")
    other = make_run(folder, tmp_path / "b", about={"checksum": "another"}, data=tmp_path / "other.npz", data_seed=1)
    assert evaluate_model([one, other, "--horizons", "10"]) == 0
    text = capsys.readouterr().out
    assert "note: the models of Points-v0 learned from 2 different sets of data" in text
    assert "note: the models of Points-v0 are tested with 2 different sets of data" in text
    assert "RPP Z2, 8, 5 epochs, data_seed 0" in text
    same = make_run(folder, tmp_path / "c", data=tmp_path / "other.npz")
    assert "hold out different data" in refused(evaluate_model, one, same, "--horizons", "10")


def test_augmented_models_are_named_after_their_group(folder):
    test = read_episodes(folder / "data.npz").windows(30)
    model = TransitionModel(POINTS, mode="mlp", widths=(8,))
    names = [module.TestedModel(folder, model, test, None, None, {"augment": value}).name for value in (True, False)]
    assert names == ["MLP Z2, 8, augmented", "MLP, 8"]


def test_the_coverage_of_intervals_is_printed(folder, flags, tmp_path, capsys):
    save_model(TransitionModel(POINTS, widths=(8,), head="gaussian"), tmp_path / "gaussian.safetensors")
    assert evaluate_model([str(tmp_path / "gaussian.safetensors"), *flags]) == 0
    text = capsys.readouterr().out
    assert "inside the predicted intervals of 50%: " in text
    assert "inside the interval of 95%" in text
    assert evaluate_model([*models(folder, "a"), *flags]) == 0
    assert "inside the predicted intervals" not in capsys.readouterr().out
