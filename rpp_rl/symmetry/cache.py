"""Arrays that took long to compute, kept on the disk for the next process.

An entry is found by the content that it was computed from, and carries a digest of that content and of its own numbers:
whatever is cut short, damaged or of another origin does not match and is computed again. Nothing here ever fails: where
the folder cannot be read or written, one computes as if there were none.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy import ndarray

VARIABLE = "RPP_RL_CACHE"
"""Environment variable: another folder for the cache, or ``off`` for none."""

MAX_BYTES = 64 * 2**20
"""Room for all entries together; those that were used least recently make way for new ones."""

SUFFIX = ".rpp_rl"
"""End of the names of entries: nothing else in the folder is ever touched."""

DIGEST_SIZE = 32
"""Bytes of the SHA-256 with which a file begins; a ``.npy`` file without pickles follows."""


def cache_folder() -> Path | None:
    """Where entries lie: ``$RPP_RL_CACHE``, or ``rpp_rl`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; None for nowhere."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen:
        return None if chosen == "off" else Path(chosen)
    user = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if user.is_absolute():  # The XDG specification: anything else is to be ignored.
        return user / "rpp_rl"
    with suppress(RuntimeError):  # There is no home.
        return Path.home() / ".cache" / "rpp_rl"
    return None


def kept(content: bytes, compute: Callable[[], ndarray]) -> ndarray:
    """The array that belongs to ``content``: read if some process has kept it, computed and kept otherwise.

    Args:
        content: Everything that decides the array, versions of the method included.
        compute: Makes the array; float64.

    Returns:
        The same numbers, bit for bit, wherever they come from.
    """
    folder = cache_folder()
    if folder is None:
        return compute()
    path = folder / f"{hashlib.sha256(content).hexdigest()}{SUFFIX}"
    array = _read(path, content)
    if array is None:
        array = compute()
        with suppress(OSError):
            _write(path, content, array)
    return array


def _read(path: Path, content: bytes) -> ndarray | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # The folder may belong to somebody else.
        os.utime(path)  # used now
    digest, array = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
    # Checked before it is parsed: what matches was written by `_write`.
    return np.load(io.BytesIO(array), allow_pickle=False) if digest == _digest(content, array) else None


def _write(path: Path, content: bytes, array: ndarray) -> None:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for every writer: several processes may compute the same entry at once.
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=f"{SUFFIX}.tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_digest(content, data.getvalue()) + data.getvalue())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _make_room(path.parent)


def _digest(content: bytes, array: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(content).digest() + array).digest()


def _make_room(folder: Path) -> None:
    """Delete what was used least recently until the rest fits, and with it what dying processes left behind."""
    used: list[tuple[float, int, Path]] = []
    for path in (*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{SUFFIX}.tmp")):
        with suppress(FileNotFoundError):  # Another process makes room too.
            status = path.stat()
            used.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in used)
    for _, size, path in sorted(used):
        if total <= MAX_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size
