"""The squashed Gaussian of SAC's policy, with its derivatives written down."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from rpp_rl.nn.log_std import LOG_STD_MAX, LOG_STD_MIN, Std, log_std_of

EPSILON = 1e-6
"""Added to 1 - tanh² before the logarithm, as in Stable-Baselines3."""


class SquashedSample:
    """Draws a = tanh(mean + σ · noise) with their log probabilities, and the gradients of both.

    The draws and values are those of Stable-Baselines3's ``SquashedDiagGaussianDistribution``.

    Args:
        heads: What the actor puts out: means, then heads for σ, shape ``(batch, 2 · action)``.
        std: What the heads stand for.
        noise: Normal numbers, shape ``(batch, action)``.

    Attributes:
        actions: Shape ``(batch, action)``.
        log_prob: log π(a), shape ``(batch, 1)``.
    """

    def __init__(
        self, heads: Float[Tensor, "batch mean_and_head"], std: Std, noise: Float[Tensor, "batch action"]
    ) -> None:
        mean, self.head = heads.chunk(2, dim=1)
        self.std, self.log_std = std, log_std_of(self.head, std)
        self.shift = self.log_std.exp().mul_(noise)
        self.actions = (mean + self.shift).tanh_()
        self.slope = 1 - self.actions * self.actions
        self.damped = self.slope + EPSILON
        # log π = log N(noise; 0, 1) - Σ log σ - Σ log (1 - tanh² + ε)
        minus = torch.addcmul(self.log_std, noise, noise, value=0.5).add_(self.damped.log()).sum(1, keepdim=True)
        self.log_prob = minus.neg_().sub_(0.5 * math.log(2 * math.pi) * noise.shape[1])

    def backward(
        self, grad_actions: Float[Tensor, "first action"], grad_log_prob: Tensor
    ) -> Float[Tensor, "first mean_and_head"]:
        """The gradient with respect to the heads of the first rows.

        Args:
            grad_actions: Gradients with respect to the actions of these rows.
            grad_log_prob: Gradient with respect to every one of their log probabilities.
        """
        n = len(grad_actions)
        ratio = self.actions[:n] / self.damped[:n]
        grad_mean = torch.addcmul(grad_actions, ratio, grad_log_prob, value=2).mul_(self.slope[:n])
        grad_log_std = (grad_mean * self.shift[:n]).sub_(grad_log_prob)
        return torch.cat([grad_mean, self._through_std(grad_log_std, self.head[:n], self.log_std[:n])], dim=1)

    def _through_std(self, grad: Tensor, head: Tensor, log_std: Tensor) -> Tensor:
        if self.std == "exp":
            return grad * (head == log_std)
        # d/dh log softplus(h) = sigmoid(h) / softplus(h), which tends to 1; nothing passes the bounds.
        inside = (log_std > LOG_STD_MIN[self.std]) & (log_std < LOG_STD_MAX)
        return grad * inside * (torch.sigmoid(head) / log_std.exp())
