"""A transition model as a vectorised Gymnasium environment, for planning or training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.fast import shared_weights

Observations = Float[ndarray, "*batch obs"]
RewardFunction = Callable[[Observations, Float[ndarray, "*batch action"], Observations], Float[ndarray, "*batch"]]
"""Reward of a step from the observation before it, the action and the observation after it."""
TerminationFunction = Callable[[Observations], Bool[ndarray, "*batch"]]
"""Whether the observation after a step ends the episode."""


class ModelEnv(VectorEnv):
    """Copies of a robot that live in a transition model, stepped together.

    An episode follows one member of an ensemble, drawn at its start; of a Gaussian model every step is drawn. Copies
    whose episode has ended begin a new one at the next step, whose action is ignored (Gymnasium's
    ``AutoresetMode.NEXT_STEP``). A copy whose next state would not be finite, or of a larger norm than ``max_norm``,
    stays where it is, gets no reward and ends its episode; ``infos["diverged"]`` marks it.

    The weights are computed once, at construction: later training of the model has no effect.

    Args:
        model: The model.
        start: Real observations from which episodes begin, each with the same probability, shape ``(n, obs)``.
        action_space: Bounds of one robot's actions.
        reward: Reward of a step from observation, action and next observation, batched; for the six robots the one
            of `envs_reps.tasks.task`.
        terminated: Whether an observation ends the episode, batched; likewise.
        num_envs: Number of copies.
        max_episode_steps: Steps after which an episode is truncated.
        max_norm: Largest norm of an observation that is believed.

    Raises:
        ValueError: If sizes do not fit the model.
    """

    def __init__(
        self,
        model: TransitionModel,
        start: Float[ndarray, "n obs"],
        action_space: Box,
        *,
        reward: RewardFunction,
        terminated: TerminationFunction,
        num_envs: int = 1,
        max_episode_steps: int = 1000,
        max_norm: float = np.inf,
    ) -> None:
        spec = model.spec
        spec.check_spaces(Box(-np.inf, np.inf, np.shape(start)[1:]), action_space)
        if len(start) == 0 or not np.isfinite(start).all():
            raise ValueError("expected observations to begin from, all numbers finite")
        if num_envs < 1 or max_episode_steps < 1:
            raise ValueError(f"expected positive numbers, got {num_envs=} and {max_episode_steps=}")
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.reward, self.terminated = reward, terminated
        self.start = np.asarray(start, dtype=np.float64)
        self.max_episode_steps, self.max_norm = max_episode_steps, max_norm
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.layout, self.num_envs = spec.observation, num_envs
        self.single_observation_space = Box(-np.inf, np.inf, (spec.observation.size,), np.float64)
        self.single_action_space = action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self._x = np.zeros((num_envs, spec.obs_rep.size))
        self._obs = np.zeros((num_envs, spec.observation.size))
        self._steps, self._member = np.zeros(num_envs, dtype=int), np.zeros(num_envs, dtype=int)
        self._is_over = np.ones(num_envs, dtype=bool)
        self._has_begun = False
        self._weights = ExitStack()
        self._weights.enter_context(shared_weights(self.model))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[ndarray, "num_envs obs"], dict[str, Any]]:
        """Begin new episodes in all copies.

        Args:
            seed: Seed of all random numbers.
            options: ``{"obs": array}`` to begin from given observations, shape ``(num_envs, obs)`` or ``(obs,)``.

        Raises:
            ValueError: If the observations do not fit.
        """
        super().reset(seed=seed)
        self._has_begun = True
        everywhere = np.ones(self.num_envs, dtype=bool)
        given = (options or {}).get("obs")
        if given is None:
            self._begin(everywhere, self._drawn_start())
        else:
            try:
                self._begin(everywhere, np.broadcast_to(np.asarray(given, dtype=np.float64), self._obs.shape))
            except ValueError as error:
                raise ValueError(f"expected observations {self._obs.shape}, got {np.shape(given)}") from error
        return self._obs.copy(), {}

    def step(
        self, actions: Float[ndarray, "num_envs action"]
    ) -> tuple[
        Float[ndarray, "num_envs obs"],
        Float[ndarray, " num_envs"],
        Bool[ndarray, " num_envs"],
        Bool[ndarray, " num_envs"],
        dict[str, Any],
    ]:
        """Step all copies, or begin a new episode in those whose last one is over.

        Raises:
            ValueError: If the actions have another shape.
            ResetNeeded: Before the first `reset`.
        """
        if not self._has_begun:
            raise ResetNeeded("call reset() before the first step()")
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != self.action_space.shape:
            raise ValueError(f"expected actions of shape {self.action_space.shape}, got {actions.shape}")
        is_new = self._is_over
        x, obs, is_lost = self._predict(actions)
        with np.errstate(all="ignore"):
            rewards = np.where(is_new | is_lost, 0.0, self.reward(self._obs, actions, obs))
        self._x, self._obs, self._steps = x, obs, self._steps + 1
        terminated = ~is_new & (is_lost | self.terminated(obs))
        truncated = ~is_new & ~terminated & (self._steps >= self.max_episode_steps)
        if is_new.any():
            self._begin(is_new, self._drawn_start())
        self._is_over = terminated | truncated
        return self._obs.copy(), rewards, terminated, truncated, {"diverged": is_lost & ~is_new}

    def begin(self, where: Bool[ndarray, " num_envs"]) -> Float[ndarray, "num_envs obs"]:
        """Begin new episodes in some copies at once, in place of at their next step; returns all observations."""
        self._begin(where, self._drawn_start())
        return self._obs.copy()

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Release the weights."""
        self._weights.close()

    def _drawn_start(self) -> Float[ndarray, "num_envs obs"]:
        return self.start[self.np_random.integers(len(self.start), size=self.num_envs)]

    def _begin(self, where: Bool[ndarray, " num_envs"], obs: Float[ndarray, "num_envs obs"]) -> None:
        x = to_rep(self.layout, obs)
        self._x = np.where(where[:, None], x, self._x)
        self._obs = np.where(where[:, None], from_rep(self.layout, x), self._obs)
        self._steps, self._is_over = np.where(where, 0, self._steps), self._is_over & ~where
        member = self.np_random.integers(self.model.ensemble or 1, size=self.num_envs)
        self._member = np.where(where, member, self._member)

    @torch.no_grad()
    def _predict(
        self, actions: Float[ndarray, "num_envs action"]
    ) -> tuple[Float[ndarray, "num_envs state"], Float[ndarray, "num_envs obs"], Bool[ndarray, " num_envs"]]:
        """The next coordinates and observations, and which copies are lost and stay where they were."""
        parameter = next(self.model.parameters())
        x, u = (
            torch.as_tensor(self._by_member(a), dtype=parameter.dtype, device=parameter.device)
            for a in (self._x, actions)
        )
        if self.model.head == "gaussian":
            mean, std = map(self._of_member, self.model.distribution(x, u))
            next_x = mean + std * self.np_random.normal(size=mean.shape)
        else:
            next_x = self._of_member(self.model(x, u))
        is_lost = ~np.isfinite(next_x).all(-1, keepdims=True)
        next_x = np.where(is_lost, self._x, next_x)
        obs = from_rep(self.layout, next_x)
        is_lost |= np.linalg.norm(obs, axis=-1, keepdims=True) > self.max_norm
        return np.where(is_lost, self._x, next_x), np.where(is_lost, self._obs, obs), is_lost[:, 0]

    def _by_member(self, array: Float[ndarray, "num_envs size"]) -> Float[ndarray, "*members copies size"]:
        """The rows that each member of an ensemble has to predict, padded with zeros to equal numbers."""
        if self.model.ensemble is None:
            return array
        padded = np.zeros((self.model.ensemble, self._places.max() + 1, array.shape[1]))
        padded[self._member, self._places] = array
        return padded

    def _of_member(self, numbers: torch.Tensor) -> Float[ndarray, "num_envs state"]:
        """The inverse of `_by_member`."""
        array = numbers.double().cpu().numpy()
        return array if self.model.ensemble is None else array[self._member, self._places]

    @property
    def _places(self) -> Int[ndarray, " num_envs"]:
        """The place of every copy among those that follow the same member."""
        of_member = self._member[:, None] == np.arange(self.model.ensemble or 1)
        return of_member.cumsum(axis=0)[np.arange(self.num_envs), self._member] - 1
