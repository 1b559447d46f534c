"""Batches of transitions that are drawn in the memory of a GPU, from a copy of the replay buffer."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

PIECE = 10_000
"""Steps that are copied to a GPU at once."""


def is_plain(buffer: ReplayBuffer, env: VecNormalize | None) -> bool:
    """Whether transitions are the numbers in the buffer's arrays as they are."""
    return type(buffer) is ReplayBuffer and not buffer.optimize_memory_usage and env is None


class DeviceReplay:
    """A copy of a plain replay buffer on its device, which follows it and from which batches are drawn.

    Args:
        buffer: The buffer; it stays what is saved and loaded.

    Attributes:
        rows: One transition per row, shape ``(capacity · n_envs, obs + action + obs + 3)``: observation, action, next
            observation, reward, whether the episode ended, whether it did so for lack of time.
        n_rows: How many of the rows are filled, a number on the device.
    """

    def __init__(self, buffer: ReplayBuffer) -> None:
        self.buffer = buffer
        obs_dim, action_dim = int(np.prod(buffer.obs_shape)), buffer.action_dim
        self.widths = [obs_dim, action_dim, obs_dim, 1, 1, 1]
        self.rows = torch.zeros(buffer.buffer_size * buffer.n_envs, sum(self.widths), device=buffer.device)
        self.n_rows = torch.zeros((), dtype=torch.float64, device=buffer.device)
        self.clock, self.size, self.pos = -1, 0, 0

    def follow(self, clock: int) -> None:
        """Copy the transitions that were added since the last time.

        Args:
            clock: How many were added ever. If it went back, or so far that all are new, all of them are copied.
        """
        buffer, capacity = self.buffer, self.buffer.buffer_size
        n_new, size = (buffer.pos - self.pos) % capacity, buffer.size()
        if self.clock < 0 or size < self.size or not 0 <= clock - self.clock < capacity * buffer.n_envs:
            self._copy(0, size)
        else:
            at_end = min(n_new, capacity - self.pos)
            self._copy(self.pos, at_end)
            self._copy(0, n_new - at_end)
        if size != self.size:
            self.n_rows.fill_(size * buffer.n_envs)
        self.clock, self.size, self.pos = clock, size, buffer.pos

    def draw(self, n: int) -> ReplayBufferSamples:
        """Transitions drawn uniformly by torch's generator of the device; nothing waits for the device."""
        # In single precision the last rows of a large buffer could not be told apart.
        drawn = torch.rand(n, dtype=torch.float64, device=self.rows.device) * self.n_rows
        parts = self.rows.index_select(0, drawn.long()).split(self.widths, dim=1)
        observations, actions, next_observations, rewards, dones, timeouts = parts
        # Time-outs are no ends of the task.
        return ReplayBufferSamples(observations, actions, next_observations, dones * (1 - timeouts), rewards)

    def _copy(self, start: int, n: int) -> None:
        """Copy so many steps of all environments, in pieces that need little memory of the CPU."""
        n_envs = self.buffer.n_envs
        names = ("observations", "actions", "next_observations", "rewards", "dones", "timeouts")
        for first in range(start, start + n, PIECE):
            last = min(first + PIECE, start + n)
            arrays = [getattr(self.buffer, name)[first:last].reshape((last - first) * n_envs, -1) for name in names]
            rows = torch.from_numpy(np.concatenate(arrays, axis=1, dtype=np.float32, casting="same_kind"))
            self.rows[first * n_envs : last * n_envs].copy_(rows)
