"""Errors of rollouts against numbers worked out by hand and against models whose rollouts are known."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import envs_reps
from envs_reps.tasks import STATE_SIZES
from rpp_rl.dynamics import Trajectories, TransitionModel
from rpp_rl.dynamics.evaluation import equivariance_errors, evaluate, real_and_predicted
from rpp_rl.dynamics.metrics import diverged, honest_error, relative_errors, release_error, rms_errors, smoothed
from rpp_rl.dynamics.plots import MORE_COLOURS, _colours, trajectory_figure
from rpp_rl.envs import from_rep, to_rep
from tests.kit.toy_models import POINTS, KnownModel, constant


def series(*numbers):
    """One trajectory of states of one number."""
    return np.array(numbers, dtype=float)[None, :, None]


def test_relative_error_by_hand():
    a, b = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[3.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    assert relative_errors(a, b) == pytest.approx([4 / (5 + 3), 1, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_error_of_one(bad):
    assert relative_errors(np.array([bad, 1.0]), np.ones(2)) == 1
    assert honest_error(series(1, bad, 1 / 3), series(1, 1, 1), 2) == pytest.approx(math.sqrt(1 * 0.5))


numbers = arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False))


@given(numbers, numbers, st.floats(1e-3, 1e3))
def test_relative_errors_are_symmetric_bounded_and_have_no_unit(a, b, unit):
    errors = relative_errors(a, b)
    assert ((errors >= 0) & (errors <= 1 + 1e-12)).all()
    assert relative_errors(b, a) == pytest.approx(errors)
    assert relative_errors(unit * a, unit * b) == pytest.approx(errors, abs=1e-9)
    assert relative_errors(a, a) == pytest.approx(np.zeros(3))
    assert relative_errors(a, -a) == pytest.approx(np.where(np.any(a != 0, axis=-1), 1.0, 0.0))


def test_honest_error_is_the_geometric_mean_without_the_start():
    real, predicted = series(1, 1, 1, 1), series(1, 3, 9 / 7, 100)
    assert honest_error(predicted, real, 2) == pytest.approx(math.sqrt(0.5 * 0.125))


def test_release_counts_the_start_and_ends_before_the_horizon():
    real, predicted = series(1, 1, 1, 1), series(1, 3, 9 / 7, 100)
    assert release_error(predicted, real, 3, 1) == pytest.approx((1e-7 * 0.5 * 0.125) ** (1 / 3))


@pytest.mark.parametrize(("k", "factor"), [(10, 0.20), (30, 0.58), (100, 0.85)])
def test_release_is_smaller_than_the_error_of_its_predictions_by_a_known_factor(k, factor, rng):
    real = rng.normal(size=(5, k, 6))
    predicted = real + 0.1 * rng.normal(size=real.shape)
    predicted[:, 0] = real[:, 0]
    of_predictions = honest_error(predicted[..., :3], real[..., :3], k - 1)
    ratio = release_error(predicted, real, k, 3) / of_predictions ** ((k - 1) / k)
    assert ratio == pytest.approx(1e-7 ** (1 / k))
    assert ratio == pytest.approx(factor, abs=0.01)


def test_release_does_not_see_velocities(rng):
    real = rng.normal(size=(3, 10, 4))
    predicted = real.copy()
    predicted[..., 2:] += 1
    assert release_error(predicted, real, 10, 2) == pytest.approx(1e-7)
    assert honest_error(predicted, real, 9) > 0.1


def test_too_long_horizons_are_refused():
    with pytest.raises(ValueError, match="at least 4 states, got 3"):
        honest_error(series(1, 1, 1), series(1, 1, 1), 3)
    with pytest.raises(ValueError, match="at least 4 states, got 3"):
        release_error(series(1, 1, 1), series(1, 1, 1), 4, 1)


def test_smoothing_is_the_gaussian_of_width_two_reflected_at_the_ends(rng):
    numbers = rng.normal(size=(1, 30, 1))
    weights = np.exp(-(np.arange(-8, 9) ** 2) / (2 * 2.0**2))
    padded = np.concatenate([numbers[0, 7::-1, 0], numbers[0, :, 0], numbers[0, :21:-1, 0]])
    expected = [padded[i : i + 17] @ weights / weights.sum() for i in range(30)]
    assert smoothed(numbers)[0, :, 0] == pytest.approx(expected)


def test_divergence_lasts():
    real = series(1, -2, 1, 1)
    assert diverged(series(1, 20, 21, 1), real).tolist() == [[False, False, True, True]]
    assert diverged(series(1, np.nan, 1, 1), real).tolist() == [[False, True, True, True]]


def test_rms_error_of_each_number_by_hand():
    real = np.zeros((2, 1, 2))
    assert rms_errors(np.array([[[3.0, 1.0]], [[4.0, np.nan]]]), real).tolist() == [[math.sqrt(12.5), math.inf]]


def test_errors_of_a_model_that_grows_are_those_of_the_closed_form(rng):
    """Of x' = (1 + ε) x on constant trajectories the relative error at t is tanh(t ln(1 + ε) / 2)."""
    states, actions = constant(7, 40, rng)
    result = evaluate(KnownModel(lambda x, u: 1.01 * x), trajectories(states, actions), (10, 40))
    expected = np.tanh(np.arange(1, 41) * math.log(1.01) / 2)
    assert result.error_over_time == pytest.approx(expected)
    assert list(result.block_errors) == ["positions [m]", "velocities [m/s]"]
    assert result.block_errors["velocities [m/s]"] == pytest.approx(expected)
    growth = np.sqrt(np.square(states[:, 0]).mean(axis=0)) * (1.01 ** np.arange(1, 41)[:, None] - 1)
    assert result.rms_errors == pytest.approx(growth)
    for k in (10, 40):
        assert result.honest[k] == pytest.approx(np.exp(np.log(expected[:k]).mean()))
        assert result.release[k] == pytest.approx(np.exp(np.log([1e-7, *expected[: k - 1]]).mean()))
    assert result.diverged == {10: 0, 40: 0}
    assert result.equivariance_errors["m"] == pytest.approx(np.zeros(40), abs=1e-12)


