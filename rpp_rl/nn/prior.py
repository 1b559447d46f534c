"""Priors that prefer the equivariant pathway: decay of the residual one in the optimiser, or the paper's Gaussians."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rpp_rl.nn.bilinear import Bilinear
from rpp_rl.nn.chain import chain_levels
from rpp_rl.nn.conv import RPPConv2d
from rpp_rl.nn.linear import Mode, RPPLinear
from rpp_rl.nn.nonlinearity import Gated

foreach: Any = torch  # torch's stubs do not know the functions on lists


class LevelParameters(NamedTuple):
    """The parameters of one level of all layers, see `ChainLinear`; ``norms`` as in `Pathways`."""

    parameters: list[nn.Parameter]
    norms: list[Tensor]


class Pathways(NamedTuple):
    """The parameters of a network by pathway.

    Attributes:
        equiv: Those of the equivariant pathway.
        residual: Those of the residual pathway.
        norms: For each of ``equiv`` the factors that turn it into coefficients of an orthonormal basis.
        levels: Those of the levels between, level by level.
    """

    equiv: list[nn.Parameter]
    residual: list[nn.Parameter]
    norms: list[Tensor]
    levels: Sequence[LevelParameters] = ()


class Decay(NamedTuple):
    """Part of a gradient: parameters, each times a factor.

    Attributes:
        parameters: The parameters.
        factor: A number, or one on their device.
        norms: If not None, each parameter counts times the squares of these.
    """

    parameters: Sequence[nn.Parameter]
    factor: float | Tensor
    norms: Sequence[Tensor] | None = None


DECAY = 30.0
"""Decay λ of the residual pathway under a symmetry that holds exactly: at lr 1e-3 it shrinks by 3e-2 in every step.

Of 0.3, 3 and 30 this learned fastest on the commanded Ant (``docs/results.md``).
"""
HALF_TRUST = 0.03
"""Error of a symmetry, relative to the state's change in one step, at which the residual decays half as fast."""
UNKNOWN_ERROR = 1.0
"""What a symmetry counts as that nobody has measured."""


def residual_decay(error: float | None, exact: float = DECAY) -> float:
    """How fast the residual pathway decays under a symmetry with a measured error: λ = exact / (1 + error / 0.03).

    Args:
        error: Error of one step relative to the change of the state, as `rpp_rl.envs.check` measures it; 0 if exact,
            None if nobody has measured it, which counts as `UNKNOWN_ERROR`.
        exact: λ for an error of 0.

    >>> [round(residual_decay(error), 2) for error in (0.0, 0.008, 0.3, 1.0)]
    [30.0, 23.68, 2.73, 0.87]
    """
    return exact / (1 + (UNKNOWN_ERROR if error is None else error) / HALF_TRUST)


