"""Rewards in units of the return: the scale of SimbaV2 (arXiv:2502.15280), from running statistics."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

LARGEST_RETURN = 10.0
"""Scaled returns stay below this."""


class ReturnStatistics(TypedDict):
    """Statistics of G, the discounted sum of the rewards of an episode so far; plain values, saved with an agent.

    Attributes:
        returns: G of each environment now.
        mean: Mean of G over all steps.
        var: Its variance.
        count: Number of steps.
        largest: Largest size of G.
    """

    returns: list[float]
    mean: float
    var: float
    count: int
    largest: float


def no_returns(n_envs: int) -> ReturnStatistics:
    """Statistics of nothing yet."""
    return {"returns": [0.0] * n_envs, "mean": 0.0, "var": 0.0, "count": 0, "largest": 0.0}


def add_rewards(
    statistics: ReturnStatistics,
    rewards: Float[ndarray, " n_envs"],
    dones: Bool[ndarray, " n_envs"],
    gamma: float,
) -> ReturnStatistics:
    """The statistics after one more step of all environments (Welford's update); another number of them begins anew."""
    are_the_same = len(statistics["returns"]) == len(rewards)
    returns = gamma * np.asarray(statistics["returns"] if are_the_same else 0.0) + rewards
    count = statistics["count"] + len(returns)
    delta = returns.mean() - statistics["mean"]
    weight = len(returns) / count
    mean = statistics["mean"] + weight * delta
    var = (1 - weight) * statistics["var"] + weight * returns.var() + weight * (1 - weight) * delta**2
    return {
        "returns": np.where(dones, 0.0, returns).tolist(),
        "mean": float(mean),
        "var": float(var),
        "count": count,
        "largest": float(max(statistics["largest"], np.abs(returns).max())),
    }


def reward_scale(statistics: ReturnStatistics) -> float:
    """What rewards are to be divided by: max(std G, max |G| / 10); 1 where there is nothing to scale by."""
    scale = max(statistics["var"] ** 0.5, statistics["largest"] / LARGEST_RETURN)
    return scale if scale > 0 else 1.0
