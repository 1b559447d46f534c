"""Errors of predicted against real trajectories: two metrics of rollouts, both relative errors in a geometric mean.

Errors lie between 0 and 1: numbers that are not finite count as an error of 1, the limit of a prediction that goes
to infinity, so that one diverging model does not make the mean meaningless.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

FLOOR = 1e-7
"""Smaller errors count as this one, because a geometric mean knows no zero; the release has the same bound."""
SMOOTHING = 2.0
"""Standard deviation, in steps, of the Gaussian by which the release smooths states and actions along time."""
DIVERGED = 10.0
"""A prediction this many times as far from the origin as any real state counts as diverged."""

Trajectory = Float[ndarray, "*batch time size"]


def relative_errors(a: Float[ndarray, "*batch size"], b: Float[ndarray, "*batch size"]) -> Float[ndarray, "*batch"]:
    """RMS(a − b) / (RMS(a) + RMS(b)) over the last axis, in float64; 0 when both vanish, 1 when one is not finite."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.linalg.norm(a, axis=-1) + np.linalg.norm(b, axis=-1)
        errors = np.linalg.norm(a - b, axis=-1) / np.where(scale == 0, 1.0, scale)
    return np.where(np.isfinite(errors) & np.isfinite(scale), errors, 1.0)


def geometric_mean(errors: ndarray, axis: int | None = None) -> ndarray:
    """The exponential of the mean of log e along an axis, or over all errors, with every error at least `FLOOR`."""
    return np.exp(np.log(np.maximum(errors, FLOOR)).mean(axis=axis))


def honest_error(predicted: Trajectory, real: Trajectory, horizon: int) -> float:
    """Geometric mean of the relative errors of the whole state over the predicted steps t = 1 .. ``horizon``.

    Args:
        predicted: States, the given one first.
        real: States of the same shape.
        horizon: Number of predicted steps.

    Raises:
        ValueError: If the trajectories are shorter.
    """
    _require_steps(real, horizon + 1)
    window = slice(1, horizon + 1)
    return float(geometric_mean(relative_errors(predicted[..., window, :], real[..., window, :])))


def release_error(predicted: Trajectory, real: Trajectory, horizon: int, n_positions: int) -> float:
    """The error as the authors' code of arXiv:2112.01388 computes it, on data that `smoothed` has treated.

    It takes the positions only and the states t = 0 .. ``horizon`` − 1. The first of them is given, so its error of
    `FLOOR` is part of the mean: at 10 steps the number is a fifth of what the nine predictions alone would give.

    Args:
        predicted: States, the given one first.
        real: States of the same shape.
        horizon: Number of states, the given one counted.
        n_positions: How many leading numbers of a state are positions.

    Raises:
        ValueError: If the trajectories are shorter.
    """
    _require_steps(real, horizon)
    return float(
        geometric_mean(relative_errors(predicted[..., :horizon, :n_positions], real[..., :horizon, :n_positions]))
    )


def smoothed(series: Trajectory, sigma: float = SMOOTHING) -> Trajectory:
    """The same numbers smoothed along time by a Gaussian; at both ends the series is reflected, as in the release."""
    return gaussian_filter1d(series, sigma, axis=-2)


def diverged(predicted: Trajectory, real: Trajectory) -> Bool[ndarray, "*batch time"]:
    """Whether a prediction has left the region of the data by this step: see `DIVERGED`; this is permanent."""
    bound = DIVERGED * np.linalg.norm(np.asarray(real, dtype=np.float64), axis=-1).max()
    with np.errstate(over="ignore", invalid="ignore"):
        is_near = np.linalg.norm(np.asarray(predicted, dtype=np.float64), axis=-1) <= bound
    return np.logical_or.accumulate(~is_near, axis=-1)


def rms_errors(predicted: Trajectory, real: Trajectory) -> Float[ndarray, "time size"]:
    """Root mean square error of each number of the state at each step, in its own unit; inf where predictions are."""
    axes = tuple(range(predicted.ndim - 2))
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.sqrt(np.square(predicted.astype(np.float64) - real).mean(axis=axes))
    return np.where(np.isnan(errors), np.inf, errors)


def _require_steps(real: Trajectory, n_states: int) -> None:
    if real.shape[-2] < n_states:
        raise ValueError(f"expected trajectories of at least {n_states} states, got {real.shape[-2]}")
