"""Several levels of softness: W = A_G + A_H + ... + B along a chain of subgroups G > H > ... > 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from rpp_rl.nn.linear import RPPLinear, member_axis
from rpp_rl.nn.matrix import EquivariantMatrix, invariant_basis
from rpp_rl.symmetry import Element, Group, Rep


@dataclass(frozen=True, eq=False)
class Subgroup:
    """How a smaller group lies in the group of a network, see `Rep.restrict`.

    Attributes:
        group: The smaller group.
        images: For each of its discrete generators the element of the larger group that it is.
        lie_images: For each of its infinitesimal generators its coefficients in the larger group's Lie algebra, shape
            ``(n_lie_sub, n_lie)``.
    """

    group: Group
    images: Sequence[Element] = ()
    lie_images: Float[ndarray, "n_lie_sub n_lie"] | None = None

    def restrict(self, rep: Rep) -> Rep:
        """The same space under the smaller group.

        Raises:
            ValueError: If the images do not satisfy the relations of the smaller group.
        """
        return rep.restrict(self.group, self.images, self.lie_images)


class ChainLinear(RPPLinear):
    """y = (A + A_1 + ... + A_n + B) x + ...: an `RPPLinear` with a level between A and B for each of some subgroups.

    A level commutes with its subgroup alone (arXiv:2112.01388, section 4), and starts at zero as B does. Matrices of a
    level contain those of all levels of larger groups, so what a network takes from which level is up to the prior.

    Args:
        rep_in: How the input transforms.
        rep_out: How the output transforms.
        subgroups: Those of the levels, the largest first.
        ensemble: See `RPPLinear`.

    Attributes:
        levels: One `Level` for each subgroup.

    Raises:
        ValueError: If the reps belong to different groups, or a subgroup is none of their group.

    >>> from rpp_rl.symmetry import cyclic, dihedral, vector
    >>> V = vector(dihedral(4))
    >>> mirror = Subgroup(cyclic(2), [Element((1,), ())])
    >>> layer = ChainLinear(V, V, subgroups=[mirror])
    >>> layer.equiv_weight.shape, layer.levels[0].equiv_weight.shape, layer.residual_weight.shape
    (torch.Size([1]), torch.Size([2]), torch.Size([2, 2]))
    """

    def __init__(
        self, rep_in: Rep, rep_out: Rep, *, subgroups: Sequence[Subgroup], ensemble: int | None = None
    ) -> None:
        super().__init__(rep_in, rep_out, mode="rpp", ensemble=ensemble)
        self.levels = nn.ModuleList(
            Level(subgroup.restrict(rep_in), subgroup.restrict(rep_out), ensemble=ensemble) for subgroup in subgroups
        )

    def weight(self) -> Float[Tensor, "*members out in"]:
        """The sum of A, all levels and B."""
        return super().weight() + sum(level.weight() for level in chain_levels(self))

    def bias(self) -> Float[Tensor, "*members out"]:
        """The sum of all biases."""
        return super().bias() + sum(level.bias() for level in chain_levels(self))

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return super().extra_repr() + f", levels={'>'.join(str(level.group) for level in chain_levels(self))}"


class Level(nn.Module):
    """The part of a `ChainLinear` that commutes with one subgroup.

    Attributes:
        equiv_weight: Coefficients of its matrix, zero at first, shape ``(n_weight,)``.
        equiv_bias: Coefficients of its bias, zero at first, shape ``(n_bias,)``.
    """

    bias_basis: Tensor
    bias_norms: Tensor

    def __init__(self, rep_in: Rep, rep_out: Rep, *, ensemble: int | None = None) -> None:
        super().__init__()
        members = member_axis(ensemble)
        self.group = rep_in.group
        self.weight_matrix = EquivariantMatrix(rep_in, rep_out)
        bias_basis, bias_norms, is_saved = invariant_basis(rep_out)
        self.register_buffer("bias_basis", bias_basis, is_saved)
        self.register_buffer("bias_norms", bias_norms, persistent=False)
        self.equiv_weight = nn.Parameter(torch.zeros(*members, self.weight_matrix.n_coefficients))
        self.equiv_bias = nn.Parameter(torch.zeros(*members, bias_basis.shape[1]))

    def weight(self) -> Float[Tensor, "*members out in"]:
        """Its matrix."""
        return self.weight_matrix(self.equiv_weight)

    def bias(self) -> Float[Tensor, "*members out"]:
        """Its bias."""
        return self.equiv_bias @ self.bias_basis.T

    def equiv_norms(self) -> tuple[Tensor, Tensor]:
        """Factors that turn the coefficients of matrix and bias into those of orthonormal bases."""
        return self.weight_matrix.norms, self.bias_norms


def chain_levels(layer: nn.Module) -> list[Level]:
    """The levels of a layer; none unless it is a `ChainLinear`."""
    levels = layer.levels if isinstance(layer, ChainLinear) else ()
    return [level for level in levels if isinstance(level, Level)]
