"""A real grid of trainings, whose processes and whose driver are killed."""

import csv
import json
import time

import pytest

from rpp_rl.experiments.job_folder import JobFolder
from rpp_rl.experiments.reading import read_all
from tests.kit.experiments import done, kill_process_of, start_driver, wait_for, working, write_plan


def assert_complete(folder, n_jobs):
    """Every run made every step once, and every evaluation."""
    runs, notes = read_all([folder])
    assert (len(runs), notes) == (n_jobs, [])
    for run in runs:
        assert run.returns.steps.tolist() == [200, 400, 600, 800, 1000]
        with (run.path / "0.monitor.csv").open() as file:
            episodes = list(csv.DictReader(list(file)[1:]))
        assert sum(int(episode["l"]) for episode in episodes) <= 1000
        assert len(list(run.path.parent.iterdir())) == 1
    assert len({(run.name, run.env_id, run.seed) for run in runs}) == n_jobs


def first_steps(job):
    """From which step each of its processes began."""
    (path,) = job.glob("*/*/*/versions.jsonl")
    return [json.loads(line)["from_step"] for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_grid_is_complete_although_a_process_and_the_driver_are_killed(tmp_path):
    plan, folder = write_plan(tmp_path / "grid.yaml"), tmp_path / "out" / "grid"
    driver = start_driver(plan, tmp_path / "out", "--workers", "2")
    killed = wait_for(lambda: working(folder), driver)
    kill_process_of(killed)
    wait_for(lambda: len(done(folder)) >= 3, driver)
    driver.kill()
    driver.communicate()
    jobs = [path.parent for path in folder.glob("*/*/seed_*/job.json")]
    # Its processes see that it is gone, save and stop.
    deadline = time.monotonic() + 60
    while any(JobFolder(job).is_locked for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.1)
    before = done(folder)
    assert 3 <= len(before) < 12
    again = start_driver(plan, tmp_path / "out", "--workers", "2")
    output, _ = again.communicate(timeout=400)
    assert again.returncode == 0, output
    assert_complete(folder, 12)
    after = done(folder)
    assert all(after[job] == begun for job, begun in before.items())
    assert first_steps(killed)[-1] > 0
