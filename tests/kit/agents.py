"""Small agents of every kind, and observations that their robots really make."""

import functools

import gymnasium as gym
import numpy as np
import torch

import envs_reps
from rpp_rl.agents import TrainedAgent
from rpp_rl.sac import RPPSACPolicy


@functools.cache
def visited(env_id):
    """256 observations of a robot that acts at random."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    observations = [obs]
    while len(observations) < 256:
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        observations.append(env.reset()[0] if terminated or truncated else obs)
    env.close()
    return np.array(observations)


def untrained(env_id, mode="rpp", group=None, **policy_kwargs):
    """An agent with random weights in all pathways, whose actions are neither near zero nor all at the bounds."""
    env = gym.make(env_id)
    spec = envs_reps.load(env_id, group)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        policy = RPPSACPolicy(
            env.observation_space,
            env.action_space,
            lambda _: 0.0,
            spec=spec.to_dict(),
            **{"mode": mode, "net_arch": [32, 32], "head_scale": 1.0, **policy_kwargs},
        )
        for parameter in policy.actor.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    policy.actor.features_extractor.update(torch.as_tensor(visited(env_id)))
    card = {"name": f"tiny-{env_id}", "steps": 7}
    return TrainedAgent(policy, env_id=env_id, env_kwargs={}, config={}, card=card)
