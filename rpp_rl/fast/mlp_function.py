"""Plain multilayer networks as one node of the graph of gradients: the arithmetic of autograd without its overhead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from rpp_rl.fast.activation_gradients import BACKWARD
from rpp_rl.nn.linear import linear
from rpp_rl.nn.nonlinearity import ACTIVATIONS


def mlp(activation: str, parameters: Sequence[Tensor], x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
    """The layers W_1, b_1, W_2, b_2, ... of ``parameters``, each followed by the activation, see `Chain`."""
    return cast(Tensor, Chain.apply(activation, x, *parameters))


class Chain(Function):
    """x -> σ(W_n ... σ(W_1 x + b_1) ... + b_n) for ready weights; with a member axis for ensembles.

    Gradients of weights that need none are not computed, activations overwrite their inputs where their derivative
    can be had from the result, and so do gradients. Gradients of gradients are refused by torch.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        activation: str,
        x: Float[Tensor, "*batch in"],
        *parameters: Tensor,
    ) -> Float[Tensor, "*batch out"]:
        """Apply the layers; ``parameters`` are W_1, b_1, W_2, b_2, ..."""
        batch = x.shape[:-1]
        has_members = parameters[0].ndim == 3
        layer_inputs, pre_activations = (
            [x.reshape(len(x), -1, x.shape[-1]) if has_members else x.reshape(-1, x.shape[-1])],
            [],
        )
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            y = linear(layer_inputs[-1], weight, bias)
            if activation == "silu":
                pre_activations.append(y)
                y = ACTIVATIONS[activation](y)
            else:
                y = y.relu_() if activation == "relu" else y.tanh_()
            layer_inputs.append(y)
        ctx.save_for_backward(*parameters[::2], *(pre_activations or layer_inputs[1:]), *layer_inputs[:-1])
        ctx.activation, ctx.input_shape = activation, x.shape
        return layer_inputs[-1].view(*batch, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients with respect to the input and to those parameters that need one."""
        n_layers = len(ctx.saved_tensors) // 3
        weights, saved, inputs = (ctx.saved_tensors[i * n_layers : (i + 1) * n_layers] for i in range(3))
        needs_input, *needs = ctx.needs_input_grad[1:]
        grads: list[Tensor | None] = [None] * (2 * n_layers)
        grad = grad.reshape(saved[-1].shape)
        for layer in reversed(range(n_layers)):
            # The gradient that came from outside is not ours to overwrite.
            out = torch.empty_like(grad) if layer == n_layers - 1 else grad
            grad = BACKWARD[ctx.activation](grad, saved[layer], out)
            if needs[2 * layer]:
                grads[2 * layer] = grad.transpose(-1, -2) @ inputs[layer]
            if needs[2 * layer + 1]:
                grads[2 * layer + 1] = grad.sum(-2)
            if layer == 0 and not needs_input:
                return (None, None, *grads)
            grad = grad @ weights[layer]
        return (None, grad.view(ctx.input_shape), *grads)
