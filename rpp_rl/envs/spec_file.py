"""Specifications as YAML files of plain values, for robots that the package does not know."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rpp_rl.envs.spec import EnvSpec
from rpp_rl.io.border import LONGEST
from rpp_rl.settings import read_yaml

MAX_COORDINATES = 4096
"""Longest observation or action."""
MAX_MATRIX = 64
"""Largest matrix in a specification; representations are sums of small ones."""
MAX_GENERATORS = 64
MAX_NAME = 200


def read_spec(path: Path) -> EnvSpec:
    """The specification in a file, checked like any other.

    Raises:
        ValueError: If the file holds no valid specification.
        OSError: If it cannot be read.
    """
    try:
        return checked_spec(read_yaml(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a specification in YAML, got other bytes") from error
    except ValueError as error:
        raise ValueError(f"{path}: {str(error)[:LONGEST]}") from error


def checked_spec(data: object) -> EnvSpec:
    """The specification that `EnvSpec.to_dict` described, from plain data of any origin.

    Raises:
        ValueError: If the data make no specification, or one larger than any sensible robot's.
    """
    kinds = (KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError, MemoryError)
    try:
        check_spec_size(data)
        with np.errstate(all="ignore"):  # what is not finite is refused by name
            return EnvSpec.from_dict(data)  # pyright: ignore[reportArgumentType]
    except kinds as error:
        raise ValueError(f"damaged environment specification: {type(error).__name__}: {str(error)[:200]}") from error


def check_spec_size(data: Any) -> None:  # noqa: ANN401
    """Refuse a specification whose matrices alone would fill the memory, or whose names are none, before it is made.

    Raises:
        ValueError: If so.
        KeyError, TypeError, AttributeError: If the data are no specification.
    """
    if not isinstance(data, Mapping) or "group" not in data:
        return  # refused with more words where it is made
    group = data["group"]
    n_generators = len(group["generators"]) + len(group["lie_algebra"])
    sizes = [int(part["size"]) for rep in data["reps"] for part in rep["parts"]]
    n_coordinates = sum(int(part["count"]) * int(part["size"]) for rep in data["reps"] for part in rep["parts"])
    largest = max([int(group["d"]), *sizes])
    if n_generators > MAX_GENERATORS or largest > MAX_MATRIX or n_coordinates > MAX_COORDINATES:
        raise ValueError(
            f"the specification has {n_generators} generators, matrices of {largest} rows and {n_coordinates} "
            f"coordinates; the most are {MAX_GENERATORS}, {MAX_MATRIX} and {MAX_COORDINATES}"
        )
    for name in (data["env_id"], data["variant"], *(record["name"] for record in data["generators"])):
        if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
            raise ValueError(f"the specification has a name that is no short text: {str(name)[:40]!r}")


def write_spec(path: Path, spec: EnvSpec) -> None:
    """Write a specification; the file appears under its name when it is complete, and not before.

    Raises:
        OSError: If it cannot be written.
    """
    text = yaml.safe_dump(spec.to_dict(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(
                f"# Symmetry of {' '.join(spec.env_id.split())}, for train-sac --spec and check-spec --spec.\n{text}"
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = error.filename or str(path)
        raise
