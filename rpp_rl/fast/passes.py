"""Forward and backward passes through whole networks with ready weights: what an update of an agent is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.fast.activation_gradients import BACKWARD
from rpp_rl.fast.chain_pass import ChainPass
from rpp_rl.fast.network_weights import Weights
from rpp_rl.nn.emlp import Trunk
from rpp_rl.nn.linear import RPPLinear
from rpp_rl.nn.nonlinearity import Pointwise
from rpp_rl.nn.norm import EquivariantLayerNorm


class Pass(Protocol):
    """A pass through a network; what it returns may be overwritten by the next one.

    Gradients of outputs may be given for the first rows of the batch alone; the others count as zero.
    """

    def forward(self, x: Float[Tensor, "batch in"], *, constant: bool = False) -> Float[Tensor, "*members batch out"]:
        """The outputs; with constant weights the gradient that can follow is that of the input."""
        ...

    def backward(self, grad: Float[Tensor, "*members batch out"]) -> None:
        """Set the gradients of the parameters, given that of the outputs."""
        ...

    def input_gradient(self, grad: Float[Tensor, "*members batch out"], first: int) -> Float[Tensor, "rows columns"]:
        """The gradient of the input's columns from ``first`` on, given that of the outputs, for as many rows."""
        ...


def make_pass(
    weights: Weights,
    function: Callable[[Tensor], Tensor],
    trunk: Trunk,
    heads: Sequence[RPPLinear],
    *,
    keep: bool = True,
) -> Pass:
    """The fastest pass for a network.

    Args:
        weights: Its weights.
        function: What it computes.
        trunk: Its hidden layers.
        heads: Its last layers, side by side.
        keep: Whether a backward pass can follow.
    """
    kinds = [type(module) for module in trunk]
    with_norm = EquivariantLayerNorm in kinds
    layer = [RPPLinear, EquivariantLayerNorm, Pointwise] if with_norm else [RPPLinear, Pointwise]
    is_chain = bool(kinds) and kinds == layer * (len(kinds) // len(layer))
    if weights.on_cpu and is_chain and cast(Pointwise, trunk[-1]).activation in BACKWARD:
        return ChainPass(weights, trunk, heads, with_norm=with_norm, keep=keep)
    return AutogradPass(weights, function, keep=keep)


class AutogradPass:
    """Passes through any network."""

    def __init__(self, weights: Weights, function: Callable[[Tensor], Tensor], *, keep: bool = True) -> None:
        self.weights, self.function, self.keep = weights, function, keep
        of_layers = {id(p) for layer in weights.layers for p in layer.parameters()}
        self.others = [p for p in weights.parameters if id(p) not in of_layers]

    def forward(self, x: Float[Tensor, "batch in"], *, constant: bool = False) -> Float[Tensor, "*members batch out"]:
        """See `Pass`."""
        self.x = x.detach().requires_grad_(constant)
        self.leaves = [(w.detach(), b.detach()) for w, b in self.weights.pairs]
        others = [parameter for parameter in self.others if parameter.requires_grad]
        for tensor in (*others, *(tensor for pair in self.leaves for tensor in pair)):
            tensor.requires_grad_(not constant)
        with torch.set_grad_enabled(self.keep), self.weights.used(self.leaves):
            self.y = self.function(self.x)
        for parameter in others:
            parameter.requires_grad_(True)
        return self.y.detach()

    def backward(self, grad: Float[Tensor, "*members batch out"]) -> None:
        """See `Pass`."""
        self._backward(grad)
        self.weights.pull_back([(cast(Tensor, w.grad), cast(Tensor, b.grad)) for w, b in self.leaves])

    def input_gradient(self, grad: Float[Tensor, "*members batch out"], first: int) -> Float[Tensor, "rows columns"]:
        """See `Pass`."""
        self._backward(grad)
        assert self.x.grad is not None
        return self.x.grad[: grad.shape[-2], first:]

    def _backward(self, grad: Tensor) -> None:
        """Through the graph, with as many rows of zeros in the end as it has more; after it the graph is gone."""
        torch.autograd.backward(self.y, nn.functional.pad(grad, (0, 0, 0, self.y.shape[-2] - grad.shape[-2])))
        del self.y
