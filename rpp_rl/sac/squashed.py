"""The squashed Gaussian as one node of the graph of gradients: a few operations in place of several dozen."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

EPSILON = 1e-6
"""Added to 1 - tanh² before the logarithm, as in Stable-Baselines3."""


class _Squashed(Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        shift = log_std.exp().mul_(noise)
        actions = torch.tanh(mean + shift)
        slope = 1 - actions * actions
        damped = slope + EPSILON
        # log π = log N(noise; 0, 1) - Σ log σ - Σ log (1 - tanh² + ε)
        minus_log_prob = torch.addcmul(log_std, noise, noise, value=0.5).add_(damped.log()).sum(1, keepdim=True)
        ctx.save_for_backward(shift, actions, slope, damped)
        return actions, minus_log_prob.neg_().sub_(0.5 * math.log(2 * math.pi) * noise.shape[1])

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        grad_actions: Tensor,
        grad_log_prob: Tensor,
    ) -> tuple[Tensor, Tensor, None]:
        shift, actions, slope, damped = ctx.saved_tensors
        grad_mean = torch.addcmul(grad_actions, actions / damped, grad_log_prob, value=2).mul_(slope)
        return grad_mean, grad_mean * shift - grad_log_prob, None


def sample_squashed(
    mean: Float[Tensor, "batch action"], log_std: Float[Tensor, "batch action"]
) -> tuple[Float[Tensor, "batch action"], Float[Tensor, "batch 1"]]:
    """Draw tanh(mean + exp(log_std) · noise) and its log probability; gradients flow to both arguments.

    The draws and values are those of Stable-Baselines3's ``SquashedDiagGaussianDistribution``.
    """
    return cast(tuple[Tensor, Tensor], _Squashed.apply(mean, log_std, torch.randn_like(mean)))
