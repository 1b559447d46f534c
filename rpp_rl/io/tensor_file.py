"""Weights with a record of plain data in one file: safetensors, with a JSON document in its header.

One such file is safe to open whoever wrote it, more so than an archive or a folder: nothing in it is a program; it is
no archive, whose names could lead out of a folder and whose members could unpack to more than they are; and safetensors
refuses tensors that do not cover the rest of the file exactly, so that reading takes the memory of the file. Sizes are
limited all the same. The checksum over document and tensors finds damage; it is no signature and does not say who wrote
the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from rpp_rl.io.atomic import replacing

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
KEY = "rpp_rl"
"""Where in safetensors' own metadata the document is."""

MAX_BYTES = 2**29
"""Largest file that is read; the networks of the paper take 3 MB."""
MAX_HEADER_BYTES = 2**24
"""Largest header that is read."""


def write_weights(path: Path, kind: str, version: int, document: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a file that is complete or absent.

    Args:
        path: Where; by custom it ends in `SUFFIX`.
        kind: What the file holds, in words.
        version: Version of the document's keys and of the tensors' names.
        document: Values that JSON can hold, finite numbers only.
        tensors: The weights by name.

    Raises:
        ValueError: If the document holds something else, or it is too large to be read again.
        OSError: If the file cannot be written.
    """
    import safetensors.torch

    plain = {**document, "kind": kind, "version": version}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        text = canonical({**plain, "sha256": _digest(plain, tensors)})
    except TypeError as error:
        raise ValueError(f"{path}: expected plain values to save, got something else: {error}") from error
    data = safetensors.torch.save(tensors, {KEY: text})
    if len(text) > MAX_HEADER_BYTES // 2 or len(data) > MAX_BYTES:
        raise ValueError(f"{path}: {len(text)} bytes of data about {len(data)} bytes of weights are too many")
    with replacing(path) as file:
        file.write(data)


def read_weights(path: Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document and the tensors of a file, known to be as they were written.

    Args:
        path: The file.
        kind: What it should hold.
        version: The newest version that is understood.

    Raises:
        ValueError: If the file is damaged, too large, of another kind or of a newer version.
        OSError: If it cannot be read.
    """
    import safetensors.torch

    document = read_document(path, kind, version)
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except (safetensors.SafetensorError, RuntimeError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {str(error)[:300]}") from error
    expected = document.pop("sha256", None)
    if _digest(document, tensors) != expected:
        raise ValueError(f"{path} is damaged: its checksum is not that of its contents; get the file again")
    return document, tensors


def read_document(path: Path, kind: str, version: int) -> dict[str, Any]:
    """The document alone, from the header of a file; whether it is as it was written is not known yet.

    Raises:
        ValueError: As `read_weights` does.
        OSError: If the file cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "expected a file", str(path))
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    with path.open("rb") as file:
        return read_header(path, file, kind, version)[0]


def read_header(path: Path, file: BinaryIO, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document and what the header says of the tensors, whose numbers come next in the file.

    Args:
        path: What the file is called in errors.
        file: The file, at its beginning.
        kind: What it should hold.
        version: The newest version that is understood.

    Raises:
        ValueError: If the header is damaged, or the file of another kind or of a newer version.
        OSError: If the file cannot be read.
    """
    header = _header(path, file)
    try:
        document = _parse(header.pop("__metadata__")[KEY])
        found, number = document["kind"], document["version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} was not written by rpp_rl: expected {kind}, got other safetensors") from error
    if found != kind:
        raise ValueError(f"{path}: expected {kind}, got {str(found)[:80]}")
    if type(number) is not int or not 1 <= number <= version:
        raise ValueError(
            f"{path} has version {str(number)[:20]} of the format, this rpp_rl reads up to {version}: use a newer one"
        )
    return document, header


def _header(path: Path, file: BinaryIO) -> dict[str, Any]:
    n_bytes = int.from_bytes(file.read(8), "little")
    if n_bytes > MAX_HEADER_BYTES:
        raise ValueError(f"{path} is damaged or no safetensors file")
    text = file.read(n_bytes)
    try:
        header = _parse(text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no safetensors file: cannot read its header") from error
    if len(text) < n_bytes or not isinstance(header, dict):
        raise ValueError(f"{path} is damaged or no safetensors file")
    return header


def _parse(text: str) -> Any:  # noqa: ANN401 (JSON)
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"expected finite numbers, got {name}")


def canonical(document: Mapping[str, Any]) -> str:
    """A document as JSON in the one form that digests are taken of."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    import torch

    digest = hashlib.sha256(canonical(document).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
