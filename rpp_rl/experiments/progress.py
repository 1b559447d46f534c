"""Tables of an experiment: how far every arm or every run has come, what is left, and what it will cost."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np

from rpp_rl.experiments.curves import in_short
from rpp_rl.experiments.job_folder import Progress, State
from rpp_rl.experiments.plan import Plan
from rpp_rl.experiments.scheduling import Member, by_state, members_of
from rpp_rl.io.tables import aligned

PLAN_HEAD = ("environment", "variant", "seeds", "steps")
ARM_HEAD = ("environment", "variant", "done", "running", "failed", "steps", "return", "steps/s", "left")
RUN_HEAD = ("environment", "variant", "seed", "state", "steps", "return", "steps/s", "left")
REDRAW_S = 5.0


def arm_rows(members: Sequence[Member]) -> list[Sequence[str]]:
    """A row for each arm: numbers of runs, mean steps, mean return, speed of a run, time left."""
    return [ARM_HEAD, *(_arm_row(env_id, variant, own) for (env_id, variant), own in _arms(members).items())]


def run_rows(members: Sequence[Member]) -> list[Sequence[str]]:
    """A row for each run."""
    rows: list[Sequence[str]] = [RUN_HEAD]
    for member in members:
        progress, state = member.folder.progress(), member.folder.state
        start = (member.job.env_id, member.job.variant, str(member.job.seed), state.value)
        left = _seconds_left(progress) if state == State.RUNNING else None
        rows.append(
            (*start, _steps(progress), _number(progress.last_return), _number(progress.steps_per_s), _time(left))
        )
    return rows


def seconds_left(members: Sequence[Member], n_workers: int) -> float | None:
    """Wall-clock time until everything is done, from the speeds so far; None before the first is known."""
    open_ones = [m for m in members if m.folder.state in (State.WAITING, State.RUNNING)]
    all_progress = {id(m): m.folder.progress() for m in members}
    speeds = [p.steps_per_s for p in all_progress.values() if p.steps_per_s]
    if not speeds:
        return None
    typical = float(np.median(speeds))
    work = [
        (p.total - p.n_steps) / (p.steps_per_s or typical) for p in (all_progress[id(member)] for member in open_ones)
    ]
    return max(sum(work) / n_workers, max(work, default=0.0))


def cost_lines(plan: Plan, n_workers: int, sizes: Mapping[str, int], speed: float | None) -> list[str]:
    """What an experiment will cost.

    Args:
        plan: The experiment.
        n_workers: Runs side by side.
        sizes: Numbers in a transition of every environment whose runs keep a replay buffer.
        speed: Steps per second of a run, None if it is not known.
    """
    unit = "steps" if plan.kind == "sac" else "epochs"
    totals = [int(getattr(job.settings, "n_timesteps" if plan.kind == "sac" else "n_epochs")) for job in plan.jobs]
    lines = [f"{len(plan.jobs)} runs, {in_short(sum(totals))} {unit} in all, {n_workers} runs side by side"]
    if speed is not None:
        hours = sum(totals) / speed / n_workers / 3600
        lines.append(
            f"about {_time(3600 * hours)} at {speed:.0f} {unit}/s for each run, the speed of runs in this folder"
        )
    else:
        lines.append(
            f"time: {sum(totals) / n_workers / 3600:.3g} hours divided by the {unit}/s of a run; none has run yet"
        )
    buffers = [_buffer_bytes(job.settings, sizes[job.env_id]) for job in plan.jobs if job.env_id in sizes]
    if buffers:
        largest = sorted(buffers)[-n_workers:]
        lines.append(f"replay buffers: up to {_bytes(sum(largest))} of memory, {_bytes(sum(buffers))} on the disk")
    return lines


def plan_lines(plan: Plan, folder: Path, n_workers: int, sizes: Mapping[str, int]) -> list[str]:
    """The grid of an experiment, what it will cost, and how far it has come.

    Args:
        plan: The experiment.
        folder: Its folder.
        n_workers: Runs side by side.
        sizes: As in `cost_lines`.
    """
    members = members_of(plan, folder)
    total = "n_timesteps" if plan.kind == "sac" else "n_epochs"
    grid = [
        (env_id, variant, " ".join(str(m.job.seed) for m in own), str(getattr(own[0].job.settings, total)))
        for (env_id, variant), own in _arms(members).items()
    ]
    speeds = [p.steps_per_s for p in (member.folder.progress() for member in members) if p.steps_per_s]
    typical = sorted(speeds)[len(speeds) // 2] if speeds else None
    states = {state.value: len(found) for state, found in by_state(members).items() if found}
    return [
        *aligned([PLAN_HEAD, *grid]),
        "",
        *cost_lines(plan, n_workers, sizes, typical),
        f"in {folder}: " + ", ".join(f"{number} {state}" for state, number in states.items()),
    ]


@dataclass(eq=False)
class LiveTable:
    """The table of arms, redrawn in place on a terminal; elsewhere nothing but the events is printed.

    Attributes:
        n_workers: Runs side by side, for the time left.
        shown: Whether there is a terminal.
    """

    n_workers: int
    shown: bool = field(default_factory=sys.stderr.isatty)
    n_lines: int = 0
    drawn_at: float = -math.inf

    def report(self, text: str) -> None:
        """Print an event above the table."""
        self._clear()
        print(text, flush=True)
        self.drawn_at = -math.inf

    def show(self, members: Sequence[Member]) -> None:
        """Draw the table, if it is time."""
        if not self.shown or monotonic() - self.drawn_at < REDRAW_S:
            return
        left = seconds_left(members, self.n_workers)
        lines = [*aligned(arm_rows(members)), f"all done in {_time(left)}" if left is not None else ""]
        self._clear()
        print("\n".join(lines), file=sys.stderr, flush=True)
        self.n_lines, self.drawn_at = len(lines), monotonic()

    def close(self) -> None:
        """Remove the table."""
        self._clear()

    def _clear(self) -> None:
        if self.n_lines:
            print(f"\x1b[{self.n_lines}F\x1b[J", end="", file=sys.stderr, flush=True)
        self.n_lines = 0


def _arms(members: Sequence[Member]) -> dict[tuple[str, str], list[Member]]:
    arms: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        arms.setdefault((member.job.env_id, member.job.variant), []).append(member)
    return arms


def _arm_row(env_id: str, variant: str, members: Sequence[Member]) -> Sequence[str]:
    states = [member.folder.state for member in members]
    all_progress = [member.folder.progress() for member in members]
    numbers = [str(states.count(state)) for state in (State.DONE, State.RUNNING, State.FAILED)]
    numbers[0] += f"/{len(members)}" + (" ended" if State.ENDED in states else "")
    begun = [progress for progress in all_progress if progress.last_return is not None]
    returns = [progress.last_return for progress in begun if progress.last_return is not None]
    speeds = [p.steps_per_s for p, s in zip(all_progress, states, strict=True) if s == State.RUNNING and p.steps_per_s]
    lefts = [
        left for p, s in zip(all_progress, states, strict=True) if s == State.RUNNING and (left := _seconds_left(p))
    ]
    steps = f"{in_short(float(np.mean([p.n_steps for p in all_progress])))}/{in_short(all_progress[0].total)}"
    mean_return = float(np.mean(returns)) if returns else None
    speed = float(np.mean(speeds)) if speeds else None
    return env_id, variant, *numbers, steps, _number(mean_return), _number(speed), _time(max(lefts, default=None))


def _seconds_left(progress: Progress) -> float | None:
    return (progress.total - progress.n_steps) / progress.steps_per_s if progress.steps_per_s else None


def _steps(progress: Progress) -> str:
    return f"{in_short(progress.n_steps)}/{in_short(progress.total)}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes = math.ceil(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{minutes // 60}:{minutes % 60:02d} h"


def _buffer_bytes(settings: object, n_numbers: int) -> int:
    return 4 * n_numbers * min(int(getattr(settings, "buffer_size", 0)), int(getattr(settings, "n_timesteps", 0)))


def _bytes(number: float) -> str:
    return f"{number / 2**30:.2g} GiB" if number >= 2**30 else f"{number / 2**20:.2g} MiB"
