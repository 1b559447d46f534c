"""Where episodes come from: replay buffers, ``.npz`` files and Minari data sets."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from rpp_rl.dynamics.trajectories import Episodes
from rpp_rl.io.atomic import replacing
from rpp_rl.io.minari_file import minari_folder, read_minari
from rpp_rl.io.npz_file import read_npz
from rpp_rl.io.replay_file import ReplayArrays, read_replay, read_sb3_replay, replay_arrays

MINARI = "minari:"
"""Begins the name of a Minari data set."""


def read_episodes(source: str | Path, env_id: str | None = None, *, trust: bool = False) -> Episodes:
    """Read episodes from a replay buffer, a file of `write_episodes` (``.npz``), or Minari.

    A replay buffer of ``train-sac`` (``.safetensors``) is plain data. One of Stable-Baselines3 (``.pkl``) is a pickle,
    from which plain arrays are taken without running it.

    Args:
        source: Path of a file, or ``minari:ID`` for a data set that Minari has on this machine.
        env_id: The environment it must be of, where the source knows; it names the episodes where it does not.
        trust: Whether a pickle may run, for buffers of classes of your own; it may do anything on this machine.

    Raises:
        ValueError: If the source is of another environment, damaged, of no known kind, or holds numbers that are not
            finite.
        OSError: If it cannot be read.
    """
    suffix = Path(source).suffix
    if str(source).startswith(MINARI):
        reader = _read_minari
    elif suffix in READERS:
        reader = _run_pickle if trust and suffix == PICKLE else READERS[suffix]
    else:
        raise ValueError(
            f"{source}: expected a replay buffer (.safetensors, .pkl), episodes (.npz) or a Minari data set "
            f"({MINARI}ID)"
        )
    try:
        episodes = reader(source)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(source)) else f"{source}: {text}") from error
    if None not in (env_id, episodes.env_id) and env_id != episodes.env_id:
        raise ValueError(f"{source}: expected data of {env_id}, got data of {str(episodes.env_id)[:80]}")
    return Episodes(episodes.states, episodes.actions, episodes.env_id or env_id)


def write_episodes(episodes: Episodes, path: str | Path) -> None:
    """Write an ``.npz`` file that `read_episodes` reads.

    It holds all ``states``, one after the other, shape ``(n_transitions + n_episodes, obs)``, all ``actions``, shape
    ``(n_transitions, action)``, the ``lengths`` of the episodes in steps, and the ``env_id``.

    Raises:
        OSError: If it cannot be written.
    """
    with replacing(Path(path)) as file:
        np.savez(
            file,
            states=np.concatenate(episodes.states),
            actions=np.concatenate(episodes.actions),
            lengths=np.array([len(actions) for actions in episodes.actions]),
            env_id=np.array(episodes.env_id or ""),
        )


def replay_episodes(replay: ReplayArrays) -> Episodes:
    """The episodes in a replay buffer, in the order in which they began.

    An episode ends at a done, at a time-out, and wherever the next transition begins in another state, as after a
    resumed run.

    Raises:
        ValueError: If the buffer is empty or not of vectors.
    """
    if replay.observations.ndim != 3:
        raise ValueError(f"expected observations that are vectors, got arrays of shape {replay.observations.shape[2:]}")
    size = len(replay.rewards)
    low, high = (bound.astype(np.float64) for bound in (replay.action_low, replay.action_high))
    found: list[tuple[int, np.ndarray, np.ndarray]] = []
    for k in range(replay.rewards.shape[1]):
        s, after, u, dones, timeouts = (
            _in_order(array[:, k], replay.oldest)
            for array in (replay.observations, replay.next_observations, replay.actions, replay.dones, replay.timeouts)
        )
        ends = (dones > 0) | (timeouts > 0)
        ends[:-1] |= (after[:-1] != s[1:]).any(1)
        cuts = np.append(np.flatnonzero(ends) + 1, size)
        for start, stop in zip([0, *cuts[:-1]], cuts, strict=True):
            if stop > start:
                states = _numbers(np.concatenate([s[start:stop], after[stop - 1 : stop]]))
                found.append((int(start), states, _numbers(low + (u[start:stop] + 1) / 2 * (high - low))))
    found.sort(key=lambda episode: episode[0])
    return Episodes(tuple(states for _, states, _ in found), tuple(a for *_, a in found), replay.env_id)


def _in_order(rows: np.ndarray, oldest: int) -> np.ndarray:
    """The rows of a ring from the oldest on; a view where they are in order."""
    return rows if oldest == 0 else np.concatenate([rows[oldest:], rows[:oldest]])


def _numbers(array: np.ndarray) -> np.ndarray:
    """In single precision, in which what is too large becomes infinite and is refused by its place."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"expected real numbers, got {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def _read_own_buffer(source: str | Path) -> Episodes:
    return replay_episodes(read_replay(Path(source))[0])


def _read_sb3_buffer(source: str | Path) -> Episodes:
    return replay_episodes(read_sb3_replay(Path(source))[0])


def _run_pickle(source: str | Path) -> Episodes:
    """The episodes of a buffer of any class, whose code runs."""
    try:
        with Path(source).open("rb") as file:
            buffer = pickle.load(file)
        if not isinstance(buffer, ReplayBuffer) or buffer.optimize_memory_usage:
            raise ValueError(f"expected a replay buffer with next observations, got {type(buffer).__name__}")
        return replay_episodes(replay_arrays(buffer, None))
    except OSError:
        raise
    except Exception as error:  # what foreign code raises is not known
        raise ValueError(f"damaged, or no replay buffer ({type(error).__name__}: {error})") from error


def _read_npz(source: str | Path) -> Episodes:
    arrays = read_npz(Path(source), {"states": "fiu", "actions": "fiu", "lengths": "iu", "env_id": "U"})
    states, actions, lengths, env_id = arrays.values()
    if lengths.ndim != 1 or env_id.ndim != 0 or states.ndim != 2 or actions.ndim != 2 or (lengths < 1).any():
        raise ValueError("expected states and actions in rows, the lengths of the episodes, and one env_id")
    n_steps = sum(lengths.tolist())
    if (len(states), len(actions)) != (n_steps + len(lengths), n_steps):
        raise ValueError(
            f"expected as many states and actions as the lengths of the episodes say, {n_steps + len(lengths)} and "
            f"{n_steps}, got {len(states)} and {len(actions)}"
        )
    lengths = lengths.astype(np.int64)
    state_parts, action_parts = (
        tuple(np.split(_numbers(array), np.cumsum(sizes)[:-1])) if len(sizes) else ()
        for array, sizes in ((states, lengths + 1), (actions, lengths))
    )
    return Episodes(state_parts, action_parts, str(env_id) or None)


def _read_minari(source: str | Path) -> Episodes:
    folder = minari_folder(str(source).removeprefix(MINARI))
    if not folder.is_dir():
        raise ValueError(f"Minari has no such data set on this machine: expected the folder {folder}")
    episodes, env_id = read_minari(folder)
    return Episodes(
        tuple(_numbers(states) for states, _ in episodes), tuple(_numbers(actions) for _, actions in episodes), env_id
    )


PICKLE = ".pkl"
READERS = {".safetensors": _read_own_buffer, PICKLE: _read_sb3_buffer, ".npz": _read_npz}
"""Readers of files by suffix."""
