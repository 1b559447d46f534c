"""Normalisation of a model's inputs and outputs that commutes with the group."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn.norm import orbits
from rpp_rl.symmetry import Rep, equivariant_basis, trivial

NEGLIGIBLE = 1e-6
"""Coordinates that vary less than this, relative to those of largest variation, count as constant."""


class EquivariantScaling(nn.Module):
    """x -> (x − μ) / σ with an invariant mean μ and one σ for each orbit of coordinates, fixed by one set of data.

    An orbit is a smallest set of coordinates that no element mixes with others, so multiplying it by a number commutes
    with every representation, orthogonal or not.

    Args:
        rep: How the vectors transform.

    Attributes:
        mean: μ, shape ``(size,)``.
        scale: σ, shape ``(size,)``; one where the data are constant.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, rep: Rep) -> None:
        super().__init__()
        self.rep_in = self.rep_out = rep
        self.register_buffer("mean", torch.zeros(rep.size))
        self.register_buffer("scale", torch.ones(rep.size))

    @torch.no_grad()
    def fit(self, x: Float[Tensor, "n size"]) -> None:
        """Take mean and scale from data."""
        invariants = equivariant_basis(trivial(self.rep_in.group), self.rep_in)[..., 0]
        basis = torch.as_tensor(invariants, dtype=torch.float64)
        x = x.cpu().double()
        mean = basis.T @ (basis @ x.mean(0))
        orbit = torch.as_tensor(orbits(self.rep_in), dtype=torch.long)
        same_orbit = (orbit[:, None] == orbit).double()
        var = same_orbit @ (x - mean).square().mean(0) / same_orbit.sum(1)
        varies = var > NEGLIGIBLE**2 * var.max()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(varies, var, torch.ones_like(var)).sqrt())

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Normalise."""
        return (x - self.mean) / self.scale

    def inverse(self, y: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Undo `forward`."""
        return torch.addcmul(self.mean, y, self.scale)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return self.rep_in.name
