"""The command: everything that can be wrong is said before anything starts."""

import json

import pytest

from rpp_rl.cli import run_experiment
from rpp_rl.cli.run_experiment import main
from rpp_rl.experiments.plan import read_plan
from rpp_rl.experiments.scheduling import members_of
from tests.kit.experiments import TINY, write_plan


@pytest.fixture
def plan(tmp_path):
    def plan(**changes):
        return ["-conf", write_plan(tmp_path / "x.yaml", **changes), "-f", tmp_path / "out"]

    return plan


@pytest.fixture
def all_mistakes(capsys):
    """Runs the command, which has to refuse everything at once, and returns what it printed."""

    def all_mistakes(flags):
        assert main(list(map(str, flags))) == 2
        *lines, last = capsys.readouterr().err.splitlines()
        assert f"{len(lines)} mistakes, listed above; nothing was started" in last
        return "\n".join(lines)

    return all_mistakes


def test_what_does_not_fit_an_environment_is_said_at_once_and_nothing_is_started(plan, all_mistakes, tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    lines = all_mistakes(
        plan(
            environments=["Hopper-v5", "Hoper-v5"],
            variants={
                "a": {"mode": "rpp", "group": "D4"},
                "b": {"mode": "rpp", "hidden": "3*Q"},
                "c": {"device": "cuda:99"},
                "d": {"env_kwargs": {"wings": 2}},
            },
        )
    )
    for part in ("unknown environment 'Hoper-v5'", "D4", "3*Q", "cuda:99", "wings", "Not a directory"):
        assert part in lines


def test_mistakes_of_the_file_come_first_and_hide_no_others(plan, all_mistakes, tmp_path):
    """One environment has no sound arm, one group fits nothing, and the folder is none."""
    (tmp_path / "out").write_text("a file where a folder should be")
    variants = {"a": {"mode": "rpp", "group": "D4", "environments": {"Hoper-v5": None}}, "b": {"mode": "soft"}}
    lines = all_mistakes(
        plan(seeds=[0, 0], settings={**TINY, "gama": 1}, environments=["Hopper-v5", "Hoper-v5"], variants=variants)
    )
    assert "(1) seeds: 0 given twice\n(2) settings: unknown setting 'gama'" in lines
    for part in ("'soft'", "unknown environment 'Hoper-v5'", "no group 'D4'", "Not a directory"):
        assert part in lines
    assert len(lines.splitlines()) == len(set(lines.splitlines())) == 7


def test_arms_that_were_begun_with_other_settings_are_mistakes_too(plan, all_mistakes, tmp_path):
    """A dry run that says nothing of them would promise what the run then refuses."""
    flags = plan(seeds=1)
    before = read_plan(flags[1])
    for member in members_of(before, tmp_path / "out" / "x"):
        member.folder.prepare(member.job, before.kind)
    lines = all_mistakes([*plan(seeds=2, variants={"narrow": {"gamma": 0.5}, "wide": {}}), "--dry-run"])
    assert lines.count("was made with another gamma") == lines.count("was made with another net_arch") == 2


def test_a_dry_run_with_more_steps_counts_no_run_as_done(plan, tmp_path, capsys):
    flags = plan(seeds=1, environments=["Hopper-v5"])
    before = read_plan(flags[1])
    for member in members_of(before, tmp_path / "out" / "x"):
        member.folder.prepare(member.job, before.kind)
        member.folder.mark_done()
    for n_timesteps, state in ((1000, "2 done"), (2000, "2 waiting")):
        settings = {**TINY, "n_timesteps": n_timesteps}
        more = [*map(str, plan(seeds=1, environments=["Hopper-v5"], settings=settings)), "--dry-run"]
        assert main(more) == 0
        assert capsys.readouterr().out.rstrip().endswith(state)


def test_a_single_mistake_is_the_error(plan, refused):
    assert "seeds: 0 given twice" in refused(main, *plan(seeds=[0, 0]))


def test_a_dry_run_prints_the_grid_and_its_cost(plan, tmp_path, capsys):
    assert main([*map(str, plan()), "--dry-run", "--workers", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["Hopper-v5", "narrow", "0", "1", "2", "1000"]
    assert "12 runs, 12k steps in all, 3 runs side by side" in lines
    assert lines[-1].endswith("12 waiting")
    assert not list((tmp_path / "out").glob("*/*/*"))


def test_the_state_of_every_run_is_shown(plan, capsys):
    assert main([*map(str, plan()), "--status"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 13


def test_the_status_is_that_of_the_runs(plan, monkeypatch, capsys, tmp_path):
    """A run that fails is a status for the shell too; here the training itself is replaced."""
    monkeypatch.setattr(run_experiment, "LocalPool", FailingPool)
    flags = list(map(str, plan(seeds=1, environments=["Hopper-v5"])))
    assert main(flags) == 1
    output = capsys.readouterr().out
    assert "FAILED: narrow, Hopper-v5, seed 0" in output
    assert json.loads((tmp_path / "out/x/wide/Hopper-v5/seed_0/failed.json").read_text())["reason"]


class FailingPool:
    """A backend whose processes all fail."""

    def __init__(self, n_workers):
        self.n_free, self.folders = n_workers, []

    def start(self, folder, num_threads):
        self.folders.append(folder)

    def ended(self):
        ended, self.folders = dict.fromkeys(self.folders, 1), []
        return ended

    def stop(self):
        pass
