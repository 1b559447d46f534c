"""Environments that continue where others stood."""

import json
import random
from collections import deque
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

from rpp_rl.io.plain_tree import pack, unpack
from rpp_rl.runs import env_state
from rpp_rl.runs.environments import ResumableMonitor


def make(kind, **kwargs):
    env = gym.make(kind, **kwargs) if isinstance(kind, str) else gym.wrappers.TimeLimit(kind(), 50)
    return ResumableMonitor(env)


def stored(tree):
    data, arrays = pack(tree)
    return unpack(json.loads(json.dumps(data)), arrays)


def play(env, n_steps, rng):
    """Everything that the environment answers."""
    answers = []
    for _ in range(n_steps):
        space = env.action_space
        obs, reward, terminated, truncated, info = env.step(rng.uniform(space.low, space.high).astype(np.float32))
        answers.append((obs.tobytes(), float(reward), terminated, truncated, info.get("episode", {}).get("r")))
        if terminated or truncated:
            answers.append(env.reset()[0].tobytes())
    return answers


@pytest.mark.mujoco
@pytest.mark.filterwarnings("ignore:.*is out of date")
@pytest.mark.parametrize("env_id", ["Ant-v5", "Humanoid-v5", "Hopper-v4", "Pusher-v5", "Pendulum-v1"])
def test_an_environment_continues_bit_for_bit_in_another_one(env_id):
    one, other = make(env_id), make(env_id)
    one.reset(seed=1)
    other.reset(seed=2)
    play(one, 60, np.random.default_rng(0))
    env_state.restore(other, stored(env_state.capture(one)))
    assert play(one, 150, np.random.default_rng(1)) == play(other, 150, np.random.default_rng(1))


@pytest.mark.mujoco
def test_positions_and_velocities_alone_would_not_do():
    """Negative control: the forces that an Ant feels are in neither."""
    one, other = make("Ant-v5"), make("Ant-v5")
    one.reset(seed=1)
    other.reset(seed=2)
    play(one, 60, np.random.default_rng(0))
    data = one.unwrapped.data
    other.unwrapped.set_state(data.qpos.copy(), data.qvel.copy())
    assert play(one, 150, np.random.default_rng(1)) != play(other, 150, np.random.default_rng(1))


class Own(HopperEnv):
    """A robot with a memory of its own."""

    def __init__(self):
        super().__init__()
        self.history = deque([np.zeros(3)] * 2, maxlen=2)
        self.noise = random.Random(1)
        self.controller = Controller()
        self.file = Path("own.xml")
        self.same_history = self.history

    def step(self, action):
        self.history.append(action.copy())
        self.controller.target += self.noise.random()
        obs, reward, terminated, truncated, info = super().step(np.mean(self.same_history, axis=0))
        return obs + self.controller.target, reward, terminated, truncated, info


class Controller:
    def __init__(self):
        self.target = 0.0


@pytest.mark.mujoco
def test_parts_of_an_own_environment_are_followed():
    one, other = make(Own), make(Own)
    one.reset(seed=1)
    other.reset(seed=2)
    play(one, 30, np.random.default_rng(0))
    env_state.restore(other, stored(env_state.capture(one)))
    assert play(one, 80, np.random.default_rng(1)) == play(other, 80, np.random.default_rng(1))
    assert other.unwrapped.history is other.unwrapped.same_history


class Viewing(HopperEnv):
    def __init__(self):
        super().__init__()
        self.joints = self.data.qpos[2:]


class Closed(HopperEnv):
    def __init__(self):
        super().__init__()
        count = [0]
        self.reward_of = lambda: count


class Listing(HopperEnv):
    def __init__(self):
        super().__init__()
        self.part = {1, 2}


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Viewing, "is a view of"), (Closed, "reward_of is a builtins.function"), (Listing, "part is a builtins.set")],
)
def test_what_cannot_be_saved_for_sure_is_refused(kind, reason):
    env = make(kind)
    env.reset(seed=0)
    tree, why = env.capture_state()
    assert tree is None
    assert reason in why


@pytest.mark.mujoco
def test_another_model_is_refused():
    one, other = make("Hopper-v5"), make("Hopper-v5")
    one.reset(seed=0)
    other.reset(seed=0)
    other.unwrapped.model.body_mass[1] *= 1.01
    assert "is another MuJoCo model than it was" in other.restore_state(env_state.capture(one))
    assert "Pendulum" in make("Pendulum-v1").restore_state(env_state.capture(one))


class Walker(gym.Env):
    """Stands at 2, 3, 4, ... metres after its steps."""

    observation_space = action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 1.0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.x += 1
        return np.zeros(1, np.float32), 0.0, self.x >= 5, False, {"x_position": self.x}


def test_an_episode_says_how_far_the_robot_went():
    env, resumed = ResumableMonitor(Walker()), ResumableMonitor(Walker())
    for _ in range(2):
        env.reset()
        infos = [env.step(np.zeros(1))[4] for _ in range(4)]
        assert [info.get("episode", {}).get("x_displacement") for info in infos] == [None, None, None, 3.0]
    env.reset()
    env.step(np.zeros(1))
    resumed.reset()
    tree = stored(env_state.capture(env))
    env_state.restore(resumed, tree)
    *_, last = [resumed.step(np.zeros(1))[4] for _ in range(3)]
    assert last["episode"]["x_displacement"] == 3.0
    # The state of a run of before does not say where the episode began.
    resumed.reset()
    tree[2] = [item for item in tree[2] if item[0] != "start_x"]
    env_state.restore(resumed, tree)
    *_, last = [resumed.step(np.zeros(1))[4] for _ in range(3)]
    assert np.isnan(last["episode"]["x_displacement"])
