"""The transitions of a replay buffer in the memory of a GPU, where batches are drawn without the CPU."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples


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
        self.buffer, self.copied = buffer, 0
        obs_dim, action_dim = int(np.prod(buffer.obs_shape)), buffer.action_dim
        self.widths = [obs_dim, action_dim, obs_dim, 1, 1, 1]
        self.rows = torch.zeros(buffer.buffer_size * buffer.n_envs, sum(self.widths), device=buffer.device)
        self.n_rows = torch.zeros((), dtype=torch.float64, device=buffer.device)
        self.pos, self.full = 0, False
        self._copy(0, buffer.size())

    def follow(self) -> None:
        """Copy the transitions that were added since the last time, of which there are fewer than the buffer holds."""
        capacity = self.buffer.buffer_size
        n_new = (self.buffer.pos - self.pos) % capacity
        at_end = min(n_new, capacity - self.pos)
        self._copy(self.pos, at_end)
        self._copy(0, n_new - at_end)

    def draw(self, n: int) -> ReplayBufferSamples:
        """Transitions drawn uniformly by torch's generator of the device; nothing waits for the device."""
        # In single precision the last rows of a large buffer could not be told apart.
        drawn = torch.rand(n, dtype=torch.float64, device=self.rows.device) * self.n_rows
        parts = self.rows.index_select(0, drawn.long()).split(self.widths, dim=1)
        observations, actions, next_observations, rewards, dones, timeouts = parts
        # Time-outs are no ends of the task.
        return ReplayBufferSamples(observations, actions, next_observations, dones * (1 - timeouts), rewards)

    def _copy(self, start: int, n: int) -> None:
        """Copy so many steps of all environments."""
        buffer, n_envs = self.buffer, self.buffer.n_envs
        if n:
            names = ("observations", "actions", "next_observations", "rewards", "dones", "timeouts")
            arrays = [getattr(buffer, name)[start : start + n].reshape(n * n_envs, -1) for name in names]
            rows = torch.from_numpy(np.concatenate(arrays, axis=1, dtype=np.float32, casting="same_kind"))
            self.rows[start * n_envs : (start + n) * n_envs].copy_(rows)
        self.pos = buffer.pos
        self.n_rows.fill_(buffer.size() * n_envs)
