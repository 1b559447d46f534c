"""``table3``: every model is made once, tables are those of the raw numbers, and stopping costs nothing."""

import csv
import json

import numpy as np
import pytest

from rpp_rl.cli.errors import INTERRUPTED
from rpp_rl.cli.table3 import main
from rpp_rl.dynamics import Episodes, read_episodes, write_episodes
from rpp_rl.dynamics.metrics import smoothed
from rpp_rl.dynamics.model_file import read_model
from rpp_rl.dynamics.training import Trainer
from rpp_rl.io.lock import locked
from rpp_rl.runs import table3 as module

ENV = "Swimmer-v4"


def write(path, seed=0):
    """Random walks of the Swimmer's size: 12 episodes of 120 steps."""
    rng = np.random.default_rng(seed)
    states = 0.1 * rng.normal(size=(12, 121, 8)).cumsum(axis=1)
    actions = rng.uniform(-1, 1, size=(12, 120, 2))
    write_episodes(Episodes(tuple(states.astype(np.float32)), tuple(actions.astype(np.float32)), ENV), path)
    return path


@pytest.fixture(scope="module")
def buffer(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "swimmer.npz")


def flags(buffer, folder, *extra, n_epochs=2):
    settings = [f"n_epochs:{n_epochs}", "batch_size:10000", "net_arch:[8]", "n_test:3", "save_freq:1"]
    given = ["--buffer", f"{ENV}:{buffer}", "-o", folder, "--transitions", "200", "--device", "cpu", *extra]
    return [*map(str, given), "-params", *settings]


def make(buffer, folder, *extra, n_epochs=2):
    return main(flags(buffer, folder, *extra, n_epochs=n_epochs))


def numbers(folder):
    with (folder / "table3.csv").open(newline="") as file:
        return list(csv.DictReader(file))


ONE = ["--seeds", "1", "--kinds", "rpp", "--sizes", "width", "--data", "raw"]


@pytest.fixture(scope="module")
def made(buffer, tmp_path_factory):
    """The folder of a whole table of one environment and two seeds."""
    folder = tmp_path_factory.mktemp("made")
    assert make(buffer, folder, "--seeds", "2") == 0
    return folder


def test_every_model_has_every_number(made):
    rows = numbers(made)
    models = {tuple(row[k] for k in ("kind", "size", "data", "seed")) for row in rows}
    kinds = [("mlp", "width"), ("augmented", "width"), ("emlp", "width"), ("emlp", "parameters"), ("rpp", "width")]
    kinds.append(("rpp", "parameters"))
    assert models == {(*kind, data, seed) for kind in kinds for data in ("raw", "smoothed") for seed in "01"}
    assert len(rows) == len(models) * (3 * 3 + 4)
    assert {row["n_learnt"] for row in rows} == {"200"}
    sizes = {(row["kind"], row["size"]): int(row["n_parameters"]) for row in rows}
    assert sizes["rpp", "parameters"] <= sizes["mlp", "width"] == sizes["augmented", "width"] < sizes["rpp", "width"]


@pytest.mark.parametrize(("metric", "data"), [("Honest", "raw"), ("Metric of the paper", "smoothed")])
@pytest.mark.parametrize("size", ["parameters", "width"])
def test_tables_are_those_of_the_numbers(made, metric, data, size):
    title = f"trained on 200 {data} transitions, at equal {size}"
    text = (made / "table3.md").read_text()
    (table,) = [part for part in text.split("## ") if title in part and part.startswith(metric)]
    for horizon in ("10", "30", "100"):
        wanted = {"metric": "honest" if metric == "Honest" else "release", "data": data, "horizon": horizon}
        rows = [row for row in numbers(made) if wanted.items() <= row.items()]
        means = {
            kind: np.mean([100 * float(r["value"]) for r in rows if (r["kind"], r["size"]) == (kind, own)])
            for kind, own in (("mlp", "width"), ("augmented", "width"), ("emlp", size), ("rpp", size))
        }
        (line,) = [line for line in table.splitlines() if line.startswith(f"| {ENV} | {horizon} ")]
        cells = [cell.strip() for cell in line.split("|")[3:]]
        for cell, mean in zip(cells, means.values(), strict=False):
            assert float(cell.split()[0]) == pytest.approx(mean, rel=0.006)
            assert cell.endswith("(2)")
        to_mlp = means["rpp"] / means["mlp"]
        to_better = means["rpp"] / min(means["mlp"], means["emlp"])
        assert [float(cell.strip("*")) for cell in cells[4:6]] == pytest.approx([to_mlp, to_better], rel=0.006)
        assert [cell.startswith("**") for cell in cells[4:6]] == [to_mlp > 1, to_better > 1.05]


