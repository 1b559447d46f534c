"""Reward and termination of the robots' environments as functions of observations and actions.

The simulator rewards the distance covered in a step, which observations do not contain: the mean of the velocities
before and after the step replaces it. Everything else is the environments' own formula with their default arguments
(gymnasium.envs.mujoco, v4 and v5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

Observations = Float[ndarray, "*batch obs"]
Rewards = Float[ndarray, "*batch"]
Range = tuple[float, float]
ANYWHERE: Range = (-np.inf, np.inf)


def velocity_of(index: int) -> Callable[[Observations], Rewards]:
    """The forward velocity of robots whose observation holds it [m/s]."""
    return lambda obs: obs[..., index]


def centre_velocity(n_bodies: int) -> Callable[[Observations], Rewards]:
    """The forward velocity of the centre of mass [m/s], from the Humanoid's inertias and spatial velocities.

    A body of mass m, whose centre lies at c from the point its velocity v and angular velocity ω refer to, has the
    momentum m v + ω x m c.

    Args:
        n_bodies: Bodies that the observation describes (v4 counts the world as one).
    """
    start, end = 45, 45 + 10 * n_bodies

    def velocity(obs: Observations) -> Rewards:
        inertia = obs[..., start:end].reshape(*obs.shape[:-1], n_bodies, 10)
        motion = obs[..., end : end + 6 * n_bodies].reshape(*obs.shape[:-1], n_bodies, 6)
        mass, first_moment, omega = inertia[..., 9], inertia[..., 6:9], motion[..., :3]
        turning = omega[..., 1] * first_moment[..., 2] - omega[..., 2] * first_moment[..., 1]
        return (mass * motion[..., 3] + turning).sum(-1) / mass.sum(-1)

    return velocity


@dataclass(frozen=True)
class Task:
    """To run forward without falling over.

    Attributes:
        velocity: The forward velocity [m/s] of an observation.
        forward_weight: Reward per m/s.
        control_weight: Cost per squared action.
        alive: Reward of every step, in v5 not of one that ends the episode.
        pays_end: Whether the step that ends the episode earns ``alive`` too.
        height: Healthy range of the first number of the observation [m]; its bounds are healthy.
        pitch: Healthy range of the second one [rad], bounds excluded.
        contact_weight: Cost per squared component of contact force.
        contacts_from: Where the observation's contact forces begin, which are its last numbers.
        contact_limit: Largest cost of contacts.
    """

    velocity: Callable[[Observations], Rewards]
    forward_weight: float = 1.0
    control_weight: float = 0.0
    alive: float = 0.0
    pays_end: bool = True
    height: Range = ANYWHERE
    pitch: Range = ANYWHERE
    contact_weight: float = 0.0
    contacts_from: int | None = None
    contact_limit: float = np.inf

    def terminated(self, next_obs: Observations) -> Bool[ndarray, "*batch"]:
        """Whether the robot has left its healthy range; observations that are not finite are not healthy."""
        height, pitch = next_obs[..., 0], next_obs[..., 1]
        is_healthy = (self.height[0] <= height) & (height <= self.height[1]) & np.isfinite(next_obs).all(-1)
        if self.pitch != ANYWHERE:
            is_healthy &= (self.pitch[0] < pitch) & (pitch < self.pitch[1])
        return ~is_healthy

    def reward(self, obs: Observations, action: Float[ndarray, "*batch action"], next_obs: Observations) -> Rewards:
        """Forward velocity and survival, less the cost of control and of contacts."""
        velocity = (self.velocity(obs) + self.velocity(next_obs)) / 2
        alive = self.alive if self.pays_end else self.alive * ~self.terminated(next_obs)
        cost = self.control_weight * np.square(action).sum(-1)
        if self.contacts_from is not None:
            contacts = self.contact_weight * np.square(next_obs[..., self.contacts_from :]).sum(-1)
            cost = cost + np.minimum(contacts, self.contact_limit)
        return self.forward_weight * velocity + alive - cost


_HOPPER = Task(velocity_of(5), control_weight=1e-3, alive=1.0, height=(0.7, np.inf), pitch=(-0.2, 0.2))
_WALKER = Task(velocity_of(8), control_weight=1e-3, alive=1.0, height=(0.8, 2.0), pitch=(-1.0, 1.0))
_ANT = Task(velocity_of(13), control_weight=0.5, alive=1.0, height=(0.2, 1.0))
_HUMANOID = Task(centre_velocity(14), 1.25, control_weight=0.1, alive=5.0, height=(1.0, 2.0))
_HUMANOID_V5 = replace(
    _HUMANOID,
    velocity=centre_velocity(13),
    pays_end=False,
    contact_weight=5e-7,
    contacts_from=270,
    contact_limit=10.0,
)

TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "Ant-v4": _ANT,
        "Ant-v5": replace(_ANT, pays_end=False, contact_weight=5e-4, contacts_from=27),
        "HalfCheetah-v4": Task(velocity_of(8), control_weight=0.1),
        "HalfCheetah-v5": Task(velocity_of(8), control_weight=0.1),
        "Hopper-v4": _HOPPER,
        "Hopper-v5": replace(_HOPPER, pays_end=False),
        "Humanoid-v4": _HUMANOID,
        "Humanoid-v5": _HUMANOID_V5,
        "Swimmer-v4": Task(velocity_of(3), control_weight=1e-4),
        "Swimmer-v5": Task(velocity_of(3), control_weight=1e-4),
        "Walker2d-v4": _WALKER,
        "Walker2d-v5": replace(_WALKER, pays_end=False),
    }
)
"""The tasks of the environments with their default arguments."""

STATE_SIZES: Mapping[str, int] = MappingProxyType({"Ant-v5": 27, "Humanoid-v4": 45, "Humanoid-v5": 45})
"""How many numbers of an observation are positions and velocities, where others follow them."""


def task(env_id: str) -> Task:
    """The task of an environment.

    Raises:
        ValueError: If none is known; reward and termination have to be given as functions then.
    """
    if env_id not in TASKS:
        raise ValueError(
            f"the reward of {env_id} is not known as a function of observations (known are {', '.join(TASKS)}); "
            "give reward=function(obs, action, next_obs) and terminated=function(next_obs)"
        )
    return TASKS[env_id]
