"""A robot of two points that a mirror exchanges, and models of it whose rollouts are known in closed form."""

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn

from rpp_rl.dynamics.model_env import ModelEnv
from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import cyclic, vector

MIRROR = cyclic(2)
POINTS = EnvSpec(
    "Points-v0",
    "Z2",
    MIRROR,
    Layout((Block("positions [m]", (0, 1), vector(MIRROR)), Block("velocities [m/s]", (2, 3), vector(MIRROR)))),
    Layout((Block("forces [N]", (0, 1), vector(MIRROR)),)),
    (Generator("m", "the points are exchanged", True),),
)


class KnownModel(nn.Module):
    """What the evaluation needs of a transition model, around a function of state and action."""

    head = "deterministic"

    def __init__(self, step, spec=POINTS, ensemble=None):
        super().__init__()
        self.step, self.spec, self.ensemble = step, spec, ensemble
        self.anchor = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def rollout(self, x0, actions):
        states, x = [], x0 if self.ensemble is None else x0.expand(self.ensemble, *x0.shape)
        for u in actions.unbind(-2):
            x = self.step(x, u)
            states.append(x)
        return torch.stack(states, dim=-2)

    def forward(self, x, u):
        return self.step(x, u)


def constant(n, time, rng, spec=POINTS):
    """Trajectories that stay where they are, and random actions."""
    start = rng.normal(size=(n, 1, spec.observation.size))
    return np.repeat(start, time + 1, axis=1), rng.normal(size=(n, time, spec.action.size))


ACTIONS = Box(-1.0, 1.0, (2,), np.float32)
STILL = np.zeros((1, 4))


def push(x, u):
    """Points with velocity, pushed by forces: one step of 0.1 s."""
    velocity = x[..., 2:] + 0.1 * u
    return torch.cat([x[..., :2] + 0.1 * velocity, velocity], -1)


def distance_to_one(obs, action, next_obs):
    return -np.square(next_obs[..., :2] - 1).sum(-1)


def never(obs):
    return np.zeros(len(obs), dtype=bool)


def make_env(step=push, *, start=STILL, ensemble=None, **kwargs):
    return ModelEnv(
        KnownModel(step, ensemble=ensemble), start, ACTIONS, **{"reward": distance_to_one, "terminated": never} | kwargs
    )
