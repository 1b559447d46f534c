"""Transitions that nobody has made: what a model was rolled out to, kept for some time and drawn from like others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray
from stable_baselines3.common.type_aliases import ReplayBufferSamples


class Transitions(NamedTuple):
    """Steps in the units of the environment, but for the actions, which lie in [-1, 1] as in SB3's replay buffer.

    Attributes:
        observations: Before the steps.
        actions: Actions.
        next_observations: After the steps.
        dones: 1 where the task is over.
        rewards: Rewards.
    """

    observations: Float32[ndarray, "n obs"]
    actions: Float32[ndarray, "n action"]
    next_observations: Float32[ndarray, "n obs"]
    dones: Float32[ndarray, " n"]
    rewards: Float32[ndarray, " n"]


class Imagined:
    """The transitions of the newest rounds of rollouts.

    Args:
        n_rounds: How many rounds are kept.

    Attributes:
        rounds: The transitions of each round, the oldest first.
    """

    def __init__(self, n_rounds: int) -> None:
        self.n_rounds = n_rounds
        self.rounds: list[Transitions] = []

    def __len__(self) -> int:
        return sum(len(part.rewards) for part in self.rounds)

    def add(self, transitions: Transitions) -> None:
        """Keep one more round, and forget the oldest if there are too many."""
        self.set_rounds([*self.rounds, transitions][-self.n_rounds :])

    def set_rounds(self, rounds: list[Transitions]) -> None:
        """Keep these rounds in place of all others."""
        self.rounds = rounds
        self._all = Transitions(*(np.concatenate(arrays) for arrays in zip(*rounds, strict=True)))

    def sample(self, n: int, device: torch.device) -> ReplayBufferSamples:
        """Transitions drawn uniformly with replacement, by NumPy's global stream as those of SB3's replay buffer."""
        rows = np.random.randint(0, len(self), size=n)  # noqa: NPY002
        obs, actions, next_obs, dones, rewards = (
            torch.from_numpy(array.take(rows, axis=0)).to(device) for array in self._all
        )
        return ReplayBufferSamples(
            observations=obs,
            actions=actions,
            next_observations=next_obs,
            dones=dones.unsqueeze(1),
            rewards=rewards.unsqueeze(1),
        )


def mixed(a: ReplayBufferSamples, b: ReplayBufferSamples) -> ReplayBufferSamples:
    """One batch of both."""
    return ReplayBufferSamples(
        observations=torch.cat([a.observations.float(), b.observations]),
        actions=torch.cat([a.actions, b.actions]),
        next_observations=torch.cat([a.next_observations.float(), b.next_observations]),
        dones=torch.cat([a.dones, b.dones]),
        rewards=torch.cat([a.rewards, b.rewards]),
    )
