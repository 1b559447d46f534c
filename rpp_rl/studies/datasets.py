"""Reading the data sets that users bring, regression tables and CIFAR-10; nothing is fetched, nothing unpickled."""

from __future__ import annotations

import gzip
import hashlib
import io
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from rpp_rl.io.border import UserError
from rpp_rl.io.extras import need

UCI_SOURCE = "https://github.com/treforevans/uci_datasets, folder uci_datasets"
CIFAR_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html, the binary version"
CIFAR_BATCHES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")
CIFAR_RECORD = 1 + 3 * 32 * 32
JPEG_FILES = ("cifar10_jpeg_train.npz", "cifar10_jpeg_test.npz")
CHECKSUMS_FILE = "SHA256SUMS"


class Table(NamedTuple):
    """A regression set: columns of inputs, the target, and ten splits, each true where a row is for testing."""

    x: Float[ndarray, "n d"]
    y: Float[ndarray, " n"]
    is_test: Bool[ndarray, "n 10"]


class Images(NamedTuple):
    """Images ``(n, 3, 32, 32)`` with values from 0 to 1, and labels, for training and for testing."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    title: str


def uci_table(folder: Path | None, name: str) -> Table:
    """A set from ``NAME.data.csv.gz`` and ``NAME.test_mask.csv.gz``, or the same in a folder ``NAME``.

    Raises:
        UserError: If the files are missing, damaged, or do not belong together.
    """
    data, mask = (_numbers(_found(folder, "uci", name, part)) for part in ("data", "test_mask"))
    if data.ndim != 2 or mask.shape != (len(data), 10) or not np.isin(mask, (0, 1)).all():
        raise UserError(
            f"{name}: expected a table and a mask of as many rows and 10 columns of 0 and 1, got shapes {data.shape} "
            f"and {mask.shape}"
        )
    return Table(data[:, :-1], data[:, -1], mask.astype(bool))


def _found(folder: Path | None, subfolder: str, name: str, part: str) -> Path:
    if folder is None:
        raise UserError(f"the set {name!r} is not made but read: give its folder with --data; it is at {UCI_SOURCE}")
    candidates = [
        root / file
        for root in (folder, folder / subfolder)
        for file in (Path(f"{name}.{part}.csv.gz"), Path(name) / f"{part}.csv.gz")
    ]
    for path in candidates:
        if path.exists():
            return path
    raise UserError(f"{folder} has no {candidates[0].name} (nor {name}/{part}.csv.gz); the set is at {UCI_SOURCE}")


def _numbers(path: Path) -> Float[ndarray, "n d"]:
    content = _checked(path)
    try:
        text = gzip.decompress(content).decode("ascii")
        return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} is no table of numbers in CSV, compressed by gzip: {error}") from error


def _checked(path: Path) -> bytes:
    """The content of a file; where a list of checksums lies beside it, the one that the list names."""
    content = path.read_bytes()
    listed = path.parent / CHECKSUMS_FILE
    if listed.exists():
        digests = {name: digest for digest, name in (line.split() for line in listed.read_text().splitlines())}
        digest = digests.get(path.name)
        if digest is not None and digest != hashlib.sha256(content).hexdigest():
            raise UserError(f"{path} is not the file whose checksum {listed} holds: copy it again")
    return content


@lru_cache(maxsize=1)
def cifar10(folder: Path | None) -> Images:
    """CIFAR-10 from the official binary files, or from a copy of all images as JPEG.

    Raises:
        UserError: If the files are missing or damaged.
    """
    if folder is None:
        raise UserError(f"CIFAR-10 is not made but read: give its folder with --data; it is at {CIFAR_SOURCE}")
    for root in (folder, folder / "cifar-10-batches-bin", folder / "cifar10"):
        if (root / CIFAR_BATCHES[0]).exists():
            batches = [_binary_batch(root / name) for name in CIFAR_BATCHES]
            train = tuple(torch.cat(parts) for parts in zip(*batches[:-1], strict=True))
            return Images((train[0], train[1]), batches[-1], "CIFAR-10")
        if (root / JPEG_FILES[0]).exists():
            train, test = (_jpeg_batch(root / name) for name in JPEG_FILES)
            return Images(train, test, "CIFAR-10, JPEG copy")
    raise UserError(f"{folder} has neither {CIFAR_BATCHES[0]} nor {JPEG_FILES[0]}; CIFAR-10 is at {CIFAR_SOURCE}")


def _binary_batch(path: Path) -> tuple[Tensor, Tensor]:
    content = np.frombuffer(_checked(path), dtype=np.uint8)
    if content.size == 0 or content.size % CIFAR_RECORD or (content[::CIFAR_RECORD] > 9).any():
        raise UserError(f"{path} is no binary batch of CIFAR-10: expected records of {CIFAR_RECORD} bytes")
    records = torch.as_tensor(content.reshape(-1, CIFAR_RECORD).copy())
    return records[:, 1:].view(-1, 3, 32, 32).float() / 255, records[:, 0].long()


def _jpeg_batch(path: Path) -> tuple[Tensor, Tensor]:
    image = need("PIL.Image", "studies")
    try:
        with np.load(io.BytesIO(_checked(path)), allow_pickle=False) as content:
            data, offsets, labels = (content[name] for name in ("bytes", "offsets", "labels"))
        pictures = [
            np.asarray(image.open(io.BytesIO(data[start:end].tobytes()), formats=["JPEG"]).convert("RGB"))
            for start, end in pairwise(offsets.tolist())
        ]
        images = torch.as_tensor(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is no copy of CIFAR-10 as JPEG: {error}") from error
    if images.shape[1:] != (3, 32, 32) or len(images) != len(labels):
        raise UserError(f"{path}: expected labelled images of 32 x 32 pixels, got {tuple(images.shape)}")
    return images, torch.as_tensor(labels.astype(np.int64))
