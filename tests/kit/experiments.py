"""Experiments of a few seconds, their driver as a process, and backends that only pretend."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import yaml

from rpp_rl.experiments.reading import read_all

TINY = {
    "n_timesteps": 1000, "eval_freq": 200, "eval_episodes": 1, "save_freq": 100, "learning_starts": 900,
    "net_arch": [8], "batch_size": 8, "buffer_size": 1000, "tensorboard_log": "off",
}  # fmt: skip
MAIN = "import sys; from rpp_rl.cli.run_experiment import main; sys.exit(main())"


def write_plan(path, **changes):
    """An experiment of 2 variants in 2 environments with 3 seeds, 12 runs, or with changes."""
    data = {
        "seeds": 3,
        "settings": TINY,
        "environments": ["Hopper-v5", "Walker2d-v5"],
        "variants": {"narrow": {}, "wide": {"net_arch": [16]}},
    }
    path.write_text(yaml.safe_dump(data | changes, sort_keys=False))
    return path


def start_driver(plan, folder, *flags):
    """The command as a process of its own."""
    line = [sys.executable, "-c", MAIN, "-conf", str(plan), "-f", str(folder), *flags]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition, process, seconds=300):
    """Wait until something is the case, and say what the driver printed if it ends before."""
    for _ in range(10 * seconds):
        found = condition()
        if found:
            return found
        if process.poll() is not None:
            raise AssertionError(process.stdout.read())
        time.sleep(0.1)
    raise AssertionError(f"waited for {seconds} seconds")


def working(folder):
    """A job whose process has written a checkpoint and has not finished."""
    for started in sorted(folder.glob("*/*/seed_*/started.json")):
        job = started.parent
        if list(job.glob("*/*/replay_buffer.*")) and not (job / "done.json").exists():
            return job
    return None


def kill_process_of(job):
    """SIGKILL, as the system does when memory is short; returns the process id."""
    pid = json.loads((job / "started.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


def done(folder):
    """The finished jobs and when they began for the last time."""
    return {path.parent: (path.parent / "started.json").read_text() for path in folder.glob("*/*/seed_*/done.json")}


class FakeBackend:
    """Starts nothing; a script says with which status each start ends, after what it writes."""

    def __init__(self, outcomes, n_free=100):
        self.outcomes, self.n_workers = outcomes, n_free
        self.started, self.running, self.stopped = [], [], False

    @property
    def n_free(self):
        return self.n_workers - len(self.running)

    def start(self, folder, num_threads):
        self.started.append(folder)
        self.running.append(folder)

    def ended(self):
        ended = {folder: self.outcomes(folder, self.started.count(folder)) for folder in self.running}
        self.running = []
        return ended

    def stop(self):
        self.stopped = True


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
