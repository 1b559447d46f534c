"""Agents that learn from imagined steps: what their batches hold, how long they imagine, and that they learn."""

from contextlib import nullcontext
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rpp_rl import RPPSAC
from rpp_rl.model_based import ModelBasedRPPSAC

SMALL = {
    "model_train_freq": 20, "model_updates": 2, "model_net_arch": (16,), "model_ensemble": 2, "n_rollouts": 50,
    "learning_starts": 30, "buffer_size": 1000, "batch_size": 40, "policy_kwargs": {"net_arch": [16]}, "seed": 0,
}  # fmt: skip


def make_agent(env="Pendulum-v1", **options):
    return ModelBasedRPPSAC("RPPPolicy", env, **({"mode": "mlp"} | SMALL | options))


@pytest.fixture(scope="module")
def agent():
    """One that has imagined."""
    agent = make_agent()
    agent.learn(80)
    return agent


def test_batches_are_mixed_as_asked(agent):
    real = {row.tobytes() for row in agent.replay_buffer.observations[: agent.replay_buffer.size(), 0]}
    for ratio, expected in ((0.0, 0), (0.05, 2), (0.5, 20), (1.0, 40)):
        agent.models = replace(agent.models, real_ratio=ratio)
        imagined = {row.tobytes() for part in agent._imagined.rounds for row in part.observations}
        batch = agent._sample(40)
        rows = [row.tobytes() for row in batch.next_observations.numpy()]
        of_imagined = {row.tobytes() for part in agent._imagined.rounds for row in part.next_observations}
        assert sum(row in of_imagined for row in rows) == 40 - expected
        assert {row.numpy().tobytes() for row in batch.observations} <= real | imagined
        assert batch.rewards.shape == batch.dones.shape == (40, 1)


def test_before_the_model_is_trained_all_steps_are_real():
    agent = make_agent()
    agent.learn(30)
    assert agent.world is None
    assert len(agent._sample(40).rewards) == 40


def test_the_model_is_trained_on_its_schedule(monkeypatch):
    agent, calls = make_agent(), []
    train = ModelBasedRPPSAC._train_model
    monkeypatch.setattr(
        ModelBasedRPPSAC, "_train_model", lambda self, *a: calls.append(self.num_timesteps) or train(self, *a)
    )
    agent.learn(95)
    assert calls == [31, 51, 71, 91]


def test_learning_again_trains_the_model_again(tmp_path):
    """The count of steps begins anew, for the same agent and for one from a file, whose model is gone."""
    agent = make_agent()
    agent.learn(95)
    agent.save(tmp_path / "agent.zip")
    loaded = ModelBasedRPPSAC.load(tmp_path / "agent.zip", env=agent.get_env())
    for learner in (agent, loaded):
        imagined = list(learner._imagined.rounds)
        learner.learn(60)
        assert learner.model_trained_at == 51
        assert learner.world.is_trained
        assert all(part is not old for part in learner._imagined.rounds[-2:] for old in imagined)
    further = ModelBasedRPPSAC.load(tmp_path / "agent.zip", env=agent.get_env())
    further.learn(3, reset_num_timesteps=False)
    assert further.world.is_trained


def test_old_rounds_are_forgotten(agent):
    assert len(agent._imagined.rounds) <= agent.models.model_retain
    few = make_agent(model_retain=1)
    few.learn(95)
    assert len(few._imagined) <= 50 * few.models.max_rollout_length
    assert len(few._imagined.rounds) == 1


def test_the_length_of_rollouts(agent):
    agent.models = replace(agent.models, max_rollout_length=5, rollout_error=0.3)
    assert agent._length(np.array([np.nan])) == 1
    assert agent._length(np.array([0.5, 0.1, 0.1])) == 1
    assert agent._length(np.array([0.1, 0.2, 0.29, 0.31, 0.2])) == 3
    agent.models = replace(agent.models, rollout_length=7)
    assert agent._length(np.array([0.5])) == 7
    agent.models = replace(agent.models, rollout_length=(60, 100, 1, 5))
    agent.num_timesteps = 80
    assert agent._length(np.array([0.5])) == 3


