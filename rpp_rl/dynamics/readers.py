"""Where episodes come from: replay buffers, ``.npz`` files and Minari data sets."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer

from rpp_rl.dynamics.trajectories import Episodes
from rpp_rl.io.atomic import replacing

MINARI = "minari:"
"""Begins the name of a Minari data set."""

ALLOWED = frozenset(
    {
        ("gymnasium.spaces.box", "Box"),
        ("stable_baselines3.common.buffers", "ReplayBuffer"),
        ("torch", "device"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
        *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pcg64", "PCG64"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
        ("numpy.random.bit_generator", "SeedSequence"),
    }
)
"""All that a replay buffer is made of; a pickle that names anything else is refused before it can act."""


def read_episodes(source: str | Path, env_id: str | None = None) -> Episodes:
    """Read episodes from a replay buffer of ``train-sac`` (``.pkl``), a file of `write_episodes` (``.npz``), or Minari.

    A replay buffer is a pickle. Only the classes that buffers consist of are admitted; still, read no file whose author
    you do not trust.

    Args:
        source: Path of a file, or ``minari:ID`` for a data set that Minari has on this machine.
        env_id: The environment it must be of, where the source knows; it names the episodes where it does not.

    Raises:
        ValueError: If the source is of another environment, damaged, of no known kind, or holds numbers that are not
            finite.
        OSError: If it cannot be read.
    """
    if str(source).startswith(MINARI):
        reader = _read_minari
    elif Path(source).suffix in READERS:
        reader = READERS[Path(source).suffix]
    else:
        raise ValueError(
            f"{source}: expected a replay buffer (.pkl), episodes (.npz) or a Minari data set ({MINARI}ID)"
        )
    try:
        episodes = reader(source)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if None not in (env_id, episodes.env_id) and env_id != episodes.env_id:
        raise ValueError(f"{source}: expected data of {env_id}, got data of {episodes.env_id}")
    return Episodes(episodes.states, episodes.actions, episodes.env_id or env_id)


def write_episodes(episodes: Episodes, path: Path) -> None:
    """Write an ``.npz`` file that `read_episodes` reads.

    It holds all ``states``, one after the other, shape ``(n_transitions + n_episodes, obs)``, all ``actions``, shape
    ``(n_transitions, action)``, the ``lengths`` of the episodes in steps, and the ``env_id``.

    Raises:
        OSError: If it cannot be written.
    """
    with replacing(path) as file:
        np.savez(
            file,
            states=np.concatenate(episodes.states),
            actions=np.concatenate(episodes.actions),
            lengths=np.array([len(actions) for actions in episodes.actions]),
            env_id=np.array(episodes.env_id or ""),
        )


def buffer_episodes(buffer: ReplayBuffer, env_id: str | None = None) -> Episodes:
    """The episodes in a replay buffer of SB3's SAC, which keeps actions scaled to [-1, 1].

    An episode ends at a done, at a time-out, and wherever the next transition begins in another state, as after a
    resumed run.

    Raises:
        ValueError: If the buffer is empty, not of vectors, or of the kind that saves memory at the cost of last states.
    """
    spaces = buffer.observation_space, buffer.action_space
    if not all(isinstance(space, Box) and len(space.shape) == 1 for space in spaces):
        raise ValueError(f"expected observations and actions in one-dimensional boxes, got {spaces[0]} and {spaces[1]}")
    if buffer.optimize_memory_usage:
        raise ValueError("a buffer with optimize_memory_usage lacks the last states of its episodes")
    size = buffer.size()
    order = (np.arange(size) + (buffer.pos if buffer.full else 0)) % max(size, 1)
    low, high = buffer.action_space.low, buffer.action_space.high  # pyright: ignore[reportAttributeAccessIssue]
    states: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    for k in range(buffer.n_envs):
        s, after, u = (array[order, k] for array in (buffer.observations, buffer.next_observations, buffer.actions))
        ends = (buffer.dones[order, k] > 0) | (buffer.timeouts[order, k] > 0)
        ends[:-1] |= (after[:-1] != s[1:]).any(1)
        cuts = np.append(np.flatnonzero(ends) + 1, size)
        for start, stop in zip([0, *cuts[:-1]], cuts, strict=True):
            if stop > start:
                states.append(np.concatenate([s[start:stop], after[stop - 1 : stop]]).astype(np.float32))
                actions.append((low + (u[start:stop] + 1) / 2 * (high - low)).astype(np.float32))
    return Episodes(tuple(states), tuple(actions), env_id)


class _BufferUnpickler(pickle.Unpickler):
    """Refuses everything that does not belong in a replay buffer."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        """The class of this name, if a buffer may have it."""
        if (module, name) not in ALLOWED:
            raise ValueError(f"expected a replay buffer of arrays, got one with {module}.{name}")
        return super().find_class(module, name)


def _read_buffer(source: str | Path) -> Episodes:
    # What a damaged pickle raises depends on where the damage is.
    damage = (
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        IndexError,
        AttributeError,
        ImportError,
        TypeError,
        UnicodeDecodeError,
        OverflowError,
        MemoryError,
    )
    with Path(source).open("rb") as file:
        try:
            buffer = _BufferUnpickler(file).load()
            last_line = file.read()
            # train-sac writes what the buffer belongs to behind the pickle, so a file without it was cut short, or is
            # of SB3 itself.
            env_id = json.loads(last_line)["env_id"] if last_line.strip() else None
            if not isinstance(buffer, ReplayBuffer):
                raise ValueError(f"expected a replay buffer, got {type(buffer).__name__}")
            return buffer_episodes(buffer, env_id)
        except (*damage, json.JSONDecodeError) as error:
            raise ValueError(f"damaged, cut short, or no replay buffer ({type(error).__name__}: {error})") from error


def _read_npz(source: str | Path) -> Episodes:
    try:
        with Path(source).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            states, actions, lengths = (arrays[name] for name in ("states", "actions", "lengths"))
            env_id = str(arrays["env_id"])
    except KeyError as error:
        raise ValueError(f"expected arrays states, actions, lengths and env_id: {error.args[0]}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"damaged, cut short, or no .npz file ({error})") from error
    sums = int(lengths.sum()) + len(lengths), int(lengths.sum())
    if (len(states), len(actions)) != sums or lengths.ndim != 1 or (lengths < 1).any():
        raise ValueError(
            f"expected as many states and actions as the lengths of the episodes say, {sums[0]} and {sums[1]}, got "
            f"{len(states)} and {len(actions)}"
        )
    states, actions = (array.astype(np.float32, copy=False) for array in (states, actions))
    return Episodes(
        tuple(np.split(states, np.cumsum(lengths + 1)[:-1])),
        tuple(np.split(actions, np.cumsum(lengths)[:-1])),
        env_id or None,
    )


def _read_minari(source: str | Path) -> Episodes:
    try:
        import minari  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("reading a Minari data set needs Minari: pip install 'rpp_rl[minari]'") from error
    try:
        dataset = minari.load_dataset(str(source).removeprefix(MINARI))
    except FileNotFoundError as error:
        raise ValueError(f"Minari has no such data set on this machine: {error}") from error
    states, actions = [], []
    for episode in dataset.iterate_episodes():
        if not isinstance(episode.observations, np.ndarray) or not isinstance(episode.actions, np.ndarray):
            raise ValueError("expected observations and actions that are vectors")
        states.append(episode.observations.astype(np.float32))
        actions.append(episode.actions.astype(np.float32))
    env_spec = dataset.spec.env_spec
    return Episodes(tuple(states), tuple(actions), None if env_spec is None else env_spec.id)


READERS = {".pkl": _read_buffer, ".npz": _read_npz}
"""Readers of files by suffix."""
