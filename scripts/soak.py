"""Disturb trainings in every way that can be had, resume each, and compare with the one that was never disturbed.

    python scripts/soak.py --events 500 --progress soak.jsonl

Runs are killed and stopped by signals, their disk becomes full or read-only, a second process wants the same run, and
the clock jumps: at a call in the start, an update, an evaluation, a checkpoint, any file, the final save or a resume,
or at any moment. After each event the newest checkpoint has to be whole, the counter must not go back, the status and
the lines have to be those that were promised, and the run has to go on. At its end weights, optimisers, transitions,
evaluations and returns have to equal those of the undisturbed run, bit for bit. Whatever does not is a loss.

The clock of the machine is left alone: the process is shown another one. How the disk becomes full is told in the first
line, see ``soak_disk.py``. With ``--progress`` a soak that was stopped goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from scripts.soak_checks import different, everything, losses, run_of
from scripts.soak_disk import enter_namespace, make_disk, mend, unmount
from scripts.soak_process import ACTED, ACTS, PLACES, UNLOCKED, Plan, send, start, wait_for

CAPACITY = 100
ENVIRONMENTS = (
    ("Hopper-v5", "--rpp", "n_envs:1"),
    ("Pendulum-v1", "--mlp", "n_envs:1"),
    ("Pendulum-v1", "--mlp", "n_envs:2"),
)
SIGNALS = ("SIGKILL", "SIGTERM", "SIGTERM twice", "SIGHUP", "SIGINT", "SIGUSR1")
OTHERS = ("full disk", "read-only", "second process", "clock jump")
ANY = "any moment"
JUMPS = (-86_400.0, -60 * 3.2e7, 3600.0, 20 * 3.2e7)
"""By which the clock goes wrong: back by a day, to before 1980, and forwards."""


def flags(env: tuple[str, str, str], folder: Path, n_steps: int) -> tuple[str, ...]:
    """Flags of a training that takes half a second for 120 steps."""
    return (
        "--env", env[0], env[1], "--seed", "1", "-n", str(n_steps), "--eval-freq", "60", "--eval-episodes", "1",
        "--save-freq", "15", "-tb", "off", "--no-progress", "--vec-env", "dummy", "-params", "learning_starts:20",
        "net_arch:[8,8]", f"buffer_size:{CAPACITY}", "batch_size:16", env[2], "-f", str(folder),
    )  # fmt: skip


@dataclass
class Soak:
    """Everything that happened so far.

    Attributes:
        folder: Where to work.
        disk: The small file system; None if there is none.
        n_events: Events after which no more happen.
        n_steps: Steps of each training.
        only: The events and places to draw from, all if empty.
        fresh_every: Every how many processes one is new instead of a fork.
    """

    folder: Path
    disk: Path | None
    n_events: int
    n_steps: int = 120
    only: tuple[str, ...] = ()
    fresh_every: int = 50
    counts: Counter[str] = field(default_factory=Counter)
    n_processes: int = 0

    def run(self, chance: random.Random, env: tuple[str, str, str], expected: dict[str, torch.Tensor]) -> list[str]:
        """Disturb one run until it has finished; what was lost."""
        folder = (self.disk or self.folder) / "runs"
        folder.mkdir()
        try:
            return self._disturb(chance, env, folder, expected)
        finally:
            mend(folder, self.disk)
            shutil.rmtree(folder)

    def _disturb(
        self, chance: random.Random, env: tuple[str, str, str], folder: Path, expected: dict[str, torch.Tensor]
    ) -> list[str]:
        reached = 0
        while True:
            run = run_of(folder)
            is_resumed = run is not None and run.replay_buffer.exists()
            if run is None or not is_resumed:
                self._clear(folder)
                plan = Plan(flags(env, folder, self.n_steps))
            else:
                plan = Plan(("--resume", str(run.path)), run=str(run.path))
            place = ""
            if self.counts.total() < self.n_events:
                plan, place = self._planned(plan, chance, is_resumed=is_resumed)
            status, output, has_acted = self._wait(plan, place, chance)
            mend(folder, self.disk)
            if has_acted:
                self.counts[f"{plan.act} in {place}"] += 1
            # An event in the last moments leaves a run that has finished, whatever its status said.
            was_finished = status == 2 and not has_acted and "has made its" in output
            is_finished = was_finished or status == 0
            what = f"{env[0]}, {plan.act} in {place} ({plan.function} {plan.number} {plan.after})"
            lost = [] if was_finished else _wrong_end(plan, status, output, has_acted=has_acted, is_random=place == ANY)
            run = run_of(folder)
            if run is not None and run.replay_buffer.exists():
                is_tidy = status >= 0 and plan.act != "read-only"
                more, reached = losses(run, reached, CAPACITY, is_tidy=is_tidy)
                lost += more
            elif reached:
                lost.append(f"the checkpoint of {reached} steps is gone")
            elif status >= 128 and list(folder.glob("*/*_*")):
                lost.append("a run that never began left a folder")
            if not lost and is_finished and run is not None:
                lost = [f"differs in {name}" for name in different(expected, everything(run))[:5]]
                what = f"{env[0]} at its end"
            if lost or is_finished:
                return [f"{what}: {line}" for line in lost]

    def _planned(self, plan: Plan, chance: random.Random, *, is_resumed: bool) -> tuple[Plan, str]:
        """What happens to a training, and where."""
        places = [name for name in (*PLACES, ANY) if name != ("start" if is_resumed else "resume")]
        # Whoever waits for the end of a run waits for all of it, so that happens half as often as the rest.
        weighted = [name for name in places for _ in range(1 if name == "final save" else 2)]
        chosen = [name for name in weighted if name in self.only] or weighted
        place = chance.choice(chosen)
        acts = SIGNALS if place == ANY else (*SIGNALS, "SIGKILL", *OTHERS)
        if place == "start":  # nothing is there yet that a second process could want
            acts = tuple(name for name in acts if name != "second process")
        act = chance.choice([name for name in acts if name in self.only] or acts)
        functions = dict(PLACES.get(place, {"": 1}))
        if act == "second process":
            functions.pop(UNLOCKED, None)  # the run is still free there
        function, n_calls = chance.choice(list(functions.items()))
        return replace(
            plan,
            act=act,
            function=function,
            number=chance.randrange(n_calls),
            after=chance.random() < 0.5,
            disk=str(self.disk or ""),
            room=int(10 ** chance.uniform(0, 5)),
            jump=chance.choice(JUMPS),
        ), place

    def _wait(self, plan: Plan, place: str, chance: random.Random) -> tuple[int, str, bool]:
        """Run a training to its end; its status (negative for a signal), its lines, and whether anything happened."""
        output = self.folder / "output.txt"
        self.n_processes += 1
        is_fresh = self.fresh_every > 0 and self.n_processes % self.fresh_every == 0
        if place == ANY:
            pid = start(Plan(plan.argv), output, fresh=is_fresh)
            has_acted = send(pid, plan.act, chance.uniform(0, 3.0 if is_fresh else 0.4))
        else:
            pid, has_acted = start(plan, output, fresh=is_fresh), False
        status = wait_for(pid)
        if os.WIFSTOPPED(status):
            refusal = self._second_process(plan)
            os.kill(pid, signal.SIGCONT)
            status = wait_for(pid)
            if refusal:
                return 1, refusal, True
        lines = output.read_text(errors="replace")
        has_acted = has_acted or f"{ACTED}\n" in lines
        return os.waitstatus_to_exitcode(status), lines.replace(f"{ACTED}\n", ""), has_acted

    def _second_process(self, plan: Plan) -> str:
        """Try to go on with a run that another process is in the middle of; what is wrong if that is not refused."""
        run = Path(plan.run) if plan.run else next(iter((self.disk or self.folder).glob("runs/*/*_*")), None)
        if run is None:
            return ""
        output = self.folder / "second.txt"
        status = os.waitstatus_to_exitcode(wait_for(start(Plan(("--resume", str(run))), output)))
        lines = output.read_text()
        reasons = ("in use by another process", "not a run folder")
        is_refused = status == 2 and lines.count("\n") == 1 and any(reason in lines for reason in reasons)
        return "" if is_refused else f"Traceback of a second process: status {status}: {lines[-300:]}"

    def _clear(self, folder: Path) -> None:
        """Nothing was saved yet, so the training starts anew in an empty folder."""
        for path in folder.iterdir():
            shutil.rmtree(path)


def _wrong_end(plan: Plan, status: int, output: str, *, has_acted: bool, is_random: bool) -> list[str]:
    """What is wrong about how a process ended."""
    number = getattr(signal, plan.act.split()[0], None) if plan.act else None
    if not has_acted:
        allowed = {0}
    elif number is None or number == signal.SIGUSR1:
        # Afterwards it goes on, until the disk makes it stop or SIGTERM does.
        allowed = {0, 2} if plan.act in ("full disk", "read-only") else {0, 128 + signal.SIGTERM}
    else:
        allowed = {-number} if number == signal.SIGKILL else {128 + number}
    if is_random and number is not None:
        allowed = {0, -number, 128 + number}
    wrong = [] if status in allowed else [f"status {status}, expected one of {sorted(allowed)}: {output[-400:]}"]
    if "Traceback" in output and status >= 0:
        wrong.append(f"a traceback: {output[-400:]}")
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    if len(errors) != (status == 2) or (errors and output.splitlines()[-1] != errors[0]):
        wrong.append(f"status {status} with the lines {errors}")
    return wrong


def undisturbed(
    folder: Path, environments: Sequence[tuple[str, str, str]], n_steps: int
) -> list[dict[str, torch.Tensor]]:
    """What each training comes to if nothing happens; this process learns to make it, so that its forks know it."""
    from rpp_rl.cli.train_sac import main

    results = []
    for k, env in enumerate(environments):
        with contextlib.redirect_stdout(io.StringIO()):
            main(flags(env, folder / f"whole{k}", n_steps))
        run = run_of(folder / f"whole{k}")
        assert run is not None
        results.append(everything(run))
    return results


def soak(args: SimpleNamespace | argparse.Namespace, folder: Path) -> tuple[Soak, list[str], int]:
    """Disturb run after run until there were enough events or something is lost; events, losses, number of runs."""
    records = _records(args.progress)
    environments = [env for env in ENVIRONMENTS if args.env in (None, env[0])]
    disk, only = make_disk(folder / "disk"), tuple(args.only or ())
    state = Soak(folder, disk, args.events, args.steps, only, args.fresh_every)
    way = "a full disk is a small tmpfs" if state.disk else "a full disk is a limit on the size of files (RLIMIT_FSIZE)"
    print(f"{way}; {len(records)} runs were made before", flush=True)
    expected = undisturbed(folder, environments, args.steps)
    for record in records:
        state.counts.update(record["events"])
    lost = [line for record in records for line in record["losses"]]
    n_runs = len(records)
    while state.counts.total() < args.events:
        before = state.counts.copy()
        chance = random.Random(f"{args.seed}-{n_runs}")
        which = chance.randrange(len(environments))
        found = state.run(chance, environments[which], expected[which])
        n_runs += 1
        lost += found
        if args.progress:
            _write(args.progress, {"events": dict(state.counts - before), "losses": found})
        if n_runs % 10 == 0 or found:
            print(f"{state.counts.total()} events in {n_runs} runs, {len(lost)} losses {found}", flush=True)
    return state, lost, n_runs


def _records(path: Path | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []


def _write(path: Path, record: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def main() -> int:
    """Read the flags, disturb, print what happened, and return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=120, help="steps of each training")
    parser.add_argument("--env", choices=sorted({env[0] for env in ENVIRONMENTS}), help="the only environment")
    parser.add_argument("--progress", type=Path, help="file with a line per run, from which a soak goes on")
    parser.add_argument("--fresh-every", type=int, default=50, help="every so many processes one is new; 0 for none")
    parser.add_argument("--only", nargs="+", choices=[*ACTS, *PLACES, ANY], help="events and places to draw from")
    args = parser.parse_args()
    enter_namespace(sys.argv)
    os.environ["RPP_RL_CACHE"] = "off"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        try:
            state, lost, n_runs = soak(args, Path(name))
        finally:
            unmount(Path(name) / "disk")
    for column in (0, 1):
        sums: Counter[str] = Counter()
        for event, count in state.counts.items():
            sums[event.split(" in ")[column]] += count
        print(dict(sorted(sums.items())))
    print(f"{state.counts.total()} events in {n_runs} runs; {len(lost)} losses")
    print("\n".join(lost))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
