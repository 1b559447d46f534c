"""What SB3 would take and these networks cannot is refused with advice that works; parts save and load alone."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

import envs_reps
from rpp_rl.sac import RPPSAC

SMALL = {"net_arch": [8], "spec": envs_reps.load("Walker2d-v5").to_dict()}


@pytest.fixture(scope="module")
def agent():
    return RPPSAC("RPPPolicy", "Walker2d-v5", policy_kwargs=SMALL, buffer_size=50, learning_starts=5)


@pytest.mark.mujoco
@pytest.mark.parametrize("name", ["actor", "critic"])
def test_parts_of_a_policy_save_and_load_alone(agent, tmp_path, name):
    part = getattr(agent.policy, name)
    part.save(tmp_path / name)
    again = type(part).load(tmp_path / name, device="cpu")
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in part.state_dict().items())


@pytest.mark.mujoco
def test_sb3s_own_sac_does_not_train_networks_with_a_prior(agent, tmp_path):
    agent.save(tmp_path / "agent.zip")
    theirs = SAC.load(tmp_path / "agent.zip", env=gym.make("Walker2d-v5"))
    with pytest.raises(ValueError, match=r"trained by RPPSAC, not by SB3's SAC: load with RPPSAC\.load"):
        theirs.learn(10)


class Images(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (3, 36, 36), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,))


@pytest.mark.parametrize("policy", ["CnnPolicy", "RPPPolicy"])
def test_images_are_refused_with_advice_that_leads_on(policy):
    with pytest.raises(ValueError, match="SB3's own SAC"):
        RPPSAC(policy, Images(), policy_kwargs={"mode": "mlp"}, buffer_size=5)


class Mappings(gym.Env):
    observation_space = gym.spaces.Dict({"x": gym.spaces.Box(-1, 1, (2,))})
    action_space = gym.spaces.Box(-1, 1, (1,))


def test_dictionaries_are_refused_with_advice_that_leads_on():
    with pytest.raises(ValueError, match=r"dictionaries.* are for SB3's own SAC"):
        RPPSAC("MultiInputPolicy", Mappings(), policy_kwargs={"mode": "mlp"}, buffer_size=5)


def test_the_advice_for_plain_networks_can_be_followed():
    with pytest.raises(ValueError, match=r"use 'RPPPolicy' with policy_kwargs={'mode': 'mlp'}"):
        RPPSAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"mode": "mlp"}, buffer_size=5)
    assert RPPSAC("RPPPolicy", "Pendulum-v1", policy_kwargs={"mode": "mlp"}, buffer_size=5).policy.mode == "mlp"
