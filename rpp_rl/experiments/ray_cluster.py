"""Jobs on a Ray cluster: every node sees the folder of the experiment, and any of them may die.

A task of Ray only holds the process of a job, which is the same as on one machine. When a node dies, its tasks come
back with an error, and the driver starts their jobs again from the checkpoints in the shared folder, on the nodes that
are left.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rpp_rl.experiments.backend import KILLED, spawn
from rpp_rl.io.border import UserError
from rpp_rl.io.extras import need

NOT_SHARED = 74
"""Status of a task whose node does not see the folder of the job, as in sysexits.h: an error of input or output."""


class RayCluster:
    """Processes on the nodes of a Ray cluster.

    Args:
        address: Of the cluster: ``auto`` for the one of this machine, or ``HOST:PORT``.
        folder: Folder of the experiment, which all nodes have to see.
        n_gpus: GPUs, or parts of one, that a run needs.

    Raises:
        UserError: If Ray is not installed or there is no such cluster.
    """

    def __init__(self, address: str, folder: Path, n_gpus: float = 0.0) -> None:
        self.ray: Any = need("ray", "ray")
        _require_listening(address)
        try:
            # Nodes with other variables would run other code than this process does.
            variables = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
            self.ray.init(
                address=address, log_to_driver=False, logging_level="error", runtime_env={"env_vars": variables}
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"no Ray cluster at {address}: {' '.join(str(error).split())}") from error
        self.folder, self.n_gpus = folder, n_gpus
        self.tasks: dict[Any, Path] = {}

    @property
    def n_free(self) -> int:
        """Processes that can be started now; a few wait at the cluster, so that no core is idle."""
        return max(0, int(self.ray.cluster_resources().get("CPU", 0)) + 2 - len(self.tasks))

    def start(self, folder: Path, num_threads: int) -> None:
        """Give the cluster the process of a job."""
        task = self.ray.remote(_run_job).options(num_cpus=num_threads, num_gpus=self.n_gpus, max_retries=0)
        self.tasks[task.remote(str(folder), num_threads)] = folder

    def ended(self) -> Mapping[Path, int]:
        """The processes that have ended since the last call; those of a dead node count as killed."""
        ready, _ = self.ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0) if self.tasks else ([], [])
        ended = {}
        for task in ready:
            folder = self.tasks.pop(task)
            try:
                ended[folder] = self.ray.get(task)
            except self.ray.exceptions.RayError:
                ended[folder] = KILLED
            if ended[folder] == NOT_SHARED:
                raise UserError(f"a node does not see {folder}: give a --log-folder that all nodes share")
        return ended

    def stop(self) -> None:
        """Let all processes save and stop: they do so when the task that holds them is gone."""
        for task in self.tasks:
            self.ray.cancel(task, force=False)
        if self.tasks:
            self.ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=60)
        self.tasks.clear()
        self.ray.shutdown()


def _require_listening(address: str) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from error


def _run_job(folder: str, num_threads: int) -> int:
    """What a task does: start the process of the job, and wait for it."""
    path = Path(folder)
    if not (path / "job.json").exists():
        return NOT_SHARED
    process = spawn(path, num_threads, os.getpid())
    try:
        return process.wait()
    except BaseException:
        # The task was cancelled: the process saves and stops.
        process.terminate()
        process.wait()
        raise
