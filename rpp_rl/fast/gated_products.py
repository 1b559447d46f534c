"""A bilinear layer and the gates after it as one node of the graph of gradients, with the batch as the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from rpp_rl.fast.activation_gradients import BACKWARD
from rpp_rl.fast.contraction import FastContraction, Part, add_products, put_products
from rpp_rl.nn.bilinear import Bilinear
from rpp_rl.nn.emlp import Trunk
from rpp_rl.nn.linear import RPPLinear
from rpp_rl.nn.nonlinearity import ACTIVATIONS, Gated

aten: Any = torch.ops.aten

CHUNK = 2
"""Members of an ensemble that are computed together: more make fewer calls, fewer keep their numbers in the cache."""


class Kept(NamedTuple):
    """What the gradients of some members need.

    Attributes:
        x: The input.
        scalars: Its scalars.
        grams: Scalar products of first copies and copies, see `Bilinear`.
        mixing: What each copy gets of each first copy.
        products: See `FastContraction.forward`.
        new: Parts after the bilinear layer, in the places that they have in x.
        new_scalars: Scalars after it.
        gates: Sigmoids of the last scalars.
        after: The other scalars after their function. It is not the output: a node that keeps its own output is never
            freed.
    """

    x: Tensor
    scalars: Tensor
    grams: Tensor
    mixing: Tensor
    products: list[Tensor]
    new: Tensor
    new_scalars: Tensor
    gates: Tensor
    after: list[Tensor]


class GatedProducts:
    """The function of a `Bilinear` followed by a `Gated`, with gradients that are written down.

    The plain layers multiply a few numbers of every sample by one another, in products of matrices that are too small
    to be fast. Here each of these products runs over the batch, whose numbers lie side by side.

    Args:
        bilinear: The layer of products.
        gated: The nonlinearity after it.

    Attributes:
        parameters: Those of the layer of products.
    """

    def __init__(self, bilinear: Bilinear, gated: Gated) -> None:
        self.scale, self.duals = bilinear.scale, bilinear.duals
        self.activation, self.residual_scale = gated.activation, gated.residual_scale
        self.size_out = gated.rep_out.size
        self.parameters = [bilinear.to_scalars, bilinear.to_parts, *bilinear.contracted]
        self.scalars: list[slice] = []
        self.parts: list[Part] = []
        at = gate = pair = 0
        firsts = iter(bilinear.n_firsts)
        for count, size, is_scalar in bilinear.runs:
            place = slice(at, at + count * size)
            at = place.stop
            if is_scalar:
                self.scalars.append(place)
                continue
            first = next(firsts)
            part = Part(place, count, size, first, slice(gate, gate + count), slice(pair, pair + first * count))
            gate, pair = part.gates.stop, part.pairs.stop
            self.parts.append(part)
        self.contractions = [
            FastContraction(self.parts[acting], self.parts[source], self.parts[target], self.scale)
            for acting, source, target in bilinear.contractions
        ]
        sizes = [self.parts[dual].n_first * self.parts[run].count for run, dual in self.duals]
        self.grams = [slice(sum(sizes[:k]), sum(sizes[: k + 1])) for k in range(len(sizes))]

    @staticmethod
    def fits(bilinear: object, gated: object) -> bool:
        """Whether two layers are of this kind: without twins, scalars pass a function and all else is gated."""
        if not (isinstance(bilinear, Bilinear) and isinstance(gated, Gated)):
            return False
        if bilinear.residual is not None or gated.residual is not None:
            return False
        # The bilinear layer's last run must be the gates, and nothing else.
        return bilinear.runs == [*gated.runs, (gated.n_gates, 1, True)]

    def __call__(self, x: Float[Tensor, "members size_in batch"]) -> Float[Tensor, "members size_out batch"]:
        """Apply both layers."""
        parameters = [p if p.ndim == 3 else p.unsqueeze(0) for p in self.parameters]
        return cast(Tensor, Products.apply(self, x, *parameters))

    def forward(self, x: Float[Tensor, "members size_in batch"], parameters: Sequence[Tensor], out: Tensor) -> Kept:
        """Put the output of some members into ``out``, shape ``(members, size_out, batch)``."""
        to_scalars, to_parts, *contracted = parameters
        scalars = torch.cat([x[:, place] for place in self.scalars], 1)
        grams = x.new_empty(len(x), to_scalars.shape[2], x.shape[2])
        for (run, dual), place in zip(self.duals, self.grams, strict=True):
            gram = grams[:, place].unflatten(1, (self.parts[dual].n_first, -1))
            put_products(gram, self.parts[dual].firsts(x).unsqueeze(2), self.parts[run].copies(x).unsqueeze(1), 3)
        new_scalars = torch.baddbmm(scalars, to_scalars, grams, alpha=self.scale)
        mixing = torch.bmm(to_parts, scalars)
        new = x.clone()
        for part in self.parts:
            add_products(part.copies(new), part.firsts(x).unsqueeze(1), part.mix(mixing).unsqueeze(3), 2, self.scale)
        products = [
            contraction.forward(x, weight, new)
            for contraction, weight in zip(self.contractions, contracted, strict=True)
        ]
        gates, after = self._gate(new, new_scalars, out)
        return Kept(x, scalars, grams, mixing, products, new, new_scalars, gates, after)

    def backward(
        self, grad: Float[Tensor, "members size_out batch"], parameters: Sequence[Tensor], kept: Kept, out: list[Tensor]
    ) -> None:
        """Put the gradients of input and parameters of some members into ``out``."""
        to_scalars, to_parts, *contracted = parameters
        grad_x, grad_to_scalars, grad_to_parts, *grads_contracted = out
        x, scale = kept.x, self.scale
        by_scalars, by_new = self._through_gates(grad, kept)
        # Every sum starts with the path past the products: x -> x + c W(x) x.
        grad_x.copy_(by_new)
        by_mixing = torch.empty_like(kept.mixing)
        for part in self.parts:
            by_part = part.copies(by_new).unsqueeze(2)
            put_products(part.mix(by_mixing), by_part, part.firsts(x).unsqueeze(1), 3)
            add_products(part.firsts(grad_x), by_part, part.mix(kept.mixing).unsqueeze(3), 1, scale)
        torch.bmm(by_mixing, kept.scalars.mT, out=grad_to_parts)
        torch.bmm(by_scalars, kept.grams.mT, out=grad_to_scalars)
        grad_scalars = torch.baddbmm(by_scalars, to_parts.mT, by_mixing, alpha=scale)
        by_grams = torch.bmm(to_scalars.mT, by_scalars)
        for (run, dual), place in zip(self.duals, self.grams, strict=True):
            own, other = self.parts[run], self.parts[dual]
            by_gram = by_grams[:, place].unflatten(1, (other.n_first, -1)).unsqueeze(3)
            add_products(own.copies(grad_x), other.firsts(x).unsqueeze(2), by_gram, 1, scale)
            add_products(other.firsts(grad_x), own.copies(x).unsqueeze(1), by_gram, 2, scale)
        for contraction, weight, product, by_weight in zip(
            self.contractions, contracted, kept.products, grads_contracted, strict=True
        ):
            contraction.backward(x, weight, product, by_new, grad_x, by_weight)
        for place, part in zip(self.scalars, self._split(grad_scalars), strict=True):
            grad_x[:, place] = part
        for by_weight in (grad_to_scalars, grad_to_parts, *grads_contracted):
            by_weight.mul_(scale)

    def _split(self, scalars: Tensor) -> Sequence[Tensor]:
        """All scalars, run by run; the last run are the gates."""
        return scalars.split([place.stop - place.start for place in self.scalars], 1)

    def _gate(self, new: Tensor, new_scalars: Tensor, out: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Put the nonlinearity's output into ``out``; returns the gates, and the scalars that are none."""
        *runs, before = self._split(new_scalars)
        gates, after = torch.sigmoid(before), [ACTIVATIONS[self.activation](run) for run in runs]
        for place, values in zip(self.scalars[:-1], after, strict=True):
            out[:, place] = values
        for part in self.parts:
            torch.mul(part.copies(new), gates[:, part.gates].unsqueeze(2), out=part.copies(out))
            if self.residual_scale:
                part.copies(out).add_(torch.nn.functional.silu(part.copies(new)), alpha=self.residual_scale)
        return gates, after

    def _through_gates(self, grad: Tensor, kept: Kept) -> tuple[Tensor, Tensor]:
        """The gradients between both layers: of all scalars, and of all parts in the places that they have in x."""
        by_scalars, by_new = torch.empty_like(kept.new_scalars), torch.empty_like(kept.new)
        *by_runs, by_before = self._split(by_scalars)
        known = self._split(kept.new_scalars) if self.activation == "silu" else kept.after
        for place, values, by_run in zip(self.scalars[:-1], known, by_runs, strict=False):
            BACKWARD[self.activation](grad[:, place], values, by_run)
        by_gates = torch.empty_like(kept.gates)
        for part in self.parts:
            of_grad, of_new = part.copies(grad), part.copies(kept.new)
            put_products(by_gates[:, part.gates], of_grad, of_new, 2)
            torch.mul(of_grad, kept.gates[:, part.gates].unsqueeze(2), out=part.copies(by_new))
            if self.residual_scale:
                part.copies(by_new).add_(aten.silu_backward(of_grad, of_new), alpha=self.residual_scale)
        aten.sigmoid_backward.grad_input(by_gates, kept.gates, grad_input=by_before)
        return by_scalars, by_new


