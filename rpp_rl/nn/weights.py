"""The weights of a whole network, made once and used by many passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor, nn

from rpp_rl.nn.linear import RPPLinear
from rpp_rl.nn.prior import pathways

foreach: Any = torch  # torch's stubs do not know the functions on lists

Pair = tuple[Tensor, Tensor]
"""W = A + B and the sum of both biases of one layer, or the gradients of both."""


@contextmanager
def shared_weights(module: nn.Module) -> Iterator[None]:
    """Make the weights of every `RPPLinear` in ``module`` once, on entry, for all passes inside the ``with`` block.

    The parameters must not be stepped inside. Gradients flow as usual, unless the block is entered under ``no_grad``.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, RPPLinear)]
    with _shared(layers, [(layer.weight(), layer.bias()) for layer in layers]):
        yield


@contextmanager
def _shared(layers: Sequence[RPPLinear], pairs: Sequence[Pair]) -> Iterator[None]:
    try:
        for layer, pair in zip(layers, pairs, strict=True):
            # Past nn.Module's own assignment, which looks for parameters and takes longer than some layers.
            vars(layer)["shared"] = pair
        yield
    finally:
        for layer in layers:
            vars(layer)["shared"] = None


class Weights:
    """The weights of every `RPPLinear` in a network, for passes that know no pathways.

    They are those of the last `make`; after a step of the parameters they must be made again. Gradients of weights
    are passed to the parameters by `pull_back`.

    Args:
        module: The network.

    Attributes:
        pairs: W and b of every layer, without gradients; on a CPU the same memory until parameters are loaded or moved.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, RPPLinear)]
        self.parameters = list(module.parameters())
        self.pairs: list[Pair] = []
        number = {layer: index for index, layer in enumerate(self.layers)}
        # For each module in turn the number of its pair, or its own parameters: the order of `merge`'s parameters.
        self._merged = [
            number[m] if isinstance(m, RPPLinear) else list(m.parameters(recurse=False)) for m in module.modules()
        ]
        self._coefficients, self._residuals, _ = pathways(module)
        self._graph: list[Tensor] = []
        self._buffers: list[Pair] | None = None
        self._basis: BasisProduct | None = None
        self._made_of: list[tuple[int, int, bool]] | None = None
        self._places: list[int] = []

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
        on_cpu = self.parameters[0].device.type == "cpu"
        self._graph = []
        if self._coefficients and not on_cpu:
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
        with _shared(self.layers, self.pairs if pairs is None else pairs):
            yield

    def merged_parameters(self) -> list[Tensor]:
        """The parameters that ``merge(module)`` would have, in its order, detached; they share memory with these."""
        parts = (self.pairs[part] if isinstance(part, int) else part for part in self._merged)
        return [tensor.detach() for part in parts for tensor in part]

    def _state(self) -> list[tuple[int, int, bool]]:
        return _versions(self.parameters)


def _versions(tensors: Iterable[Tensor]) -> list[tuple[int, int, bool]]:
    """What changes when tensors are written to, loaded, moved or frozen."""
    return [(tensor._version, tensor.data_ptr(), tensor.requires_grad) for tensor in tensors]


class BasisProduct:
    """All equivariant weights of a network from all coefficients, in one product: on a CPU faster than many small ones.

    Most numbers of a weight between regular representations are one coefficient up to its sign and a factor: then the
    product is a look-up. Otherwise it is that of a sparse matrix.

    Args:
        layers: The layers, with equivariant pathways.
        coefficients: Those of all layers, in their order.

    Attributes:
        product: The weights and biases of all layers one after the other, as `multiply` made them.
    """

    def __init__(self, layers: Sequence[RPPLinear], coefficients: Sequence[nn.Parameter]) -> None:
        blocks = [block for layer in layers for block in layer.sparse_basis()]
        dtype = coefficients[0].dtype
        numbers = torch.empty(0, dtype=dtype).numpy().dtype
        self.layers, self.coefficients = layers, coefficients
        self.made_of = self._state()
        # scipy's annotations of sparse arrays promise less than they are.
        self.basis: Any = _by_rows(sparse.block_diag(blocks), numbers)
        self.transposed = _by_rows(self.basis.T, numbers)
        n_numbers, n = self.basis.shape
        self.product, self.grad = torch.empty(n_numbers, dtype=dtype), torch.empty(n, dtype=dtype)
        pieces = self.grad.split([parameter.numel() for parameter in coefficients])
        self.grads = [piece.view(p.shape) for piece, p in zip(pieces, coefficients, strict=True)]
        self.lookup = self._lookup()
        # What numbers are looked up in: factor · β, -factor · β and zero.
        self.table = torch.zeros(2 * n + 1, dtype=dtype)
        self.positive, self.negative = self.table[:n], self.table[n : 2 * n]

    @property
    def is_stale(self) -> bool:
        """Whether a basis was loaded or moved since."""
        return self.made_of != self._state()

    def _state(self) -> list[tuple[int, int, bool]]:
        # Numerical bases are loaded with the parameters; other tensors take their place when they are moved.
        return _versions(buffer for layer in self.layers for buffer in layer.buffers())

    def _lookup(self) -> tuple[Tensor, Tensor] | None:
        """For each number of the product its place among factor · β, -factor · β and zero, if it is one of those."""
        counts, n = np.diff(self.basis.indptr), self.basis.shape[1]
        if counts.max(initial=0) > 1:
            return None
        factors = np.zeros(n, dtype=self.basis.dtype)
        factors[self.basis.indices] = np.abs(self.basis.data)
        if not np.allclose(factors[self.basis.indices], np.abs(self.basis.data), rtol=1e-6, atol=0):
            return None
        places = np.full(len(counts), 2 * n, dtype=np.int32)
        places[counts == 1] = self.basis.indices + n * (self.basis.data < 0)
        return torch.from_numpy(factors), torch.from_numpy(places)

    @torch.no_grad()
    def multiply(self) -> None:
        """Make the weights, in `product`."""
        torch.cat([parameter.detach().view(-1) for parameter in self.coefficients], out=self.positive)
        if self.lookup is None:
            self.product.copy_(torch.from_numpy(self.basis @ self.positive.numpy()))
            return
        factors, places = self.lookup
        torch.neg(self.positive.mul_(factors), out=self.negative)
        torch.index_select(self.table, 0, places, out=self.product)

    def project(self, grads: Float[Tensor, " product"]) -> list[Tensor]:
        """The gradients of the coefficients, given that of the product; the next call overwrites them."""
        self.grad.copy_(torch.from_numpy(self.transposed @ grads.numpy()))
        return self.grads


def _by_rows(matrix: Any, dtype: Any) -> sparse.csr_array:  # noqa: ANN401
    """A sparse matrix by rows with narrow indices: most of the time of a product is to read them."""
    by_rows = sparse.csr_array(matrix, dtype=dtype)
    indices = [array.astype(np.int32) for array in (by_rows.indices, by_rows.indptr)]
    return sparse.csr_array((by_rows.data, *indices), shape=by_rows.shape)
