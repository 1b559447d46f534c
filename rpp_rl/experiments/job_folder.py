"""The folder of one run of an experiment, and what its files say about it.

    job.json       what is to be done
    settings.yml   its settings, as ``--conf-file`` reads them
    started.json   when the present process began, and from which step
    done.json      it is finished
    failed.json    it ended with an error
    ended.json     its arm was given up
    log.txt        everything that its processes printed
    ALGO/ENV_1/    the folder of the run

Every file is written atomically, and a process holds a lock on ``lock`` as long as it works, which the system
releases however the process ends. So whoever looks, from whichever machine, sees the truth, and no run is made twice.
"""

import fcntl
import functools
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import yaml

from rpp_rl.experiments.curves import Curve
from rpp_rl.experiments.plan import Job
from rpp_rl.experiments.reading import EVALUATIONS, JOB, UNREADABLE, find_runs, read_evaluations
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError

LENGTHS = ("n_timesteps", "n_epochs")
"""Settings that say how long a run is."""
MAY_DIFFER = {*LENGTHS, "device", "num_threads", "log_folder"}
"""Settings that may change between two starts of an experiment: how far and where."""
N_LOG_LINES = 8


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    ENDED = "ended early"


@dataclass(frozen=True)
class Progress:
    """How far a job has come.

    Attributes:
        n_steps: Environment steps at the last evaluation.
        total: Steps that it is to make.
        last_return: The return at the last evaluation; None before the first.
        steps_per_s: Speed of the present process; None before its first evaluation.
    """

    n_steps: int
    total: int
    last_return: float | None
    steps_per_s: float | None