def test_validation_is_about_the_newest_steps(agent):
    """In a ring that is full the newest lie at its end and its beginning."""
    agent = make_agent(buffer_size=50)
    agent.learn(80)
    seen = []

    class Spy:
        def errors(self, obs, actions, next_obs, is_running):
            seen.append((obs, next_obs, is_running))
            return np.zeros(1), 0.8

    agent.models = replace(agent.models, max_rollout_length=10)
    agent._validate(Spy(), agent.replay_buffer, 40)
    obs, next_obs, is_running = seen[0]
    assert obs.shape == (4, 10, 3)
    assert is_running[:, 0].all()
    np.testing.assert_array_equal(obs[:, 1:][is_running[:, 1:]], next_obs[:, :-1][is_running[:, 1:]])
    np.testing.assert_array_equal(
        next_obs[-1, -1], agent.replay_buffer.next_observations[agent.replay_buffer.pos - 1, 0]
    )


@pytest.mark.mujoco
@pytest.mark.parametrize("mode", ["rpp", "emlp"])
@pytest.mark.parametrize("n_envs", [1, 2])
def test_models_have_the_symmetry_of_the_agent(mode, n_envs):
    envs = DummyVecEnv([lambda: gym.make("Hopper-v5")] * n_envs)
    agent = make_agent(envs, spec="Z2", mode=mode)
    agent.learn(80)
    assert agent.world.model.mode == mode
    assert agent.world.model.spec.env_id == "Hopper-v5"
    assert len(agent._imagined) > 0
    assert np.isfinite(agent.replay_buffer.rewards).all()


def test_an_agent_is_saved_and_loaded_as_any_other(agent, tmp_path):
    agent.save(tmp_path / "agent.zip")
    obs = np.zeros(3, np.float32)
    for kind in (RPPSAC, ModelBasedRPPSAC):
        loaded = kind.load(tmp_path / "agent.zip")
        np.testing.assert_array_equal(
            loaded.predict(obs, deterministic=True)[0], agent.predict(obs, deterministic=True)[0]
        )
    assert loaded.models == agent.models


def test_agents_saved_before_keep_their_settings(agent, tmp_path):
    """They held each setting by itself."""
    old = make_agent()
    old.__dict__.update(model_updates=3, model_net_arch=(8, 8), rollout_length="auto")
    old.save(tmp_path / "agent.zip")
    loaded = ModelBasedRPPSAC.load(tmp_path / "agent.zip").models
    assert loaded == replace(old.models, model_updates=3, model_net_arch=(8, 8))


def test_mistakes_are_said():
    with pytest.raises(ValueError, match="the replay buffer is empty"):
        make_agent().train(1)
    with pytest.raises(ValueError, match=r"rollout_length: expected \[from, to, shortest, longest\], got \[1, 2\]"):
        make_agent(rollout_length=(1, 2))
    with pytest.raises(ValueError, match="at least one for each of the 2 models, got 1"):
        make_agent(n_rollouts=1)
    with pytest.raises(ValueError, match="train without it"):
        make_agent(VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")])))


def test_a_model_that_diverges_ends_the_training():
    with pytest.raises(FloatingPointError, match="diverged"):
        make_agent(model_learning_rate=1e30).learn(95)


@pytest.mark.parametrize(("error", "is_believed"), [(2.0, True), (26.0, False), (np.nan, False)])
def test_a_model_that_predicts_nothing_ends_the_training(monkeypatch, error, is_believed):
    """Its loss may be finite, and its rollouts are bounded by what is believed; only its errors tell."""
    monkeypatch.setattr(ModelBasedRPPSAC, "_validate", lambda *args: (np.full(1, error), 0.8))
    with nullcontext() if is_believed else pytest.raises(FloatingPointError, match=f"an error of {error:.3g} times"):
        make_agent().learn(60)


@pytest.mark.slow
def test_the_pendulum_is_swung_up_within_few_steps():
    """2500 steps are too few for the agent without a model."""
    torch.manual_seed(0)
    agent = make_agent(
        model_train_freq=200, model_updates=200, model_net_arch=(64, 64), model_ensemble=5, n_rollouts=5000,
        learning_starts=400, buffer_size=10_000, batch_size=128, gradient_steps=5, learning_rate=1e-3,
        policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip
    agent.learn(3000)
    returns = [info["r"] for info in agent.ep_info_buffer]
    assert np.mean(returns[-3:]) > -500 > np.mean(returns[:2])
