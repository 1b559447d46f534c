"""Products of tensors with the batch as the last axis: one multiplication of vectors for each pair of coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """A run of equal summands that are no scalars, and where its numbers lie in those of `GatedProducts`.

    Attributes:
        place: Its coordinates.
        count: Number of copies.
        size: Coordinates of a copy.
        n_first: Number of copies that act on others, see `Bilinear`.
        gates: Places of its gates among all gates.
        pairs: Places of its pairs in ``to_parts``.
    """

    place: slice
    count: int
    size: int
    n_first: int
    gates: slice
    pairs: slice

    def copies(self, x: Float[Tensor, "members size_in batch"]) -> Float[Tensor, "members count size batch"]:
        """Its coordinates, copy by copy."""
        return x[:, self.place].unflatten(1, (self.count, self.size))

    def firsts(self, x: Float[Tensor, "members size_in batch"]) -> Float[Tensor, "members n_first size batch"]:
        """Those of the copies that act on others."""
        return self.copies(x)[:, : self.n_first]

    def mix(self, mixing: Float[Tensor, "members pairs batch"]) -> Float[Tensor, "members count n_first batch"]:
        """How much of each of these every copy gets."""
        return mixing[:, self.pairs].unflatten(1, (self.count, self.n_first))


class FastContraction:
    """b_i += c Σ_kj w_ikj x_k a_j, where the x_k are matrices from a to b: see `Bilinear`.

    Args:
        acting: The run of the matrices x_k.
        source: The run of a.
        target: The run of b.
        scale: The factor c.
    """

    def __init__(self, acting: Part, source: Part, target: Part, scale: float) -> None:
        self.acting, self.source, self.target, self.scale = acting, source, target, scale
        # The products x_k a_j come first, or the sums over j: whichever makes fewer numbers.
        self.product_first = source.count < target.count

    def forward(self, x: Tensor, weight: Tensor, new: Tensor) -> Tensor:
        """Add the products of ``x`` to ``new``; returns what `backward` needs."""
        acting, sources, targets = self._matrices(x), self.source.copies(x), self.target.copies(new)
        if self.product_first:
            shape = (*acting.shape[:2], self.source.count, *acting.shape[2:3], acting.shape[4])
            product = x.new_empty(shape)
            put_products(product, acting.unsqueeze(2), sources[:, None, :, None], 4)
            targets.flatten(2).baddbmm_(self._by_pair(weight), _as_matrix(product), alpha=self.scale)
            return product
        product = torch.bmm(weight, sources.flatten(2)).view(
            *acting.shape[:2], self.target.count, self.source.size, x.shape[2]
        )
        for matrices, mixed in zip(acting.unbind(1), product.unbind(1), strict=True):
            add_products(targets, matrices.unsqueeze(1), mixed.unsqueeze(2), 3, self.scale)
        return product

    def backward(
        self, x: Tensor, weight: Tensor, product: Tensor, by_new: Tensor, grad_x: Tensor, by_weight: Tensor
    ) -> None:
        """Add to the gradient of ``x`` and put that of the weights, over c, into ``by_weight``, given that of new."""
        acting, sources, by_target = self._matrices(x), self.source.copies(x), self.target.copies(by_new)
        by_acting, by_sources = self._matrices(grad_x), self.source.copies(grad_x)
        if self.product_first:
            by_pair = torch.bmm(by_target.flatten(2), _as_matrix(product).mT)
            self._of_pairs(by_weight).copy_(by_pair.unflatten(2, (self.acting.n_first, -1)))
            by_product = torch.bmm(self._by_pair(weight).mT, by_target.flatten(2)).view_as(product)
            add_products(by_acting, by_product.unsqueeze(4), sources[:, None, :, None], 2, self.scale)
            for matrices, by_k in zip(acting.unbind(1), by_product.unbind(1), strict=True):
                add_products(by_sources, matrices.unsqueeze(1), by_k.unsqueeze(3), 2, self.scale)
            return
        by_product = torch.empty_like(product)
        put_products(by_product, acting.unsqueeze(2), by_target[:, None, :, :, None], 3)
        torch.bmm(_as_matrix(by_product), sources.flatten(2).mT, out=by_weight)
        by_sources.flatten(2).baddbmm_(weight.mT, _as_matrix(by_product), alpha=self.scale)
        add_products(by_acting, product.unsqueeze(3), by_target[:, None, :, :, None], 2, self.scale)

    def _matrices(self, x: Tensor) -> Float[Tensor, "members n_acting size_out size_in batch"]:
        return self.acting.firsts(x).unflatten(2, (self.target.size, self.source.size))

    def _of_pairs(self, weight: Tensor) -> Float[Tensor, "members n_target n_acting n_source"]:
        return weight.unflatten(1, (self.acting.n_first, self.target.count)).transpose(1, 2)

    def _by_pair(self, weight: Tensor) -> Float[Tensor, "members n_target n_acting·n_source"]:
        return self._of_pairs(weight).flatten(2)


def add_products(out: Tensor, a: Tensor, b: Tensor, dim: int, scale: float = 1.0) -> None:
    """Add scale · Σ a b to ``out``; the sum goes over an axis, and the other axes are matched as by torch."""
    for one, other in zip(a.unbind(dim), b.unbind(dim), strict=True):
        out.addcmul_(one, other, value=scale)


def put_products(out: Tensor, a: Tensor, b: Tensor, dim: int) -> None:
    """Put Σ a b into ``out``, as `add_products` would add it to zeros."""
    (one, *more), (other, *others) = a.unbind(dim), b.unbind(dim)
    torch.mul(one, other, out=out)
    for factor, other_factor in zip(more, others, strict=True):
        out.addcmul_(factor, other_factor)


def _as_matrix(product: Float[Tensor, "members m n size batch"]) -> Float[Tensor, "members m·n size·batch"]:
    return product.flatten(3).flatten(1, 2)