def test_jobs_of_one_seed_and_kind_make_the_same_table(buffer, made, tmp_path):
    for kind in ("mlp", "rpp"):
        for seed in ("1", "0"):
            given = ["--kinds", kind, "--sizes", "parameters", "--data", "raw", "--seeds", "1", "--first-seed", seed]
            assert make(buffer, tmp_path, *given) == 0
    rows = numbers(tmp_path)
    assert {row["seed"] for row in rows} == {"0", "1"}
    assert len(rows) == 4 * (3 * 3 + 4)
    assert [row for row in numbers(made) if row in rows] == rows


def test_smoothing_holds_out_the_same_steps(made):
    """Away from their ends, smoothed test trajectories are those that raw models held out, smoothed."""
    raw, smooth = (
        np.stack(read_episodes(next(made.glob(f"{ENV}/rpp_width_{data}_200_0/*/*/test.npz"))).states)
        for data in ("raw", "smoothed")
    )
    assert smooth[:, 20:-20] == pytest.approx(smoothed(raw)[:, 20:-20], abs=1e-5)
    assert np.abs(smooth - raw).max() > 0.01


def test_what_is_there_is_not_made_again(buffer, made, monkeypatch):
    before = (made / "table3.csv").read_bytes()
    monkeypatch.setattr(module, "train_dynamics", None)
    assert make(buffer, made, "--seeds", "2") == 0
    assert main(["-o", str(made)]) == 0
    assert (made / "table3.csv").read_bytes() == before


