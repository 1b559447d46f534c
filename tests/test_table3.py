"""``scripts/table3.py``: every model is made once, tables are those of the raw numbers, and stopping costs nothing."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from rpp_rl.cli.errors import INTERRUPTED, MISTAKE
from rpp_rl.dynamics import Episodes, read_episodes, write_episodes
from rpp_rl.dynamics.metrics import smoothed
from rpp_rl.dynamics.training import Trainer

SCRIPT = Path(__file__).parent.parent / "scripts" / "table3.py"
ENV = "Swimmer-v4"


@pytest.fixture(scope="module")
def table3():
    spec = importlib.util.spec_from_file_location("table3", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def buffer(tmp_path_factory):
    """Random walks of the Swimmer's size: 12 episodes of 120 steps."""
    rng = np.random.default_rng(0)
    states = 0.1 * rng.normal(size=(12, 121, 8)).cumsum(axis=1)
    actions = rng.uniform(-1, 1, size=(12, 120, 2))
    path = tmp_path_factory.mktemp("data") / "swimmer.npz"
    write_episodes(Episodes(tuple(states.astype(np.float32)), tuple(actions.astype(np.float32)), ENV), path)
    return path


def make(table3, buffer, folder, *flags, n_epochs=2):
    arguments = ["--buffer", f"{ENV}:{buffer}", "--out", folder / "runs", "--report", folder / "report"]
    settings = [f"n_epochs:{n_epochs}", "net_arch:[8]", "n_chunks:20", "n_test:3", "save_freq:1"]
    return table3.main([*map(str, arguments), "-params", *settings, "--device", "cpu", *flags])


def numbers(folder):
    with (folder / "report.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(table3, buffer, tmp_path_factory):
    """The folder of a whole table of one environment and two seeds."""
    folder = tmp_path_factory.mktemp("made")
    assert make(table3, buffer, folder, "--seeds", "2") == 0
    return folder


def test_every_model_has_every_number(made):
    rows = numbers(made)
    models = {tuple(row[k] for k in ("mode", "size", "data", "seed")) for row in rows}
    kinds = [("mlp", "width"), ("emlp", "width"), ("emlp", "parameters"), ("rpp", "width"), ("rpp", "parameters")]
    assert models == {(*kind, data, seed) for kind in kinds for data in ("raw", "smoothed") for seed in "01"}
    assert len(rows) == len(models) * (3 * 3 + 4)
    sizes = {(row["mode"], row["size"]): int(row["n_parameters"]) for row in rows}
    assert sizes["rpp", "parameters"] <= sizes["mlp", "width"] < sizes["rpp", "width"]


@pytest.mark.parametrize(("metric", "data"), [("honest", "raw"), ("release", "smoothed")])
@pytest.mark.parametrize("size", ["parameters", "width"])
def test_tables_are_those_of_the_numbers(made, metric, data, size):
    text = (made / "report.md").read_text()
    (table,) = [
        part
        for part in text.split("## ")
        if f"trained on {data} data, at equal {size}" in part and part.startswith("Honest") == (metric == "honest")
    ]
    for horizon in ("10", "30", "100"):
        wanted = {"metric": metric, "data": data, "horizon": horizon}
        rows = [row for row in numbers(made) if wanted.items() <= row.items()]
        means = {
            mode: np.mean([100 * float(r["value"]) for r in rows if (r["mode"], r["size"]) == (mode, own)])
            for mode, own in (("mlp", "width"), ("emlp", size), ("rpp", size))
        }
        (line,) = [line for line in table.splitlines() if line.startswith(f"| {ENV} | {horizon} ")]
        cells = [cell.strip() for cell in line.split("|")[3:]]
        for cell, mean in zip(cells, means.values(), strict=False):
            assert float(cell.split()[0]) == pytest.approx(mean, rel=0.006)
            assert cell.endswith("(2)")
        assert cells[3] == ("yes" if means["rpp"] < means["mlp"] else "**no**")


def test_smoothing_holds_out_the_same_steps(made):
    """Away from their ends, smoothed test trajectories are those that raw models held out, smoothed."""
    raw, smooth = (
        np.stack(read_episodes(next(made.glob(f"runs/{ENV}/rpp_width_{data}_0/*/*/test.npz"))).states)
        for data in ("raw", "smoothed")
    )
    assert smooth[:, 20:-20] == pytest.approx(smoothed(raw)[:, 20:-20], abs=1e-5)
    assert np.abs(smooth - raw).max() > 0.01


def test_what_is_there_is_not_made_again(table3, buffer, made, monkeypatch):
    before = (made / "report.csv").read_bytes()
    monkeypatch.setattr(table3, "train_dynamics", None)
    assert make(table3, buffer, made, "--seeds", "2") == 0
    assert table3.main(["--out", str(made / "runs"), "--report", str(made / "report")]) == 0
    assert (made / "report.csv").read_bytes() == before


def test_a_stopped_table_is_finished_with_the_same_numbers(table3, buffer, tmp_path, monkeypatch):
    one_model = ["--seeds", "1", "--modes", "rpp", "--sizes", "width", "--data", "raw"]
    assert make(table3, buffer, tmp_path, *one_model, n_epochs=4) == 0
    run_epoch = Trainer.run_epoch

    def stopping(trainer):
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        run_epoch(trainer)

    (tmp_path / "again").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", stopping)
        assert make(table3, buffer, tmp_path / "again", *one_model, n_epochs=4) == INTERRUPTED
    assert list(tmp_path.glob("again/**/model.safetensors"))
    assert list(tmp_path.glob("again/**/result.json")) == []
    assert make(table3, buffer, tmp_path / "again", *one_model, n_epochs=4) == 0
    assert numbers(tmp_path / "again") == numbers(tmp_path)
    (result,) = tmp_path.glob("again/**/result.json")
    assert json.loads(result.read_text())["config"]["n_epochs"] == 4


def test_models_of_other_settings_are_not_mixed(table3, buffer, made, capsys):
    assert make(table3, buffer, made, n_epochs=3) == MISTAKE
    assert "was made with another n_epochs" in capsys.readouterr().err


def test_nothing_there_is_said(table3, tmp_path, capsys):
    assert table3.main(["--out", str(tmp_path)]) == MISTAKE
    assert "give data with --buffer ENV:FILE" in capsys.readouterr().err
