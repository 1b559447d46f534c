"""Updates during the steps of the environments: as many as without, while the environments step, none forgotten."""

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnvWrapper

from rpp_rl.sac import RPPSAC, OverlappedRPPSAC, algorithm_for

SETTINGS = {"learning_starts": 20, "buffer_size": 500, "batch_size": 8, "seed": 0, "device": "cpu", "gradient_steps": 2}


class Recorder(VecEnvWrapper):
    """Notes when it is asked to step and when it is waited for."""

    def __init__(self, venv, events):
        super().__init__(venv)
        self.events = events

    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        self.events.append("step")
        self.venv.step_async(actions)

    def step_wait(self):
        self.events.append("wait")
        return self.venv.step_wait()


def pendulum():
    return TimeLimit(PendulumEnv(), 50)


def make_agent(kind, events=None):
    envs = Recorder(DummyVecEnv([pendulum, pendulum]), [] if events is None else events)
    return kind("RPPPolicy", envs, policy_kwargs={"mode": "mlp", "net_arch": [8]}, **SETTINGS)


@pytest.fixture
def updates(monkeypatch):
    """The events of a training, updates among them."""
    events, train = [], RPPSAC.train

    def noting(agent, gradient_steps, batch_size=64):
        events.append("update")
        train(agent, gradient_steps, batch_size)

    monkeypatch.setattr(RPPSAC, "train", noting)
    return events


def test_updates_are_made_while_the_environments_step(updates):
    make_agent(OverlappedRPPSAC, updates).learn(40)
    rounds = "".join(event[0] for event in updates).split("s")
    # Random steps, of which the last one ends the time without updates, and steps with the updates of the one before.
    assert rounds == [""] + ["w"] * 11 + ["uw"] * 8 + ["uwu"]


def test_without_overlap_the_environments_wait(updates):
    make_agent(RPPSAC, updates).learn(40)
    assert "".join(event[0] for event in updates).split("s") == [""] + ["w"] * 10 + ["wu"] * 10


def test_no_update_is_lost_or_added():
    overlapped, plain = make_agent(OverlappedRPPSAC).learn(60), make_agent(RPPSAC).learn(60)
    assert overlapped._n_updates == plain._n_updates == 40
    overlapped.learn(20, reset_num_timesteps=False)
    assert overlapped._n_updates == 60


def test_updates_see_the_transitions_that_they_would_see_otherwise(monkeypatch):
    seen = {}
    for kind in (OverlappedRPPSAC, RPPSAC):
        sizes = seen[kind] = []

        def train(agent, gradient_steps, batch_size, sizes=sizes):
            sizes.append((gradient_steps, agent.replay_buffer.pos))

        monkeypatch.setattr(RPPSAC, "train", train)
        make_agent(kind).learn(60)
    assert seen[OverlappedRPPSAC] == seen[RPPSAC] == [(2, 11 + i) for i in range(20)]


def test_updates_that_are_owed_survive_saving(tmp_path):
    agent = make_agent(OverlappedRPPSAC)
    agent.learn(40)
    agent.train(3)
    agent.save(tmp_path / "agent.zip")
    loaded = OverlappedRPPSAC.load(tmp_path / "agent.zip", device="cpu")
    assert loaded._owed == 3
    plain = RPPSAC.load(tmp_path / "agent.zip", device="cpu")
    obs = np.ones((1, 3), dtype=np.float32)
    np.testing.assert_array_equal(plain.predict(obs, deterministic=True)[0], agent.predict(obs, deterministic=True)[0])


def test_same_seed_same_agent():
    first, second = (make_agent(OverlappedRPPSAC).learn(60).policy.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_environments_with_processes_of_their_own_are_overlapped():
    envs = SubprocVecEnv([pendulum, pendulum])
    try:
        assert algorithm_for(Recorder(envs, [])) is OverlappedRPPSAC
        agent = algorithm_for(envs)("RPPPolicy", envs, policy_kwargs={"mode": "mlp", "net_arch": [8]}, **SETTINGS)
        assert agent.learn(60)._n_updates == 40
    finally:
        envs.close()
    assert algorithm_for(DummyVecEnv([pendulum])) is algorithm_for(None) is RPPSAC
