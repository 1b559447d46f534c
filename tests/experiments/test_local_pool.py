"""A real grid of trainings, whose processes and whose driver are killed."""

import json
import time

import pytest

from rpp_rl.experiments.job_folder import JobFolder
from tests.kit.experiments import assert_complete, done, kill_process_of, start_driver, wait_for, working, write_plan


def first_steps(job):
    """From which step each of its processes began."""
    (path,) = job.glob("*/*/*/versions.jsonl")
    return [json.loads(line)["from_step"] for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_grid_is_complete_although_a_process_and_the_driver_are_killed(tmp_path):
    plan, folder = write_plan(tmp_path / "grid.yaml", environments=["Hopper-v5"]), tmp_path / "out" / "grid"
    driver = start_driver(plan, tmp_path / "out", "--workers", "2")
    killed = wait_for(lambda: working(folder), driver)
    kill_process_of(killed)
    wait_for(lambda: len(done(folder)) >= 2, driver)
    driver.kill()
    driver.communicate()
    jobs = [path.parent for path in folder.glob("*/*/seed_*/job.json")]
    # Its processes see that it is gone, save and stop.
    deadline = time.monotonic() + 60
    while any(JobFolder(job).is_locked for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.1)
    before = done(folder)
    assert 2 <= len(before) < 6
    again = start_driver(plan, tmp_path / "out", "--workers", "2")
    output, _ = again.communicate(timeout=400)
    assert again.returncode == 0, output
    assert_complete(folder, 6)
    after = done(folder)
    assert all(after[job] == begun for job, begun in before.items())
    assert first_steps(killed)[-1] > 0
