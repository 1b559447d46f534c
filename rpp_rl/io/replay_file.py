"""Replay buffers in files: this package's own, which are plain arrays, and the pickles of Stable-Baselines3.

A pickle is read as a description (`rpp_rl.io.inert_pickle`), from which arrays of plain numbers are taken that lie in
the file as bytes. Both kinds are mapped, so a buffer of gigabytes takes memory only as far as it is used.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer

from rpp_rl.io.array_file import read_arrays, write_arrays
from rpp_rl.io.inert_pickle import Call, Name, read_inert

KIND = "a replay buffer of rpp_rl"
VERSION = 1
NUMBERS = frozenset(
    f"{kind}{size}" for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}.items()
    for size in sizes
)  # fmt: skip
"""The types of number that are taken from a pickle, by NumPy's short names."""


@dataclass(frozen=True, eq=False)
class ReplayArrays:
    """The transitions of a replay buffer, one row per step of all environments.

    Attributes:
        observations: Shape ``(steps, envs, obs)``, or more axes for images.
        next_observations: The observations after the steps, of the same shape.
        actions: In the range [-1, 1], shape ``(steps, envs, action)``.
        rewards: Shape ``(steps, envs)``.
        dones: 1 where an episode ended, shape ``(steps, envs)``.
        timeouts: 1 where it ended for lack of time only, shape ``(steps, envs)``.
        action_low: What an action of -1 is in the environment, shape ``(action,)``.
        action_high: What an action of 1 is, shape ``(action,)``.
        oldest: Index of the oldest row; the rows are a ring.
        env_id: The environment, where it is known.
    """

    observations: np.ndarray
    next_observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    timeouts: np.ndarray
    action_low: np.ndarray
    action_high: np.ndarray
    oldest: int = 0
    env_id: str | None = None

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        shape = self.rewards.shape
        n_actions = self.action_low.shape
        if len(shape) != 2 or len(n_actions) != 1 or shape[1] < 1 or not 0 <= self.oldest < max(shape[0], 1):
            raise ValueError(f"expected rows of steps and environments, got shapes {shape} and {n_actions}")
        expected = {
            "next_observations": self.observations.shape,
            "actions": (*shape, *n_actions),
            "dones": shape,
            "timeouts": shape,
            "action_high": n_actions,
        }
        for name, of_name in expected.items():
            if getattr(self, name).shape != of_name or self.observations.shape[:2] != shape:
                raise ValueError(f"expected {name} of shape {of_name}, got {getattr(self, name).shape}")

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.type == "np.ndarray"}


def replay_arrays(buffer: ReplayBuffer, env_id: str | None) -> ReplayArrays:
    """The transitions in a replay buffer of Stable-Baselines3, as views of its arrays.

    Raises:
        ValueError: If actions are not in a box, or the buffer is of the kind that saves memory at the cost of last
            states.
    """
    space = buffer.action_space
    if not isinstance(space, Box) or buffer.optimize_memory_usage:
        raise ValueError(f"expected a buffer of whole transitions with actions in a box, got {space}")
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    return ReplayArrays(
        **{name: getattr(buffer, name)[: buffer.size()] for name in names},
        action_low=space.low.reshape(-1),
        action_high=space.high.reshape(-1),
        oldest=buffer.pos if buffer.full else 0,
        env_id=env_id,
    )


def fill(buffer: ReplayBuffer, replay: ReplayArrays) -> None:
    """Put stored transitions into a replay buffer with room for them, in place of what is in it.

    The rows are where they were, if the capacity is what it was: a batch is drawn by the numbers of rows.

    Raises:
        ValueError: If they are of other shapes, or too many.
    """
    n_rows, capacity = len(replay.rewards), buffer.buffer_size
    if n_rows > capacity:
        raise ValueError(f"{n_rows} steps of transitions do not fit into {capacity}")
    order = slice(None) if n_rows == capacity or not replay.oldest else np.r_[replay.oldest : n_rows, 0 : replay.oldest]
    for name, array in replay.arrays.items():
        if name in ("action_low", "action_high"):
            continue
        target = getattr(buffer, name)
        if (array.shape[1:], array.dtype) != (target.shape[1:], target.dtype):
            raise ValueError(
                f"expected {name} of shape {target.shape[1:]} of {target.dtype}, got {array.shape[1:]} of {array.dtype}"
            )
        target[:n_rows] = array[order]
    buffer.full = n_rows == capacity
    buffer.pos = replay.oldest if buffer.full else n_rows