def test_a_stopped_table_is_finished_with_the_same_numbers(buffer, tmp_path, monkeypatch):
    assert make(buffer, tmp_path / "whole", *ONE, n_epochs=4) == 0
    run_epoch = Trainer.run_epoch

    def stopping(trainer):
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        run_epoch(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", stopping)
        assert make(buffer, tmp_path / "again", *ONE, n_epochs=4) == INTERRUPTED
    assert list(tmp_path.glob("again/**/model.safetensors"))
    assert list(tmp_path.glob("again/**/result.json")) == []
    assert make(buffer, tmp_path / "again", *ONE, n_epochs=4) == 0
    assert numbers(tmp_path / "again") == numbers(tmp_path / "whole")


def test_another_agent_is_a_test_besides(buffer, tmp_path, monkeypatch, refused):
    assert make(buffer, tmp_path / "out", *ONE) == 0
    before = numbers(tmp_path / "out")
    monkeypatch.setattr(module, "train_dynamics", None)
    other = write(tmp_path / "other.npz", seed=1)
    assert make(buffer, tmp_path / "out", *ONE, "--test-buffer", f"{ENV}:{other}") == 0
    after = numbers(tmp_path / "out")
    assert [row for row in after if row["test"] == "own"] == before
    assert [row["value"] for row in after if row["test"] == "other"] != [row["value"] for row in before]
    assert len(after) == 2 * len(before)
    (tmp_path / "copy.npz").write_bytes(buffer.read_bytes())
    leak = flags(buffer, tmp_path / "out", *ONE, "--test-buffer", f"{ENV}:{tmp_path / 'copy.npz'}")
    assert "a transition that is also" in refused(main, *leak)


def test_all_amounts_of_data_make_as_many_updates(buffer, tmp_path, monkeypatch):
    """The paper's 5000 chunks make five updates per epoch, and so does every part of them."""
    configs = []
    monkeypatch.setattr(module, "_made", lambda cell, table, **_: configs.append(config(cell, table, buffer)))
    monkeypatch.setattr(module, "_in_words", lambda result: "")
    monkeypatch.setattr("rpp_rl.runs.table3_report.results", lambda out: [])
    main([*flags(buffer, tmp_path, *ONE, "--transitions", "200", "20000", "50000"), "batch_size:1000"])
    assert [(c.n_chunks, c.batch_size) for c in configs] == [(20, 4), (2000, 400), (5000, 1000)]
    assert {c.n_epochs for c in configs} == {2}


def config(cell, table, buffer):
    return module._config(cell, table, read_episodes(buffer), buffer.parent, {})


def test_curves_are_those_of_the_numbers(buffer, tmp_path):
    given = ["--seeds", "1", "--kinds", "mlp", "rpp", "--sizes", "width", "--data", "raw"]
    assert make(buffer, tmp_path, *given, "--transitions", "50", "200") == 0
    (_, curves) = (tmp_path / "table3.md").read_text().split("## Honest errors by the number of transitions")
    wanted = {"metric": "honest", "horizon": "30"}
    rows = [row for row in numbers(tmp_path) if wanted.items() <= row.items()]
    values = {(row["kind"], row["n_transitions"]): 100 * float(row["value"]) for row in rows}
    for title, expected in (
        ("MLP", [values["mlp", n] for n in ("50", "200")]),
        ("RPP / MLP", [values["rpp", n] / values["mlp", n] for n in ("50", "200")]),
    ):
        (line,) = [line for line in curves.splitlines() if line.startswith(f"| {ENV} | 30 | {title} |")]
        cells = [cell.strip().strip("*").split()[0] for cell in line.split("|")[4:6]]
        assert [float(cell) for cell in cells] == pytest.approx(expected, rel=0.006)


def test_settings_of_one_kind_are_those_of_no_other(buffer, tmp_path):
    given = ["--seeds", "1", "--kinds", "mlp", "rpp", "--sizes", "width", "--data", "raw"]
    assert make(buffer, tmp_path, *given, "--params-of", "rpp:{learning_rate: 1e-3}") == 0
    rates = {
        json.loads(path.read_text())["config"]["mode"]: json.loads(path.read_text())["config"]["learning_rate"]
        for path in tmp_path.glob("*/*/result.json")
    }
    assert rates == {"mlp": 1e-2, "rpp": 1e-3}
    _, about, _ = read_model(next(tmp_path.glob("*/rpp_*/*/*/model.safetensors")))
    assert about["is_complete"]


def test_settings_are_chosen_by_the_validation(buffer, tmp_path, monkeypatch, refused):
    """A step that is far too large diverges, a tiny one learns nothing; the record is kept and asked again."""
    given = [*ONE, "--tune", "learning_rate:[1e30, 1e-2, 1e-9]"]
    assert make(buffer, tmp_path, *given, n_epochs=20) == 0
    (choice,) = [json.loads(path.read_text())["tried"] for path in tmp_path.glob("*/*/choice.json")]
    losses = {row["settings"]["learning_rate"]: row["validation"] for row in choice}
    assert losses[1e30] is None
    assert losses[1e-2] < losses[1e-9]
    (result,) = [json.loads(path.read_text()) for path in tmp_path.glob("*/*/result.json")]
    assert (result["config"]["learning_rate"], result["config"]["seed"]) == (1e-2, 0)
    text = (tmp_path / "table3.md").read_text()
    assert "learning_rate 1e+30 (diverged)" in text
    assert f"| {ENV} | rpp | width | raw | 200 | learning_rate 0.01 (" in text
    monkeypatch.setattr(module, "train_dynamics", None)
    assert make(buffer, tmp_path, *given, n_epochs=20) == 0
    others = flags(buffer, tmp_path, *ONE, "--tune", "learning_rate:[1e-2]", n_epochs=20)
    assert "was chosen from other values" in refused(main, *others)


def test_a_training_that_diverges_leaves_the_others_their_turn(buffer, tmp_path, capsys):
    given = ["--seeds", "1", "--kinds", "rpp", "mlp", "--sizes", "width", "--data", "raw"]
    assert make(buffer, tmp_path, *given, "--params-of", "rpp:{learning_rate: 1e30}") == 0
    assert "the training has diverged" in capsys.readouterr().out
    assert {row["kind"] for row in numbers(tmp_path)} == {"mlp"}


def test_a_kind_that_diverges_whatever_it_chooses_leaves_the_others_their_turn(buffer, tmp_path, monkeypatch, capsys):
    losses = module._validation_losses
    monkeypatch.setattr(
        module,
        "_validation_losses",
        lambda configs, **k: [None] * len(configs) if configs[0].mode == "rpp" else losses(configs, **k),
    )
    given = ["--seeds", "1", "--kinds", "rpp", "mlp", "--sizes", "width", "--data", "raw"]
    assert make(buffer, tmp_path, *given, "--tune", "learning_rate:[1e-3]") == 0
    assert "all trainings with [{'learning_rate': 0.001}] diverged; try other values" in capsys.readouterr().out
    assert {row["kind"] for row in numbers(tmp_path)} == {"mlp"}
    assert (
        f"| {ENV} | rpp | width | raw | 200 | none | learning_rate 0.001 (diverged) |"
        in (tmp_path / "table3.md").read_text()
    )


def test_what_another_process_makes_is_left_to_it(buffer, tmp_path, capsys):
    folder = tmp_path / ENV / "rpp_width_raw_200_0"
    folder.mkdir(parents=True)
    with locked(folder):
        make(buffer, tmp_path, *ONE)
    assert "another process makes it" in capsys.readouterr().out
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--kinds", "cnn"], "kinds: expected"),
        (["--params-of", "cnn:{learning_rate: 1}"], "unknown kinds cnn"),
        (["--params-of", "rpp:3"], "settings_of: expected"),
        (["--params-of", "rpp:{seed: 1}"], "the table itself decides seed"),
        (["--first-seed", "999", "--seeds", "2"], "expected seeds below 1000"),
        (["--tune", "seed:[1]"], "the table itself decides seed"),
        (["--tune", "learning_rate:[]"], "expected at least one value"),
        (["--tune", "learning_rate:1"], "tune: expected"),
        (["--test-buffer", "Ant-v4:ant.npz"], "test trajectories of Ant-v4 were given"),
        (["--buffer", f"{ENV}:none.npz"], "none.npz: No such file"),
    ],
)
def test_mistakes_end_in_one_line(buffer, tmp_path, refused, extra, message):
    assert message in refused(main, *flags(buffer, tmp_path, *ONE, *extra))


