"""The residual pathway prior: zero-mean Gaussians on the parameters of both pathways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rpp_rl.nn.linear import RPPLinear


@dataclass(frozen=True)
class Prior:
    """β ~ N(0, equiv_var), B ~ N(0, residual_var) for the parameters of a network (arXiv:2112.01388, section 4).

    With an orthonormal basis, W = A + B has variance equiv_var + residual_var on the equivariant subspace and
    residual_var on its complement. A variance of None leaves that pathway without a prior.

    Attributes:
        equiv_var: Prior variance σ_a² of every coefficient of the equivariant pathway.
        residual_var: Prior variance σ_b² of every entry of the residual pathway.

    Raises:
        ValueError: If a variance is not positive.
    """

    equiv_var: float | None = None
    residual_var: float | None = None

    def __post_init__(self) -> None:
        for name in ("equiv_var", "residual_var"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, or null for no prior, got {value}")

    def energy(self, module: nn.Module) -> Tensor:
        """−log p of the parameters of ``module``, up to a constant; add it to a loss divided by the number of data."""
        terms = [p.square().sum() / (2 * var) for p, var in self._pairs(module)]
        if not terms:
            return next(module.parameters(), torch.zeros(())).new_zeros(())
        return torch.stack(terms).sum()

    @torch.no_grad()
    def add_gradient(self, module: nn.Module, n_data: int) -> None:
        """Add the gradient of ``energy / n_data`` to the gradients: the same as in the loss, without its graph.

        Parameters without a gradient are left alone, as optimisers leave them.
        """
        for parameter, var in self._pairs(module):
            if parameter.grad is not None:
                parameter.grad.add_(parameter, alpha=1.0 / (var * n_data))

    def _pairs(self, module: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
        equiv, residual = pathways(module)
        for parameters, var in ((equiv, self.equiv_var), (residual, self.residual_var)):
            if var is not None:
                yield from ((parameter, var) for parameter in parameters)


def pathways(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """All parameters of the equivariant and of the residual pathway in ``module``, in a fixed order."""
    layers = [layer for layer in module.modules() if isinstance(layer, RPPLinear)]
    equiv = [p for layer in layers for p in (layer.equiv_weight, layer.equiv_bias) if p is not None]
    residual = [p for layer in layers for p in (layer.residual_weight, layer.residual_bias) if p is not None]
    return equiv, residual


@torch.no_grad()
def pathway_norms(module: nn.Module) -> tuple[float, float]:
    """Euclidean norms of the parameters of the equivariant and of the residual pathway; the bases are orthonormal."""
    equiv, residual = (
        float(torch.stack([p.square().sum() for p in pathway]).sum().sqrt()) if pathway else 0.0
        for pathway in pathways(module)
    )
    return equiv, residual