def parameter_groups(
    module: nn.Module, residual_decay: float | None, level_decays: Sequence[float] = ()
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser with decoupled weight decay, such as ``torch.optim.AdamW``.

    In every step the residual pathway shrinks by lr · residual_decay, B <- (1 - lr λ) B, and nothing else decays.
    Adam's steps do not depend on the scale of the loss, so neither does what this prior prefers: the entries of B stay
    below 1 / λ, and reach it only where all gradients agree.

    >>> from rpp_rl.symmetry import cyclic, vector
    >>> layer = RPPLinear(vector(cyclic(2)), vector(cyclic(2)))
    >>> optimizer = torch.optim.AdamW(parameter_groups(layer, residual_decay=3.0), lr=1e-3)
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.0, 3.0]

    Args:
        module: The network.
        residual_decay: λ; None for no decay.
        level_decays: λ of each level between both pathways, see `ChainLinear`.

    Raises:
        ValueError: If the decay is negative, or there are not as many as levels.
    """
    if residual_decay is not None and not residual_decay >= 0:
        raise ValueError(f"residual_decay must be at least 0, or null for none, got {residual_decay}")
    found = pathways(module)
    if not residual_decay or not found.equiv or not found.residual:
        return [{"params": list(module.parameters()), "weight_decay": 0.0}]
    if len(level_decays) != len(found.levels):
        raise ValueError(f"{len(found.levels)} levels need as many level_decays, got {len(level_decays)}")
    parts = [found.residual, *(level.parameters for level in found.levels)]
    decayed = {id(parameter) for part in parts for parameter in part}
    others = [parameter for parameter in module.parameters() if id(parameter) not in decayed]
    return [
        {"params": part, "weight_decay": decay}
        for part, decay in zip((others, *parts), (0.0, residual_decay, *level_decays), strict=True)
    ]


@dataclass(frozen=True)
class Prior:
    """β ~ N(0, equiv_var), B ~ N(0, residual_var) for the parameters of a network (arXiv:2112.01388, section 4).

    β are the coefficients in orthonormal bases: W = A + B has variance equiv_var + residual_var on the equivariant
    subspace and residual_var on its complement. A variance of None leaves that pathway without a prior.

    Attributes:
        equiv_var: Prior variance σ_a² of every coefficient of the equivariant pathway.
        residual_var: Prior variance σ_b² of every entry of the residual pathway.
        level_vars: Prior variance of every coefficient of each level between, see `ChainLinear`; none have priors where
            it is empty.

    Raises:
        ValueError: If a variance is not positive.
    """

    equiv_var: float | None = None
    residual_var: float | None = None
    level_vars: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        values = [("equiv_var", self.equiv_var), ("residual_var", self.residual_var)]
        for name, value in (*values, *(("level_vars", value) for value in self.level_vars)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, or null for no prior, got {value}")

    def of_mode(self, mode: Mode) -> Prior:
        """The part of it that applies in a mode: alone, the free pathway is not a residual and has no prior."""
        if mode == "rpp":
            return self
        return Prior(None if mode == "mlp" else self.equiv_var)

    def energy(self, module: nn.Module) -> Tensor:
        """−log p of the parameters of ``module``, up to a constant; add it to a loss divided by the number of data."""
        terms = [
            factor * (parameter if norms is None else parameter * norms[index]).square().sum() / 2
            for parameters, factor, norms in self.decays(pathways(module), 1)
            for index, parameter in enumerate(parameters)
        ]
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
        """The gradient of ``energy / n_data``, as multiples of parameters.

        Raises:
            ValueError: If there are variances of levels, but not as many as levels.
        """
        decays = []
        if self.equiv_var is not None:
            decays.append(Decay(pathways.equiv, 1.0 / (self.equiv_var * n_data), pathways.norms))
        if self.residual_var is not None:
            decays.append(Decay(pathways.residual, 1.0 / (self.residual_var * n_data)))
        if self.level_vars:
            if len(self.level_vars) != len(pathways.levels):
                raise ValueError(f"{len(pathways.levels)} levels need as many level_vars, got {len(self.level_vars)}")
            for var, level in zip(self.level_vars, pathways.levels, strict=True):
                decays.append(Decay(level.parameters, 1.0 / (var * n_data), level.norms))
        return decays


@torch.no_grad()
def add_decays(decays: Iterable[Decay]) -> None:
    """Add multiples of parameters to their gradients; those without a gradient are left alone, as optimisers do."""
    for parameters, factor, norms in decays:
        stepped = [index for index, parameter in enumerate(parameters) if parameter.grad is not None]
        if not stepped:
            continue
        grads = [parameters[index].grad for index in stepped]
        terms = [parameters[index] for index in stepped]
        if norms is not None:
            terms = foreach._foreach_mul(terms, [norms[index].square() for index in stepped])
        if isinstance(factor, Tensor):
            foreach._foreach_add_(grads, foreach._foreach_mul(terms, factor))
        else:
            foreach._foreach_add_(grads, terms, alpha=factor)


def pathways(module: nn.Module) -> Pathways:
    """All parameters of the equivariant and of the residual pathway in ``module``, in a fixed order."""
    layers = [layer for layer in module.modules() if isinstance(layer, (RPPLinear, RPPConv2d))]
    equiv = [p for layer in layers for p in (layer.equiv_weight, layer.equiv_bias) if p is not None]
    residual = [p for layer in layers for p in (layer.residual_weight, layer.residual_bias) if p is not None]
    residual += [m.residual for m in module.modules() if isinstance(m, (Gated, Bilinear)) and m.residual is not None]
    norms = [norm for layer in layers if layer.equiv_weight is not None for norm in layer.equiv_norms()]
    chains = [levels for levels in map(chain_levels, layers) if levels]
    levels = [
        LevelParameters(
            [parameter for level in of_layers for parameter in (level.equiv_weight, level.equiv_bias)],
            [norm for level in of_layers for norm in level.equiv_norms()],
        )
        for of_layers in zip(*chains, strict=True)
    ]
    return Pathways(equiv, residual, norms, levels)


@torch.no_grad()
def pathway_norms(module: nn.Module) -> tuple[float, float]:
    """Euclidean norms of all A and a, and of all B and b, of a network."""
    found = pathways(module)
    orthonormal = [parameter * norm for parameter, norm in zip(found.equiv, found.norms, strict=True)]
    return _norm(orthonormal), _norm(found.residual)


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([t.square().sum() for t in tensors]).sum().sqrt()) if tensors else 0.0
