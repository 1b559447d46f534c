"""The driver of an experiment: starts what is left to do, starts again what was killed, and gives up what is hopeless.

It keeps nothing in memory that is not also in the folders of the jobs, so it may die at any moment: started again, it
finds finished jobs finished, lets interrupted ones go on from their checkpoints, and leaves alone those that still run.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rpp_rl.experiments.backend import BUSY, INTERRUPTED, Backend
from rpp_rl.experiments.job_folder import JobFolder, State
from rpp_rl.experiments.plan import EarlyEnd, Job, Plan

MAX_ATTEMPTS = 3
"""Starts of a job whose process was killed each time before it came any further."""
POLL_S = 0.5
RULE_S = 20.0

Report = Callable[[str], None]


@dataclass(eq=False)
class Member:
    """A job of the experiment that is being driven.

    Attributes:
        job: What it is.
        folder: Where it is.
        attempts: Starts since it last came further.
        reached: Steps at its last start.
    """

    job: Job
    folder: JobFolder
    attempts: int = 0
    reached: int = -1

    def __str__(self) -> str:
        return f"{self.job.variant}, {self.job.env_id}, seed {self.job.seed}"


@dataclass(eq=False)
class Driver:
    """Runs an experiment on a backend.

    Attributes:
        plan: The experiment.
        folder: Its folder.
        backend: Where processes run.
        report: Told of everything that happens, in one line or more.
        show: Called between two looks at the processes, to draw a table.
    """

    plan: Plan
    folder: Path
    backend: Backend
    report: Report = print
    show: Callable[[Sequence[Member]], None] = lambda members: None
    members: list[Member] = field(default_factory=list)
    running: dict[Path, Member] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write the folders of all jobs.

        Raises:
            UserError: If a folder holds a run with other settings.
            OSError: If one cannot be written.
        """
        self.members = members_of(self.plan, self.folder)
        for member in self.members:
            member.folder.prepare(member.job, self.plan.kind)

    def run(self) -> Mapping[State, list[Member]]:
        """Drive until nothing is left to do.

        Returns:
            The jobs by how they ended.

        Raises:
            KeyboardInterrupt: If the user asked to stop; all processes have saved by then.
        """
        self._apply_rule()
        waiting = [m for m in self.members if m.folder.state in (State.WAITING, State.FAILED)]
        elsewhere = [m for m in self.members if m.folder.state == State.RUNNING]
        for member in elsewhere:
            self.report(f"still running from before: {member}")
        judged = time.monotonic()
        try:
            while waiting or elsewhere or self.running:
                again, busy = self._collect()
                waiting += again
                elsewhere += busy
                waiting += _released(elsewhere)
                if time.monotonic() - judged > RULE_S:
                    self._apply_rule()
                    judged = time.monotonic()
                waiting = [m for m in waiting if m.folder.end_reason is None]
                self._start(waiting)
                self.show(self.members)
                time.sleep(POLL_S)
        finally:
            self.backend.stop()
        self._apply_rule()
        return by_state(self.members)

    def _start(self, waiting: list[Member]) -> None:
        for member in list(waiting):
            if self.backend.n_free <= 0:
                return
            waiting.remove(member)
            n_steps = member.folder.progress().n_steps
            member.attempts = 1 if n_steps > member.reached else member.attempts + 1
            member.reached = n_steps
            self.backend.start(member.folder.path, int(getattr(member.job.settings, "num_threads", 1)))
            self.running[member.folder.path] = member
            self.report(f"{'started' if member.folder.run is None else 'resumed'}: {member}")

    def _collect(self) -> tuple[list[Member], list[Member]]:
        """Report what has ended; the jobs that have to be started again, and those that other processes have."""
        again, busy = [], []
        for path, status in self.backend.ended().items():
            member = self.running.pop(path)
            if not self._is_over(member, status):
                (busy if status == BUSY else again).append(member)
        return again, busy

    def _is_over(self, member: Member, status: int) -> bool:
        if member.folder.is_done:
            last = member.folder.progress().last_return
            self.report(f"done: {member}" + ("" if last is None else f", return {last:.1f}"))
            return True
        if member.folder.end_reason is not None:
            return True
        if status in (BUSY, INTERRUPTED):
            return False
        if status < 0:
            came_further = member.folder.progress().n_steps > member.reached
            if came_further or member.attempts < MAX_ATTEMPTS:
                self.report(f"killed by signal {-status}, starts again: {member}")
                return False
            member.folder.mark_failed(
                f"it was killed {member.attempts} times by signal {-status} before it came further"
            )
        elif member.folder.state != State.FAILED:
            member.folder.mark_failed(f"it ended with status {status}")
        self.report(f"FAILED: {member}\n{_indented(member.folder.failure)}\n  all of it: {member.folder.log}")
        return True

    def _apply_rule(self) -> None:
        """Give up the arms that the rule of the experiment condemns, and let others go on that were given up before."""
        rule = self.plan.end_early
        ended = {} if rule is None else condemned(self.members, rule)
        for member in self.members:
            arm = (member.job.variant, member.job.env_id)
            if arm in ended and member.folder.end_reason is None and not member.folder.is_done:
                member.folder.mark_ended(ended[arm])
                self.report(f"ends early: {member}, {ended[arm]}")
            elif rule is None and member.folder.end_reason is not None:
                member.folder.unmark_ended()


def members_of(plan: Plan, folder: Path) -> list[Member]:
    """All jobs of an experiment and their folders."""
    length = "n_timesteps" if plan.kind == "sac" else "n_epochs"
    return [Member(job, JobFolder(folder / job.folder, int(getattr(job.settings, length)))) for job in plan.jobs]


def by_state(members: Iterable[Member]) -> dict[State, list[Member]]:
    """Jobs by where they stand."""
    found: dict[State, list[Member]] = {state: [] for state in State}
    for member in members:
        found[member.folder.state].append(member)
    return found


def condemned(members: Sequence[Member], rule: EarlyEnd) -> dict[tuple[str, str], str]:
    """The arms that a rule gives up, by variant and environment, and why."""
    scores: dict[tuple[str, str], list[float]] = {}
    for member in members:
        returns = member.folder.returns()
        if returns is not None and returns.last >= rule.at:
            arm = (member.job.variant, member.job.env_id)
            scores.setdefault(arm, []).append(float(returns.at(np.array(rule.at))))
    means = {arm: float(np.mean(values)) for arm, values in scores.items() if len(values) >= rule.seeds}
    reasons = {}
    for (variant, env_id), mean in means.items():
        measure = 1.0 if rule.of is None else means.get((rule.of, env_id))
        # A share of a return that is not positive says nothing.
        if variant == rule.of or measure is None or measure <= 0:
            continue
        if mean < rule.below * measure:
            than = f"{rule.below:g}" if rule.of is None else f"{rule.below:g} of {rule.of}'s {measure:.1f}"
            reasons[variant, env_id] = f"return {mean:.1f} at {rule.at} steps is below {than}"
    return reasons


def _released(elsewhere: list[Member]) -> list[Member]:
    """The jobs of processes of an earlier driver that have gone without finishing them."""
    over = [member for member in elsewhere if member.folder.state != State.RUNNING]
    for member in over:
        elsewhere.remove(member)
    return [member for member in over if member.folder.state in (State.WAITING, State.FAILED)]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
