"""The residual pathway prior: zero-mean Gaussians on the parameters of both pathways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rpp_rl.nn.linear import Mode, RPPLinear

Pathways = tuple[list[nn.Parameter], list[nn.Parameter]]
"""The parameters of the equivariant and of the residual pathway."""
Decay = tuple[Sequence[nn.Parameter], float | Tensor]
"""Parameters, and the factor with which they are added to their gradients: a number, or one on their device."""

foreach: Any = torch  # torch's stubs do not know the functions on lists


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

    def of_mode(self, mode: Mode) -> Prior:
        """What of it counts in networks of a mode: alone, the free pathway is no residual and has no prior."""
        return Prior(None if mode == "mlp" else self.equiv_var, self.residual_var if mode == "rpp" else None)

    def energy(self, module: nn.Module) -> Tensor:
        """−log p of the parameters of ``module``, up to a constant; add it to a loss divided by the number of data."""
        terms = [p.square().sum() / (2 * var) for ps, var in self._pairs(pathways(module)) for p in ps]
        if not terms:
            return next(module.parameters(), torch.zeros(())).new_zeros(())
        return torch.stack(terms).sum()

    @torch.no_grad()
    def add_gradient(self, pathways: Pathways, n_data: int | Tensor) -> None:
        """Add the gradient of ``energy / n_data`` to the gradients: the same as in the loss, without its graph.

        Parameters without a gradient are left alone, as optimisers leave them.

        Args:
            pathways: What `pathways` gives for the network; walking through its modules at every step takes time.
            n_data: Number of data that divides the energy.
        """
        add_decays(self.decays(pathways, n_data))

    def decays(self, pathways: Pathways, n_data: int | Tensor) -> list[Decay]:
        """Parameters, and the factor by which they occur in the gradient of ``energy / n_data``: their weight decay."""
        return [(parameters, 1.0 / (var * n_data)) for parameters, var in self._pairs(pathways)]

    def _pairs(self, pathways: Pathways) -> list[tuple[list[nn.Parameter], float]]:
        variances = (self.equiv_var, self.residual_var)
        return [(parameters, var) for parameters, var in zip(pathways, variances, strict=True) if var is not None]


@torch.no_grad()
def add_decays(decays: Iterable[Decay]) -> None:
    """Add multiples of parameters to their gradients; those without a gradient are left alone, as optimisers do."""
    for parameters, factor in decays:
        stepped = [parameter for parameter in parameters if parameter.grad is not None]
        grads = [parameter.grad for parameter in stepped]
        if not stepped:
            continue
        if isinstance(factor, Tensor):
            foreach._foreach_add_(grads, foreach._foreach_mul(stepped, factor))
        else:
            foreach._foreach_add_(grads, stepped, alpha=factor)


def pathways(module: nn.Module) -> Pathways:
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
