"""The weights of a whole network, made once and used by many passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

from rpp_rl.fast.basis_product import BasisProduct, versions
from rpp_rl.fast.gated_products import GatedProducts, gated_products, tensor_trunk
from rpp_rl.fast.mlp_function import mlp
from rpp_rl.nn.chain import ChainLinear
from rpp_rl.nn.emlp import Trunk
from rpp_rl.nn.linear import RPPLinear
from rpp_rl.nn.nonlinearity import Pointwise
from rpp_rl.nn.prior import pathways

foreach: Any = torch  # torch's stubs do not know the functions on lists

Pair = tuple[Tensor, Tensor]
"""W = A + B and the sum of both biases of one layer, or the gradients of both."""


@contextmanager
def shared_weights(module: nn.Module) -> Iterator[None]:
    """Make the weights of every `RPPLinear` in ``module`` once, on entry, for all passes inside the ``with`` block.

    The parameters must not be stepped inside. Gradients flow as usual, unless the block is entered under ``no_grad``.
    """
    users = _Users(module)
    with users.of([(layer.weight(), layer.bias()) for layer in users.layers]):
        yield


class _Users:
    """What computes with ready weights: the layers of a network, and those of its trunks that are one function.

    Attributes:
        layers: Every `RPPLinear`.
        trunks: Trunks of linear maps and functions of one number in turns, their function, and which layers they have.
        tensor_trunks: Trunks with products and gates, what they have between the linear maps, and which of these.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, RPPLinear)]
        number: dict[nn.Module, int] = {layer: index for index, layer in enumerate(self.layers)}
        self.trunks: list[tuple[Trunk, str, list[int]]] = []
        self.tensor_trunks: list[tuple[Trunk, list[GatedProducts], list[int]]] = []
        for trunk in (part for part in module.modules() if isinstance(part, Trunk)):
            products = gated_products(trunk)
            if products is not None:
                self.tensor_trunks.append((trunk, products, [number[layer] for layer in list(trunk)[::3]]))
                continue
            maps = [number.get(layer) for layer in list(trunk)[::2]]
            functions = [layer.activation if isinstance(layer, Pointwise) else None for layer in list(trunk)[1::2]]
            if maps and None not in (*maps, *functions):
                self.trunks.append((trunk, cast(str, functions[0]), cast(list[int], maps)))

    @contextmanager
    def of(self, pairs: Sequence[Pair]) -> Iterator[None]:
        """Let the network compute with these weights, in the order of ``layers``, inside the ``with`` block."""
        # Past nn.Module's own assignment, which looks for parameters and takes longer than some layers.
        try:
            for layer, pair in zip(self.layers, pairs, strict=True):
                vars(layer)["shared"] = pair
            for trunk, activation, numbers in self.trunks:
                parameters = [tensor for number in numbers for tensor in pairs[number]]
                vars(trunk)["stand_in"] = partial(mlp, activation, parameters)
            for trunk, products, numbers in self.tensor_trunks:
                # On an accelerator the many small calls of it would take longer than they save.
                if pairs[numbers[0]][0].device.type == "cpu":
                    own = [pairs[number] for number in numbers]
                    vars(trunk)["stand_in"] = partial(tensor_trunk, products, own)
            yield
        finally:
            for layer in self.layers:
                vars(layer)["shared"] = None
            for trunk, *_ in (*self.trunks, *self.tensor_trunks):
                vars(trunk)["stand_in"] = None


