"""All equivariant weights of a network from all coefficients, in one product on a CPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor, nn

from rpp_rl.nn.linear import RPPLinear


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
        operators = [layer.equivariant_operator() for layer in layers]
        dtype = coefficients[0].dtype
        numbers = torch.empty(0, dtype=dtype).numpy().dtype
        self.layers, self.coefficients = layers, coefficients
        self.made_of = self._state()
        # scipy's annotations of sparse arrays promise less than they are.
        self.basis: Any = _by_rows(sparse.block_diag(operators), numbers)
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
        return versions(buffer for layer in self.layers for buffer in layer.buffers())

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


def versions(tensors: Iterable[Tensor]) -> list[tuple[int, int, bool]]:
    """What changes when tensors are written to, loaded, moved or frozen."""
    return [(tensor._version, tensor.data_ptr(), tensor.requires_grad) for tensor in tensors]


def _by_rows(matrix: Any, dtype: Any) -> sparse.csr_array:  # noqa: ANN401
    """A sparse matrix by rows with narrow indices: most of the time of a product is to read them."""
    by_rows = sparse.csr_array(matrix, dtype=dtype)
    indices = [array.astype(np.int32) for array in (by_rows.indices, by_rows.indptr)]
    return sparse.csr_array((by_rows.data, *indices), shape=by_rows.shape)
