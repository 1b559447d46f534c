"""Normalisation that commutes with the group."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from rpp_rl.symmetry import Rep, equivariant_basis, trivial

EPSILON = 1e-6
"""Added to variances before a square root."""

MIXING_TOLERANCE = 1e-9
"""Matrix entries up to this size do not mix coordinates; they are rounding."""


class EquivariantNorm(nn.Module):
    """Running normalisation of inputs: x -> (x − μ) / σ with an invariant mean μ and one σ per orbit of coordinates.

    An orbit is a smallest set of coordinates that no element mixes with others. The mean is projected to the invariant
    subspace and the variance averaged over each orbit: the statistics of all data moved by all elements, where the
    elements permute coordinates up to sign. Per-coordinate statistics would break the symmetry. Statistics change only
    in ``update``, so the forward pass is the same in training and evaluation.

    Args:
        rep: How the input transforms.

    Attributes:
        running_mean: μ, shape ``(size,)``; zero before the first update.
        running_var: σ², shape ``(size,)``; one before the first update.
        running_count: Number of vectors seen. Not an integer, because SB3 multiplies every ``running_*`` buffer by a
            float when it copies the statistics of a critic to its target.

    Raises:
        ValueError: If the rep is not orthogonal or the bound not positive.
    """

    running_mean: Tensor
    running_var: Tensor
    running_count: Tensor
    projector: Tensor
    orbit_average: Tensor

    def __init__(self, rep: Rep, *, clip: float = 10.0) -> None:
        super().__init__()
        _require_orthogonal(rep, "equivariant normalisation")
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        self.rep_in = self.rep_out = rep
        self.clip, self.is_signed_permutation = clip, rep.is_signed_permutation
        invariants = equivariant_basis(trivial(rep.group), rep)[..., 0]
        orbit = orbits(rep)
        same_orbit = orbit[:, None] == orbit
        dtype = torch.get_default_dtype()
        for name, matrix in (
            ("projector", invariants.T @ invariants),
            ("orbit_average", same_orbit / same_orbit.sum(1, keepdims=True)),
        ):
            self.register_buffer(name, torch.as_tensor(matrix, dtype=dtype), persistent=False)
        self.register_buffer("running_mean", torch.zeros(rep.size))
        self.register_buffer("running_var", torch.ones(rep.size))
        self.register_buffer("running_count", torch.zeros(()))

    @torch.no_grad()
    def update(self, x: Float[Tensor, "batch size"]) -> None:
        """Add a batch to the statistics (the parallel form of Chan, Golub & LeVeque 1979).

        Raises:
            ValueError: If the batch is empty or does not fit the representation.
        """
        if x.ndim != 2 or x.shape[1] != self.rep_in.size or len(x) == 0:
            raise ValueError(f"expected a batch of shape (batch, {self.rep_in.size}), got {tuple(x.shape)}")
        x = x.to(self.running_mean)
        mean = self.projector @ x.mean(0)
        var = self.orbit_average @ (x - mean).square().mean(0)
        self.running_count.add_(len(x))
        weight = len(x) / self.running_count
        spread = self.orbit_average @ (mean - self.running_mean).square()
        self.running_var.lerp_(var + (1 - weight) * spread, weight)
        self.running_mean.lerp_(mean, weight)

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Normalise with the statistics gathered so far."""
        y = (x - self.running_mean) * torch.rsqrt(self.running_var + EPSILON)
        if self.is_signed_permutation:
            return y.clamp(-self.clip, self.clip)
        mean_square = y.square() @ self.orbit_average
        return y * (self.clip * torch.rsqrt(mean_square + EPSILON)).clamp(max=1.0)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.rep_in.name}, clip={self.clip}"


class EquivariantLayerNorm(nn.Module):
    """x -> x / rms(x): layer norm without parameters, for any orthogonal representation.

    The root mean square over all coordinates is invariant; subtracting the mean, as the usual layer norm does, would be
    equivariant for permutations only. The linear map before it has a bias and the one after it a scale.

    Args:
        rep: How the vector transforms.

    Raises:
        ValueError: If the rep is not orthogonal.
    """

    def __init__(self, rep: Rep) -> None:
        super().__init__()
        _require_orthogonal(rep, "equivariant layer norm")
        self.rep_in = self.rep_out = rep

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Divide every vector by the root mean square of its coordinates."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return self.rep_in.name


def _require_orthogonal(rep: Rep, what: str) -> None:
    if not rep.is_orthogonal:
        raise ValueError(f"{what} needs an orthogonal representation, got {rep.name} of {rep.group}")


def orbits(rep: Rep) -> Int[ndarray, " size"]:
    """The number of each coordinate's orbit, the smallest set of coordinates that no element mixes with others."""
    matrices = np.concatenate([rep.generators, rep.lie_algebra])
    return connected_components((np.abs(matrices) > MIXING_TOLERANCE).any(axis=0), directed=False)[1]
