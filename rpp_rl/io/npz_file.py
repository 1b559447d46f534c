"""Untrusted ``.npz`` archives of NumPy: named arrays of expected kinds, whose sizes are known before they are read."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

MAX_MEMBERS = 1000
MAX_INFLATION = 20
"""Most bytes that a byte of the file may unpack to, beyond the first `FREE_BYTES`: text packs well, noise does not."""
FREE_BYTES = 2**26
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, NotImplementedError,
    RuntimeError, OverflowError, MemoryError, TypeError, SyntaxError, RecursionError,
)  # fmt: skip
"""What a damaged archive makes its reader raise."""


def read_npz(path: Path, kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Arrays of an archive, of which no other member is looked at.

    Args:
        path: The file.
        kinds: For each array the letters of the kinds of numbers it may have, see ``numpy.dtype.kind``.

    Raises:
        ValueError: If the file is damaged, an array is missing or of another kind, or there is more of them than
            a file of this size should hold.
        OSError: If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            missing = [name for name in kinds if f"{name}.npy" not in members]
            if missing:
                raise ValueError(f"it has no array {missing[0]}")
            wanted = [members[f"{name}.npy"] for name in kinds]
            size, limit = sum(member.file_size for member in wanted), path.stat().st_size * MAX_INFLATION + FREE_BYTES
            if len(members) > MAX_MEMBERS or size > limit:
                raise ValueError(f"{len(members)} arrays and {size} bytes are too many for its size")
            return {name: _read_member(archive, members[f"{name}.npy"], name, kinds[name]) for name in kinds}
    except DAMAGE as error:
        raise ValueError(f"damaged, cut short, or no .npz file: {str(error)[:200] or type(error).__name__}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, kinds: str) -> np.ndarray:
    with archive.open(member) as file:
        shape, is_fortran, dtype = _read_header(file)
        if dtype.kind not in kinds or dtype.fields is not None:
            raise ValueError(f"{name} holds {str(dtype)[:80]}")
        n_bytes = prod(shape) * dtype.itemsize
        if n_bytes != member.file_size - file.tell():
            raise ValueError(f"{name} of shape {str(shape)[:80]} and {member.file_size} bytes")
        array = np.empty(prod(shape), dtype)
        target = array.view(np.uint8).data if n_bytes else memoryview(bytearray())
        filled = 0
        while filled < n_bytes:
            n_read = file.readinto(target[filled : filled + 2**22])  # pyright: ignore[reportAttributeAccessIssue]
            if not n_read:
                raise ValueError(f"{name} is cut short")
            filled += n_read
        file.read()  # the end of the member, at which its checksum is compared
    return array.reshape(shape, order="F" if is_fortran else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"arrays in version {version} of NumPy's format")
