"""One training of ``soak.py``: a process that disturbs itself at a place in the code that was chosen before.

A fork of a process that has imported everything costs a twentieth of a new one. It gets fresh random states, because a
resumed run must not depend on those that it happens to begin with.
"""

from __future__ import annotations

import functools
import json
import os
import pkgutil
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

RUNS = "rpp_rl.runs"
UNLOCKED = f"{RUNS}.train_sac:make_vec_env"
"""Called in a resumed training before it has locked the run."""
PLACES: dict[str, dict[str, int]] = {
    "start": {
        UNLOCKED: 2,
        f"{RUNS}.train_sac:build_agent": 1,
        f"{RUNS}.train_sac:_start": 1,
        "rpp_rl.io.run_folder:RunFolder.write_settings": 1,
    },
    "resume": {
        f"{RUNS}.train_sac:{name}": 1 for name in ("read_checkpoint", "load_checkpoint", "restore_training", "rewind")
    }
    | {UNLOCKED: 2, "os:truncate": 1, "rpp_rl.io.run_folder:RunFolder.write_settings": 1},
    "update": {"rpp_rl.sac:RPPSAC.train": 20, "rpp_rl.sac:RPPSAC._store_transition": 20},
    "evaluation": {
        f"{RUNS}.callbacks:evaluate_policy": 1,
        f"{RUNS}.callbacks:StopRequest.check": 100,
        f"{RUNS}.callbacks:save_agent": 1,
        "rpp_rl.io.run_folder:RunFolder.save_evaluations": 1,
    },
    "checkpoint": {f"{RUNS}.checkpoint:{name}": 2 for name in ("save_agent", "write_replay", "capture_training")},
    "a file": {"os:fsync": 6, "os:replace": 6, "rpp_rl.io.array_file:_header": 4},
    "final save": {f"{RUNS}.train_sac:save_agent": 1},
}
"""Functions in which something happens, and in how many of their first calls: few, or most runs would end before."""
ACTED = "the soak acts"
"""Printed before something happens, because a training may end before it comes to the place."""
PATIENCE = 900.0
"""Seconds after which a process hangs; a busy machine takes its time."""


@dataclass(frozen=True)
class Plan:
    """A training and what happens to it.

    Attributes:
        argv: Flags of ``train-sac``.
        act: Name of what happens, see `ACTS`; empty if nothing does.
        function: Where it happens, a key in `PLACES`.
        number: In which call of the function, counted from 0.
        after: Whether it happens at the end of the call.
        run: The run's folder, as far as it is known.
        disk: A small file system that the run is on.
        room: Bytes that a full disk still has.
        jump: Seconds by which the clock goes wrong.
    """

    argv: tuple[str, ...]
    act: str = ""
    function: str = ""
    number: int = 0
    after: bool = False
    run: str = ""
    disk: str = ""
    room: int = 0
    jump: float = 0.0


def start(plan: Plan, output: Path, *, fresh: bool = False) -> int:
    """Begin a training and return its process id; what it prints goes to a file.

    Args:
        plan: What to do.
        output: The file.
        fresh: Whether it is a new process and no fork of this one.
    """
    pid = os.fork()
    if pid:
        return pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)  # whoever started the soak with nohup did not mean its trainings
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if fresh:
        os.execv(sys.executable, [sys.executable, __file__, json.dumps(asdict(plan))])
    os._exit(_train(plan))


def send(pid: int, act: str, seconds: float) -> bool:
    """Send signals to a process after so much of its time; False if it has ended before."""
    ticks = seconds * os.sysconf("SC_CLK_TCK")
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if int(used[11]) + int(used[12]) >= ticks:
            for name in act.split()[:1] * (2 if act.endswith("twice") else 1):
                os.kill(pid, getattr(signal, name))
            return True
        time.sleep(0.002)
    return False