class Products(Function):
    """`GatedProducts` as autograd sees it. Gradients of gradients are refused by torch."""

    @staticmethod
    def forward(ctx: Any, layers: GatedProducts, x: Tensor, *parameters: Tensor) -> Tensor:  # noqa: ANN401
        """Compute the members in groups."""
        out = x.new_empty(len(x), layers.size_out, x.shape[2])
        ctx.layers = layers
        ctx.kept = [layers.forward(x[part], [p[part] for p in parameters], out[part]) for part in _chunks(len(x))]
        ctx.save_for_backward(*parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of the input and of all parameters."""
        parameters = ctx.saved_tensors
        by_x = grad.new_empty(len(grad), ctx.kept[0].x.shape[1], grad.shape[2])
        grads = [by_x, *(torch.empty_like(parameter) for parameter in parameters)]
        for part, kept in zip(_chunks(len(grad)), ctx.kept, strict=True):
            ours = [tensor[part] for tensor in grads]
            ctx.layers.backward(grad[part].contiguous(), [p[part] for p in parameters], kept, ours)
        return (None, *grads)


def gated_products(trunk: Trunk) -> list[GatedProducts] | None:
    """What is between the linear maps of a trunk of linear maps, `Bilinear` and `Gated` in turns; None for others."""
    layers = list(trunk)
    triples = list(zip(layers[::3], layers[1::3], layers[2::3], strict=False))
    if not triples or 3 * len(triples) != len(layers):
        return None
    if not all(isinstance(first, RPPLinear) and GatedProducts.fits(*others) for first, *others in triples):
        return None
    return [GatedProducts(cast(Bilinear, bilinear), cast(Gated, gated)) for _, bilinear, gated in triples]


def tensor_trunk(
    products: Sequence[GatedProducts], pairs: Sequence[tuple[Tensor, Tensor]], x: Float[Tensor, "*batch in"]
) -> Float[Tensor, "*batch out"]:
    """The layers of such a trunk, whose linear maps have the weights and biases in ``pairs``."""
    has_members = pairs[0][0].ndim == 3
    y = x.reshape(len(x) if has_members else 1, -1, x.shape[-1]).mT
    for (weight, bias), function in zip(pairs, products, strict=True):
        if not has_members:
            weight, bias = weight.unsqueeze(0), bias.unsqueeze(0)
        y = function(torch.baddbmm(bias.unsqueeze(2), weight, y))
    return y.mT.reshape(*x.shape[:-1], -1)


def _chunks(members: int) -> list[slice]:
    return [slice(first, first + CHUNK) for first in range(0, members, CHUNK)]
