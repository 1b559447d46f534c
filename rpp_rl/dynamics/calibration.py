"""Whether a model knows how far it is off: how often the truth lies in the intervals that it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import norm
from scipy.stats import t as student
from torch import Tensor

from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.envs.coordinates import to_rep
from rpp_rl.fast import shared_weights

COVERAGES = (0.5, 0.8, 0.95)
"""Probabilities of the intervals whose coverage is measured."""
N_SAMPLES = 10
"""Rollouts that are drawn of every member with a Gaussian head."""
N_STEPS = 20_000
"""Steps of the data that are predicted at once."""


def has_intervals(model: TransitionModel) -> bool:
    """Whether a model says how sure it is: by a ``gaussian`` head, or by the disagreement of its members."""
    return model.head == "gaussian" or (model.ensemble or 1) > 1


@torch.no_grad()
def coverage(
    model: TransitionModel, states: Float[ndarray, "n time_1 obs"], actions: Float[ndarray, "n time action"]
) -> dict[float, float]:
    """How often the next state lies in the interval of a given probability, over all steps and coordinates.

    A calibrated model has the coverage p for each p of `COVERAGES`, one that is too sure of itself has less. The
    members of an ensemble with Gaussian heads are a mixture, whose interval is that of the Gaussian of the same mean
    and variance (their own variance and that of their means). Members without are a sample, whose interval is that in
    which one more of them would lie (of Student's t).

    Raises:
        ValueError: If the model predicts no intervals.
    """
    _require_intervals(model)
    found = []
    for x, u in _pieces(model, states, actions):
        start, real = x[:, :-1].flatten(0, 1), x[:, 1:].flatten(0, 1)
        if model.head != "gaussian":
            found.append(_from_samples(model.rollout(start, u.flatten(0, 1)[:, None])[..., 0, :], real))
            continue
        with shared_weights(model):
            mean, std = model.distribution(start, u.flatten(0, 1))
        var = std.square()
        if model.ensemble is not None:
            mean, var = mean.mean(0), var.mean(0) + mean.var(0, correction=0)
        found.append(_deviations(real, mean, var.sqrt()))
    within = norm.ppf if model.head == "gaussian" else _of_samples(model.ensemble or 1)
    deviations = np.concatenate(found)
    return {p: float((deviations <= within((1 + p) / 2)).mean()) for p in COVERAGES}


@torch.no_grad()
def rollout_coverage(
    model: TransitionModel, states: Float[ndarray, "n time_1 obs"], actions: Float[ndarray, "n time action"]
) -> dict[float, Float[ndarray, " time"]]:
    """How often the states after 1, 2, ... steps lie in the intervals of rollouts from the first one.

    Every member is rolled out by itself, with a Gaussian head several times and with its noise (the same at every
    call). The interval is that in which one more rollout would lie (of Student's t).

    Raises:
        ValueError: If the model predicts no intervals.
    """
    _require_intervals(model)
    found, n_samples = [], 1
    for x, u in _pieces(model, states, actions):
        samples = _sampled_rollouts(model, x[:, 0], u)
        n_samples = len(samples)
        found.append(_from_samples(samples, x[:, 1:]))
    deviations, within = np.concatenate(found), _of_samples(n_samples)
    return {p: (deviations <= within((1 + p) / 2)).mean(axis=(0, 2)) for p in COVERAGES}


def _require_intervals(model: TransitionModel) -> None:
    if not has_intervals(model):
        raise ValueError("a single model with a deterministic head predicts no intervals")


def _pieces(
    model: TransitionModel, states: Float[ndarray, "n time_1 obs"], actions: Float[ndarray, "n time action"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """States in the model's coordinates and actions, some trajectories at a time."""
    parameter = next(model.parameters())
    n = max(N_STEPS // actions.shape[1], 1)
    for first in range(0, len(states), n):
        piece = slice(first, first + n)
        arrays = to_rep(model.spec.observation, states[piece]), actions[piece]
        x, u = (torch.as_tensor(array, dtype=parameter.dtype, device=parameter.device) for array in arrays)
        yield x, u


def _sampled_rollouts(
    model: TransitionModel, x0: Float[Tensor, "n state"], actions: Float[Tensor, "n time action"]
) -> Float[Tensor, "samples n time state"]:
    """One rollout of every member, or several with the noise of its head."""
    if model.head != "gaussian":
        return model.rollout(x0, actions)
    generator = torch.Generator(x0.device).manual_seed(0)
    x, steps = x0.repeat(N_SAMPLES, 1), []
    with shared_weights(model):
        for u in actions.repeat(N_SAMPLES, 1, 1).unbind(1):
            mean, std = model.distribution(x, u)
            x = mean + std * torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
            steps.append(x.reshape(-1, *x0.shape))
    return torch.stack(steps, dim=2)


def _from_samples(samples: Float[Tensor, "samples ..."], real: Float[Tensor, ...]) -> Float[ndarray, ...]:
    std = samples.std(0) * (1 + 1 / len(samples)) ** 0.5
    return _deviations(real, samples.mean(0), std)


def _of_samples(n: int) -> Callable[[float], float]:
    """Quantiles of `_from_samples` for so many Gaussian ones."""
    return lambda p: float(student.ppf(p, n - 1))


def _deviations(
    real: Float[Tensor, "*batch"], mean: Float[Tensor, "*batch"], std: Float[Tensor, "*batch"]
) -> Float[ndarray, "*batch"]:
    """How many standard deviations off; 0 where only rounding is, NaN where the prediction is no number."""
    is_exact = torch.isclose(mean, real, rtol=4 * torch.finfo(real.dtype).eps, atol=0.0)
    return torch.where(is_exact, 0.0, (real - mean).abs() / std).double().cpu().numpy()