class Weights:
    """The weights of every `RPPLinear` in a network, for passes that know no pathways.

    They are those of the last `make`; after a step of the parameters they must be made again. Gradients of weights
    are passed to the parameters by `pull_back`.

    Args:
        module: The network.

    Attributes:
        pairs: W and b of every layer, without gradients; on a CPU the same memory until parameters are loaded or moved.

    Raises:
        ValueError: If a layer has more than two pathways.
    """

    def __init__(self, module: nn.Module) -> None:
        self._users = _Users(module)
        self.layers = self._users.layers
        if any(isinstance(layer, ChainLinear) for layer in self.layers):
            raise ValueError("networks with levels between both pathways have no fast update: use update='plain'")
        self.parameters = list(module.parameters())
        self.pairs: list[Pair] = []
        number = {layer: index for index, layer in enumerate(self.layers)}
        # For each module in turn the number of its pair, or its own parameters: the order of `merge`'s parameters.
        self._merged = [
            number[m] if isinstance(m, RPPLinear) else list(m.parameters(recurse=False)) for m in module.modules()
        ]
        self._coefficients, self._residuals, *_ = pathways(module)
        self._graph: list[Tensor] = []
        self._buffers: list[Pair] | None = None
        self._basis: BasisProduct | None = None
        self._made_of: list[tuple[int, int, bool]] | None = None
        self._places: list[int] = []

    @property
    def on_cpu(self) -> bool:
        """Whether weights and passes go the way of a CPU, and not that of an accelerator."""
        return self.parameters[0].device.type == "cpu"

    @property
    def is_stale(self) -> bool:
        """Whether a parameter was loaded, moved or frozen since; a step of a fused optimiser leaves no trace."""
        return self._made_of != self._state()

    def forget(self) -> None:
        """Count the weights as stale."""
        self._made_of = None

    # Enables gradients too: an evaluation may ask first, and the next update goes on with the same weights.
    @torch.inference_mode(False)
    def make(self) -> None:
        """Make the weights from the parameters."""
        self._graph = []
        if self._coefficients and not self.on_cpu:
            self._graph = [tensor for layer in self.layers for tensor in (layer.weight(), layer.bias())]
            self._set_pairs([tensor.detach() for tensor in self._graph])
            self._basis = None
        elif self._coefficients:
            if self._basis is None or (self.is_stale and self._basis.is_stale):
                self._basis = BasisProduct(self.layers, self._coefficients)
                self._set_pairs(self._split(self._basis.product))
            self._basis.multiply()
            if self._residuals:
                with torch.no_grad():
                    foreach._foreach_add_([tensor for pair in self.pairs for tensor in pair], self._residuals)
        elif self._places != (places := [parameter.data_ptr() for parameter in self._residuals]):
            self._places = places
            self._set_pairs([parameter.detach() for parameter in self._residuals])
        self._made_of = self._state()

    def _set_pairs(self, made: list[Tensor]) -> None:
        self.pairs = list(zip(made[::2], made[1::2], strict=True))

    def _split(self, flat: Tensor) -> list[Tensor]:
        """Views of W and b of every layer."""
        shapes = [shape for layer in self.layers for shape in layer.shapes()]
        pieces = flat.split([shape.numel() for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def gradient_buffers(self) -> list[Pair]:
        """Memory for the gradients of all weights, of which `pull_back` need not make copies."""
        like = self.parameters[0]
        self._flat_grads = like.new_empty(sum(shape.numel() for layer in self.layers for shape in layer.shapes()))
        views = self._split(self._flat_grads.detach())
        self._buffers = list(zip(views[::2], views[1::2], strict=True))
        return self._buffers

    @torch.no_grad()
    def pull_back(self, grads: list[Pair]) -> None:
        """Set the gradients of the parameters: B gets that of W, the coefficients get those of W in the basis.

        Frozen parameters get none, as from autograd.

        Args:
            grads: The gradients of all weights and biases, in the order of `pairs`; they may be changed.
        """
        tensors = list(chain.from_iterable(grads))
        for parameter, grad in zip(self._residuals, tensors, strict=False):
            parameter.grad = grad if parameter.requires_grad else None
        coefficients = [parameter for parameter in self._coefficients if parameter.requires_grad]
        if not coefficients:
            return
        if self._graph:
            made = [(tensor, grad) for tensor, grad in zip(self._graph, tensors, strict=True) if tensor.requires_grad]
            pulled = torch.autograd.grad([tensor for tensor, _ in made], coefficients, [grad for _, grad in made])
        else:
            assert self._basis is not None
            flat = self._flat_grads if grads is self._buffers else torch.cat([tensor.flatten() for tensor in tensors])
            own = zip(self._basis.project(flat), self._coefficients, strict=True)
            pulled = [grad for grad, parameter in own if parameter.requires_grad]
        for parameter, grad in zip(coefficients, pulled, strict=True):
            parameter.grad = grad

    @contextmanager
    def used(self, pairs: list[Pair] | None = None) -> Iterator[None]:
        """Let the network compute with these weights, or others in their place, inside the ``with`` block."""
        with self._users.of(self.pairs if pairs is None else pairs):
            yield

    def merged_parameters(self) -> list[Tensor]:
        """The parameters that ``merge(module)`` would have, in its order, detached; they share memory with these."""
        parts = (self.pairs[part] if isinstance(part, int) else part for part in self._merged)
        return [tensor.detach() for part in parts for tensor in part]

    def _state(self) -> list[tuple[int, int, bool]]:
        return versions(self.parameters)
