"""Untrusted data sets of Minari, whose numbers are read and nothing else of them.

Minari itself makes the environment that a data set names where the spaces are missing, which imports a module; counts
as many episodes as the metadata say; and makes arrays of whatever shape the HDF5 file states. So it is not used here.
The layout is that of https://minari.farama.org/content/dataset_standards.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rpp_rl.io.extras import need

METADATA, MAIN = "metadata.json", "main_data.hdf5"
PROCESS = Path(__file__).with_name("minari_process.py")


def minari_folder(dataset_id: str) -> Path:
    """Where Minari keeps the files of a data set on this machine."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    return (Path(root) if root else Path.home() / ".minari" / "datasets") / dataset_id / "data"


def read_minari(folder: Path) -> tuple[list[tuple[np.ndarray, np.ndarray]], str | None]:
    """Observations and actions of each episode, and the environment's id if the data set names one.

    Args:
        folder: The folder with ``metadata.json`` and ``main_data.hdf5``.

    Raises:
        ValueError: If the data set is damaged, of another format, not of vectors, compressed, or would take more
            memory than a file of its size should. `MissingExtraError` is one: h5py is not installed.
        OSError: If it cannot be read.
    """
    need("h5py", "minari")
    for path in (folder / METADATA, folder / MAIN):
        if not path.is_file():
            raise FileNotFoundError(2, "expected a file", str(path))
        path.open("rb").close()  # says why if it may not be read
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        if metadata["data_format"] != "hdf5":
            raise ValueError(f"expected the format hdf5, got {str(metadata['data_format'])[:80]}")
        env_spec = metadata.get("env_spec")
        env_id = None if env_spec is None else json.loads(env_spec)["id"]
        if not isinstance(env_id, str | None):
            raise ValueError(f"the id of its environment is {str(env_id)[:80]}")
        n_episodes = metadata["total_episodes"]
        if type(n_episodes) is not int or n_episodes < 0:
            raise ValueError(f"its metadata say {str(n_episodes)[:80]} episodes")
        return _read_episodes(folder / MAIN, n_episodes), env_id
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise ValueError(f"damaged, or no data set of Minari: {str(error)[:200] or type(error).__name__}") from error


def _read_episodes(path: Path, n_episodes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    # -P: what lies in the current folder, or beside the script, is not imported.
    command = [sys.executable, "-P", str(PROCESS), str(path), str(n_episodes)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread has a buffer, which counts as memory
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return [(_receive(process.stdout), _receive(process.stdout)) for _ in range(n_episodes)]
        except EOFError:
            raise ValueError(f"HDF5 {_ending(process.wait())}") from None


def _receive(pipe: Any) -> np.ndarray:  # noqa: ANN401
    """The next array that the process writes.

    Raises:
        ValueError: If it refuses the file.
        EOFError: If it has ended.
    """
    line = pipe.readline()
    if not line:
        raise EOFError
    message = json.loads(line)
    if "error" in message:
        raise ValueError(message["error"])
    array = np.empty(message["shape"], message["dtype"])
    if array.size and pipe.readinto(array.reshape(-1).view(np.uint8).data) < array.nbytes:
        raise EOFError
    return array


def _ending(status: int) -> str:
    """How the process ended, in words."""
    if status >= 0:
        return f"failed with status {status}"
    return "took too long" if -status == getattr(signal, "SIGXCPU", None) else f"crashed (signal {-status})"
