"""Trajectories of an environment: cut into windows, divided into data to learn from and data to test with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int
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

    def episodes(self) -> Episodes:
        """Every trajectory as an episode of its own."""
        return Episodes(tuple(self.states), tuple(self.actions), self.env_id)


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
        starts = [(k, start) for k, a in enumerate(self.actions) for start in range(0, len(a) - length + 1, length)]
        return self._cut(starts, length)

    def sample_windows(self, length: int, n: int, rng: np.random.Generator) -> Trajectories:
        """Up to ``n`` pieces of ``length`` steps that share no step, spread evenly over the episodes in their order.

        In every episode the pieces follow one another from a random first step on. A smaller number of them is a
        beginning of a larger one.

        Raises:
            ValueError: If no episode is long enough.
        """
        starts = []
        for k, actions in enumerate(self.actions):
            n_pieces, rest = divmod(len(actions), length)
            first = int(rng.integers(rest + 1))
            starts += [(k, first + i * length) for i in range(n_pieces)]
        return self._cut([starts[i] for i in spread(len(starts), rng)[:n]], length)

    def subset(self, numbers: Sequence[int]) -> Episodes:
        """Some of the episodes."""
        return Episodes(tuple(self.states[k] for k in numbers), tuple(self.actions[k] for k in numbers), self.env_id)

    def _cut(self, starts: Sequence[tuple[int, int]], length: int) -> Trajectories:
        if not starts:
            raise ValueError(f"expected episodes of at least {length} steps, got at most {max(map(len, self.actions))}")
        states = np.stack([self.states[k][start : start + length + 1] for k, start in starts])
        actions = np.stack([self.actions[k][start : start + length] for k, start in starts])
        return Trajectories(states, actions, self.env_id)


def spread(n: int, rng: np.random.Generator) -> Int[ndarray, " n"]:
    """A random order of 0, ..., n − 1 whose first m numbers are spread evenly over all, for every m.

    It puts multiples of the golden ratio, modulo 1 and from a random start on, in order: beside m of them, no gap is
    much longer than 1/m.
    """
    return ((rng.random() + (np.sqrt(5) - 1) / 2 * np.arange(n)) % 1).argsort().argsort()


class Division(NamedTuple):
    """What a set of episodes is divided into; no episode is part of two.

    Attributes:
        train: Chunks to learn from.
        validation: Chunks to choose by; None where there are none.
        test: Trajectories to test with.
    """

    train: Trajectories
    validation: Trajectories | None
    test: Trajectories


def split(
    episodes: Episodes,
    *,
    n_chunks: int,
    chunk_length: int,
    n_test: int,
    test_length: int,
    seed: int,
    validation: float = 0.0,
) -> Division:
    """Chunks to learn from and to validate on, and trajectories to test with, from different episodes.

    A tenth of the episodes that are long enough is held out, at most ``n_test`` of them, and more only if those do
    not contain ``n_test`` trajectories. All three are spread evenly over the episodes in their order, so those of a
    replay buffer over the training of its agent.

    Args:
        episodes: Everything there is.
        n_chunks: Number of chunks to learn from; fewer if there are fewer.
        chunk_length: Steps in each.
        n_test: Number of test trajectories.
        test_length: Steps in each.
        seed: Decides what is held out and where the chunks lie.
        validation: Share of the episodes that are left whose chunks are validated on.

    Raises:
        ValueError: If the episodes are too short or too few.
    """
    rng = np.random.default_rng(seed)
    n_windows = np.array([len(actions) // test_length for actions in episodes.actions])
    candidates = np.flatnonzero(n_windows)
    long_enough = candidates[spread(len(candidates), rng)]
    if n_windows.sum() < n_test:
        raise ValueError(
            f"expected {n_test} test trajectories of {test_length} steps, but {len(episodes)} episodes of at most "
            f"{max(map(len, episodes.actions))} steps hold {n_windows.sum()}: collect more data or ask for fewer or "
            "shorter ones (n_test, test_length)"
        )
    fewest = int(np.searchsorted(np.cumsum(n_windows[long_enough]), n_test)) + 1
    n_held_out = max(fewest, min(n_test, len(long_enough) // 10))
    held_out = sorted(long_enough[:n_held_out])
    rest = sorted(set(range(len(episodes))) - set(held_out))
    if not rest:
        raise ValueError(
            f"the {n_test} test trajectories of {test_length} steps take all {len(episodes)} episodes and leave none "
            "to learn from: collect more data or ask for fewer or shorter ones (n_test, test_length)"
        )
    chunks = sample_chunks(episodes.subset(rest), n_chunks, chunk_length, validation, rng)
    return Division(*chunks, episodes.subset(held_out).sample_windows(test_length, n_test, rng))


def sample_chunks(
    episodes: Episodes, n: int, length: int, validation: float, rng: np.random.Generator
) -> tuple[Trajectories, Trajectories | None]:
    """Up to ``n`` chunks to learn from, and of a share of the episodes as large a share of chunks to validate on.

    At least one episode is left to learn from; if there is only one, there is nothing to validate on.

    Raises:
        ValueError: If no episode is long enough.
    """
    usable = np.array([k for k, a in enumerate(episodes.actions) if len(a) >= length])
    usable = usable[spread(len(usable), rng)]
    if not validation or len(usable) < 2:
        return episodes.sample_windows(length, n, rng), None
    n_held_out = min(max(1, round(validation * len(usable))), len(usable) - 1)
    train, held_out = (episodes.subset(sorted(part)) for part in (usable[n_held_out:], usable[:n_held_out]))
    n_validation = max(1, round(validation * n))
    return train.sample_windows(length, n, rng), held_out.sample_windows(length, n_validation, rng)


def require_disjoint(train: Episodes, test: Episodes) -> None:
    """Refuse test episodes that share a transition with those to learn from.

    Raises:
        ValueError: If they do.
    """
    known = _transitions(train)
    for number, transitions in enumerate(map(_transitions, map(test.subset, ([k] for k in range(len(test)))))):
        if not known.isdisjoint(transitions):
            raise ValueError(f"test episode {number} has a transition that is also in the data to learn from")


def _transitions(episodes: Episodes) -> set[bytes]:
    """Every state with the action taken in it, as bytes."""
    pairs = zip(episodes.states, episodes.actions, strict=True)
    rows = np.concatenate([np.concatenate([s[:-1], a], axis=1) for s, a in pairs])
    return {row.tobytes() for row in np.ascontiguousarray(rows, dtype=np.float32)}
