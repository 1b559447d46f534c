"""The command from folders and CSV files to figures, tables and mistakes."""

import json

import pytest

from rpp_rl.cli.compare_runs import main
from rpp_rl.experiments.curves import EQUIVARIANCE, read_csv
from tests.kit.runs import make_run


@pytest.fixture
def runs(tmp_path):
    """Three seeds of two arms in two environments, a model and a damaged run."""
    for env in ("Hopper-v5", "Walker2d-v5"):
        for mode, folder in (("mlp", "sac"), ("rpp", "rpp_sac")):
            for seed in range(3):
                scalars = {f"{EQUIVARIANCE}/g": {1000 * k: 0.125 * (1 + seed) for k in range(1, 101)}}
                slope = 1.0 + seed + (mode == "rpp")
                path = tmp_path / "logs" / folder / f"{env}_{seed + 1}"
                make_run(path, env, mode=mode, seed=seed, slope=slope, scalars=scalars)
    make_run(tmp_path / "logs" / "mlp_model" / "Hopper-v5_1", n_evaluations=0, buffer="replay.npz")
    damaged = make_run(tmp_path / "logs" / "sac" / "Hopper-v5_9", seed=9)
    (damaged / "evaluations.npz").write_bytes(b"no archive")
    return tmp_path / "logs"


def test_folders_become_a_figure_a_table_and_a_csv_file(runs, tmp_path, capsys):
    flags = ["-o", str(tmp_path / "figure"), "--csv", str(tmp_path / "runs.csv")]
    assert main([str(runs), *flags]) == 0
    output = capsys.readouterr().out
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "figure.svg").read_text()
    assert "Hopper-v5 after 100000 steps" in output
    assert "mlp_model/Hopper-v5_1: a model of the dynamics, see evaluate-model" in output
    assert "sac/Hopper-v5_9: evaluations.npz is damaged" in output
    assert len(read_csv(tmp_path / "runs.csv")) == 12


def test_the_csv_file_gives_the_same_table_and_figure(runs, tmp_path, capsys):
    answers, figures = [], []
    for source in (runs, tmp_path / "runs.csv"):
        figure = tmp_path / f"{source.name}.svg"
        assert main([str(source), "--csv", str(tmp_path / "runs.csv"), "-o", str(figure), "--json"]) == 0
        arms = [arm for env in json.loads(capsys.readouterr().out)["environments"] for arm in env["arms"]]
        answers.append([{name: value for name, value in arm.items() if name != "runs"} for arm in arms])
        figures.append(figure.read_bytes())
    assert answers[0] == answers[1]
    assert figures[0] == figures[1]


def test_arms_can_be_renamed_and_panels_chosen(runs, tmp_path, capsys):
    flags = ["--label", "rpp", "RPP (ours)", "--panels", "return", "best", "final", "--columns", "1"]
    assert main([str(runs), "-o", str(tmp_path / "a.svg"), *flags, "--aggregate", "iqm"]) == 0
    assert "RPP (ours)  3" in capsys.readouterr().out
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["nowhere"], "No such file or directory"),
        (["logs", "--baseline", "x"], "no arm is called 'x'"),
        (["logs", "--label", "x", "y"], "no arm is called 'x'"),
        (["logs", "-o", "nowhere/a.png"], "nowhere/a.png"),
        (["logs/mlp_model"], "there is no run to compare"),
        (["logs", "-o", "a.png", "--panels", "displacement"], "nothing to draw: no arm has displacement"),
        (["logs", "--at", "10"], "its first evaluation is at 10000 steps"),
    ],
)
def test_mistakes_end_in_one_line(runs, refused, monkeypatch, flags, reason):
    monkeypatch.chdir(runs.parent)
    assert reason in refused(main, *flags)