def wait_for(pid: int) -> int:
    """Wait for a process that ends or stops."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if found:
            return status
        time.sleep(0.005)
    os.kill(pid, signal.SIGABRT)  # the status says that it hung
    return os.waitpid(pid, 0)[1]


def _train(plan: Plan) -> int:
    from rpp_rl.cli.train_sac import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    np.random.seed()  # noqa: NPY002 (SB3 draws from it)
    torch.seed()
    if plan.act:
        arm(plan.function, plan.number, plan.after, functools.partial(ACTS[plan.act], plan))
    try:
        return main(plan.argv)
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def arm(function: str, number: int, after: bool, act: Callable[[], None]) -> None:
    """Let something happen once, in a later call of a function."""
    module, _, path = function.partition(":")
    *owners, name = path.split(".")
    owner = pkgutil.resolve_name(":".join([module, ".".join(owners)]) if owners else module)
    original: Callable[..., Any] = getattr(owner, name)
    n_calls = 0

    @functools.wraps(original)
    def disturbed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        nonlocal n_calls
        n_calls += 1
        is_now = n_calls == number + 1
        if is_now and not after:
            _announced(act)
        result = original(*args, **kwargs)
        if is_now and after:
            _announced(act)
        return result

    setattr(owner, name, disturbed)


def _announced(act: Callable[[], None]) -> None:
    os.write(1, f"{ACTED}\n".encode())
    act()


def _signals(*numbers: signal.Signals, later: bool = False) -> Callable[[Plan], None]:
    """Send signals to this process; afterwards, if asked for, let it go on for a little and end it."""

    def act(plan: Plan) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
        if later:
            _end_soon(plan)

    return act


def _end_soon(plan: Plan) -> None:
    arm("rpp_rl.sac:RPPSAC._store_transition", plan.number % 20, True, lambda: os.kill(os.getpid(), signal.SIGTERM))


def _fill_disk(plan: Plan) -> None:
    """Leave a little room on the disk; without a small disk of its own the process may write no large file."""
    if not plan.disk:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (plan.room, plan.room))
        return
    n_free = os.statvfs(plan.disk).f_bavail * os.statvfs(plan.disk).f_frsize
    with (Path(plan.disk) / "ballast").open("wb") as file:
        file.write(bytes(max(0, n_free - plan.room)))


def _make_read_only(plan: Plan) -> None:
    """Lay the run's own folder over itself, read-only; files that are open stay as they are."""
    runs = [plan.run] if plan.run else list(map(str, Path(plan.argv[-1]).glob("*/*_*")))
    for run in runs:
        if plan.disk:
            subprocess.run(["mount", "--bind", run, run], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", run], check=True)
        else:
            Path(run).chmod(0o555)


def _move_clock(plan: Plan) -> None:
    """The clock jumps, as this process sees it, and so do the times of the files; the machine's is left alone."""
    now, local = time.time, time.localtime
    time.time = lambda: now() + plan.jump
    time.localtime = lambda seconds=None: local(time.time() if seconds is None else seconds)
    then = max(0.0, now() - plan.jump)
    for path in Path(plan.run or plan.argv[-1]).rglob("*"):
        os.utime(path, (then, then))
    _end_soon(plan)


ACTS: dict[str, Callable[[Plan], None]] = {
    "SIGKILL": _signals(signal.SIGKILL),
    "SIGTERM": _signals(signal.SIGTERM),
    "SIGTERM twice": _signals(signal.SIGTERM, signal.SIGTERM),
    "SIGHUP": _signals(signal.SIGHUP),
    "SIGINT": _signals(signal.SIGINT),
    "SIGUSR1": _signals(signal.SIGUSR1, later=True),
    "second process": _signals(signal.SIGSTOP, later=True),
    "full disk": _fill_disk,
    "read-only": _make_read_only,
    "clock jump": _move_clock,
}


if __name__ == "__main__":
    given = SimpleNamespace(**json.loads(sys.argv[1]))
    sys.exit(_train(Plan(**{**vars(given), "argv": tuple(given.argv)})))
