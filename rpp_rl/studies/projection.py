"""The same prior on one matrix: a penalty on its projection in place of two pathways, as rivals of RPP use it.

For given W = A + B the smallest λ_a ‖A‖² + λ_b ‖B‖² is λ ‖P W‖² + λ_b ‖W − P W‖² with 1/λ = 1/λ_a + 1/λ_b, where P
projects on the equivariant matrices. So both have the same minima, and differ in the way that an optimiser takes. With
projections for several groups this is PER (Kim, Lee, Yang & Lee 2023, arXiv:2306.00356) with fixed coefficients: PER
itself releases a group whose penalty stays large while others fall.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn import EquivariantMatrix, RPPLinear, Subgroup
from rpp_rl.studies.training import Penalty

NO_OTHERS: Mapping[nn.Module, float] = MappingProxyType({})


def projected(matrix: EquivariantMatrix, w: Float[Tensor, "*members out in"]) -> Float[Tensor, "*members out in"]:
    """The equivariant matrix P W that is nearest to ``w``."""
    with torch.no_grad():
        return matrix(coefficients(matrix, w))


def coefficients(matrix: EquivariantMatrix, w: Float[Tensor, "*members out in"]) -> Float[Tensor, "*members n"]:
    """Those of the nearest equivariant matrix.

    The scalar products of W with the basis are the gradient of ⟨W, Σ θ_i E_i⟩; the basis is orthogonal, with the norms
    that the matrix knows.
    """
    with torch.enable_grad():
        theta = w.new_zeros(*w.shape[:-2], matrix.n_coefficients, requires_grad=True)
        (products,) = torch.autograd.grad((matrix(theta) * w.detach()).sum(), theta)
    return products / matrix.norms.square()


@torch.no_grad()
def as_single_matrices(network: nn.Module) -> nn.Module:
    """Move every equivariant pathway of a fresh ``rpp`` network into the residual one, and freeze it at zero.

    The network computes the same as before, with one free matrix in each linear map.
    """
    for layer in _soft_layers(network):
        weight, bias = layer.weight(), layer.bias()
        for parameter, value in ((layer.residual_weight, weight), (layer.residual_bias, bias)):
            assert parameter is not None
            parameter.copy_(value)
        for parameter in (layer.equiv_weight, layer.equiv_bias):
            assert parameter is not None
            parameter.zero_().requires_grad_(False)
    return network


class ProjectionPenalty:
    """The penalty of a network of single matrices, see `as_single_matrices`.

    Args:
        network: The network; its layers know the projections on the equivariant matrices of its group.
        penalty: λ_a and λ_b of the two pathways that are meant.
        others: Networks with layers of the same sizes whose groups are others, and for each of them a coefficient λ_j
            of ‖W − P_j W‖².

    Raises:
        ValueError: If another network has layers of other sizes.
    """

    def __init__(self, network: nn.Module, penalty: Penalty, *, others: Mapping[nn.Module, float] = NO_OTHERS) -> None:
        self.layers = _soft_layers(network)
        self.equiv = penalty.equiv * penalty.residual / (penalty.equiv + penalty.residual)
        self.residual = penalty.residual
        self.others = [(_soft_layers(other), factor) for other, factor in others.items()]
        sizes = [layer.shapes() for layer in self.layers]
        for layers, _ in self.others:
            if [layer.shapes()[0][-2:] for layer in layers] != [shapes[0][-2:] for shapes in sizes]:
                raise ValueError("networks of other groups must have layers of the same sizes")

    @classmethod
    def of_chain(cls, network: nn.Module, penalty: Penalty, subgroup: Subgroup) -> ProjectionPenalty:
        """That of two groups at once, with the minima of W = A_G + A_H + B under `Penalty.chain_prior`.

        For given W the best sum has λ ‖P_G W‖² + λ' ‖(P_H − P_G) W‖² + λ_b ‖W − P_H W‖², where 1/λ' = 1/λ_H + 1/λ_b and
        1/λ = 1/λ_a + 1/λ'.
        """
        (level,) = penalty.between(1)
        outside_larger = level * penalty.residual / (level + penalty.residual)
        layers = [
            RPPLinear(subgroup.restrict(layer.rep_in), subgroup.restrict(layer.rep_out))
            for layer in _soft_layers(network)
        ]
        like = next(network.parameters())
        narrower: nn.Module = nn.ModuleList(layers).to(like)
        factor = penalty.residual - outside_larger
        return cls(network, Penalty(penalty.equiv, outside_larger), others={narrower: factor})

    @torch.no_grad()
    def energy(self) -> Tensor:
        """The penalty, as a number without a graph."""
        total = torch.zeros(())
        for layer_weights, layer_projections in self._terms():
            for w, (own, *others) in zip(layer_weights, layer_projections, strict=True):
                total = total + self.equiv * own.square().sum() + self.residual * (w - own).square().sum()
                for other, (_, factor) in zip(others, self.others, strict=True):
                    total = total + factor * (w - other).square().sum()
        return total

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add the gradient of `energy` to the gradients of the matrices.

        What the loss does not depend on, such as a constant of an energy, has no gradient and is left alone, as
        optimisers do.
        """
        for weights, projections in self._terms():
            for w, (own, *others) in zip(weights, projections, strict=True):
                if w.grad is None:
                    continue
                w.grad.add_(own, alpha=2 * self.equiv).add_(w - own, alpha=2 * self.residual)
                for other, (_, factor) in zip(others, self.others, strict=True):
                    w.grad.add_(w - other, alpha=2 * factor)

    def _terms(self) -> Iterable[tuple[list[Tensor], list[list[Tensor]]]]:
        """For each layer its weight and bias, and for both the projections for each group, its own first."""
        for place, layer in enumerate(self.layers):
            assert layer.residual_weight is not None
            assert layer.residual_bias is not None
            peers = [layer, *(layers[place] for layers, _ in self.others)]
            weights = [projected(peer.weight_matrix, layer.residual_weight) for peer in peers]
            biases = [_projected_bias(peer, layer.residual_bias) for peer in peers]
            yield [layer.residual_weight, layer.residual_bias], [weights, biases]


def joined_pathways(network: nn.Module, penalty: Penalty, subgroup: Subgroup | None = None) -> ProjectionPenalty:
    """Make a fresh network one of single matrices; returns their penalty, for one group or for two."""
    single = as_single_matrices(network)
    if subgroup is None:
        return ProjectionPenalty(single, penalty)
    return ProjectionPenalty.of_chain(single, penalty, subgroup)


def _soft_layers(network: nn.Module) -> list[RPPLinear]:
    return [layer for layer in network.modules() if isinstance(layer, RPPLinear) and layer.mode == "rpp"]


@torch.no_grad()
def _projected_bias(layer: RPPLinear, b: Float[Tensor, "*members out"]) -> Float[Tensor, "*members out"]:
    return (b @ layer.bias_basis / layer.bias_norms.square()) @ layer.bias_basis.T
