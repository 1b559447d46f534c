"""Running a study: rows on the disk job by job, continued, drawn again, refused for other settings."""

import dataclasses
import json

import pytest
import torch

from rpp_rl.cli.run_study import main
from rpp_rl.studies import inertia
from rpp_rl.studies.study import Job, Results, Row, Spread, StudySettings, read_rows, run_study

TINY = ["inertia", "--trials", "2", "--epochs", "1", "--width", "12", "--no-progress"]


def refused(capsys, *argv):
    assert main([str(arg) for arg in argv]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


def test_command_runs_draws_and_prints_and_draws_again_without_training(tmp_path, capsys, monkeypatch):
    assert main([*TINY, "-o", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "inertia, SL(3)" in text
    assert "paper" in text.splitlines()[2]
    assert "exact symmetry: RPP within 2x of EMLP" in text
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    rows = read_rows(tmp_path / "results.csv")
    assert {(row.case, row.model) for row in rows} == {tuple(job) for job in inertia.jobs(StudySettings())}
    assert {row.trial for row in rows} == {0, 1}
    before = (tmp_path / "results.csv").read_bytes()
    monkeypatch.setattr(inertia, "network", None)
    assert main([*TINY, "-o", str(tmp_path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert len(content["rows"]) == len(rows)
    assert (tmp_path / "results.csv").read_bytes() == before


def test_a_folder_of_other_settings_is_refused(tmp_path, capsys):
    Results(tmp_path, "inertia", StudySettings(trials=2, epochs=1, width=12))
    line = refused(capsys, *TINY[:-1], "--variant", "code", "-o", tmp_path)
    assert "variant paper there and code here" in line
    assert "choose another folder with -o" in line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.csv", "a,b\n", "no results file of run-study: expected the columns case, model"),
        ("results.csv", "case,model,trial,epoch,metric,value\nexact,rpp,one,2,test,3\n", "line 2"),
        ("settings.json", "[1]", "expected a mapping"),
        ("settings.json", "{", "not a settings file"),
    ],
)
def test_damaged_files_are_refused(tmp_path, capsys, name, content, message):
    Results(tmp_path, "inertia", StudySettings(trials=2, epochs=1, width=12))
    (tmp_path / name).write_text(content)
    assert message in refused(capsys, *TINY, "-o", tmp_path)


def test_a_study_continues_after_the_jobs_that_are_done(tmp_path):
    settings = StudySettings(trials=1, epochs=1, width=12)
    whole = Results(tmp_path / "whole", "inertia", settings)
    run_study(inertia.STUDY, settings, whole, device=torch.device("cpu"))
    part = Results(tmp_path / "part", "inertia", settings)
    part.add([row for row in whole.rows if row.case == "exact"])
    continued = Results(tmp_path / "part", "inertia", settings)
    assert continued.done() == {Job("exact", model) for model in ("rpp", "emlp", "mlp")}
    epochs = []
    run_study(inertia.STUDY, settings, continued, device=torch.device("cpu"), tick=epochs.append)
    assert sum(epochs) == 6
    assert {row._replace(value=0.0) for row in continued.rows} == {row._replace(value=0.0) for row in whole.rows}
    for one, other in zip(sorted(continued.rows), sorted(whole.rows), strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-4)


def test_what_is_there_is_drawn_without_training_the_rest(tmp_path, capsys):
    results = Results(tmp_path, "inertia", StudySettings(trials=2, epochs=1, width=12))
    results.add([Row("exact", "rpp", trial, 1, "test", 1.0 + trial) for trial in range(2)])
    assert main(["inertia", "--draw", "-o", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "1.5 (1 to 2)" in text
    assert "unknown exact symmetry: RPP within 2x of EMLP: not run" in text
    assert {(row.case, row.model) for row in read_rows(tmp_path / "results.csv")} == {("exact", "rpp")}
    assert "holds other results (study inertia there and digits here)" in refused(
        capsys, "digits", "--draw", "-o", tmp_path
    )
    assert "No such file" in refused(capsys, "inertia", "--draw", "-o", tmp_path / "elsewhere")


def test_an_interrupted_study_keeps_its_jobs_and_says_how_to_continue(tmp_path, capsys, monkeypatch):
    made = []

    def run(job, settings, context):
        if made:
            raise KeyboardInterrupt
        made.append(job)
        return [Row(*job, 0, 1, "test", 1.0)]

    study = dataclasses.replace(inertia.STUDY, run=run)
    monkeypatch.setattr(inertia, "STUDY", study)
    assert main([*TINY, "-o", str(tmp_path)]) == 130
    assert "1 of 9 jobs are in" in capsys.readouterr().err
    assert len(read_rows(tmp_path / "results.csv")) == 1


def test_some_jobs_alone_add_to_what_is_there(tmp_path, capsys):
    def trained():
        return {(row.case, row.model) for row in read_rows(tmp_path / "results.csv")}

    assert main([*TINY, "--cases", "exact", "--models", "mlp", "-o", str(tmp_path)]) == 0
    assert trained() == {("exact", "mlp")}
    assert "unknown exact symmetry: RPP within 2x of EMLP: not run" in capsys.readouterr().out
    assert main([*TINY, "--cases", "approximate", "exact", "--models", "mlp", "-o", str(tmp_path)]) == 0
    assert trained() == {("exact", "mlp"), ("approximate", "mlp")}
    assert main([*TINY, "--cases", "exact", "--models", "chain", "mixed", "subspace", "-o", str(tmp_path)]) == 0
    assert trained() == {
        ("exact", "mlp"),
        ("approximate", "mlp"),
        ("exact", "chain"),
        ("exact", "mixed"),
        ("exact", "subspace"),
    }
    line = refused(capsys, *TINY, "--cases", "exact", "windy", "-o", tmp_path)
    assert "cases of inertia are approximate, exact, misspecified; got windy" in line
    assert "models of inertia are chain, emlp, mixed, mlp, per, rpp, subspace, twins; got conv" in refused(
        capsys, *TINY, "--models", "conv", "-o", tmp_path
    )


def test_diverged_trials_count_as_infinite():
    rows = [Row("a", "rpp", trial, 1, "test", value) for trial, value in enumerate([1.0, float("nan"), 3.0])]
    assert Spread.of(rows, "a", "rpp", "test").median == 3.0
    assert str(Spread.of(rows, "a", "mlp", "test")) == "not run"


def test_settings_are_checked():
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        StudySettings(trials=0)
    with pytest.raises(ValueError, match="variant must be one of paper, code"):
        StudySettings(variant="mine")
