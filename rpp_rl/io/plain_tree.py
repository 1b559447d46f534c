"""Trees of plain values as JSON and arrays beside it, so that every number comes back bit for bit, without pickle.

A tree is made of None, truth values, integers, floats, text, lists, tuples, mappings, NumPy arrays and NumPy scalars.
In JSON, whatever is no plain value is a mapping with one key that says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

MIN_COLUMN = 8
"""A list of floats or integers at least so long is written as an array."""


def pack(tree: object) -> tuple[Any, dict[str, np.ndarray]]:
    """A tree as values that JSON can hold, and arrays.

    Raises:
        ValueError: If the tree holds something that is not plain.
    """
    arrays: dict[str, np.ndarray] = {}
    return _pack(tree, arrays), arrays


def unpack(data: Any, arrays: Mapping[str, np.ndarray]) -> Any:  # noqa: ANN401
    """The tree that `pack` was given; arrays are copies, and may be written to.

    Raises:
        ValueError: If the data are none of `pack`.
    """
    try:
        return _unpack(data, arrays)
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"damaged: no tree of values ({type(error).__name__})") from error


def _pack(value: object, arrays: dict[str, np.ndarray]) -> Any:  # noqa: ANN401
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return {"scalar": _add(np.asarray(value), arrays)}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.ndarray):
        return {"array": _add(value, arrays)}
    if isinstance(value, list | tuple):
        return {type(value).__name__: _column(value, arrays) or [_pack(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_pack(key, arrays), _pack(item, arrays)] for key, item in value.items()]}
    raise ValueError(f"expected plain values, got {type(value).__name__}")


def _column(values: list | tuple, arrays: dict[str, np.ndarray]) -> dict[str, str] | None:
    """A long list of numbers of one type as an array."""
    kinds = {type(value) for value in values}
    if len(values) < MIN_COLUMN or kinds not in ({float}, {int}):
        return None
    try:
        column = np.array(values, np.float64 if kinds == {float} else np.int64)
    except OverflowError:
        return None
    return {"column": _add(column, arrays)}


def _add(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise ValueError(f"expected plain numbers, got an array of {array.dtype}")
    name = str(len(arrays))
    arrays[name] = array
    return name


def _unpack(data: Any, arrays: Mapping[str, np.ndarray]) -> Any:  # noqa: ANN401
    if not isinstance(data, dict):
        if isinstance(data, list):
            raise ValueError("damaged: no tree of values (a bare list)")
        return data
    (kind, value), *others = data.items()
    if others:
        raise ValueError("damaged: no tree of values (two kinds)")
    return UNPACKERS[kind](value, arrays)


def _sequence(value: Any, arrays: Mapping[str, np.ndarray]) -> list[Any]:  # noqa: ANN401
    if isinstance(value, dict):
        return arrays[value["column"]].tolist()
    return [_unpack(item, arrays) for item in value]


UNPACKERS = {
    "scalar": lambda value, arrays: arrays[value][()],
    "float": lambda value, arrays: float(value),
    "array": lambda value, arrays: np.array(arrays[value]),
    "list": _sequence,
    "tuple": lambda value, arrays: tuple(_sequence(value, arrays)),
    "dict": lambda value, arrays: {_unpack(k, arrays): _unpack(v, arrays) for k, v in value},
}
