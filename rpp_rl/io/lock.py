"""Folders that one process works in at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rpp_rl.io.border import UserError


class InUseError(UserError):
    """Another process has locked the folder."""


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder; the system unlocks it when this one ends, however it ends.

    Args:
        folder: An existing folder.
        wait: Whether to wait until another process is done.

    Raises:
        InUseError: If another process has locked it and this one shall not wait.
        OSError: If there is no such folder.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(f"{folder} is in use by another process") from error
        yield
    finally:
        os.close(handle)
