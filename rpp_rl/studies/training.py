"""Fitting an ensemble of networks, each to data of its own, and the prior in the paper's terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rpp_rl.fast import shared_weights
from rpp_rl.nn import Mode, Prior, RPPConv2d, RPPLinear, pathways
from rpp_rl.nn.chain import chain_levels
from rpp_rl.nn.prior import LevelParameters, Pathways

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Mean loss of each member, shape ``(members,)``, of a network on inputs and targets that begin with that axis."""


@dataclass(frozen=True)
class Penalty:
    """λ_a ‖A‖² + λ_b ‖B‖², added to the mean squared error: how arXiv:2112.01388 uses its prior in section 5.

    Its "prior variances" are 1/λ: the loss has no factor 1/2 and is not divided by the number of data. Norms are those
    of matrices, hence of coefficients in an orthonormal basis.

    Attributes:
        equiv: λ_a, of the equivariant pathway.
        residual: λ_b, of the residual one.
    """

    equiv: float
    residual: float

    def prior(self, mode: Mode, *, of_baselines: bool = True) -> Prior:
        """The Gaussian prior whose negative logarithm it is.

        Args:
            mode: Kind of network. A strict network has the equivariant pathway alone; a plain one has no symmetry to
                prefer, so all of its weights are penalised as weakly as the equivariant pathway of the others.
            of_baselines: Whether strict and plain networks are penalised at all; the paper's code differs by panel.
        """
        if mode == "rpp":
            return Prior(_variance(self.equiv), _variance(self.residual))
        if not of_baselines:
            return Prior()
        return Prior(_variance(self.equiv), None) if mode == "emlp" else Prior(None, _variance(self.equiv))

    def chain_prior(self, n_levels: int) -> Prior:
        """That of a soft network with levels between both pathways: penalties in equal ratios from λ_a to λ_b."""
        return replace(self.prior("rpp"), level_vars=tuple(map(_variance, self.between(n_levels))))

    def between(self, n_levels: int) -> list[float]:
        """The penalties of these levels."""
        ratio = (self.residual / self.equiv) ** (1 / (n_levels + 1))
        return [self.equiv * ratio ** (k + 1) for k in range(n_levels)]


PAPER_PENALTY = Penalty(equiv=1e-5, residual=1.0)
"""σ_a² = 10⁵ and σ_b² = 1, the one rule that the paper states for all of figure 2."""


def _variance(penalty: float) -> float:
    return 1.0 / (2.0 * penalty)


def weight_pathways(module: nn.Module) -> Pathways:
    """`pathways` without the biases, which the paper's code leaves free: symmetry can be broken through them."""
    layers = [layer for layer in module.modules() if isinstance(layer, (RPPLinear, RPPConv2d))]
    biases = {id(bias) for layer in layers for bias in (layer.equiv_bias, layer.residual_bias)}
    biases |= {id(level.equiv_bias) for layer in layers for level in chain_levels(layer)}

    def kept(parameters: list[nn.Parameter], norms: list[Tensor]) -> LevelParameters:
        pairs = [pair for pair in zip(parameters, norms, strict=True) if id(pair[0]) not in biases]
        return LevelParameters([parameter for parameter, _ in pairs], [norm for _, norm in pairs])

    found = pathways(module)
    equiv, norms = kept(found.equiv, found.norms)
    residual = [parameter for parameter in found.residual if id(parameter) not in biases]
    return Pathways(equiv, residual, norms, [kept(*level) for level in found.levels])


@dataclass(frozen=True)
class Recipe:
    """How an ensemble is trained.

    Attributes:
        n_epochs: Passes through the data.
        batch_size: Data per step, for each member.
        learning_rate: Step size of Adam.
        prior: Of the parameters, see `Penalty`.
        free_biases: Whether biases are exempt from the prior, as in the paper's code.
        schedule: ``constant``, or ``cosine``: half a cosine down to zero.
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    prior: Prior
    free_biases: bool = False
    schedule: Literal["constant", "cosine"] = "constant"


def epochs_of_training(
    network: nn.Module,
    inputs: Float[Tensor, "members n *in"],
    targets: Float[Tensor, "members n *out"],
    loss: Loss,
    recipe: Recipe,
    *,
    seed: int,
    penalised: nn.Module | None = None,
    add_penalty: Callable[[], None] | None = None,
) -> Iterator[Float[Tensor, " members"]]:
    """Train all members side by side; yields the mean loss of each member after every epoch.

    Every member sees its own data in an order of its own, and the gradients of members do not mix: Adam is blind to
    how many there are. The prior is that of ``penalised``, a part of the network, or of all of it;
    ``add_penalty`` adds the gradient of another penalty in its place.

    Raises:
        FloatingPointError: If the loss of every member is no finite number. A single member may diverge: its trial
            is counted with the others.
    """
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(free, lr=recipe.learning_rate, fused=True)
    part = network if penalised is None else penalised
    decayed = weight_pathways(part) if recipe.free_biases else pathways(part)
    for epoch in range(recipe.n_epochs):
        if recipe.schedule == "cosine":
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * epoch / recipe.n_epochs)) / 2
        losses = []
        for index in _batches(inputs, recipe.batch_size, [seed, epoch]):
            optimizer.zero_grad()
            batch_loss = loss(network, _taken(inputs, index), _taken(targets, index))
            batch_loss.sum().backward()
            if add_penalty is None:
                recipe.prior.add_gradient(decayed, 1)
            else:
                add_penalty()
            optimizer.step()
            losses.append(batch_loss.detach())
        mean = torch.stack(losses).mean(0)
        if not mean.isfinite().any():
            raise FloatingPointError(f"in epoch {epoch + 1} the loss of every trial is infinite or NaN")
        yield mean


def squared_error(network: nn.Module, x: Tensor, y: Tensor) -> Float[Tensor, " members"]:
    """Mean squared error over data and outputs, of each member."""
    with shared_weights(network):
        predicted = network(x)
    return (predicted - y).square().flatten(1).mean(1)


@torch.no_grad()
def evaluated(
    network: nn.Module, x: Float[Tensor, "members n *in"], y: Tensor, loss: Loss, *, batch_size: int = 500
) -> Float[Tensor, " members"]:
    """The loss of each member on all of its data, in parts that fit into memory."""
    parts = [
        loss(network, x[:, i : i + batch_size], y[:, i : i + batch_size]) * min(batch_size, x.shape[1] - i)
        for i in range(0, x.shape[1], batch_size)
    ]
    return torch.stack(parts).sum(0) / x.shape[1]


def _batches(inputs: Tensor, batch_size: int, seed: list[int]) -> Iterator[Int[Tensor, "members batch"]]:
    rng = np.random.default_rng(seed)
    members, n = inputs.shape[:2]
    order = rng.permuted(np.tile(np.arange(n), (members, 1)), axis=1)
    size = min(batch_size, n)
    for start in range(0, n - size + 1, size):
        yield torch.as_tensor(order[:, start : start + size].copy(), device=inputs.device)


def _taken(data: Float[Tensor, "members n *rest"], index: Int[Tensor, "members batch"]) -> Tensor:
    members = torch.arange(len(data), device=data.device).unsqueeze(1)
    return data[members, index]
