"""The soak of ``scripts/soak.py``: a few events, and that it would notice what it looks for."""

import random
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from scripts import soak
from scripts.soak_checks import losses
from scripts.soak_process import ACTS, PLACES, Plan

pytestmark = pytest.mark.mujoco
SCRIPT = Path(soak.__file__)


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    """Of a process of its own, which may have mounts of its own."""
    command = [sys.executable, SCRIPT, "--events", "8", "--progress", tmp_path / "p", "--fresh-every", "0"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "" or "0 losses" in done.stdout
    assert "8 events in" in done.stdout


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_as_if_it_had_never_been(tmp_path):
    """One run, with the soft prior; every process but the last is killed, in its start, its updates or its saves."""
    env, n_steps = soak.ENVIRONMENTS[0], 1500
    (expected,) = soak.undisturbed(tmp_path / "whole", [env], n_steps)
    state = soak.Soak(tmp_path, None, 20, n_steps, ("SIGKILL", soak.ANY), fresh_every=0)
    assert state.run(random.Random(0), env, expected) == []
    assert state.counts == {f"SIGKILL in {soak.ANY}": 20}


@pytest.mark.slow
def test_a_run_that_resumes_otherwise_is_a_loss(tmp_path, monkeypatch):
    """Negative control: the state of torch's generator is not restored."""
    monkeypatch.setattr("rpp_rl.runs.training_state.torch.set_rng_state", lambda state: None)
    only = ["SIGKILL", "checkpoint"]
    args = Namespace(events=8, seed=0, steps=60, env="Pendulum-v1", progress=None, fresh_every=0, only=only)
    _, lost, _ = soak.soak(args, tmp_path)
    assert any("differs in" in line for line in lost)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda run: run.agent.write_bytes(run.agent.read_bytes()[:100]), "File is not a zip file"),
        (lambda run: (run.path / ".a.tmp").touch(), "left behind: .a.tmp"),
        (lambda run: run.replay_buffer.write_bytes(b""), "damaged"),
        (lambda run: run.checkpoint(200).unlink(), "missing"),
        (lambda run: (run.path / "0.monitor.csv").write_text(""), "at least"),
    ],
)
def test_damage_is_seen(copied, spoil, expected):
    assert losses(copied, 200, 1000, is_tidy=True) == ([], 200)
    spoil(copied)
    found, _ = losses(copied, 200, 1000, is_tidy=True)
    assert any(expected in line for line in found)


def test_steps_that_are_lost_are_seen(copied):
    assert losses(copied, 201, 1000, is_tidy=True)[0] == ["went back from 201 to 200 steps"]
    assert losses(copied, 200, 100, is_tidy=True)[0] == ["200 transitions after 200 steps"]


@pytest.mark.parametrize(
    ("plan", "status", "output", "is_wrong"),
    [
        (Plan((), act="SIGTERM"), 143, "interrupted", False),
        (Plan((), act="SIGTERM"), 0, "done", True),
        (Plan((), act="SIGTERM"), 1, "Traceback", True),
        (Plan((), act="SIGKILL"), -9, "", False),
        (Plan((), act="full disk"), 2, "error: no room\n", False),
        (Plan((), act="full disk"), 2, "error: no room\nand more\n", True),
        (Plan((), act="full disk"), 1, "", True),
        (Plan(()), 2, "error: x", True),
    ],
)
def test_a_wrong_end_is_seen(plan, status, output, is_wrong):
    found = soak._wrong_end(plan, status, output, has_acted=bool(plan.act), is_random=False)
    assert bool(found) == is_wrong


def test_every_event_and_place_is_drawn(tmp_path):
    state = soak.Soak(tmp_path, None, 1)
    chance = random.Random(0)
    drawn = [state._planned(Plan(()), chance, is_resumed=bool(k % 2)) for k in range(2000)]
    assert {plan.act for plan, _ in drawn} == set(ACTS)
    assert {place for _, place in drawn} == {*PLACES, soak.ANY}
    assert {plan.function for plan, _ in drawn} == {"", *(name for names in PLACES.values() for name in names)}
