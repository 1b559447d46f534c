"""Where episodes come from: replay buffers, ``.npz`` files and Minari data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rpp_rl.dynamics.data import Episodes
from rpp_rl.files import replacing


def read_episodes(source: str | Path, env_id: str | None = None) -> Episodes:
    """Read episodes from a replay buffer of ``train-sac`` (``.pkl``), a file of `write_episodes` (``.npz``), or Minari.

    Args:
        source: Path of a file, or ``minari:ID``.
        env_id: The environment it must be of, where the source knows.

    Raises:
        ValueError: If the source is of another environment, damaged, of no known kind, or holds no finite numbers.
        OSError: If it cannot be read.
    """
    path = Path(source)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            lengths = arrays["lengths"]
            states = np.split(arrays["states"], np.cumsum(lengths + 1)[:-1])
            actions = np.split(arrays["actions"], np.cumsum(lengths)[:-1])
            return Episodes(tuple(states), tuple(actions), str(arrays["env_id"]) or None)
    raise NotImplementedError


def write_episodes(episodes: Episodes, path: Path) -> None:
    """Write an ``.npz`` file that `read_episodes` reads: ``states``, ``actions``, ``lengths``, ``env_id``.

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
