"""A test kit for equivariance: the error of a function, and an assertion that names the generator that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.symmetry.groups import Element
from rpp_rl.symmetry.reps import Rep

Function = Callable[[ndarray], ndarray]


def relative_error(a: ndarray, b: ndarray) -> float:
    """‖a − b‖ / (‖a‖ + ‖b‖), the RelErr of arXiv:2112.01388, eq. 2; 0 when both vanish."""
    scale = np.linalg.norm(a) + np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / scale) if scale > 0 else 0.0


def equivariance_error(
    function: Function,
    rep_in: Rep,
    rep_out: Rep,
    x: Float[ndarray, "batch in"],
    elements: Sequence[Element] | None = None,
) -> float:
    """Largest relative error between f(ρ_in(g) x) and ρ_out(g) f(x) over the given elements; the group acts in float64.

    Args:
        function: Maps a batch ``(batch, in)`` of float64 numbers to ``(batch, out)``.
        rep_in: How the input transforms.
        rep_out: How the output transforms.
        x: Inputs, shape ``(batch, in)``.
        elements: Group elements; the generators when not given.

    Raises:
        ValueError: If the inputs do not fit ``rep_in``.
    """
    return max(equivariance_errors(function, rep_in, rep_out, x, elements), default=0.0)


def equivariance_errors(
    function: Function,
    rep_in: Rep,
    rep_out: Rep,
    x: Float[ndarray, "batch in"],
    elements: Sequence[Element] | None = None,
) -> list[float]:
    """As `equivariance_error`, one number for each element."""
    if x.ndim != 2 or x.shape[1] != rep_in.size:
        raise ValueError(f"expected inputs of shape (batch, {rep_in.size}), got {x.shape}")
    x = np.asarray(x, dtype=np.float64)
    y = np.asarray(function(x), dtype=np.float64)
    group_elements = rep_in.group.generator_elements() if elements is None else elements
    return [
        relative_error(np.asarray(function(x @ rep_in.rho(g).T), dtype=np.float64), y @ rep_out.rho(g).T)
        for g in group_elements
    ]


def assert_equivariant(
    function: Function,
    rep_in: Rep,
    rep_out: Rep,
    *,
    rng: np.random.Generator,
    tolerance: float = 1e-9,
    n_elements: int = 8,
    batch: int = 32,
) -> None:
    """Assert that ``function`` is equivariant on Gaussian inputs, for every generator and some random elements.

    Raises:
        AssertionError: Naming the first element whose error exceeds ``tolerance``.
    """
    elements = [*rep_in.group.generator_elements(), *(rep_in.group.sample(rng) for _ in range(n_elements))]
    x = rng.normal(size=(batch, rep_in.size))
    errors = equivariance_errors(function, rep_in, rep_out, x, elements)
    for g, error in zip(elements, errors, strict=True):
        if not error <= tolerance:
            raise AssertionError(
                f"not equivariant: relative error {error:.3g} > {tolerance:.3g} for {g} of {rep_in.group} "
                f"({rep_in.name} -> {rep_out.name})"
            )
