"""How the output of a policy network becomes a standard deviation."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Std = Literal["exp", "softplus"]
"""Stable-Baselines3's clamped exponential, or the paper's clipped softplus."""

LOG_STD_MAX = 2.0
"""Upper bound of the log standard deviation, as in Stable-Baselines3 and in the authors' code."""

LOG_STD_MIN = {"exp": -20.0, "softplus": -10.0}
"""Lower bounds: that of Stable-Baselines3, and that of the authors' code."""


def log_std_of(head: Float[Tensor, "batch action"], std: Std) -> Float[Tensor, "batch action"]:
    """The log standard deviation that the output ``head`` of an actor stands for."""
    if std == "softplus":
        # log softplus(h) tends to h for very negative h, where log(softplus(h)) would be -inf with a NaN gradient.
        head = torch.where(head < -20.0, head, nn.functional.softplus(head.clamp(min=-20.0)).log())
    return torch.clamp(head, LOG_STD_MIN[std], LOG_STD_MAX)
