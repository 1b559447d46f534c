"""What the process of one job does, wherever it runs: begin or go on, watch for the end, and say how it went.

python -m rpp_rl.experiments.job_process FOLDER [--parent PID]
"""

import argparse
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.dynamics.model_file import MODEL_FILE, read_model
from rpp_rl.experiments.backend import BUSY, INTERRUPTED
from rpp_rl.experiments.job_folder import JobFolder
from rpp_rl.io.border import UserError
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.checkpoint import read_mark
from rpp_rl.runs.train_dynamics import IS_COMPLETE, train_dynamics
from rpp_rl.runs.train_sac import train_sac
from rpp_rl.sac.config import SACConfig
from rpp_rl.settings import merged_settings

PATIENCE_S = 20.0
"""How long a process waits for the one before it, which may still be saving."""
WATCH_S = 1.0

Training = Callable[[], bool]
"""Trains, and tells whether it was not interrupted."""


def main() -> int:
    """Read the flags, work, and return the status."""
    parser = argparse.ArgumentParser(description="One run of run-experiment.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, help="save and stop as soon as this is not the parent process")
    args = parser.parse_args()
    return work(JobFolder(args.folder), args.parent)


def work(folder: JobFolder, parent: int | None = None) -> int:
    """Make the run of a job, or what is left of it.

    Args:
        folder: The job.
        parent: The process without which this one shall save and stop; None for none.

    Returns:
        0, ``INTERRUPTED`` if it was interrupted and saved, ``BUSY`` if another process has the job, 2 for a mistake of
        the user, 1 for any other error.
    """
    handle = _locked(folder)
    if handle is None:
        print(f"another process works on {folder.path}", flush=True)
        return BUSY
    try:
        if folder.is_done or folder.end_reason is not None:
            return 0
        return _run(folder, parent)
    finally:
        os.close(handle)


def _run(folder: JobFolder, parent: int | None) -> int:
    _watch(folder, parent)
    try:
        is_complete = _training(folder)()
    except (UserError, OSError) as error:
        print(f"error: {error}", flush=True)
        folder.mark_failed(str(error))
        return 2
    except Exception as error:
        # Whatever happens in a run, the others go on, and this one is reported with its traceback.
        traceback.print_exc()
        folder.mark_failed(f"{type(error).__name__}: {error}")
        return 1
    if is_complete:
        folder.mark_done()
    return 0 if is_complete else INTERRUPTED


def _training(folder: JobFolder) -> Training:
    """What is left to be done, as a function.

    Raises:
        UserError: If there is a checkpoint that cannot be used.
    """
    path = folder.run
    run = None if path is None else RunFolder.open(path)
    n_done = None if run is None else _n_done(folder, run)
    folder.mark_started(n_done or 0)
    if run is None or n_done is None:
        # A run that was killed before its first checkpoint has nothing to go on from.
        folder.remove_runs()
        return _fresh(folder)
    if n_done >= folder.total:
        _complete(run, n_done)
        return lambda: True
    return _resumed(folder, run)


def _fresh(folder: JobFolder) -> Training:
    path = folder.path / "settings.yml"
    if folder.kind == "sac":
        return lambda: train_sac(merged_settings(SACConfig, {}, path)).is_complete
    return lambda: train_dynamics(merged_settings(ModelConfig, {}, path)).is_complete


def _resumed(folder: JobFolder, run: RunFolder) -> Training:
    if folder.kind == "sac":
        changes = {name: folder.settings[name] for name in ("env", "n_timesteps", "device", "num_threads")}
        return lambda: train_sac(merged_settings(SACConfig, changes, run.config), run).is_complete
    return lambda: train_dynamics(merged_settings(ModelConfig, {}, run.config), run).is_complete


def _n_done(folder: JobFolder, run: RunFolder) -> int | None:
    """Steps or epochs at the newest checkpoint, None if none was reached."""
    if folder.kind == "sac":
        return read_mark(run).n_steps if run.replay_buffer.exists() else None
    if not (run.path / MODEL_FILE).exists():
        return None
    _, about, state = read_model(run.path)
    return folder.total if about.get(IS_COMPLETE) else len(state["history"])


def _complete(run: RunFolder, n_steps: int) -> None:
    """Make the agent of a run that was killed between its last checkpoint and its very end."""
    checkpoint = run.checkpoint(n_steps)
    if checkpoint.exists() and not run.agent.exists():
        temporary = run.agent.with_suffix(".zip.tmp")
        shutil.copyfile(checkpoint, temporary)
        temporary.replace(run.agent)


def _locked(folder: JobFolder) -> int | None:
    deadline = time.monotonic() + PATIENCE_S
    while (handle := folder.lock()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return handle


def _watch(folder: JobFolder, parent: int | None) -> None:
    """Interrupt the run, which saves it, when its arm is given up or whoever started it is gone."""

    def watch() -> None:
        while folder.end_reason is None and (parent is None or os.getppid() == parent):
            time.sleep(WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="watch").start()


if __name__ == "__main__":
    sys.exit(main())
