"""Normalisation that commutes with the group."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.symmetry import Rep, equivariant_basis, trivial

EPSILON = 1e-6
"""Added to variances before a square root."""


class EquivariantNorm(nn.Module):
    """Running normalisation of inputs: x -> (x − μ) / σ with an invariant mean μ and one σ per orbit of coordinates.

    The mean is projected to the invariant subspace and the variance averaged over the coordinates that the group mixes,
    which is what averaging both over the group gives for signed permutations. Per-coordinate statistics would break the
    symmetry. Statistics change only in ``update``, so the forward pass is the same in training and evaluation.

    Args:
        rep: How the input transforms.

    Raises:
        ValueError: If the rep is not orthogonal.
    """

    running_mean: Tensor
    running_var: Tensor
    running_count: Tensor
    projector: Tensor
    orbit_average: Tensor

    def __init__(self, rep: Rep) -> None:
        super().__init__()
        if not rep.is_orthogonal:
            raise ValueError(f"equivariant normalisation needs an orthogonal representation, got {rep.name}")
        self.rep_in = self.rep_out = rep
        invariants = equivariant_basis(trivial(rep.group), rep)[..., 0]
        dtype = torch.get_default_dtype()
        self.register_buffer("projector", torch.as_tensor(invariants.T @ invariants, dtype=dtype), persistent=False)
        self.register_buffer("orbit_average", torch.as_tensor(_orbit_average(rep), dtype=dtype), persistent=False)
        self.register_buffer("running_mean", torch.zeros(rep.size))
        self.register_buffer("running_var", torch.ones(rep.size))
        self.register_buffer("running_count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Float[Tensor, "batch size"]) -> None:
        """Add a batch to the statistics (the parallel form of Chan, Golub & LeVeque 1979)."""
        mean = self.projector @ x.mean(0)
        var = self.orbit_average @ (x - mean).square().mean(0)
        count = self.running_count + len(x)
        weight = (len(x) / count).to(x.dtype)
        delta = mean - self.running_mean
        spread = self.orbit_average @ delta.square()
        self.running_var.copy_((1 - weight) * self.running_var + weight * var + weight * (1 - weight) * spread)
        self.running_mean.add_(weight * delta)
        self.running_count.copy_(count)

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Normalise with the statistics gathered so far."""
        return (x - self.running_mean) * torch.rsqrt(self.running_var + EPSILON)


class EquivariantLayerNorm(nn.Module):
    """x -> scale · x / rms(x) + bias, with one learned scale per summand and an invariant bias.

    The root mean square over all coordinates is invariant for an orthogonal representation; subtracting the mean, as
    the usual layer norm does, would not be.

    Args:
        rep: How the vector transforms.

    Raises:
        ValueError: If the rep is not orthogonal.
    """

    copy_of: Tensor
    invariants: Tensor

    def __init__(self, rep: Rep) -> None:
        super().__init__()
        if not rep.is_orthogonal:
            raise ValueError(f"equivariant layer norm needs an orthogonal representation, got {rep.name}")
        self.rep_in = self.rep_out = rep
        sizes = np.concatenate([np.full(count, part.size) for count, part in rep.parts])
        invariants = equivariant_basis(trivial(rep.group), rep)[..., 0]
        is_canonical = rep.group.is_finite and rep.is_signed_permutation
        self.register_buffer("copy_of", torch.as_tensor(np.repeat(np.arange(len(sizes)), sizes)), persistent=False)
        self.register_buffer(
            "invariants", torch.as_tensor(invariants, dtype=torch.get_default_dtype()), persistent=not is_canonical
        )
        self.scale = nn.Parameter(torch.ones(len(sizes)))
        self.bias = nn.Parameter(torch.zeros(len(invariants)))

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Normalise the length, then scale each summand."""
        normalised = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)
        return normalised * self.scale[self.copy_of] + self.bias @ self.invariants


def _orbit_average(rep: Rep) -> np.ndarray:
    """The matrix that averages over coordinates mixed by the group: orbits of a signed permutation, else summands."""
    if rep.is_signed_permutation:
        reach = np.eye(rep.size) + sum(np.abs(h) + np.abs(h).T for h in rep.generators)
        reach = np.linalg.matrix_power((reach > 0).astype(float), rep.size) > 0
    else:
        sizes = np.concatenate([np.full(count, part.size) for count, part in rep.parts])
        owner = np.repeat(np.arange(len(sizes)), sizes)
        reach = owner[:, None] == owner
    return reach / reach.sum(1, keepdims=True)
