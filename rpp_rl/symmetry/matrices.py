"""Stacks of square matrices: read-only copies, keys, block diagonals and Kronecker products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

KEY_DECIMALS = 10
"""Decimals to which the matrices of two groups or representations have to agree to be called equal."""


def matrix_key(matrix: ndarray, decimals: int = 6) -> bytes:
    """A key that is the same for matrices which are equal up to rounding errors, and without the sign of zero."""
    return (np.round(matrix, decimals) + 0.0).tobytes()


def content_key(matrices: ndarray) -> bytes:
    """The key by which groups and reps are compared: cosines differ in the last digit from processor to processor."""
    return matrix_key(matrices, decimals=KEY_DECIMALS)


def frozen(array: ndarray) -> ndarray:
    """The array itself, from now on read-only: it is shared by caches."""
    array.flags.writeable = False
    return array


def frozen_stack(stack: ndarray, label: str) -> Float[ndarray, "n d d"]:
    """A read-only float64 copy of a stack of square matrices, with integers made exact.

    Whatever `content_key` takes for an integer becomes one: matrices that count as equal and are signed permutations
    but for rounding, cos π say, have to have the same closed forms and thus the same bases.

    Raises:
        ValueError: If ``stack`` has another shape or holds numbers that are not finite.
    """
    copy = np.array(stack, dtype=np.float64, order="C")
    if copy.ndim != 3 or copy.shape[1] != copy.shape[2] or copy.shape[1] == 0:
        raise ValueError(f"{label} must be a stack of square matrices, shape (n, d, d), got shape {copy.shape}")
    if not np.isfinite(copy).all():
        raise ValueError(f"{label} must be finite numbers")
    nearest = np.round(copy)
    return frozen(np.where(np.round(copy, KEY_DECIMALS) == nearest, nearest, copy) + 0.0)


def snapped(array: ndarray, tolerance: float = 1e-12) -> ndarray:
    """Entries that are integers up to rounding made exact, so that permutations stay recognisable."""
    nearest = np.round(array)
    return np.where(np.abs(array - nearest) < tolerance, nearest, array) + 0.0


def block_diagonals(stacks: Sequence[ndarray]) -> Float[ndarray, "n d d"]:
    """The stack whose k-th matrix has the k-th matrices of all given stacks along its diagonal."""
    size = sum(stack.shape[-1] for stack in stacks)
    matrices, at = np.zeros((len(stacks[0]), size, size)), 0
    for stack in stacks:
        end = at + stack.shape[-1]
        matrices[:, at:end, at:end] = stack
        at = end
    return matrices


def kroneckers(a: ndarray, b: ndarray) -> Float[ndarray, "n d d"]:
    """The stack of a[k] ⊗ b[k]."""
    size = a.shape[-1] * b.shape[-1]
    return np.array([np.kron(x, y) for x, y in zip(a, b, strict=True)]).reshape(-1, size, size)
