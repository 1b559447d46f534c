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
    """‖a − b‖ / (‖a‖ + ‖b‖), the RelErr of arXiv:2112.01388, eq. 2; 0 when both vanish, NaN when either has one."""
    scale = np.linalg.norm(a) + np.linalg.norm(b)
    return 0.0 if scale == 0 else float(np.linalg.norm(a - b) / scale)


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
        ValueError: If the reps have no common group, or inputs or outputs do not fit them.
    """
    return float(np.max(equivariance_errors(function, rep_in, rep_out, x, elements), initial=0.0))


def equivariance_errors(
    function: Function,
    rep_in: Rep,
    rep_out: Rep,
    x: Float[ndarray, "batch in"],
    elements: Sequence[Element] | None = None,
) -> list[float]:
    """As `equivariance_error`, one number for each element."""
    if rep_in.group != rep_out.group:
        raise ValueError(f"no common group: rep_in belongs to {rep_in.group!r}, rep_out to {rep_out.group!r}")
    if x.ndim != 2 or x.shape[1] != rep_in.size:
        raise ValueError(f"expected inputs of shape (batch, {rep_in.size}), got {x.shape}")

    def outputs(inputs: ndarray) -> ndarray:
        y = np.asarray(function(inputs), dtype=np.float64)
        if y.shape != (len(x), rep_out.size):
            raise ValueError(f"expected outputs of shape {(len(x), rep_out.size)}, got {y.shape}")
        return y

    x = np.asarray(x, dtype=np.float64)
    y = outputs(x)
    group_elements = rep_in.group.generator_elements() if elements is None else elements
    return [relative_error(outputs(x @ rep_in.rho(g).T), y @ rep_out.rho(g).T) for g in group_elements]


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

    >>> from rpp_rl.symmetry import Group, Rep
    >>> from rpp_rl.symmetry import parse_group, parse_rep
    >>> rng, legs = np.random.default_rng(0), parse_rep("V", parse_group("Z4"))
    >>> assert_equivariant(np.tanh, legs, legs, rng=rng)
    >>> assert_equivariant(lambda x: x * [1.0, 1.0, 1.0, 2.0], legs, legs, rng=rng)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: not equivariant: relative error 0.2... > 1e-09 for Element(word=(0,), angles=()) of Z4 (V -> V)

    Raises:
        ValueError: If the reps have no common group, or the outputs do not fit ``rep_out``.
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
