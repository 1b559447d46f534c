"""Replay buffers on the disk: only the transitions that are there, not the room that was reserved for more."""

from __future__ import annotations

import copy

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer


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
