"""Passes through plain multilayer networks without autograd: the gradients are written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from rpp_rl.fast.activation_gradients import BACKWARD
from rpp_rl.fast.matmul_library import default_products
from rpp_rl.fast.network_weights import Pair, Weights
from rpp_rl.nn.emlp import Trunk
from rpp_rl.nn.linear import RPPLinear
from rpp_rl.nn.nonlinearity import Pointwise
from rpp_rl.nn.norm import EPSILON

aten: Any = torch.ops.aten

MAX_MEMORIES = 4
"""Most batch sizes for which a pass keeps memory."""


class Layer(NamedTuple):
    """Memory for one hidden layer of one member.

    Attributes:
        before: What goes into the activation, shape ``(batch, size)``.
        after: What comes out, in the same memory where the derivative can be had from it.
        inverse_rms: What layer norm multiplied by, shape ``(batch, 1)``; of no rows without layer norm.
    """

    before: Tensor
    after: Tensor
    inverse_rms: Tensor


class Memory(NamedTuple):
    """What a pass over a batch of some size writes to.

    Attributes:
        hidden: By member and layer.
        y: The outputs of all members.
        scratch: Gradients of the inputs of the layers, shared by the members.
        products: More of that size, for layer norm.
    """

    hidden: list[list[Layer]]
    y: Tensor
    scratch: list[Tensor]
    products: list[Tensor]


class ChainPass:
    """Passes through linear maps and functions of one number in turns, without autograd and with little new memory.

    Each linear map may be followed by layer norm. Members of an ensemble follow each other, because what one of them
    needs fits into the cache of a processor.
    """

    def __init__(
        self, weights: Weights, trunk: Trunk, heads: Sequence[RPPLinear], *, with_norm: bool, keep: bool
    ) -> None:
        self.weights, self.with_norm, self.keep = weights, with_norm, keep
        maps = [[layer] for layer in trunk if isinstance(layer, RPPLinear)]
        number = {layer: index for index, layer in enumerate(weights.layers)}
        self.layers = [[number[layer] for layer in side_by_side] for side_by_side in (*maps, list(heads))]
        self.activation = cast(Pointwise, trunk[-1]).activation
        self.has_members = heads[0].ensemble is not None
        self.n_members = heads[0].ensemble or 1
        self.made_of: list[Any] = []
        self.memories: dict[int, Memory] = {}

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch in"], *, constant: bool = False) -> Float[Tensor, "*members batch out"]:
        """See `rpp_rl.fast.passes.Pass`."""
        self._prepare(len(x))
        self.x = x
        for whole, parts, dim in self.joined:
            torch.cat(parts, dim, out=whole)
        outputs = self.memory.y.unbind() if self.has_members else [self.memory.y]
        for parameters, layers, y in zip(self.parameters, self.memory.hidden, outputs, strict=True):
            h = x
            for (_, transposed, bias), layer in zip(parameters[:-1], layers, strict=True):
                _affine(bias, h, transposed, layer.before)
                if self.with_norm:
                    _normalise(layer)
                h = _FORWARD[self.activation](layer.before, layer.after)
            _, transposed, bias = parameters[-1]
            _affine(bias, h, transposed, y)
        return self.memory.y

    @torch.no_grad()
    def backward(self, grad: Float[Tensor, "*members batch out"]) -> None:
        """See `rpp_rl.fast.passes.Pass`."""
        for member, g in self._members(grad):
            for layer, g_layer, h in self._gradients(member, g):
                weight_grad, bias_grad = self.grads[member][layer]
                _product(g_layer.t(), h, weight_grad)
                torch.sum(g_layer, 0, out=bias_grad)
        for source, target in self.copies:
            target.copy_(source)
        self.weights.pull_back(self.buffers)

    @torch.no_grad()
    def input_gradient(self, grad: Float[Tensor, "*members batch out"], first: int) -> Float[Tensor, "rows columns"]:
        """See `rpp_rl.fast.passes.Pass`."""
        columns = self.x[: grad.shape[-2], first:]
        total = torch.zeros_like(columns, memory_format=torch.contiguous_format)
        for member, g in self._members(grad):
            *_, (_, g_first, _) = self._gradients(member, g)
            total.add_(g_first @ self.parameters[member][0][0][:, first:])
        return total

    def _members(self, grad: Tensor) -> list[tuple[int, Tensor]]:
        """Gradients of the outputs by member, the last one first: its activations are still in the cache."""
        return list(enumerate(grad.unbind() if self.has_members else [grad]))[::-1]

    def _gradients(self, member: int, g: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """From the last layer to the first: its number, the gradient of its outputs, its input."""
        memory, n = self.memory, len(g)
        for number in reversed(range(len(self.layers))):
            if number == 0:
                yield 0, g, self.x[:n]
                return
            layer = memory.hidden[member][number - 1]
            yield number, g, layer.after[:n]
            g = _product(g, self.parameters[member][number][0], memory.scratch[number - 1][:n])
            saved = layer.before if self.activation == "silu" else layer.after
            g = BACKWARD[self.activation](g, saved[:n], g)
            if self.with_norm:
                g = _normalise_backward(g, layer.before[:n], layer.inverse_rms[:n], memory.products[number - 1][:n])

    def _prepare(self, batch_size: int) -> None:
        """Take the newest weights, and memory for a batch of this size."""
        if self.made_of is not self.weights.pairs:
            self.made_of = self.weights.pairs
            self.parameters = self._by_member()
            self.memories.clear()
            if self.keep:
                self.buffers = self.weights.gradient_buffers()
                self.grads = self._gradient_memory()
        if batch_size not in self.memories:
            if len(self.memories) == MAX_MEMORIES:
                self.memories.clear()
            self.memories[batch_size] = self._new_memory(batch_size)
        self.memory = self.memories[batch_size]

    def _new_memory(self, batch_size: int) -> Memory:
        like = self.parameters[0][0][0]
        sizes = [weight.shape[0] for weight, _, _ in self.parameters[0]]

        def new() -> list[Tensor]:
            return [like.new_empty(batch_size, n) for n in sizes[:-1]]

        def hidden() -> list[Layer]:
            before = new()
            after = new() if self.with_norm or self.activation == "silu" else before
            inverse_rms = [like.new_empty(batch_size if self.with_norm else 0, 1) for _ in before]
            return [Layer(*tensors) for tensors in zip(before, after, inverse_rms, strict=True)]

        first = hidden()
        members = (self.n_members,) if self.has_members else ()
        return Memory(
            hidden=[first, *(hidden() if self.keep else first for _ in range(self.n_members - 1))],
            y=like.new_empty(*members, batch_size, sizes[-1]),
            scratch=new() if self.keep else [],
            products=new() if self.keep and self.with_norm else [],
        )

    def _by_member(self) -> list[list[tuple[Tensor, Tensor, Tensor]]]:
        """Weight, its transpose and bias of every layer of every member; layers side by side are joined."""
        by_layer = []
        self.joined: list[tuple[Tensor, tuple[Tensor, ...], int]] = []
        for side_by_side in self.layers:
            weights, biases = zip(*(self.made_of[number] for number in side_by_side), strict=True)
            weight, bias = weights[0], biases[0]
            if len(weights) > 1:
                weight, bias = torch.cat(weights, dim=-2), torch.cat(biases, dim=-1)
                self.joined += [(weight, weights, -2), (bias, biases, -1)]
            split = (weight.unbind(), bias.unbind()) if self.has_members else ([weight], [bias])
            by_layer.append([(w, w.t(), b) for w, b in zip(*split, strict=True)])
        return [list(layers) for layers in zip(*by_layer, strict=True)]

    def _gradient_memory(self) -> list[list[Pair]]:
        """For every member and layer the memory of its gradients; layers side by side are copied to their own after."""
        self.copies: list[Pair] = []
        by_layer = []
        for side_by_side in self.layers:
            pairs = [self.buffers[number] for number in side_by_side]
            weight, bias = pairs[0]
            if len(pairs) > 1:
                weight, bias = (
                    torch.cat(parts, dim=dim) for parts, dim in zip(zip(*pairs, strict=True), (-2, -1), strict=True)
                )
                for whole, parts, dim in zip((weight, bias), zip(*pairs, strict=True), (-2, -1), strict=True):
                    sources = whole.split([part.shape[dim] for part in parts], dim)
                    self.copies += zip(sources, parts, strict=True)
            split = (weight.unbind(), bias.unbind()) if self.has_members else ([weight], [bias])
            by_layer.append(list(zip(*split, strict=True)))
        return [list(layers) for layers in zip(*by_layer, strict=True)]


def _normalise(layer: Layer) -> None:
    """Divide what goes into the activation by its root mean square, row by row."""
    x, inverse_rms = layer.before, layer.inverse_rms
    torch.linalg.vector_norm(x, dim=1, keepdim=True, out=inverse_rms)
    inverse_rms.square_().mul_(1 / x.shape[1]).add_(EPSILON).rsqrt_()
    x.mul_(inverse_rms)


def _normalise_backward(g: Tensor, normalised: Tensor, inverse_rms: Tensor, products: Tensor) -> Tensor:
    """(g - y mean(g y)) / rms(x) for y = x / rms(x), in place of ``g``."""
    means = torch.mul(g, normalised, out=products).mean(1, keepdim=True)
    return g.addcmul_(normalised, means, value=-1).mul_(inverse_rms)


def _affine(bias: Tensor, x: Tensor, weight: Tensor, out: Tensor) -> None:
    """Put x W + b into ``out``."""
    if weight.shape[1] == 1:
        with default_products():
            torch.addmm(bias, x, weight, out=out)
    else:
        torch.addmm(bias, x, weight, out=out)


def _product(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Put a b into ``out``, and return it."""
    if 1 in a.shape:
        with default_products():
            return torch.mm(a, b, out=out)
    return torch.mm(a, b, out=out)


_FORWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda before, after: torch.clamp_min(before, 0, out=after),
    "tanh": lambda before, after: torch.tanh(before, out=after),
    "silu": lambda before, after: aten.silu.out(before, out=after),
}
