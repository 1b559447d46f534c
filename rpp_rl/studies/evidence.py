"""Penalties that the data choose: each pathway of each layer has its own, of largest evidence (MacKay 1992).

The evidence of an `rpp_rl.studies.images.ImageNetwork` with one output is that of its linearisation at the weights of
now, f + J Δθ with Gaussian noise of variance σ² (Laplace's approximation with the Gauss-Newton matrix). It depends on
the parameters of a pathway g through its kernel J_g J_gᵀ between all pairs of data alone. For a prior of precision α_g
with γ_g = tr(J_g J_gᵀ / α_g (Σ_h J_h J_hᵀ / α_h + σ²)⁻¹) parameters that the data determine, it is largest where
α_g = γ_g / ‖θ_g‖² and σ² is the sum of squared errors over N - Σ γ_g. The penalty is λ_g = α_g σ² / N.

A diagonal approximation of the same matrix counts correlated parameters many times, finds that almost all data are
used up, and takes the rest for noise: see `docs/studies.md`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn import RPPConv2d
from rpp_rl.studies.training import Penalty

LEAST_FREE = 0.1
"""Share of the data that counts as not used up, however many parameters they determine."""
RANGE = (1e-9, 1e3)
"""Smallest and largest penalty."""


class Part(NamedTuple):
    """One pathway of a layer.

    Attributes:
        layer: The layer.
        is_equiv: Whether it is the equivariant pathway.
        parameters: Its weight and its bias.
        norms: Factors that turn them into coefficients of orthonormal bases.
    """

    layer: RPPConv2d
    is_equiv: bool
    parameters: tuple[nn.Parameter, nn.Parameter]
    norms: tuple[Tensor, Tensor]


class EvidencePenalty:
    """The penalties of the soft convolutions in a network, one for each pathway of each layer and each member.

    Args:
        network: Maps images ``(members, n, c, h, w)`` to ``(members, n, 1)``.
        penalty: Those of all layers at first.
        members: Number of members.

    Attributes:
        penalties: λ of each part, shape ``(members,)``.
        noise: σ² of each member; None before the first `update`.
    """

    def __init__(self, network: nn.Module, penalty: Penalty, members: int) -> None:
        self.network = network
        self.parts = [part for layer in network.modules() if isinstance(layer, RPPConv2d) for part in _parts(layer)]
        device = next(network.parameters()).device
        self.penalties = [
            torch.full((members,), penalty.equiv if part.is_equiv else penalty.residual, device=device)
            for part in self.parts
        ]
        self.noise: Float[Tensor, " members"] | None = None

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add the gradient of Σ λ_g ‖θ_g‖² to the gradients of the parameters."""
        for part, penalty in zip(self.parts, self.penalties, strict=True):
            for parameter, norm in zip(part.parameters, part.norms, strict=True):
                assert parameter.grad is not None
                parameter.grad.add_(2 * _beside(penalty, parameter) * norm.square() * parameter)

    def update(self, x: Float[Tensor, "members n *in"], y: Float[Tensor, "members n 1"]) -> None:
        """One step of the fixed point: penalties and noise for the network as it is now.

        Args:
            x: All data that the network learns from.
            y: Their targets.
        """
        kernels, errors = self._kernels(x, y)
        n = x.shape[1]
        noise = errors / n if self.noise is None else self.noise
        parts = [
            kernel / _beside(penalty * n / noise, kernel)
            for kernel, penalty in zip(kernels, self.penalties, strict=True)
        ]
        identity = torch.eye(n, dtype=torch.float64, device=x.device)
        inverse = torch.linalg.inv(torch.stack(parts).sum(0).double() + noise.double()[:, None, None] * identity)
        determined = [(part.double() * inverse).sum((1, 2)).to(errors.dtype) for part in parts]
        left = (n - torch.stack(determined).sum(0)).clamp_min(LEAST_FREE * n)
        self.noise = errors / left
        self.penalties = [
            (gamma / _squares(part).clamp_min(torch.finfo(gamma.dtype).tiny) * self.noise / n).clamp(*RANGE)
            for gamma, part in zip(determined, self.parts, strict=True)
        ]

    def _kernels(self, x: Tensor, y: Tensor) -> tuple[list[Float[Tensor, "members n n"]], Float[Tensor, " members"]]:
        """J Jᵀ of each part, and the sum of squared errors."""
        seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def see(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[layer] = (inputs[0], output)

        layers = list(dict.fromkeys(part.layer for part in self.parts))
        hooks = [layer.register_forward_hook(see) for layer in layers]
        with torch.enable_grad():
            found = self.network(x)
        for hook in hooks:
            hook.remove()
        backward = torch.autograd.grad(found.sum(), [seen[layer][1] for layer in layers])
        of_layer = {layer: (seen[layer][0].detach(), d) for layer, d in zip(layers, backward, strict=True)}
        kernels = [_kernel(part, *of_layer[part.layer]) for part in self.parts]
        return kernels, (found.detach() - y).square().sum((1, 2))


def _parts(layer: RPPConv2d) -> list[Part]:
    parts = []
    if layer.equiv_weight is not None and layer.equiv_bias is not None:
        parts.append(Part(layer, True, (layer.equiv_weight, layer.equiv_bias), layer.equiv_norms()))
    if layer.residual_weight is not None and layer.residual_bias is not None:
        one = torch.ones((), device=layer.residual_bias.device)
        parts.append(Part(layer, False, (layer.residual_weight, layer.residual_bias), (one, one)))
    return parts


@torch.no_grad()
def _kernel(
    part: Part, x: Float[Tensor, "members n c h w"], d: Float[Tensor, "members n c2 h2 w2"]
) -> Float[Tensor, "members n n"]:
    """J Jᵀ of the derivatives by a part's coefficients, for inputs x of the layer and derivatives d by its outputs."""
    if not part.is_equiv:
        # The derivative by a dense matrix is d xᵀ, and products of such are products of d times those of x.
        of_d, of_x = _products(d.flatten(2)), _products(x.flatten(2))
        return of_d * (of_x + 1)
    layer, (weight_norms, bias_norms) = part.layer, part.norms
    size = weight_norms.shape[-1]
    patches = nn.functional.unfold(x.flatten(0, 1), size, padding=layer.padding, stride=layer.stride)
    by_entry = (d.flatten(0, 1).flatten(2) @ patches.mT).unflatten(-1, (-1, size, size)) / weight_norms
    by_bias = d.flatten(3).sum(-1) / bias_norms
    return _products(by_entry.flatten(1).unflatten(0, x.shape[:2])) + _products(by_bias)


def _products(x: Float[Tensor, "members n size"]) -> Float[Tensor, "members n n"]:
    return x @ x.mT


@torch.no_grad()
def _squares(part: Part) -> Float[Tensor, " members"]:
    """‖θ‖² in orthonormal coordinates."""
    pairs = zip(part.parameters, part.norms, strict=True)
    return torch.stack([(parameter * norm).square().flatten(1).sum(1) for parameter, norm in pairs]).sum(0)


def _beside(numbers: Float[Tensor, " members"], x: Tensor) -> Tensor:
    """One number for each member, with the axes of ``x``."""
    return numbers.view(-1, *[1] * (x.ndim - 1))
