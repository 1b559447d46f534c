"""Where the processes of jobs run: here, on a Ray cluster or under Slurm."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

BUSY = 75
"""Status of a process whose job another one has, as in sysexits.h: try again later."""
INTERRUPTED = 130
KILLED = -signal.SIGKILL


class Backend(Protocol):
    """Starts processes and tells how they ended."""

    @property
    def n_free(self) -> int:
        """Processes that can be started now."""
        ...

    def start(self, folder: Path, num_threads: int) -> None:
        """Start the process of a job."""
        ...

    def ended(self) -> Mapping[Path, int]:
        """The processes that have ended since the last call, with their status; that of a signal is negative."""
        ...

    def stop(self) -> None:
        """Let all processes save and stop, and wait for them."""
        ...


def command_of(folder: Path, parent: int | None) -> list[str]:
    """The command line of the process of a job."""
    line = [sys.executable, "-P", "-m", "rpp_rl.experiments.job_process", str(folder)]
    return line if parent is None else [*line, "--parent", str(parent)]


def environment(num_threads: int) -> dict[str, str]:
    """Environment variables that keep processes beside one another from using all cores each."""
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(limits, str(num_threads))}


def spawn(folder: Path, num_threads: int, parent: int | None) -> subprocess.Popen[bytes]:
    """Start the process of a job; what it prints goes to the job's log."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command_of(folder, parent),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(num_threads),
            # Ctrl-C in a terminal reaches the driver only, which passes it on.
            start_new_session=True,
        )


class LocalPool:
    """Processes on this machine.

    Args:
        n_workers: Processes side by side.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self.processes: dict[Path, subprocess.Popen[bytes]] = {}

    @property
    def n_free(self) -> int:
        """Processes that can be started now."""
        return self.n_workers - len(self.processes)

    def start(self, folder: Path, num_threads: int) -> None:
        """Start the process of a job."""
        self.processes[folder] = spawn(folder, num_threads, os.getpid())

    def ended(self) -> Mapping[Path, int]:
        """The processes that have ended since the last call."""
        ended = {folder: status for folder, p in self.processes.items() if (status := p.poll()) is not None}
        for folder in ended:
            del self.processes[folder]
        return ended

    def stop(self) -> None:
        """Let all processes save and stop, and wait for them."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        while any(process.poll() is None for process in self.processes.values()):
            time.sleep(0.1)
        self.processes.clear()
