"""The commanded Ant: its symmetry in the simulator, step by step from mirrored states, and what breaks it."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs_reps
from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.tasks import register_tasks

pytestmark = pytest.mark.mujoco

ENV_ID = "rpp_rl/AntCommand-v0"
WORLD = (np.eye(2), np.diag([1.0, -1.0]))
"""What r and f do to the plane of the world."""


def make(**kwargs):
    register_tasks()
    env = gym.make(ENV_ID, **kwargs).unwrapped
    env.reset(seed=0)
    return env


def put(env, position, state, command):
    """Set position and the state in the form of Ant-v4's observation, and the command."""
    env.data.ctrl[:], env.data.qacc_warmstart[:] = 0, 0
    env.set_state(np.concatenate([position, state[:13]]), state[13:])
    env.command = command


def one_step_errors(variant="D4", n_states=40, **kwargs):
    """For each generator the largest error of the next observation, and of the reward, over states that are reached."""
    spec, ant = envs_reps.load(ENV_ID, variant), envs_reps.load("Ant-v4", "D4")
    env, mirrored, rng = make(**kwargs), make(**kwargs), np.random.default_rng(0)
    errors = []
    for g in range(2):
        on_state, on_obs, on_action = (rep.generators[g] for rep in (ant.obs_rep, spec.obs_rep, spec.action_rep))
        pairs = []
        for _ in range(n_states):
            env.reset()
            for _ in range(rng.integers(1, 40)):
                env.step(rng.uniform(-1, 1, 8))
            state = np.concatenate([env.data.qpos[2:], env.data.qvel])
            state[1:5] /= np.linalg.norm(state[1:5])
            position = env.data.qpos[:2].copy()
            image = from_rep(ant.observation, on_state @ to_rep(ant.observation, state))
            put(env, position, state, env.command)
            seen = env._observation()
            expected = from_rep(spec.observation, on_obs @ to_rep(spec.observation, seen))
            put(mirrored, WORLD[g] @ position, image, expected[26:])
            action = rng.uniform(-1, 1, 8)
            obs, reward, terminated, *_ = env.step(action)
            obs_image, reward_image, terminated_image, *_ = mirrored.step(on_action @ action)
            expected = from_rep(spec.observation, on_obs @ to_rep(spec.observation, obs))
            assert terminated == terminated_image or variant != "D4" or kwargs
            pairs.append((np.abs(obs_image - expected).max(), abs(reward - reward_image)))
        errors.append(np.max(pairs, axis=0))
    return np.array(errors)


def test_quarter_turns_and_left_right_are_exact_including_the_reward():
    assert one_step_errors().max() < 1e-9


@pytest.mark.parametrize(("kwargs", "generators"), [({"payload": 0.2}, (0, 1)), ({"variant": "placebo-D4"}, (0,))])
def test_payload_and_placebo_break_it(kwargs, generators):
    """Negative control."""
    assert (one_step_errors(**kwargs)[list(generators)].max(1) > 1e-3).all()


@pytest.mark.filterwarnings("ignore:.*Box observation space")
def test_it_is_a_gymnasium_environment():
    register_tasks()
    check_env(make(), skip_render_check=True)


def test_commands_come_from_all_directions_at_all_speeds():
    env = make(speed_range=(0.5, 1.0))
    commands = np.array([env.reset()[0][26:] for _ in range(300)])
    speeds, angles = np.linalg.norm(commands, axis=1), np.arctan2(commands[:, 1], commands[:, 0])
    assert 0.5 <= speeds.min() < 0.55
    assert 0.95 < speeds.max() <= 1.0
    assert np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0].min() > 45


def test_following_the_command_earns_more_than_standing():
    env = make(reset_noise_scale=0.0)
    env.data.qvel[:] = 0
    rewards = []
    for speed in (0.0, 0.5, 1.0):
        env.reset()
        env.command = np.array([1.0, 0.0])
        env.data.qvel[0] = speed
        rewards.append(env.step(np.zeros(8))[1])
    assert rewards == sorted(rewards)
    assert rewards[-1] > 0.5 > 0.2 > rewards[0]


@pytest.mark.parametrize("kwargs", [{"payload": -1.0}, {"speed_range": (0.0, 1.0)}, {"speed_range": (2.0, 1.0)}])
def test_impossible_arguments_are_refused(kwargs):
    with pytest.raises(ValueError, match="expected"):
        make(**kwargs)


def test_the_payload_is_on_one_leg():
    masses = make(payload=0.5).model.body_mass - make().model.body_mass
    assert masses.sum() == pytest.approx(0.5)
    assert np.count_nonzero(masses) == 1
