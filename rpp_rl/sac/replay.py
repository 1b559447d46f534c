"""Replay buffers on the disk: only the transitions that are there, not the room that was reserved for more."""

from __future__ import annotations

import copy

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize


def sample(buffer: ReplayBuffer, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
    """Transitions drawn as ``buffer.sample`` draws them, faster where it is a plain replay buffer.

    Args:
        buffer: The buffer; it draws from NumPy's global stream.
        batch_size: Number of transitions.
        env: Normalises observations and rewards, see SB3.
    """
    if not is_plain(buffer, env):
        return buffer.sample(batch_size, env=env)
    rows = np.random.randint(0, buffer.size() * buffer.n_envs, size=batch_size)  # noqa: NPY002

    def take(array: np.ndarray) -> torch.Tensor:
        drawn = array.reshape(-1, *array.shape[2:]).take(rows, axis=0)
        return torch.from_numpy(drawn.astype(np.float32, copy=False)).to(buffer.device)

    # Time-outs are no ends of the task.
    dones = take(buffer.dones) * (1 - take(buffer.timeouts))
    return ReplayBufferSamples(
        observations=take(buffer.observations),
        actions=take(buffer.actions),
        next_observations=take(buffer.next_observations),
        dones=dones.unsqueeze(1),
        rewards=take(buffer.rewards).unsqueeze(1),
    )


def is_plain(buffer: ReplayBuffer, env: VecNormalize | None) -> bool:
    """Whether transitions are drawn from the buffer's arrays as they are."""
    return type(buffer) is ReplayBuffer and not buffer.optimize_memory_usage and env is None


def filled(buffer: ReplayBuffer) -> ReplayBuffer:
    """The buffer without its unused room: a full one whose capacity is the number of its transitions.

    Arrays are views of those of ``buffer``, which is not changed. A full buffer is returned as it is, and so is one
    with ``optimize_memory_usage``, whose last transition ends in the unused room.
    """
    if buffer.full or buffer.optimize_memory_usage:
        return buffer
    cut = copy.copy(buffer)
    for name, array in _storage(buffer).items():
        setattr(cut, name, array[: buffer.pos])
    cut.buffer_size, cut.pos, cut.full = buffer.pos, 0, True
    return cut


def with_capacity(buffer: ReplayBuffer, capacity: int) -> ReplayBuffer:
    """The inverse of `filled`: the same transitions with room for ``capacity`` of them per environment.

    Raises:
        ValueError: If there are more transitions than that.
    """
    if capacity < buffer.buffer_size:
        raise ValueError(f"a replay buffer with {buffer.buffer_size} transitions does not fit into {capacity}")
    if capacity == buffer.buffer_size:
        return buffer
    roomy = copy.copy(buffer)
    for name, array in _storage(buffer).items():
        # Zeros that nobody touched take no memory; resizing in place would write all of them.
        storage = np.zeros((capacity, *array.shape[1:]), dtype=array.dtype)
        storage[: len(array)] = array
        setattr(roomy, name, storage)
    roomy.pos, roomy.full, roomy.buffer_size = buffer.buffer_size, False, capacity
    return roomy


def _storage(buffer: ReplayBuffer) -> dict[str, np.ndarray]:
    """The arrays with one row per transition."""
    return {
        name: value
        for name, value in vars(buffer).items()
        if isinstance(value, np.ndarray) and value.shape[:1] == (buffer.buffer_size,)
    }
