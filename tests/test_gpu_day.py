"""``scripts/gpu_day.py`` in small and on a CPU: what it measures, and that nothing is passed over in silence."""

import json
import time

import pytest

from scripts import gpu_day


def run(tmp_path, *flags):
    status = gpu_day.main(["-o", str(tmp_path / "day"), "--short", "--device", "cpu", *flags])
    return status, json.loads((tmp_path / "day.json").read_text())["parts"], (tmp_path / "day.md").read_text()


@pytest.mark.slow
@pytest.mark.mujoco
def test_everything_but_the_tests_runs_on_a_cpu(tmp_path):
    names = [name for name in gpu_day.PARTS if name != "tests"]
    status, parts, text = run(tmp_path, "--minutes", "600", "--parts", *names)
    assert status == 0
    assert parts["tests"]["not_measured"] == "it was not asked for"
    assert "**Not measured**: it was not asked for" in text
    assert all(parts[name]["table"] for name in names)
    for row in parts["updates"]["table"].values():
        assert row["outcome"] == "passed"
        assert row["formulas against made"] < gpu_day.BOUND < 100 * gpu_day.BOUND < row["other batches against made"]
    assert set(parts["update_speeds"]["table"]) == {"sb3", "mlp", "emlp", "rpp"}


def test_a_part_that_fails_leaves_the_others_their_turn(tmp_path, monkeypatch):
    def broken(day):
        raise RuntimeError("no such device")

    parts = {"updates": broken, "models": lambda day: {"rpp": {"outcome": "passed"}}}
    monkeypatch.setattr(gpu_day, "PARTS", parts)
    for part in parts.values():
        part.__doc__ = "A part."
    status, found, text = run(tmp_path)
    assert status == 1
    assert found["updates"]["failed"] == "RuntimeError: no such device"
    assert found["models"]["table"] == {"rpp": {"outcome": "passed"}}
    assert "**Failed**: RuntimeError: no such device" in text
    assert "| rpp | passed |" in text


def test_updates_that_differ_are_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_day, "PARTS", {"updates": updates_that_differ})
    assert run(tmp_path)[0] == 1


def updates_that_differ(day):
    """A part."""
    return {"rpp": {"outcome": "failed"}}


def test_a_part_ends_when_time_runs_out(tmp_path, monkeypatch):
    def endless(day):
        """A part."""
        with gpu_day.alarm(0.01):
            while True:
                pass

    monkeypatch.setattr(gpu_day, "PARTS", {"models": endless})
    status, parts, _ = run(tmp_path)
    assert status == 0
    assert parts["models"]["not_measured"] == "time ran out in the middle of it"


def test_what_there_is_no_time_for_is_said(tmp_path, monkeypatch):
    status, parts, text = run(tmp_path, "--minutes", "0")
    assert status == 0
    assert {part["not_measured"] for part in parts.values()} == {"no time was left"}
    assert text.count("**Not measured**: no time was left") == len(gpu_day.PARTS)
    assert gpu_day.Day("cpu", gpu_day.SHORT, time.monotonic() + 5).left() < 5
