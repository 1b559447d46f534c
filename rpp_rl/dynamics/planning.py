"""Planning in a `ModelEnv`: the cross-entropy method, of which random shooting is the first iteration, and MPPI."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.dynamics.model_env import ModelEnv


def returns(
    env: ModelEnv, obs: Float[ndarray, " obs"], plans: Float[ndarray, "num_envs time action"]
) -> Float[ndarray, " num_envs"]:
    """The sum of rewards of each plan from one observation, up to the step that ends the episode."""
    env.reset(options={"obs": obs})
    total, is_running = np.zeros(env.num_envs), np.ones(env.num_envs, dtype=bool)
    for t in range(plans.shape[1]):
        _, rewards, terminated, truncated, _ = env.step(plans[:, t])
        total += np.where(is_running, rewards, 0.0)
        is_running &= ~(terminated | truncated)
    return total


Method = Literal["cem", "mppi"]


@dataclass
class Planner:
    """A policy that replans at every step and takes the first action of the best plan found.

    Plans are drawn from a Gaussian around the rest of the last plan, clipped to the bounds of the actions; after every
    iteration it narrows to the best of them (Rubinstein 1999; Chua et al. 2018, arXiv:1805.12114). With one iteration
    it is random shooting. The number of plans tried in an iteration is ``env.num_envs / n_particles``.

    Attributes:
        env: The model to plan in; of an ensemble every plan follows one member, drawn anew.
        horizon: Steps of a plan.
        n_iterations: How often the Gaussian is narrowed, the first draw counted.
        elite_share: Which part of the plans it is narrowed to.
        n_particles: How often each plan is tried; more than once helps with ensembles and Gaussian models.
        spread: Standard deviation of the first Gaussian relative to half the range of the actions.
        method: ``cem``; or ``mppi``: the mean moves to the average of the plans, weighted by the exponentials of their
            returns, the width stays, and the mean is the plan (Williams et al. 2017, arXiv:1509.01149).
        temperature: That of ``mppi``, in units of the standard deviation of the returns.

    Raises:
        ValueError: If a number is out of its range, or actions have no bounds.
    """

    env: ModelEnv
    horizon: int = 20
    n_iterations: int = 4
    elite_share: float = 0.1
    n_particles: int = 1
    spread: float = 1.0
    method: Method = "cem"
    temperature: float = 0.2
    _mean: Float[ndarray, "time action"] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.method not in get_args(Method) or not self.temperature > 0:
            raise ValueError(
                f"expected a method of {', '.join(get_args(Method))} and a positive temperature, got "
                f"{self.method!r} and {self.temperature}"
            )
        numbers = {name: getattr(self, name) for name in ("horizon", "n_iterations", "n_particles")}
        if min(numbers.values()) < 1 or not 0 < self.elite_share <= 1 or not self.spread > 0:
            raise ValueError(
                f"expected positive numbers and an elite_share of at most 1, got {numbers}, {self.elite_share=} and "
                f"{self.spread=}"
            )
        space = self.env.single_action_space
        if not isinstance(space, Box) or not space.is_bounded():
            raise ValueError(f"plans are drawn between the bounds of actions, got {space}")
        if self.env.num_envs % self.n_particles or self.env.num_envs // self.n_particles < 2:
            raise ValueError(
                f"expected at least two plans of {self.n_particles} particles, got {self.env.num_envs} environments"
            )

    def reset(self) -> None:
        """Forget the last plan, as at the start of an episode."""
        self._mean = None

    def __call__(self, obs: Float[ndarray, " obs"]) -> Float[ndarray, " action"]:
        """The action to take now."""
        plan = self.plan(obs)
        self._mean = np.concatenate([plan[1:], plan[-1:]])
        return plan[0]

    def plan(self, obs: Float[ndarray, " obs"]) -> Float[ndarray, "time action"]:
        """The best plan that was tried from ``obs`` on; of ``mppi`` the last average."""
        space, rng = self.env.single_action_space, self.env.np_random
        assert isinstance(space, Box)
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        n_plans = self.env.num_envs // self.n_particles
        n_elites = max(1, round(self.elite_share * n_plans))
        mean = np.tile((low + high) / 2, (self.horizon, 1)) if self._mean is None else self._mean
        std = np.broadcast_to(self.spread * (high - low) / 2, mean.shape)
        best = mean
        for _ in range(self.n_iterations):
            plans = np.clip(mean + std * rng.normal(size=(n_plans, *mean.shape)), low, high)
            plans[0] = best
            values = returns(self.env, obs, plans.repeat(self.n_particles, axis=0))
            values = values.reshape(n_plans, self.n_particles).mean(axis=1)
            if self.method == "mppi":
                scaled = (values - values.max()) / max(self.temperature * float(values.std()), 1e-12)
                best = mean = np.average(plans, axis=0, weights=np.exp(scaled))
                continue
            order = values.argsort()[::-1]
            best, elites = plans[order[0]], plans[order[:n_elites]]
            mean, std = elites.mean(axis=0), elites.std(axis=0)
        return best
