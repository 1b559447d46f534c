"""Reads the arrays of a Minari data set, in a process of its own that `minari_file` starts.

HDF5 is a large library in C: a file of a few kilobytes can make it search for ever, overflow its stack or take all
memory, before anything of the file is known. So it is given little time and memory, and only this process ends. It
stands alone, because it is run as a script.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import h5py  # pyright: ignore[reportMissingImports]
import numpy as np

MEMORY, SECONDS = 2**28, 8
"""What reading may take, beside twice the bytes of the file and a second for each of its megabytes."""


def main() -> int:
    """Write every array as a line of JSON, which says what comes, and its bytes; or the error, as such a line."""
    path, n_episodes = Path(sys.argv[1]), int(sys.argv[2])
    _limit(path.stat().st_size)
    out = sys.stdout.buffer
    try:
        for array in _arrays(path, n_episodes):
            out.write(json.dumps({"shape": array.shape, "dtype": array.dtype.str}).encode() + b"\n")
            out.write(array.reshape(-1).view(np.uint8).data if array.size else b"")
    except Exception as error:  # what h5py raises on a damaged file is not known
        out.write(json.dumps({"error": str(error) or type(error).__name__}).encode() + b"\n")
    out.flush()
    return 0


def _limit(n_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no limits
        return
    limits = {"DATA": MEMORY + 2 * n_bytes, "CPU": SECONDS + n_bytes // 2**20, "CORE": 0}
    for name, limit in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        resource.setrlimit(number, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _arrays(path: Path, n_episodes: int) -> Iterator[np.ndarray]:
    """Observations and actions of each episode, in turn."""
    with h5py.File(path, "r") as file:
        if n_episodes > len(file):
            raise ValueError(f"its metadata say {str(n_episodes)[:80]} episodes, {path.name} has {len(file)}")
        left = path.stat().st_size
        for k in range(n_episodes):
            for name in (f"episode_{k}/observations", f"episode_{k}/actions"):
                array = _vectors(file, name)
                left -= prod(array.shape) * array.dtype.itemsize
                if left < 0:
                    raise ValueError(f"there are more numbers in {name} than {path.name} has bytes")
                yield np.ascontiguousarray(array[()])


def _vectors(file: Any, name: str) -> Any:  # noqa: ANN401
    """An array of vectors of numbers that lie in this file as they are, not yet read."""
    for place in (name.split("/")[0], name):
        if not isinstance(file.get(place, getlink=True), h5py.HardLink):
            raise ValueError(f"{place} is missing, or a link to another place")
    array = file[name]
    if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "fiub" or len(array.shape or ()) != 2:
        raise ValueError(f"expected vectors of numbers in {name}")
    if array.external or array.is_virtual:
        raise ValueError(f"{name} lies in another file")
    if array.id.get_create_plist().get_nfilters():
        raise ValueError(f"{name} is compressed or changed otherwise; Minari writes numbers as they are")
    return array


if __name__ == "__main__":
    sys.exit(main())
