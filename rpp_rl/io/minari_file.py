"""Untrusted data sets of Minari, whose numbers are read and nothing else of them.

Minari itself makes the environment that a data set names where the spaces are missing, which imports a module; counts
as many episodes as the metadata say; and makes arrays of whatever shape the HDF5 file states. So it is not used here.
The layout is that of https://minari.farama.org/content/dataset_standards.
"""

from __future__ import annotations

import json
import os
from math import prod
from pathlib import Path
from typing import Any

import h5py  # pyright: ignore[reportMissingImports]
import numpy as np

from rpp_rl.io.npz_file import FREE_BYTES, MAX_INFLATION

METADATA, MAIN = "metadata.json", "main_data.hdf5"


def minari_folder(dataset_id: str) -> Path:
    """Where Minari keeps the files of a data set on this machine."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    return (Path(root) if root else Path.home() / ".minari" / "datasets") / dataset_id / "data"


def read_minari(folder: Path) -> tuple[list[tuple[np.ndarray, np.ndarray]], str | None]:
    """Observations and actions of each episode, and the environment's id if the data set names one.

    Args:
        folder: The folder with ``metadata.json`` and ``main_data.hdf5``.

    Raises:
        ValueError: If the data set is damaged, of another format, not of vectors, or would take more memory than a
            file of its size should.
        OSError: If it cannot be read.
    """
    try:
        metadata = json.loads((folder / METADATA).read_text())
        if metadata["data_format"] != "hdf5":
            raise ValueError(f"expected the format hdf5, got {str(metadata['data_format'])[:80]}")
        env_spec = metadata.get("env_spec")
        env_id = None if env_spec is None else json.loads(env_spec)["id"]
        if not isinstance(env_id, str | None):
            raise ValueError(f"the id of its environment is {str(env_id)[:80]}")
        n_episodes = metadata["total_episodes"]
        with h5py.File(folder / MAIN, "r") as file:
            if not isinstance(n_episodes, int) or not 0 <= n_episodes <= len(file):
                raise ValueError(f"{METADATA} says {str(n_episodes)[:80]} episodes, {MAIN} has {len(file)}")
            names = [(f"episode_{k}/observations", f"episode_{k}/actions") for k in range(n_episodes)]
            arrays = {name: _numeric_array(file, name) for pair in names for name in pair}
            size = sum(map(_n_bytes, arrays.values()))
            if size > (folder / MAIN).stat().st_size * MAX_INFLATION + FREE_BYTES:
                raise ValueError(f"{size} bytes are too many for its size")
            return [(arrays[states][()], arrays[actions][()]) for states, actions in names], env_id
    except OSError as error:
        if error.errno is not None:  # HDF5 gives no number where a file is damaged
            raise
        raise ValueError(f"damaged: {str(error)[:200]}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        raise ValueError(f"damaged, or no data set of Minari: {str(error)[:200] or type(error).__name__}") from error


def _numeric_array(file: Any, name: str) -> Any:  # noqa: ANN401
    """An array of numbers that lies in this file, not yet read."""
    for place in (name.split("/")[0], name):
        if not isinstance(file.get(place, getlink=True), h5py.HardLink):
            raise ValueError(f"{place} is missing, or a link to another place")
    array = file[name]
    if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "fiub":
        raise ValueError(f"expected vectors of numbers in {name}")
    if array.external or array.is_virtual:
        raise ValueError(f"{name} lies in another file")
    return array


def _n_bytes(array: Any) -> int:  # noqa: ANN401
    """Bytes that reading an array takes: its own, or those of a block, which is unpacked as a whole."""
    return max(prod(array.shape), prod(array.chunks or ())) * array.dtype.itemsize
