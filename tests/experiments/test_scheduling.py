"""The driver with processes that only pretend: what is started again, what is given up, what is reported."""

import time

import numpy as np
import pytest

from rpp_rl.experiments import progress, scheduling
from rpp_rl.experiments.backend import BUSY, INTERRUPTED
from rpp_rl.experiments.job_folder import JobFolder, State
from rpp_rl.experiments.plan import EarlyEnd, read_plan
from rpp_rl.experiments.scheduling import Driver, condemned, members_of
from rpp_rl.io.border import UserError
from tests.kit.experiments import TINY, FakeBackend, write_plan
from tests.kit.runs import make_run


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(scheduling, "POLL_S", 0)


def drive(tmp_path, outcomes, n_free=100, **changes):
    """Drive an experiment of two arms and two seeds."""
    changes = {"seeds": 2, "environments": ["Hopper-v5"]} | changes
    plan = read_plan(write_plan(tmp_path / "x.yaml", **changes))
    events = []
    backend = FakeBackend(outcomes, n_free)
    driver = Driver(plan, tmp_path / "x", backend, events.append)
    driver.prepare()
    return driver.run(), backend, events


def finishes(folder, n_starts):
    JobFolder(folder).mark_done()
    return 0


def numbers(states):
    return {state: len(members) for state, members in states.items() if members}


def test_every_job_is_started_once(tmp_path):
    states, backend, events = drive(tmp_path, finishes, n_free=1)
    assert numbers(states) == {State.DONE: 4}
    assert len(backend.started) == len(set(backend.started)) == 4
    assert backend.stopped
    assert events[:2] == ["started: narrow, Hopper-v5, seed 0", "done: narrow, Hopper-v5, seed 0"]


def test_what_is_done_is_not_done_again(tmp_path):
    drive(tmp_path, finishes)
    states, backend, _ = drive(tmp_path, finishes, seeds=3)
    assert numbers(states) == {State.DONE: 6}
    assert sorted(folder.name for folder in backend.started) == ["seed_2", "seed_2"]


def test_more_steps_make_a_done_run_go_on(tmp_path):
    drive(tmp_path, finishes)
    states, backend, _ = drive(tmp_path, finishes, settings={**TINY, "n_timesteps": 2000})
    assert numbers(states) == {State.DONE: 4}
    assert len(backend.started) == 4


def test_other_settings_under_the_same_names_are_refused(tmp_path):
    drive(tmp_path, finishes)
    with pytest.raises(UserError, match="was made with another gamma; choose another --log-folder"):
        drive(tmp_path, finishes, variants={"narrow": {"gamma": 0.5}, "wide": {"net_arch": [16]}})


def test_a_killed_process_is_started_again_and_one_that_always_is_fails(tmp_path):
    def outcome(folder, n_starts):
        if "wide" in str(folder):
            return -9
        return finishes(folder, n_starts) if n_starts == 2 else -9

    states, backend, events = drive(tmp_path, outcome, seeds=1)
    assert numbers(states) == {State.DONE: 1, State.FAILED: 1}
    assert [sum(name in str(folder) for folder in backend.started) for name in ("narrow", "wide")] == [2, 3]
    assert any("killed 3 times by signal 9" in event for event in events)


def test_a_process_that_comes_further_each_time_may_be_killed_more_often(tmp_path):
    def outcome(folder, n_starts):
        if n_starts == 6:
            return finishes(folder, n_starts)
        run = folder / "sac" / "Hopper-v5_1"
        if not run.exists():
            make_run(run, n_evaluations=1)
        np.savez(run / "evaluations.npz", timesteps=[100 * n_starts], results=[[1.0]], ep_lengths=[[1]])
        return -15

    states, _, _ = drive(tmp_path, outcome, seeds=1)
    assert numbers(states) == {State.DONE: 2}


def test_a_run_that_fails_is_reported_with_its_log_and_stops_nobody(tmp_path):
    def outcome(folder, n_starts):
        if "wide" in str(folder):
            (folder / "log.txt").write_text("one\ntwo\nValueError: no\n")
            return 1
        return finishes(folder, n_starts)

    states, _, events = drive(tmp_path, outcome)
    assert numbers(states) == {State.DONE: 2, State.FAILED: 2}
    (first, _) = [event for event in events if event.startswith("FAILED")]
    assert first.splitlines()[:5] == [
        "FAILED: wide, Hopper-v5, seed 0", "  it ended with status 1", "  one", "  two", "  ValueError: no",
    ]  # fmt: skip
    assert numbers(drive(tmp_path, finishes)[0]) == {State.DONE: 4}