def test_the_release_metric_is_taken_on_smoothed_data(rng):
    """A model that knows the dynamics of the data as they are is wrong about the smoothed ones, by a known amount."""
    states, actions = constant(3, 12, rng)
    states = states + rng.normal(size=states.shape).cumsum(axis=1)
    result = evaluate(KnownModel(lambda x, u: x), trajectories(states, actions), (10,))
    smooth = smoothed(states)
    # The model stays at the first smoothed state; positions are the first two of four numbers.
    errors = relative_errors(smooth[:, :1, :2], smooth[:, :10, :2])
    assert result.release[10] == pytest.approx(np.exp(np.log(np.maximum(errors, 1e-7)).mean()))
    assert result.spread == pytest.approx(states[:, :11].reshape(-1, 4).std(axis=0))
    raw = relative_errors(states[:, :1], states[:, 1:11])
    assert result.honest[10] == pytest.approx(np.exp(np.log(raw).mean()))


@pytest.mark.parametrize(
    ("env_id", "position", "no_position"),
    [("Ant-v4", 12, 13), ("Ant-v5", 12, 13), ("Humanoid-v4", 21, 22), ("Humanoid-v5", 21, 22), ("Hopper-v4", 4, 5)],
)
def test_the_release_metric_sees_positions_only(env_id, position, no_position, rng):
    """Of robots whose observations hold more than positions and velocities, the first half of these two."""
    spec = envs_reps.load(env_id)
    states, actions = constant(2, 10, rng, spec)
    for index, is_seen in ((position, True), (no_position, False)):
        moved = states[:, 0].copy()
        moved[:, index] += 1.0
        x = torch.as_tensor(to_rep(spec.observation, moved))
        model = KnownModel(lambda *_, x=x: x, spec)
        result = evaluate(model, Trajectories(states, actions, env_id), (10,), state_size=STATE_SIZES.get(env_id))
        assert (result.release[10] > 1e-6) == is_seen
        assert result.honest[10] > 1e-6


