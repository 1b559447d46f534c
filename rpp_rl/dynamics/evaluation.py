"""Errors of a transition model's rollouts, and how far they are from equivariant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.dynamics.calibration import coverage, has_intervals, rollout_coverage
from rpp_rl.dynamics.metrics import (
    diverged,
    geometric_mean,
    honest_error,
    relative_errors,
    release_error,
    rms_errors,
    smoothed,
)
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.trajectories import Trajectories
from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.envs.spec import EnvSpec

HORIZONS = (10, 30, 100)
"""Steps at which the paper reports errors."""


@dataclass(frozen=True)
class Evaluation:
    """The errors of one model on real trajectories; relative errors lie between 0 and 1, see `rpp_rl.dynamics.metrics`.

    Attributes:
        n_trajectories: Number of trajectories.
        honest: By horizon, the geometric mean of the relative error of the whole state over the predicted steps.
        release: By horizon, the error in the metric of the authors' code (`release_error`), on smoothed data.
        diverged: By horizon, the share of trajectories that have left the region of the data by then.
        error_over_time: Geometric mean over the trajectories of the relative error of the whole state at the steps
            1, 2, ..., shape ``(time,)``.
        block_errors: The same for each block of the observation.
        rms_errors: Root mean square error of each number of the observation, in its unit, shape ``(time, obs)``.
        spread: Standard deviation of each number in the real trajectories, ``(obs,)``, to compare with.
        equivariance_errors: For each generator g, shape ``(time,)``: the mean relative error between the change of the
            state after g has acted on start and actions, and g applied to the change without; 0 is equivariant, 0.7
            unrelated. The first number is that of one step, arXiv:2112.01388, eq. 2.
        coverage: By probability, the share of the changes of one step that lie in the central interval which a model
            with a ``gaussian`` head, or an ensemble, gives that probability; empty for other models. See
            `rpp_rl.dynamics.calibration`.
        rollout_coverage: By probability, the share of the states in the intervals of rollouts, shape ``(time,)``.
    """

    n_trajectories: int
    honest: Mapping[int, float]
    release: Mapping[int, float]
    diverged: Mapping[int, float]
    error_over_time: Float[ndarray, " time"]
    block_errors: Mapping[str, Float[ndarray, " time"]]
    rms_errors: Float[ndarray, "time obs"]
    spread: Float[ndarray, " obs"]
    equivariance_errors: Mapping[str, Float[ndarray, " time"]]
    coverage: Mapping[float, float]
    rollout_coverage: Mapping[float, Float[ndarray, " time"]]


def evaluate(
    model: TransitionModel, test: Trajectories, horizons: Sequence[int] = HORIZONS, *, state_size: int | None = None
) -> Evaluation:
    """Roll the model out from the first state of every trajectory under its actions, and compare.

    The prediction of an ensemble is the mean of its members' trajectories. Errors are taken in the environment's own
    coordinates, so that models in different coordinates compare; quaternions have unit length and the sign that is
    nearest to the real one.

    Args:
        model: The model.
        test: Real trajectories that the model has not learned from.
        horizons: Numbers of steps to report.
        state_size: How many leading numbers of the observation are positions and velocities; all when not given.

    Raises:
        ValueError: If the trajectories are of another robot or shorter than the longest horizon.
    """
    time = max(horizons)
    require_fit(model.spec, test, time)
    states, actions = test.states[:, : time + 1], test.actions[:, :time]
    real, predicted = real_and_predicted(model, states, actions)
    # The release smooths its trajectories whole: numbers near the end depend on what follows.
    smooth = smoothed(test.states)[:, : time + 1], smoothed(test.actions)[:, :time]
    smooth_real, smooth_predicted = real_and_predicted(model, *smooth)
    # The release takes the first half, rounded down: the positions, and of the Swimmer a velocity too.
    n_positions = (state_size or model.spec.observation.size) // 2
    lost = diverged(predicted, real)
    return Evaluation(
        n_trajectories=len(test),
        honest={k: honest_error(predicted, real, k) for k in horizons},
        release={k: release_error(smooth_predicted, smooth_real, k, n_positions) for k in horizons},
        diverged={k: float(lost[:, k].mean()) for k in horizons},
        error_over_time=_over_time(predicted, real),
        block_errors={
            block.name: _over_time(predicted[..., list(block.indices)], real[..., list(block.indices)])
            for block in model.spec.observation.blocks
        },
        rms_errors=rms_errors(predicted, real)[1:],
        spread=real.std(axis=(0, 1)),
        equivariance_errors=equivariance_errors(model, states[:, 0], actions),
        coverage=coverage(model, states, actions) if has_intervals(model) else {},
        rollout_coverage=rollout_coverage(model, states, actions) if has_intervals(model) else {},
    )


def require_fit(spec: EnvSpec, test: Trajectories, time: int) -> None:
    """Refuse trajectories that a model cannot be compared with.

    Raises:
        ValueError: If they are of another environment, have other sizes, or fewer than ``time`` steps.
    """
    if test.env_id not in (None, spec.env_id):
        raise ValueError(f"the model is of {spec.env_id}, the data are of {test.env_id}")
    sizes, expected = (test.states.shape[2], test.actions.shape[2]), (spec.observation.size, spec.action.size)
    if sizes != expected:
        raise ValueError(
            f"the model of {spec.env_id} takes observations and actions of {expected[0]} and {expected[1]} numbers, "
            f"the data have {sizes[0]} and {sizes[1]}"
        )
    if test.time < time:
        raise ValueError(
            f"the longest horizon is {time} steps, the trajectories have {test.time}; choose shorter horizons"
        )


def real_and_predicted(
    model: TransitionModel, states: Float[ndarray, "n time_1 obs"], actions: Float[ndarray, "n time action"]
) -> tuple[Float[ndarray, "n time_1 obs"], Float[ndarray, "n time_1 obs"]]:
    """Real and predicted observations in the same choice of coordinates; both begin with the same one."""
    layout = model.spec.observation
    x = to_rep(layout, states)
    real = from_rep(layout, x)
    predicted = np.full_like(real, np.nan)
    predicted[:, 0] = real[:, 0]
    rolled = roll_out(model, x[:, 0], actions)
    # What has become infinite or NaN is no coordinates of anything.
    is_finite = np.isfinite(rolled).all(-1)
    predicted[:, 1:][is_finite] = from_rep(layout, rolled[is_finite])
    for block in layout.blocks:
        if block.transform == "rotation_matrix":
            for i in range(0, len(block.indices), 4):
                index = list(block.indices[i : i + 4])
                opposite = (predicted[..., index] * real[..., index]).sum(-1, keepdims=True) < 0
                predicted[..., index] *= np.where(opposite, -1.0, 1.0)
    return real, predicted


@torch.no_grad()
def roll_out(
    model: TransitionModel, x0: Float[ndarray, "n state"], actions: Float[ndarray, "n time action"]
) -> Float[ndarray, "n time state"]:
    """The model's states, in its coordinates, after the one given; of an ensemble the mean over its members."""
    parameter = next(model.parameters())
    tensors = [torch.as_tensor(a, dtype=parameter.dtype, device=parameter.device) for a in (x0, actions)]
    states = model.rollout(*tensors).double().cpu().numpy()
    return states if model.ensemble is None else states.mean(axis=0)


def equivariance_errors(
    model: TransitionModel, start: Float[ndarray, "n obs"], actions: Float[ndarray, "n time action"]
) -> dict[str, Float[ndarray, " time"]]:
    """For each generator how far the rollout of the image is from the image of the rollout at each step.

    Compared are the changes since the start: the state itself hardly moves in one step, which would hide the error.
    An infinitesimal generator acts by a quarter turn.
    """
    spec = model.spec
    x0 = to_rep(spec.observation, start)
    change = roll_out(model, x0, actions) - x0[:, None]
    errors = {}
    for generator, g in zip(spec.generators, spec.group.generator_elements(np.pi / 2), strict=True):
        rho = spec.obs_rep.rho(g)
        x0_g = x0 @ rho.T
        change_g = roll_out(model, x0_g, actions @ spec.action_rep.rho(g).T) - x0_g[:, None]
        with np.errstate(invalid="ignore"):
            image = change @ rho.T
        errors[generator.name] = relative_errors(change_g, image).mean(axis=0)
    return errors


def _over_time(
    predicted: Float[ndarray, "n time_1 size"], real: Float[ndarray, "n time_1 size"]
) -> Float[ndarray, " time"]:
    return geometric_mean(relative_errors(predicted, real)[:, 1:], axis=0)