@pytest.mark.parametrize("status", [BUSY, INTERRUPTED])
def test_an_interrupted_process_and_a_busy_job_are_started_again(tmp_path, status):
    def outcome(folder, n_starts):
        return finishes(folder, n_starts) if n_starts > 4 else status

    assert numbers(drive(tmp_path, outcome, seeds=1)[0]) == {State.DONE: 2}


def test_a_job_of_another_driver_is_waited_for_and_not_started(tmp_path, monkeypatch):
    plan = read_plan(write_plan(tmp_path / "x.yaml", seeds=1, environments=["Hopper-v5"]))
    events = []
    backend = FakeBackend(finishes)
    driver = Driver(plan, tmp_path / "x", backend, events.append)
    driver.prepare()
    other = driver.members[1].folder
    handle = other.lock()

    def look(members):
        other.mark_done()

    driver.show = look
    driver.run()
    assert handle is not None
    assert backend.started == [driver.members[0].folder.path]
    assert events[0] == "still running from before: wide, Hopper-v5, seed 0"


def evaluated(plan, folder, slopes, n_evaluations=5):
    """Jobs whose returns rise by so much with every evaluation, by variant."""
    members = members_of(plan, folder)
    for member in members:
        member.folder.prepare(member.job, plan.kind)
        run = member.folder.path / "sac" / "Hopper-v5_1"
        make_run(run, n_evaluations=n_evaluations, slope=slopes[member.job.variant])
    return members


def test_an_arm_that_is_hopeless_ends_as_a_whole(tmp_path):
    plan = read_plan(write_plan(tmp_path / "x.yaml", seeds=2, environments=["Hopper-v5"]))
    members = evaluated(plan, tmp_path / "x", {"narrow": 10.0, "wide": 4.0})
    found = condemned(members, EarlyEnd(at=30_000, below=0.5, of="narrow"))
    assert found == {("wide", "Hopper-v5"): "return 12.0 at 30000 steps is below 0.5 of narrow's 30.0"}
    assert not condemned(members, EarlyEnd(at=30_000, below=0.3, of="narrow"))
    assert not condemned(members, EarlyEnd(at=60_000, below=0.5, of="narrow"))
    assert not condemned(members, EarlyEnd(at=30_000, below=0.5, of="narrow", seeds=3))
    assert list(condemned(members, EarlyEnd(at=30_000, below=20.0))) == [("wide", "Hopper-v5")]


def test_a_share_of_a_return_that_is_not_positive_condemns_nobody(tmp_path):
    plan = read_plan(write_plan(tmp_path / "x.yaml", seeds=2, environments=["Hopper-v5"]))
    members = evaluated(plan, tmp_path / "x", {"narrow": -1.0, "wide": -40.0})
    assert not condemned(members, EarlyEnd(at=30_000, below=0.5, of="narrow"))


def test_the_driver_ends_arms_and_lets_them_go_on_without_the_rule(tmp_path):
    rule = {"at": 30_000, "below": 0.5, "of": "narrow"}
    changes = {"seeds": 2, "environments": ["Hopper-v5"]}
    plan = read_plan(write_plan(tmp_path / "x.yaml", **changes))
    evaluated(plan, tmp_path / "x", {"narrow": 10.0, "wide": 4.0})
    states, backend, events = drive(tmp_path, finishes, end_early=rule)
    assert numbers(states) == {State.DONE: 2, State.ENDED: 2}
    assert all("narrow" in str(folder) for folder in backend.started)
    assert events[0].startswith("ends early: wide, Hopper-v5, seed 0, return 12.0")
    assert numbers(drive(tmp_path, finishes)[0]) == {State.DONE: 4}


def test_a_hundred_runs_are_listed_in_less_than_a_second(tmp_path):
    plan = read_plan(write_plan(tmp_path / "x.yaml", seeds=50, environments=["Hopper-v5"]))
    members = evaluated(plan, tmp_path / "x", {"narrow": 1.0, "wide": 2.0})
    start = time.process_time()
    rows = progress.run_rows(members)
    assert time.process_time() - start < 1
    assert len(rows) == 101
    assert rows[1] == ("Hopper-v5", "narrow", "0", "waiting", "50k/1k", "5", "–", "–")