def test_diverged_share_is_counted_at_each_horizon(rng):
    """Doubling from the rim of the data takes four steps to ten times the distance; a small start takes longer."""
    states, actions = constant(2, 10, rng)
    states /= np.linalg.norm(states, axis=-1, keepdims=True) * np.array([1, 10_000])[:, None, None]
    result = evaluate(KnownModel(lambda x, u: 2 * x), trajectories(states, actions), (3, 4, 10))
    assert result.diverged == {3: 0, 4: 0.5, 10: 0.5}


def test_overflow_leaves_every_summary_finite(rng):
    model = KnownModel(lambda x, u: x * 1e200)
    result = evaluate(model, trajectories(*constant(2, 10, rng)), (10,))
    assert result.diverged == {10: 1}
    assert 0.9 < result.honest[10] <= 1
    assert np.isfinite(result.error_over_time).all()
    assert result.error_over_time[-1] == 1


def test_an_ensemble_predicts_the_mean_of_its_members(rng):
    def step(x, u):
        return x + torch.tensor([0.1, -0.1, 0.6], dtype=x.dtype)[:, None, None]

    states, actions = constant(4, 10, rng)
    _, predicted = real_and_predicted(KnownModel(step, ensemble=3), states, actions)
    assert predicted == pytest.approx(states + 0.2 * np.arange(11)[:, None])


def test_actions_are_used_in_time(rng):
    """Real states made by another loop: the model that knows the dynamics has no error, one that lags has."""
    states, actions = constant(3, 10, rng)
    matrix = np.concatenate([np.eye(2), -np.eye(2)])
    for t in range(10):
        states[:, t + 1] = 0.9 * states[:, t] + actions[:, t] @ matrix.T
    known = KnownModel(lambda x, u: 0.9 * x + u @ torch.as_tensor(matrix.T))
    assert evaluate(known, trajectories(states, actions), (10,)).honest[10] < 1e-6
    assert evaluate(known, trajectories(states, np.roll(actions, 1, axis=1)), (10,)).honest[10] > 0.05


def test_equivariance_error_is_that_of_the_change():
    """x' = x + (x_1, 0): at t = 1 the images of (1, 3) change by (3, 0) and (0, 1), so |(3, -1)| / (3 + 1)."""
    model = KnownModel(lambda x, u: x + x * torch.tensor([1.0, 0, 0, 0]))
    start = np.array([[1.0, 3.0, 0.0, 0.0]])
    errors = equivariance_errors(model, start, np.zeros((1, 2, 2)))["m"]
    # The second step doubles again: changes of 9 and 3.
    assert errors == pytest.approx([math.sqrt(10) / 4, math.sqrt(90) / 12])


def test_the_group_acts_on_actions_too(rng):
    states, actions = constant(5, 3, rng)
    swapped = KnownModel(lambda x, u: x + torch.cat([u.flip(-1), u], -1))
    skewed = KnownModel(lambda x, u: x + torch.cat([u * torch.tensor([1.0, 2.0]), u], -1))
    assert equivariance_errors(swapped, states[:, 0], actions)["m"].max() < 1e-12
    assert equivariance_errors(skewed, states[:, 0], actions)["m"].min() > 0.05


@pytest.fixture
def ant(rng):
    """States of an Ant that turns, its quaternion passing w = 0 within the trajectory, and actions."""
    spec = envs_reps.load("Ant-v4", "D4")
    states, actions = constant(6, 100, rng, spec)
    half = np.linspace(0.3, 2.8, 101)
    states[..., 1:5] = np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], -1)
    return spec, states, actions


