"""Planning in a known model pays, and finds the best plan where that is known."""

import numpy as np
import pytest
from gymnasium.spaces import Box

from rpp_rl.dynamics.planning import Planner, returns
from tests.kit.toy_models import make_env


def test_returns_stop_at_the_end(rng):
    env = make_env(
        lambda x, u: x + 1, num_envs=2, reward=lambda o, a, n: n[:, 0] + a[:, 0], terminated=lambda o: o[:, 0] > 2.5
    )
    plans = np.zeros((2, 6, 2))
    plans[1, :, 0] = 0.5
    assert returns(env, np.zeros(4), plans).tolist() == [1 + 2 + 3, 1 + 2 + 3 + 1.5]


def drive(policy, n_steps=40):
    """The return in the real system, computed apart from the model."""
    position, velocity, total = np.array([0.0, 0.5]), np.zeros(2), 0.0
    for _ in range(n_steps):
        velocity = velocity + 0.1 * np.clip(policy(np.concatenate([position, velocity])), -1, 1)
        position = position + 0.1 * velocity
        total -= np.square(position - 1).sum()
    return total


@pytest.mark.parametrize(
    ("n_iterations", "method"),
    [(1, "cem"), (4, "cem"), (4, "mppi")],
    ids=["random shooting", "cross-entropy method", "MPPI"],
)
def test_planning_beats_random_and_no_actions(n_iterations, method, rng):
    env = make_env(num_envs=200)
    env.reset(seed=0)
    planned = drive(Planner(env, horizon=15, n_iterations=n_iterations, method=method))
    random = max(drive(lambda _: rng.uniform(-1, 1, size=2)) for _ in range(20))
    assert planned > random
    assert planned > 0.5 * drive(lambda _: np.zeros(2))


def test_the_method_finds_the_best_plan_of_a_linear_system():
    """Of a system whose best plan least squares gives: forces within their bounds, a quadratic reward."""
    env = make_env(
        num_envs=400, reward=lambda o, a, n: -np.square(n[:, :2] - 0.02).sum(-1) - 0.01 * np.square(a).sum(-1)
    )
    env.reset(seed=0)
    plan = Planner(env, horizon=8, n_iterations=12).plan(np.zeros(4))
    # position_t = 0.01 Σ_{s <= t} (t - s + 1) force_s
    gain = 0.01 * np.tril(np.subtract.outer(np.arange(8), np.arange(8)) + 1.0)
    best = np.linalg.solve(gain.T @ gain + 0.01 * np.eye(8), gain.T @ np.full(8, 0.02))

    def loss(force):
        return 2 * (np.square(gain @ force - 0.02).sum() + 0.01 * np.square(force).sum())

    assert np.abs(best).max() < 1
    reached = -returns(env, np.zeros(4), np.tile(plan, (400, 1, 1)))[0]
    assert loss(best) <= reached < loss(best) + 0.1 * (loss(0 * best) - loss(best))


def test_the_rest_of_the_last_plan_is_tried_again():
    env = make_env(num_envs=100)
    env.reset(seed=0)
    planner = Planner(env, horizon=15, n_iterations=10)
    planner(np.zeros(4))
    planner.n_iterations = 1
    obs = np.array([0.01, 0.01, 0.1, 0.1])
    worth = [returns(env, obs, np.tile(planner.plan(obs), (100, 1, 1)))[0]]
    planner.reset()
    worth.append(returns(env, obs, np.tile(planner.plan(obs), (100, 1, 1)))[0])
    assert worth[0] > worth[1]


def test_where_nothing_is_random_particles_change_nothing():
    plans = []
    for n_particles in (1, 3):
        env = make_env(num_envs=20 * n_particles)
        planner = Planner(env, horizon=5, n_particles=n_particles)
        env.reset(seed=0)
        env.np_random = np.random.default_rng(0)
        plans.append(planner.plan(np.zeros(4)))
    assert np.array_equal(*plans)


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="expected a method of cem, mppi and a positive temperature, got 'newton'"):
        Planner(make_env(num_envs=4), method="newton")


def test_particles_have_to_divide_the_copies():
    with pytest.raises(ValueError, match="at least two plans of 3 particles, got 4"):
        Planner(make_env(num_envs=4), n_particles=3)


@pytest.mark.parametrize(
    "change", [{"horizon": 0}, {"n_iterations": 0}, {"n_particles": 0}, {"elite_share": 1.5}, {"spread": 0.0}]
)
def test_numbers_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="expected positive numbers"):
        Planner(make_env(num_envs=4), **change)


def test_actions_without_bounds_are_refused():
    """Their middle is no number."""
    env = make_env(num_envs=4)
    env.single_action_space = Box(-np.inf, np.inf, (2,))
    with pytest.raises(ValueError, match="between the bounds of actions"):
        Planner(env)
