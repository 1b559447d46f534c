"""Jobs under Slurm, through submitit: each is a job of its own, whose requeue signal makes it save."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rpp_rl.experiments.backend import KILLED, spawn
from rpp_rl.io.border import user_input
from rpp_rl.io.extras import need

SAVING_S = 60
"""Seconds before the time limit at which Slurm tells a job to save."""


class Requeueable:
    """What Slurm executes: the process of a job, started again in a new allocation when this one is taken away.

    Args:
        folder: The job.
        num_threads: Threads of its process.
    """

    def __init__(self, folder: str, num_threads: int) -> None:
        self.folder, self.num_threads = folder, num_threads
        self.process: Any = None

    def __call__(self) -> int:
        """Start the process and wait for it."""
        self.process = spawn(Path(self.folder), self.num_threads, os.getpid())
        return self.process.wait()

    def checkpoint(self, *_: object) -> Any:  # noqa: ANN401
        """Called by submitit at the requeue signal: let the process save, and ask to go on in another allocation."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        return need("submitit.helpers", "slurm").DelayedSubmission(Requeueable(self.folder, self.num_threads))


class Slurm:
    """Processes in allocations of Slurm.

    Args:
        folder: Folder of the experiment, which all nodes have to see; submitit's files go into ``.slurm`` there.
        options: Options of sbatch by submitit's names, for example ``partition`` and ``timeout_min``; ``cluster`` is
            submitit's executor, of which ``local`` needs no Slurm.
        n_workers: Jobs in the queue at one time.

    Raises:
        UserError: If submitit is not installed, there is no Slurm, or it does not know an option.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], n_workers: int) -> None:
        submitit = need("submitit", "slurm")
        cluster = options.get("cluster", "slurm")
        parameters = {name: value for name, value in options.items() if name != "cluster"}
        with user_input(RuntimeError, ValueError, NameError, TypeError, about="--slurm"):
            self.executor = submitit.AutoExecutor(folder=folder / ".slurm" / "%j", cluster=cluster)
            self.executor.update_parameters(name=folder.name, slurm_signal_delay_s=SAVING_S, **parameters)
        self.n_workers = n_workers
        self.jobs: dict[Path, Any] = {}

    @property
    def n_free(self) -> int:
        """Jobs that can be submitted now."""
        return self.n_workers - len(self.jobs)

    def start(self, folder: Path, num_threads: int) -> None:
        """Submit a job."""
        self.executor.update_parameters(cpus_per_task=num_threads)
        self.jobs[folder] = self.executor.submit(Requeueable(str(folder), num_threads))

    def ended(self) -> Mapping[Path, int]:
        """The jobs that have ended since the last call; those without a result count as killed."""
        ended = {}
        for folder, job in list(self.jobs.items()):
            if job.done():
                del self.jobs[folder]
                ended[folder] = _status(job)
        return ended

    def stop(self) -> None:
        """Cancel what has not ended: Slurm sends SIGTERM, at which processes save."""
        for job in self.jobs.values():
            job.cancel()
        self.jobs.clear()


def _status(job: Any) -> int:  # noqa: ANN401
    """What the process of a job returned."""
    errors = need("submitit.core.utils", "slurm")
    try:
        return int(job.result())
    except (errors.UncompletedJobError, errors.FailedJobError):
        return KILLED
