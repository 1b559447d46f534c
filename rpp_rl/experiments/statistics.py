"""Statistics of few runs: aggregates, stratified bootstrap intervals, probability of improvement, profiles.

Definitions follow Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice" (NeurIPS 2021,
arXiv:2108.13264), in NumPy alone. Scores come as *tasks*: one array per environment whose first axis is the runs, which
may differ in number; further axes (steps, thresholds) are kept.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy import ndarray

LEVEL = 0.95
N_RESAMPLES = 2000

Tasks = Sequence[ndarray]


class Aggregate(Protocol):
    """Turns the scores of all runs into one number; ``axis`` is that of the runs in every task."""

    def __call__(self, tasks: Tasks, axis: int = 0) -> ndarray:
        """Aggregate over runs and tasks."""
        ...


def mean(tasks: Tasks, axis: int = 0) -> ndarray:
    """Mean over the tasks of the mean over the runs, so that every task counts the same."""
    return np.mean([scores.mean(axis=axis) for scores in tasks], axis=0)


def median(tasks: Tasks, axis: int = 0) -> ndarray:
    """Median over the tasks of the mean over the runs; of a single task, the median over the runs."""
    if len(tasks) == 1:
        return np.median(tasks[0], axis=axis)
    return np.median([scores.mean(axis=axis) for scores in tasks], axis=0)


def iqm(tasks: Tasks, axis: int = 0) -> ndarray:
    """Interquartile mean: the mean of the middle half of all runs of all tasks."""
    pooled = np.sort(np.concatenate(tasks, axis=axis), axis=axis)
    n_runs = pooled.shape[axis]
    cut = n_runs // 4
    return np.take(pooled, range(cut, n_runs - cut), axis=axis).mean(axis=axis)


AGGREGATES: dict[str, Aggregate] = {"mean": mean, "median": median, "iqm": iqm}
TITLES = {"mean": "mean", "median": "median", "iqm": "interquartile mean"}


def optimality_gap(tasks: Tasks, target: float = 1.0) -> float:
    """By how much the runs miss a target score on average; more than the target does not count."""
    return float(target - np.mean(np.minimum(np.concatenate(tasks), target)))


def interval(
    tasks: Tasks, aggregate: Aggregate, *, n_resamples: int = N_RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[ndarray, ndarray]:
    """Stratified percentile bootstrap: runs are drawn with replacement, for each task on its own.

    Args:
        tasks: Scores, one array ``(n_runs, ...)`` per task.
        aggregate: What is estimated.
        n_resamples: Number of resamples.
        level: Coverage of the interval.
        seed: Seed of the draws, so that a figure can be repeated.

    Returns:
        Lower and upper limit, in the shape of the estimate.
    """
    rng = np.random.default_rng(seed)
    estimates = aggregate([_resampled(scores, n_resamples, rng) for scores in tasks], axis=1)
    return _limits(estimates, level)


def probability_of_improvement(tasks: Tasks, baseline: Tasks) -> float:
    """Mean over the tasks of the probability that a run scores more than one of the baseline, ties counting half.

    Args:
        tasks: Scores, one array ``(n_runs,)`` per task.
        baseline: Those of the baseline, task by task.
    """
    pairs = zip(tasks, baseline, strict=True)
    return float(np.mean([_wins(ours[None], theirs[None])[0] for ours, theirs in pairs]))


def improvement_interval(
    tasks: Tasks, baseline: Tasks, *, n_resamples: int = N_RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of :func:`probability_of_improvement`; both sides are resampled."""
    rng = np.random.default_rng(seed)
    wins = [
        _wins(_resampled(ours, n_resamples, rng), _resampled(theirs, n_resamples, rng))
        for ours, theirs in zip(tasks, baseline, strict=True)
    ]
    low, high = _limits(np.mean(wins, axis=0), level)
    return float(low), float(high)


def performance_profile(tasks: Tasks, thresholds: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """The share of all runs that score more than each threshold, with its bootstrap interval.

    Args:
        tasks: Scores, one array ``(n_runs,)`` per task.
        thresholds: Shape ``(n,)``.

    Returns:
        Share, lower and upper limit, each of shape ``(n,)``.
    """
    above = [(scores[:, None] > thresholds).astype(float) for scores in tasks]
    return share(above), *interval(above, share)


def share(tasks: Tasks, axis: int = 0) -> ndarray:
    """Mean over all runs of all tasks, pooled."""
    return np.concatenate(tasks, axis=axis).mean(axis=axis)


def area_under_curve(steps: ndarray, values: ndarray) -> ndarray:
    """The average over the steps of piecewise linear curves.

    Args:
        steps: Shape ``(n,)``, increasing.
        values: Shape ``(..., n)``.
    """
    if len(steps) == 1:
        return values[..., 0]
    widths = np.diff(steps)
    return (widths * (values[..., 1:] + values[..., :-1]) / 2).sum(axis=-1) / widths.sum()


def steps_to(threshold: float, steps: ndarray, values: ndarray) -> ndarray:
    """The first step at which each curve reaches a threshold, infinite if it never does.

    Args:
        threshold: The value to reach.
        steps: Shape ``(n,)``.
        values: Shape ``(..., n)``.
    """
    reached = values >= threshold
    return np.where(reached.any(axis=-1), steps[reached.argmax(axis=-1)], np.inf)


def _resampled(scores: ndarray, n_resamples: int, rng: np.random.Generator) -> ndarray:
    """Shape ``(n_resamples, n_runs, ...)``."""
    return scores[rng.integers(len(scores), size=(n_resamples, len(scores)))]


def _wins(ours: ndarray, theirs: ndarray) -> ndarray:
    """Share of pairs of runs that are won, for scores of shape ``(n_resamples, n_runs)``."""
    difference = ours[:, :, None] - theirs[:, None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean(axis=(1, 2))


def _limits(estimates: ndarray, level: float) -> tuple[ndarray, ndarray]:
    """The middle of a bootstrap distribution; estimates may be infinite, so the limits are values of it."""
    tail = (1 - level) / 2
    method = "linear" if np.isfinite(estimates).all() else "nearest"
    low, high = np.quantile(estimates, (tail, 1 - tail), axis=0, method=method)
    return low, high