def test_models_made_before_a_setting_existed_had_its_default(buffer, tmp_path, monkeypatch, refused):
    assert make(buffer, tmp_path, *ONE) == 0
    (path,) = tmp_path.glob("*/*/result.json")
    result = json.loads(path.read_text())
    del result["config"]["layer_norm"]
    path.write_text(json.dumps(result))
    monkeypatch.setattr(module, "train_dynamics", None)
    assert make(buffer, tmp_path, *ONE) == 0
    message = "was made with another layer_norm"
    assert message in refused(main, *flags(buffer, tmp_path, *ONE), "layer_norm:true")


def test_models_of_other_settings_are_not_mixed(buffer, made, refused):
    assert "was made with another n_epochs" in refused(main, *flags(buffer, made, n_epochs=3))


def test_seeds_of_other_settings_or_data_are_not_averaged(buffer, tmp_path, refused):
    """They are refused before they are trained, and in the report of a folder where two jobs have met."""
    assert make(buffer, tmp_path / "out", *ONE) == 0
    second = [*ONE, "--first-seed", "1"]
    message = "rpp width raw 200: its seeds differ by their n_epochs, so they cannot be averaged"
    assert message in refused(main, *flags(buffer, tmp_path / "out", *second, n_epochs=3))
    other = write(tmp_path / "other.npz", seed=1)
    message = f"the models of {ENV} learned from different data"
    assert message in refused(main, *flags(other, tmp_path / "out", *second, "--kinds", "mlp"))
    assert [path.name for path in (tmp_path / "out" / ENV).glob("*/*_model")] == ["rpp_model"]
    assert make(other, tmp_path / "twin", *second) == 0
    (tmp_path / "twin" / ENV / "rpp_width_raw_200_1").rename(tmp_path / "out" / ENV / "rpp_width_raw_200_1")
    assert message in refused(main, "-o", tmp_path / "out")


def test_settings_that_kinds_do_not_share_are_said(buffer, made, tmp_path):
    assert "Settings that differ" not in (made / "table3.md").read_text()
    given = ["--seeds", "1", "--kinds", "mlp", "rpp", "--sizes", "width", "--data", "raw"]
    assert make(buffer, tmp_path, *given, "--params-of", "rpp:{layer_norm: true}") == 0
    text = (tmp_path / "table3.md").read_text().split("## Settings that differ")[1]
    assert text.split("\n") == ["", "", f"- {ENV}, `layer_norm`: False (MLP); True (RPP)", ""]


@pytest.mark.parametrize(("kind", "n_trained"), [("rpp", 4), ("emlp", 2)])
def test_the_same_model_is_not_tried_twice(buffer, tmp_path, monkeypatch, kind, n_trained):
    """Only a soft model has a residual pathway to choose a decay for."""
    made = []
    monkeypatch.setattr(module, "_validation_loss", lambda config, **_: made.append(config) or len(made))
    tune = ["--tune", "learning_rate:[1e-3, 1e-2]", "residual_decay:[0.3, 3.0]"]
    assert make(buffer, tmp_path, *ONE, "--kinds", kind, *tune) == 0
    assert len(made) == n_trained
    (choice,) = [json.loads(path.read_text())["tried"] for path in tmp_path.glob("*/*/choice.json")]
    assert [row["validation"] for row in choice] == ([1, 2, 3, 4] if kind == "rpp" else [1, 1, 2, 2])


def test_nothing_there_is_said(tmp_path, refused):
    assert "give data with --buffer ENV:FILE" in refused(main, "-o", tmp_path)
