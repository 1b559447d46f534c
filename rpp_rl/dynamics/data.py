"""Trajectories of an environment: cut into windows, divided into data to learn from and data to test with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Pieces of episodes of one length, in the environment's own coordinates and units.

    Attributes:
        states: Observations s_0 ... s_time, shape ``(n, time + 1, obs)``.
        actions: Actions between them, in the environment's units, shape ``(n, time, action)``.
        env_id: The environment, where it is known.
    """

    states: Float32[ndarray, "n time_1 obs"]
    actions: Float32[ndarray, "n time action"]
    env_id: str | None = None

    def __len__(self) -> int:
        return len(self.states)

    @property
    def time(self) -> int:
        """Number of steps in each."""
        return self.actions.shape[1]


@dataclass(frozen=True, eq=False)
class Episodes:
    """Whole episodes, or as much of them as was recorded without a gap, each with a length of its own.

    Attributes:
        states: For each episode the observations, shape ``(time + 1, obs)``.
        actions: For each episode the actions in the environment's units, shape ``(time, action)``.
        env_id: The environment, where it is known.

    Raises:
        ValueError: If there are none, their shapes do not fit together, or a number is not finite.
    """

    states: tuple[Float32[ndarray, "time_1 obs"], ...]
    actions: tuple[Float32[ndarray, "time action"], ...]
    env_id: str | None = None

    def __post_init__(self) -> None:
        if not self.states or len(self.states) != len(self.actions):
            raise ValueError(f"expected episodes, got {len(self.states)} of states and {len(self.actions)} of actions")
        for number, (states, actions) in enumerate(zip(self.states, self.actions, strict=True)):
            expected = (self.states[0].shape[1:], self.actions[0].shape[1:], 2, 2, len(actions) + 1)
            if expected != (states.shape[1:], actions.shape[1:], states.ndim, actions.ndim, len(states)):
                raise ValueError(
                    f"episode {number}: expected states (time + 1, obs) and actions (time, action) of the same sizes "
                    f"as in episode 0, got {states.shape} and {actions.shape}"
                )
            for name, array in (("state", states), ("action", actions)):
                if not np.isfinite(array).all():
                    time, index = np.argwhere(~np.isfinite(array))[0]
                    raise ValueError(
                        f"episode {number}: expected finite numbers, got {array[time, index]} at index {index} of the "
                        f"{name} at time {time}"
                    )

    def __len__(self) -> int:
        return len(self.states)

    @property
    def n_transitions(self) -> int:
        """Number of steps in all episodes."""
        return sum(map(len, self.actions))

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all numbers and of the lengths of the episodes."""
        digest = hashlib.sha256(repr([a.shape for a in (*self.states, *self.actions)]).encode())
        for array in (*self.states, *self.actions):
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
        return digest.hexdigest()

    def windows(self, length: int) -> Trajectories:
        """All pieces of ``length`` steps, one after the other in every episode; what is left at its end is dropped.

        Raises:
            ValueError: If no episode is long enough.
        """
        states, actions = [], []
        for s, a in zip(self.states, self.actions, strict=True):
            for start in range(0, len(a) - length + 1, length):
                states.append(s[start : start + length + 1])
                actions.append(a[start : start + length])
        if not states:
            raise ValueError(f"expected episodes of at least {length} steps, got at most {max(map(len, self.actions))}")
        return Trajectories(np.stack(states), np.stack(actions), self.env_id)