@dataclass(frozen=True)
class JobFolder:
    """One run of an experiment on the disk.

    Attributes:
        path: Its folder.
        wanted: Steps or epochs that the run is to make; None for as many as its file says.
    """

    path: Path
    wanted: int | None = None

    def prepare(self, job: Job, kind: str) -> None:
        """Write what is to be done, unless it is there already.

        Raises:
            UserError: If something else is there.
            OSError: If it cannot be written.
        """
        settings = {**job.settings.to_dict(), "log_folder": str(self.path)}
        wanted = {"variant": job.variant, "env": job.env_id, "seed": job.seed, "kind": kind}
        wanted["settings"] = settings
        conflict = self.conflict(job)
        if conflict is not None:
            raise UserError(conflict)
        if self._read(JOB) == wanted:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.path / "settings.yml") as file:
            file.write(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode())
        self._write(JOB, wanted)

    def conflict(self, job: Job) -> str | None:
        """Why a job cannot be made here, None if it can."""
        changed = self.changes(job) if (self.path / JOB).exists() else []
        if not changed:
            return None
        return f"{self.path} was made with another {' and '.join(changed)}; choose another --log-folder"

    def changes(self, job: Job) -> list[str]:
        """The settings in which what is there differs from what is asked for."""
        made = self._read(JOB)
        before = made.get("settings")
        if not isinstance(before, Mapping) or made.get("variant") != job.variant:
            return ["variant"]
        asked = job.settings.to_dict()
        names = [name for name in asked if name not in MAY_DIFFER and name in before]
        return [name for name in names if _plain(before[name]) != _plain(asked[name])]

    @property
    def kind(self) -> str:
        """What the run trains."""
        return str(self._read(JOB).get("kind"))

    @property
    def settings(self) -> Mapping[str, object]:
        """What the run was asked to be."""
        settings = self._read(JOB).get("settings")
        return settings if isinstance(settings, Mapping) else {}

    @property
    def total(self) -> int:
        """Steps or epochs that the run is to make."""
        if self.wanted is not None:
            return self.wanted
        return next((int(str(self.settings[name])) for name in LENGTHS if name in self.settings), 0)

    @property
    def state(self) -> State:
        """Where the job stands."""
        if self.is_done:
            return State.DONE
        if self.is_locked:
            return State.RUNNING
        if (self.path / "ended.json").exists():
            return State.ENDED
        return State.FAILED if (self.path / "failed.json").exists() else State.WAITING

    @property
    def is_done(self) -> bool:
        """Whether it has made all the steps that are wanted by now."""
        return int(str(self._read("done.json").get("total", 0))) >= max(1, self.total)

    @property
    def is_locked(self) -> bool:
        """Whether a process works on it."""
        handle = self.lock()
        if handle is None:
            return (self.path / JOB).exists()
        os.close(handle)
        return False

    def lock(self) -> int | None:
        """Take the job for this process; None if another one has it. The lock lasts until the handle is closed."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    @property
    def log(self) -> Path:
        """What its processes printed."""
        return self.path / "log.txt"

    @property
    def run(self) -> Path | None:
        """The folder of the run, once it has begun."""
        runs = [run for child in self._children() for run in find_runs(child)]
        return runs[0] if runs else None

    def remove_runs(self) -> None:
        """Remove runs that cannot go on: they had not reached a checkpoint."""
        for child in self._children():
            shutil.rmtree(child)

    def mark_started(self, n_steps: int) -> None:
        """Note that a process begins."""
        with suppress(FileNotFoundError):
            (self.path / "failed.json").unlink()
        self._write(
            "started.json", {"at": time.time(), "n_steps": n_steps, "pid": os.getpid(), "host": os.uname().nodename}
        )

    def mark_done(self) -> None:
        """Note that the run is finished."""
        self._write("done.json", {"at": time.time(), "total": self.total})

    def mark_failed(self, reason: str) -> None:
        """Note that the run ended with an error, and keep the end of its log."""
        self._write("failed.json", {"at": time.time(), "reason": reason, "log": self.log_end()})

    def mark_ended(self, reason: str) -> None:
        """Ask the run to save and stop for good."""
        self._write("ended.json", {"at": time.time(), "reason": reason})

    def unmark_ended(self) -> None:
        """Let the run go on."""
        (self.path / "ended.json").unlink(missing_ok=True)

    @property
    def end_reason(self) -> str | None:
        """Why its arm was given up, None if it was not."""
        return str(self._read("ended.json").get("reason")) if (self.path / "ended.json").exists() else None

    @property
    def failure(self) -> str:
        """Why it failed, with the end of its log."""
        failed = self._read("failed.json")
        return f"{failed.get('reason', 'it failed')}\n{failed.get('log', '')}".rstrip()

    def log_end(self, n_lines: int = N_LOG_LINES) -> str:
        """The last lines that its processes printed."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
        except OSError:
            return ""
        return "\n".join([line for line in lines if line.strip()][-n_lines:])

    def returns(self) -> Curve | None:
        """The returns so far."""
        run = self.run
        if run is None:
            return None
        try:
            return _returns(run / EVALUATIONS, (run / EVALUATIONS).stat().st_mtime_ns)
        except UNREADABLE:
            return None

    def progress(self) -> Progress:
        """How far it has come."""
        curve = self.returns()
        if curve is None:
            return Progress(0, self.total, None, None)
        run = self.run
        assert run is not None
        started = self._read("started.json")
        speed = None
        with suppress(ValueError, OSError, KeyError):
            seconds = (run / EVALUATIONS).stat().st_mtime - float(str(started["at"]))
            n_steps = curve.last - int(str(started["n_steps"]))
            speed = n_steps / seconds if seconds > 0 and n_steps > 0 else None
        return Progress(curve.last, self.total, float(curve.values[-1]), speed)

    def _children(self) -> list[Path]:
        with suppress(OSError):
            return sorted(child for child in self.path.iterdir() if child.is_dir())
        return []

    def _read(self, name: str) -> dict[str, object]:
        try:
            data = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def _write(self, name: str, data: Mapping[str, object]) -> None:
        with replacing(self.path / name) as file:
            file.write(json.dumps(data, indent=1).encode())


@functools.lru_cache(maxsize=4096)
def _returns(path: Path, changed_at: int) -> Curve:
    """Read evaluations once for each time that they change: the driver looks at those of all runs again and again."""
    return read_evaluations(path)


def _plain(value: object) -> object:
    return json.loads(json.dumps(value))
