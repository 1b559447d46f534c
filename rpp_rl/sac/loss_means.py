"""The losses of updates on their way to the log."""

from __future__ import annotations

import torch
from torch import Tensor


class LossMeans:
    """Sums of what updates return, on their device: reading a number waits for the computation of it."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[Tensor, int]] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add those of one update."""
        for key, value in losses.items():
            total, count = self.sums.get(key, (torch.zeros_like(value), 0))
            self.sums[key] = (total + value, count + 1)

    def means(self) -> dict[str, float]:
        """The means since the last call."""
        means = {key: float(total) / count for key, (total, count) in self.sums.items()}
        self.sums = {}
        return means