@pytest.mark.parametrize("mode", ["emlp", "mlp"])
def test_strict_rollouts_commute_with_the_group_for_100_steps(ant, mode, rng):
    spec, states, actions = ant
    torch.manual_seed(0)
    model = TransitionModel(spec, mode=mode, widths=(32, 32))
    errors = equivariance_errors(model, states[:, 0], actions)
    assert set(errors) == {"r", "f"}
    for error in errors.values():
        if mode == "emlp":
            assert error.max() < 1e-4
        else:
            assert error.min() > 0.05


def test_the_sign_of_a_quaternion_is_no_error(ant):
    """A prediction that is a little ahead passes w = 0 a little earlier, and has the other sign for a while."""
    spec, states, actions = ant
    ahead = states.copy()
    half = np.linspace(0.3, 2.8, 101) + 0.05
    ahead[..., 1], ahead[..., 4] = np.cos(half), np.sin(half)
    x = torch.as_tensor(to_rep(spec.observation, ahead))
    steps = iter(range(1, 101))
    real, predicted = real_and_predicted(KnownModel(lambda *_: x[:, next(steps)], spec), states, actions)
    errors = relative_errors(predicted[:, 1:, 1:5], real[:, 1:, 1:5])
    assert errors == pytest.approx(np.full((6, 100), np.tan(0.05 / 2)), rel=1e-2)
    # The trap: the other quaternion of the same orientation is far away.
    apart = [from_rep(spec.observation, to_rep(spec.observation, obs)) for obs in (states, ahead)]
    assert relative_errors(apart[0][..., 1:5], apart[1][..., 1:5]).max() > 0.9


def test_a_wrong_orientation_is_one(ant):
    spec, states, actions = ant
    real, predicted = real_and_predicted(KnownModel(lambda x, u: x, spec), states, actions)
    assert honest_error(predicted[..., 1:5], real[..., 1:5], 100) > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env_id": "Ant-v4"}, "the model is of Points-v0, the data are of Ant-v4"),
        ({"states": np.zeros((1, 11, 5), np.float32)}, "takes observations and actions of 4 and 2 numbers.* 5 and 2"),
        ({"actions": np.zeros((1, 9, 2), np.float32)}, "longest horizon is 10 steps, the trajectories have 9"),
    ],
)
def test_data_that_do_not_fit_are_refused(change, message, rng):
    test = dataclasses.replace(trajectories(*constant(1, 10, rng)), **change)
    with pytest.raises(ValueError, match=message):
        evaluate(KnownModel(lambda x, u: x), test, (10,))


def trajectories(states, actions):
    return Trajectories(states.astype(np.float64), actions, POINTS.env_id)


def test_panels_are_named_after_joints(rng):
    spec = envs_reps.load("Hopper-v5")
    real = rng.normal(size=(20, spec.observation.size))
    figure = trajectory_figure(spec, real, {"RPP Z2": real}, "Hopper-v5")
    names = {name for block in spec.observation.blocks for name in block.labels or (block.name,)}
    titles = [axis.get_title() for axis in figure.axes if axis.get_visible()]
    assert titles
    assert {title.split(" [")[0] for title in titles} <= names
    plain = trajectory_figure(POINTS, real[:, :4], {"RPP Z2": real[:, :4]}, "points").axes[0].get_title()
    assert plain in ("positions [m], number 1 of 2", "positions [m], number 2 of 2")


def test_a_mode_has_its_colour_in_every_picture():
    """As `evaluate-model` and others name them; a second kind of the same mode has another one."""
    kinds = [
        "MLP, 256x256, 60 epochs",
        "RPP Z2, 206x206, 60 epochs",
        "EMLP Z2, 366x366, 60 epochs",
        "MLP, 64x64, 60 epochs",
    ]
    assert _colours(kinds) == ["tab:gray", "tab:blue", "tab:orange", MORE_COLOURS[0]]
    assert _colours(["MLP", "RPP"]) == ["tab:gray", "tab:blue"]
