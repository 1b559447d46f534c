"""Large arrays with a record of plain data in one file: safetensors again, written in a stream and read by mapping.

`rpp_rl.io.tensor_file` is for networks, which fit into the memory twice; this is for replay buffers of gigabytes. The
layout is the same and any reader of safetensors opens it: eight bytes with the length of a JSON header, the header, the
numbers. A digest over record and numbers detects damage; it is no signature and does not say who wrote the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from rpp_rl.io.atomic import replacing
from rpp_rl.io.tensor_file import KEY, MAX_HEADER_BYTES, canonical, read_header

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
NAMES = {text: name for name, text in DTYPES.items()}
MAX_ARRAYS = 10_000
PIECE = 2**22
"""Bytes that are hashed at a time when a file is read."""
UNKNOWN = "0" * 64
"""Stands for the digest until all numbers have passed by."""


def write_arrays(
    path: Path, kind: str, version: int, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a file that is complete or absent; no array is copied unless it is not contiguous.

    Args:
        path: Where; by custom it ends in ``.safetensors``.
        kind: What the file holds, in words.
        version: Version of the document's keys and of the arrays' names.
        document: Values that JSON can hold, finite numbers only.
        arrays: Arrays of plain numbers by name.

    Raises:
        ValueError: If the document or an array holds something else, or there is too much of it to be read again.
        OSError: If the file cannot be written.
    """
    plain = {**document, "kind": kind, "version": version}
    # The widest numbers come first, so that all of them are aligned.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    contiguous = {name: _contiguous(name, arrays[name]) for name in names}
    entries = _entries(contiguous)
    try:
        header = _header(plain, UNKNOWN, entries)
    except TypeError as error:
        raise ValueError(f"{path}: expected plain values to save, got something else: {error}") from error
    if len(header) > MAX_HEADER_BYTES or len(entries) > MAX_ARRAYS:
        raise ValueError(f"{path}: a header of {len(header)} bytes about {len(entries)} arrays is too large")
    digest = _new_digest(plain, entries)
    with replacing(path) as file, ThreadPoolExecutor(1) as pool:
        file.write(header)
        for array in contiguous.values():
            data = array.reshape(-1).view(np.uint8).data
            hashed = pool.submit(digest.update, data)  # lets go of the interpreter while it works
            file.write(data)
            hashed.result()
        file.seek(0)
        file.write(_header(plain, digest.hexdigest(), entries))


def read_arrays(
    path: Path, kind: str, version: int, *, verify: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The document and the arrays of a file; the arrays are mapped, read-only, and take memory only where touched.

    Args:
        path: The file.
        kind: What it should hold.
        version: The newest version that is understood.
        verify: Whether the numbers are read once to compare them with the digest.

    Raises:
        ValueError: If the file is damaged, of another kind or of a newer version.
        OSError: If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "expected a file", str(path))
    # Opened once: another file may take its name meanwhile.
    with path.open("rb") as file:
        document, entries = read_header(path, file, kind, version)
        start = file.tell()
        size = os.fstat(file.fileno()).st_size - start
        places = list(_places(path, entries, size))
        # An empty file cannot be mapped.
        data = np.memmap(file, np.uint8, "r", offset=start, shape=(size,)) if size else np.zeros(0, np.uint8)
    digest = document.pop("sha256", None)
    if verify and digest != _digest_of(document, entries, data):
        raise ValueError(f"{path} is damaged: its checksum is not that of its contents")
    return document, {
        name: np.asarray(data)[first:last].view(DTYPES[dtype]).reshape(shape)
        for name, dtype, shape, first, last in places
    }


def _contiguous(name: str, array: np.ndarray) -> np.ndarray:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if little.dtype.str not in NAMES:
        raise ValueError(f"{name}: expected plain numbers, got {array.dtype}")
    return np.ascontiguousarray(little).reshape(array.shape)


def _entries(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    entries, offset = {}, 0
    for name, array in arrays.items():
        offsets = [offset, offset + array.nbytes]
        entries[name] = {"dtype": NAMES[array.dtype.str], "shape": list(array.shape), "data_offsets": offsets}
        offset += array.nbytes
    return entries


def _header(plain: Mapping[str, Any], digest: str, entries: Mapping[str, Any]) -> bytes:
    text = json.dumps({"__metadata__": {KEY: canonical({**plain, "sha256": digest})}, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _new_digest(plain: Mapping[str, Any], entries: Mapping[str, Any]) -> Any:  # noqa: ANN401 (hashlib has no name for it)
    return hashlib.sha256(canonical(plain).encode() + canonical(entries).encode())


def _digest_of(plain: Mapping[str, Any], entries: Mapping[str, Any], data: np.ndarray) -> str:
    digest = _new_digest(plain, entries)
    for first in range(0, len(data), PIECE):
        digest.update(data[first : first + PIECE].data)
    return digest.hexdigest()


def _places(path: Path, entries: Mapping[str, Any], size: int) -> Iterator[tuple[str, str, Sequence[int], int, int]]:
    """Name, type, shape and place of every array, known to cover the rest of the file exactly, once."""
    damaged = ValueError(f"{path} is damaged or cut short: its header does not fit its {size} bytes of numbers")
    if len(entries) > MAX_ARRAYS:
        raise damaged
    end = 0
    for name, entry in entries.items():
        try:
            dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
            is_plain = dtype in DTYPES and type(shape) is list and len(shape) <= 32
            is_plain = is_plain and all(type(n) is int and n >= 0 for n in shape) and type(first) is type(last) is int
        except (KeyError, TypeError, ValueError):
            raise damaged from None
        if not is_plain or first != end or last - first != prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
            raise damaged
        end = last
        yield name, dtype, shape, first, last
    if end != size:
        raise damaged