def write_replay(path: Path, replay: ReplayArrays, more: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a replay buffer and what belongs to it; the file is complete or absent.

    Args:
        path: Where, by custom with the suffix ``.safetensors``.
        replay: The transitions.
        more: More plain values, for a checkpoint.
        arrays: More arrays.

    Raises:
        ValueError: If something is no plain value or number.
        OSError: If the file cannot be written.
    """
    document = {"env_id": replay.env_id, "oldest": replay.oldest, "more": dict(more)}
    named = {f"replay.{name}": array for name, array in replay.arrays.items()}
    write_arrays(path, KIND, VERSION, document, {**named, **{f"more.{name}": array for name, array in arrays.items()}})


def read_replay(path: Path) -> tuple[ReplayArrays, dict[str, Any], dict[str, np.ndarray]]:
    """What `write_replay` wrote: transitions, more values, more arrays; all arrays are mapped.

    Raises:
        ValueError: If the file is damaged, of another kind or of a newer version.
        OSError: If it cannot be read.
    """
    document, arrays = read_arrays(path, KIND, VERSION)
    own, others = (
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in ("replay.", "more.")
    )
    env_id, oldest, more = (document.get(key) for key in ("env_id", "oldest", "more"))
    if not isinstance(env_id, str | None) or type(oldest) is not int or not isinstance(more, dict):
        raise ValueError(f"{path} is damaged: it does not say which transitions it holds")
    try:
        return ReplayArrays(**own, oldest=oldest, env_id=env_id), more, others
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no replay buffer: {error}") from error


def read_sb3_replay(path: Path) -> tuple[ReplayArrays, dict[str, Any]]:
    """The transitions in a pickled ``ReplayBuffer`` of Stable-Baselines3, of which nothing is run.

    Returns:
        The transitions, and what ``train-sac`` wrote behind the pickle in its first version; else nothing.

    Raises:
        ValueError: If it is another pickle, or a buffer that is made of more than plain numbers.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("damaged, cut short, or no replay buffer: the file is empty")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        buffer, end = read_inert(data)
        last_line = bytes(data[end : end + 2**20]).strip()
        mark: dict[str, Any] = json.loads(last_line) if last_line else {}
        env_id = str(mark["env_id"]) if mark else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"damaged, cut short, or no replay buffer ({error})") from error
    state = _state(buffer, "ReplayBuffer")
    if state.get("optimize_memory_usage") is not False:
        raise ValueError("a buffer with optimize_memory_usage lacks the last states of its episodes")
    try:
        return _replay(state, env_id), mark
    except KeyError as error:
        raise ValueError(f"damaged, or no replay buffer: it has no {error.args[0]}") from error


def _replay(state: dict[str, Any], env_id: str | None) -> ReplayArrays:
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    arrays = {name: _array(state[name], name) for name in names}
    space = _state(state["action_space"], "Box")
    n_rows, pos, is_full = len(arrays["rewards"]), state["pos"], state["full"]
    if type(pos) is not int or type(is_full) is not bool or not 0 <= pos <= n_rows:
        raise ValueError(f"damaged: position {_short(pos)} in {n_rows} transitions")
    used = {name: array if is_full else array[:pos] for name, array in arrays.items()}
    low, high = (_array(space[bound], bound) for bound in ("low", "high"))
    return ReplayArrays(**used, action_low=low, action_high=high, oldest=pos if is_full else 0, env_id=env_id)


def _state(value: object, name: str) -> dict[str, Any]:
    """The attributes of an object of a class with this name."""
    if not isinstance(value, Call) or not isinstance(value.name, Name):
        raise ValueError(f"expected a {name}, got {type(value).__name__}")
    if value.name.name != name:
        raise ValueError(
            f"expected a {name} of plain numbers, got {value.name.module[:80]}.{value.name.name[:80]}; "
            "if you trust whoever made the file, let it run with --trust (in Python: read_episodes(file, trust=True))"
        )
    state = value.states[-1] if value.states else None
    if not isinstance(state, dict):
        raise ValueError(f"damaged: a {name} without attributes")
    return state


def _array(value: object, name: str) -> np.ndarray:
    """An array that lies in the file as bytes, in either form in which NumPy pickles one."""
    if not isinstance(value, Call) or not isinstance(value.name, Name):
        raise ValueError(f"{name}: expected an array, got {type(value).__name__}")
    function, arguments = value.name.name, value.arguments
    if function == "_frombuffer" and isinstance(arguments, tuple) and len(arguments) == 4 and not value.states:
        data, dtype, shape, order = arguments
    elif function == "_reconstruct" and len(value.states) == 1 and _is_tuple(value.states[0], 5):
        _, shape, dtype, is_fortran, data = value.states[0]
        order = "F" if is_fortran else "C"
    else:
        raise ValueError(f"{name}: expected an array of plain numbers, got {function[:80]}")
    kind = _dtype(dtype, name)
    if not isinstance(data, memoryview) or not isinstance(shape, tuple) or order not in ("C", "F"):
        raise ValueError(f"{name}: expected the bytes of an array, got {type(data).__name__}")
    is_shape = len(shape) <= 8 and all(type(n) is int and 0 <= n <= 2**40 for n in shape)
    if not is_shape or prod(shape) * kind.itemsize != len(data):
        sizes = ", ".join(map(_short, shape[:8]))
        raise ValueError(f"{name}: damaged: {len(data)} bytes are no array of shape ({sizes}) of {kind}")
    return np.frombuffer(data, kind).reshape(shape, order=order)


def _dtype(value: object, name: str) -> np.dtype:
    """A type of number by its short name and its byte order; whatever else the file says of it is not heard."""
    if not isinstance(value, Call) or value.name != Name("numpy", "dtype") or not isinstance(value.arguments, tuple):
        raise ValueError(f"{name}: expected a type of number")
    letters = value.arguments[0] if value.arguments else None
    state = value.states[-1] if value.states else ()
    byte_order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
    if not isinstance(letters, str) or letters not in NUMBERS or byte_order not in ("<", ">", "|", "="):
        raise ValueError(f"{name}: expected plain numbers, got an array of {_short(letters)}")
    return np.dtype(letters).newbyteorder(byte_order)


def _is_tuple(value: object, length: int) -> bool:
    return isinstance(value, tuple) and len(value) == length


def _short(value: object) -> str:
    """A number or text, abridged; of the rest the type, because forty pairs of pairs print as 2^40."""
    return str(value)[:20] if isinstance(value, str | int | float) else type(value).__name__
