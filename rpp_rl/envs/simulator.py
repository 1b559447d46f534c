"""A MuJoCo environment whose state can be set: states that occur, and rollouts from chosen ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from jaxtyping import Bool, Float
from numpy import ndarray

# MuJoCo's functions come from a compiled module that describes no types.
DISABLE_CONSTRAINTS = int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)  # pyright: ignore[reportAttributeAccessIssue]
EPISODE_LENGTH = 100
"""Steps of random actions after which the search for states begins anew."""
POSITION_NOISE = 0.05
VELOCITY_NOISE = 1.0
"""Standard deviations [m, rad and m/s, rad/s] of what is added to some states: random actions alone rarely slide."""
PERTURBED_SHARE = 2
"""One state in so many is perturbed."""


class Rollout(NamedTuple):
    """What happened from ``n`` states during ``T`` steps.

    Attributes:
        obs: Complete observations: positions, velocities (not clipped), and what the environment derives from them;
            at the start, where the environment shows nothing, the derived numbers are zero.
        rewards: The environment's rewards.
        terminated: Whether the environment called the new state terminal.
    """

    obs: Float[ndarray, "T+1 n size"]
    rewards: Float[ndarray, "T n"]
    terminated: Bool[ndarray, "T n"]


class Simulator:
    """A Gymnasium MuJoCo environment whose observation begins with its positions and velocities.

    Leading positions that the observation leaves out, the place in the world, are the same in all states.

    Args:
        env: An environment, or the id of one.

    Raises:
        ValueError: If it is no MuJoCo environment or its observation is made in another way.
    """

    def __init__(self, env: gymnasium.Env[Any, Any] | str) -> None:
        base = (make(env) if isinstance(env, str) else env).unwrapped
        if not isinstance(base, MujocoEnv):
            raise ValueError(f"expected an environment on gymnasium's MujocoEnv, got {type(base).__name__}")
        self.env = base
        obs, _ = base.reset(seed=0)
        data = base.data
        for skip in range(min(4, base.model.nq)):
            state = np.concatenate([data.qpos[skip:], data.qvel])
            if len(state) <= len(obs) and np.array_equal(obs[: len(state)], state.astype(obs.dtype)):
                break
        else:
            raise ValueError(f"{type(base).__name__}: expected observations that begin with qpos and qvel")
        self.n_skipped = skip
        self.n_positions = base.model.nq - skip
        self.n_state = len(state)
        self.size = len(obs)

    def states(self, n: int, rng: np.random.Generator, *, perturbed: bool = True) -> Float[ndarray, "n size"]:
        """States met under random actions, half of them then ``perturbed``, as observations without derived numbers."""
        states = np.zeros((n, self.size))
        steps = 0
        self.env.reset(seed=int(rng.integers(2**31)))
        for i in range(n):
            for _ in range(rng.integers(1, 20)):
                _, _, terminated, _, _ = self.env.step(self.random_actions(1, rng)[0])
                steps += 1
                if terminated or steps == EPISODE_LENGTH:
                    self.env.reset(seed=int(rng.integers(2**31)))
                    steps = 0
            states[i, : self.n_state] = self._state()
        if perturbed:
            noise = np.where(np.arange(self.n_state) < self.n_positions, POSITION_NOISE, VELOCITY_NOISE)
            half = states[::PERTURBED_SHARE, : self.n_state]
            half += noise * rng.normal(size=half.shape)
        return states

    def random_actions(self, n: int, rng: np.random.Generator) -> Float[ndarray, "n action"]:
        """Actions drawn uniformly within their bounds."""
        low, high = self.env.model.actuator_ctrlrange.T
        return rng.uniform(low, high, size=(n, len(low)))

    def rollout(self, start: Float[ndarray, "n size"], actions: Float[ndarray, "T n action"]) -> Rollout:
        """Step the environment from each of the states, with its own rewards and terminations.

        Args:
            start: Complete observations; derived numbers are not read.
            actions: The actions, for every step and state.
        """
        n_steps, n = actions.shape[:2]
        obs = np.zeros((n_steps + 1, n, self.size))
        rewards, terminated = np.zeros((n_steps, n)), np.zeros((n_steps, n), dtype=bool)
        for i in range(n):
            self._set(start[i])
            obs[0, i] = start[i]
            for t in range(n_steps):
                obs[t + 1, i], rewards[t, i], terminated[t, i], _, _ = self.env.step(actions[t, i])
                obs[t + 1, i, : self.n_state] = self._state()
        return Rollout(obs, rewards, terminated)

    @contextmanager
    def without_constraints(self) -> Iterator[None]:
        """Switch off contacts, joint limits and dry friction: what remains is the smooth motion of the free robot."""
        before = self.env.model.opt.disableflags
        self.env.model.opt.disableflags |= DISABLE_CONSTRAINTS
        try:
            yield
        finally:
            self.env.model.opt.disableflags = before

    def _state(self) -> Float[ndarray, " n_state"]:
        return np.concatenate([self.env.data.qpos[self.n_skipped :], self.env.data.qvel])

    def _set(self, state: Float[ndarray, " size"]) -> None:
        """Begin without memory: no controls, and no warm start of the constraint solver from another state."""
        mujoco.mj_resetData(self.env.model, self.env.data)  # pyright: ignore[reportAttributeAccessIssue]
        positions = np.concatenate([self.env.init_qpos[: self.n_skipped], state[: self.n_positions]])
        self.env.set_state(positions, state[self.n_positions : self.n_state])
        self.env.data.qacc_warmstart[:] = 0.0


def make(env_id: str) -> gymnasium.Env[Any, Any]:
    """`gymnasium.make` without its advice to upgrade: v4 and v5 are different environments, each with its symmetry."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is out of date.*", category=DeprecationWarning)
        return gymnasium.make(env_id)
