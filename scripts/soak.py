"""Train under kills and signals at random moments, resume each time, and compare with the run that never stopped.

    python scripts/soak.py --events 500

One run is made without disturbance. Then trainings of the same settings are disturbed: SIGKILL, SIGTERM (once or
twice), SIGHUP, SIGINT or SIGUSR1 at a random moment of the start, training, an evaluation, a save or a resume. After
each event the run has to be resumable with a counter that never goes back, and at its end weights, transitions,
evaluations and returns have to equal those of the undisturbed run, bit for bit. A status other than 0 (finished) or
128 + n, a checkpoint that does not verify, a temporary file that stays, or a number that differs is a loss.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from rpp_rl.io.border import UserError
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.checkpoint import load_agent, read_checkpoint

MAIN = "import sys; from rpp_rl.cli.train_sac import main; sys.exit(main())"
EVENTS = {
    "SIGKILL": [signal.SIGKILL],
    "SIGTERM": [signal.SIGTERM],
    "SIGTERM twice": [signal.SIGTERM, signal.SIGTERM],
    "SIGHUP": [signal.SIGHUP],
    "SIGINT": [signal.SIGINT],
    "SIGUSR1": [signal.SIGUSR1],
}
STEPS = 400
FLAGS = [
    "--env", "Hopper-v5", "--rpp", "--seed", "1", "-n", str(STEPS), "--eval-freq", "100", "--eval-episodes", "1",
    "--save-freq", "30", "-tb", "off", "--no-progress", "-params", "learning_starts:50", "net_arch:[8,8]",
    "buffer_size:150", "batch_size:16",
]  # fmt: skip


def start(*flags: str) -> subprocess.Popen[str]:
    """A training in a process of its own."""
    command = [sys.executable, "-c", MAIN, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_of(folder: Path) -> RunFolder | None:
    """The only run in a folder; None while there is none that can be opened."""
    paths = list(folder.glob("*/*_1"))
    try:
        return RunFolder.open(paths[0]) if paths else None
    except UserError:
        return None


def everything(run: RunFolder) -> dict[str, np.ndarray]:
    """What a finished run learned and recorded."""
    agent, replay = load_agent(run.agent, "cpu"), read_checkpoint(run).replay
    found = {name: tensor.detach().numpy() for name, tensor in agent.policy.state_dict().items()}
    found |= {f"replay.{name}": np.array(array) for name, array in replay.arrays.items()}
    found |= dict(zip(("steps", "returns", "lengths"), run.load_evaluations(), strict=True))
    rows = [line.split(",")[:2] for line in (run.path / "0.monitor.csv").read_text().splitlines()[2:]]
    return {**found, "monitor": np.array(rows, dtype=float)}


def disturbed(  # noqa: C901 (one event after another)
    folder: Path, chance: random.Random, seconds: float, counts: Counter[str], n_events: int
) -> list[str]:
    """Disturb one run until it has finished or there were enough events; what was lost."""
    reached = 0
    while True:
        run = run_of(folder)
        resumable = run is not None and run.replay_buffer.exists()
        process = start(*(["--resume", str(run.path)] if run and resumable else [*FLAGS, "-f", str(folder)]))
        name = chance.choice(list(EVENTS)) if counts.total() < n_events else "none"
        if name != "none":
            time.sleep(chance.uniform(0, seconds))
            for number in EVENTS[name]:
                process.send_signal(number)
                time.sleep(0.02)
        output = process.communicate(timeout=600)[0]
        counts[name] += name != "none"
        allowed = {0, *(128 + n for n in EVENTS.get(name, [])), *(-n for n in EVENTS.get(name, []))}
        if process.returncode not in allowed:
            return [f"{name}: status {process.returncode}: {output[-300:]}"]
        run = run_of(folder)
        if run is not None and run.replay_buffer.exists():
            try:
                n_steps = read_checkpoint(run).mark.n_steps
            except UserError as error:
                return [f"{name}: {error}"]
            if n_steps < reached:
                return [f"{name}: went back from {reached} to {n_steps}"]
            reached = n_steps
        elif reached:
            return [f"{name}: the checkpoint of {reached} steps is gone"]
        else:  # nothing was saved yet, so the training starts anew in an empty folder
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        if process.returncode == 0 and reached == STEPS:
            return []


def main() -> int:
    """Read the flags, disturb, print what happened, and return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(args.seed)
    counts: Counter[str] = Counter()
    lost: list[str] = []
    n_runs = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        started = time.monotonic()
        start(*FLAGS, "-f", str(root / "whole")).communicate()
        seconds = time.monotonic() - started
        whole = run_of(root / "whole")
        assert whole is not None
        expected = everything(whole)
        while counts.total() < args.events and not lost:
            folder = root / str(n_runs)
            folder.mkdir()
            n_runs += 1
            lost = disturbed(folder, chance, seconds, counts, args.events)
            run = run_of(folder)
            if lost or run is None:
                continue
            found = everything(run)
            differ = [key for key in expected if not np.array_equal(expected[key], found[key])]
            lost = [f"run {n_runs}: differs in {differ[:5]}"] if differ else []
            lost += [f"left behind: {path}" for path in run.path.glob(".*.tmp")]
    print(f"{counts.total()} events in {n_runs} runs: {dict(counts)}; {len(lost)} losses")
    print("\n".join(lost))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
