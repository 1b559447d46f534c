"""The rewards and terminations of `envs_reps.tasks` against those that the simulator gives."""

import dataclasses

import numpy as np
import pytest

from envs_reps.tasks import TASKS, task
from rpp_rl.envs.simulator import make

# Largest root mean square of what the mean of two velocities misses, as a share of the velocities' standard deviation:
# contacts change velocities within a step, most of all the Cheetah's.
SLACK = {"HalfCheetah": 0.35, "Ant": 0.2, "Swimmer": 0.1}


@pytest.fixture(scope="module")
def played():
    """For each environment: observations before, actions, rewards, observations after, terminations, velocities."""
    cache = {}

    def play(env_id):
        if env_id not in cache:
            env, rng, steps = make(env_id), np.random.default_rng(0), []
            obs, _ = env.reset(seed=0)
            for _ in range(400):
                action = rng.uniform(env.action_space.low, env.action_space.high)
                next_obs, reward, terminated, _, info = env.step(action)
                steps.append((obs, action, reward, next_obs, terminated, info["x_velocity"]))
                obs = env.reset()[0] if terminated else next_obs
            cache[env_id] = [np.array(column) for column in zip(*steps, strict=True)]
        return cache[env_id]

    return play


def distance(a, b):
    return np.sqrt(np.square(a - b).mean())


def mean_velocity(task, obs, next_obs):
    return (task.velocity(obs) + task.velocity(next_obs)) / 2


@pytest.mark.mujoco
@pytest.mark.parametrize("env_id", TASKS)
def test_velocities_are_near_the_simulator_s(env_id, played):
    obs, _, _, next_obs, _, velocities = played(env_id)
    error = distance(mean_velocity(task(env_id), obs, next_obs), velocities)
    assert error < SLACK.get(env_id.partition("-")[0], 0.06) * velocities.std()


def without_velocity(task, obs, actions, next_obs):
    return task.reward(obs, actions, next_obs) - task.forward_weight * mean_velocity(task, obs, next_obs)


@pytest.mark.mujoco
@pytest.mark.parametrize("env_id", TASKS)
def test_all_but_the_velocity_is_exactly_the_simulator_s(env_id, played):
    obs, actions, rewards, next_obs, _, velocities = played(env_id)
    expected = rewards - task(env_id).forward_weight * velocities
    assert without_velocity(task(env_id), obs, actions, next_obs) == pytest.approx(expected, abs=1e-6)


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("env_id", "change"),
    [
        ("Hopper-v4", {"pays_end": False}),
        ("Hopper-v5", {"pays_end": True}),
        ("Ant-v5", {"contact_weight": 0.0}),
        ("Humanoid-v5", {"contact_weight": 0.0}),
        ("Humanoid-v4", {"forward_weight": 1.0}),
    ],
)
def test_another_rule_is_noticed(env_id, change, played):
    """Negative control of the test above."""
    obs, actions, rewards, next_obs, _, velocities = played(env_id)
    other = dataclasses.replace(task(env_id), **change)
    off = without_velocity(other, obs, actions, next_obs) - rewards + other.forward_weight * velocities
    assert np.abs(off).max() > 1e-3


@pytest.mark.mujoco
@pytest.mark.parametrize("env_id", TASKS)
def test_terminations_are_the_simulator_s(env_id, played):
    _, _, _, next_obs, terminated, _ = played(env_id)
    if env_id.partition("-")[0] in {"Hopper", "Walker2d", "Humanoid"}:
        assert terminated.any()
    assert task(env_id).terminated(next_obs).tolist() == terminated.tolist()


def test_the_humanoid_s_velocity_is_that_of_its_centre_of_mass():
    """Two bodies of 1 kg and 3 kg, the second turning about y at 2 rad/s half a metre above the point of reference."""
    obs = np.zeros(45 + 140 + 84)
    inertias, motions = obs[45:185].reshape(14, 10), obs[185:].reshape(14, 6)
    inertias[1:3, 9] = 1, 3
    inertias[2, 6:9] = 0, 0, 3 * 0.5
    motions[1], motions[2] = (0, 0, 0, 4, 0, 0), (0, 2, 0, 1, 0, 0)
    assert task("Humanoid-v4").velocity(obs) == pytest.approx((1 * 4 + 3 * (1 + 2 * 0.5)) / 4)


def test_numbers_that_are_not_finite_end_an_episode():
    obs = np.ones((2, 17))
    obs[1, 16] = np.nan
    assert task("HalfCheetah-v5").terminated(obs).tolist() == [False, True]


def test_unknown_tasks_are_named():
    with pytest.raises(ValueError, match=r"reward of my:Robot-v0 is not known.* give reward=function"):
        task("my:Robot-v0")
