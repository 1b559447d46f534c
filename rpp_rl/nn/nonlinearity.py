"""Nonlinearities that commute with the group: pointwise where that is legal, gated elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn.linear import Mode, beside_batch, member_axis, require_mode
from rpp_rl.symmetry import Rep, trivial

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}
"""Functions of one number that networks may use; ``silu`` is the paper's swish."""

ODD_ACTIVATIONS = frozenset({"tanh"})
"""Functions with f(-x) = -f(x), legal on signed permutations too."""

RESIDUAL_SCALE = 1e-3
"""Weight of the residual swish on gated parts: arXiv:2112.01388, footnote 1, with the value of the authors' code."""


def require_activation(name: str) -> None:
    """Refuse an unknown activation.

    Raises:
        ValueError: If ``name`` is not one of `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")


class Pointwise(nn.Module):
    """A function of one number applied to every coordinate; equivariant only where the group permutes coordinates.

    Args:
        rep: How the vector transforms.
        activation: One of `ACTIVATIONS`.

    Raises:
        ValueError: If the group does more to the coordinates than the function commutes with.
    """

    def __init__(self, rep: Rep, activation: str = "relu") -> None:
        super().__init__()
        require_activation(activation)
        if not _is_pointwise_legal(rep, activation):
            raise ValueError(
                f"{activation} on every coordinate is not equivariant on {rep.name} of {rep.group}, which is not a "
                "permutation of coordinates; use Gated"
            )
        self.rep_in = self.rep_out = rep
        self.activation = activation

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Apply the function coordinate by coordinate."""
        return ACTIVATIONS[self.activation](x)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.rep_in.name}, {self.activation}"


class Gated(nn.Module):
    """Permutation parts pass a pointwise function, every other part x is scaled: x · sigmoid(gate).

    Args:
        rep: How the output transforms.
        activation: One of `ACTIVATIONS`, for the permutation parts.
        residual_scale: Weight of an additional swish on the gated parts, which breaks the symmetry a little.
        is_twin: Whether a swish of every coordinate is added with a weight that is learned, zero at first: a residual
            pathway like that of a linear map, which `Prior` counts with the others.
        ensemble: Number of members that learn weights of their own, see `RPPLinear`.

    Attributes:
        rep_in: ``rep`` followed by one scalar for each gated part.
        residual: The learned weights, shape ``(rep.size,)``; None without ``is_twin``.
    """

    residual: nn.Parameter | None

    def __init__(
        self,
        rep: Rep,
        activation: str = "silu",
        *,
        residual_scale: float = 0.0,
        is_twin: bool = False,
        ensemble: int | None = None,
    ) -> None:
        super().__init__()
        require_activation(activation)
        twin = nn.Parameter(torch.zeros(*member_axis(ensemble), rep.size)) if is_twin else None
        self.register_parameter("residual", twin)
        self.activation, self.residual_scale = activation, residual_scale
        self.runs = [(count, part.size, _is_pointwise_legal(part, activation)) for count, part in rep.parts]
        self.n_gates = sum(count for count, _, is_pointwise in self.runs if not is_pointwise)
        self.rep_out = rep
        self.rep_in = rep + self.n_gates * trivial(rep.group) if self.n_gates else rep

    def forward(self, x: Float[Tensor, "*batch size_and_gates"]) -> Float[Tensor, "*batch size"]:
        """Gate the leading coordinates by the trailing scalars."""
        *pieces, gates = x.split([*(count * size for count, size, _ in self.runs), self.n_gates], dim=-1)
        gates = torch.sigmoid(gates)
        outputs, gate = [], 0
        for piece, (count, size, is_pointwise) in zip(pieces, self.runs, strict=True):
            if is_pointwise:
                outputs.append(ACTIVATIONS[self.activation](piece))
                continue
            gated = (piece.unflatten(-1, (count, size)) * gates[..., gate : gate + count, None]).flatten(-2)
            gate += count
            outputs.append(gated + self.residual_scale * nn.functional.silu(piece) if self.residual_scale else gated)
        y = torch.cat(outputs, dim=-1)
        if self.residual is None:
            return y
        return y + beside_batch(self.residual, y) * nn.functional.silu(x[..., : y.shape[-1]])

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.rep_out.name}, {self.activation}, n_gates={self.n_gates}, residual_scale={self.residual_scale}"


def nonlinearity(
    rep: Rep, activation: str, mode: Mode, *, is_twin: bool = False, ensemble: int | None = None
) -> Pointwise | Gated:
    """The nonlinearity for hidden vectors of type ``rep``; its ``rep_in`` is what the layer before must produce.

    Pointwise where that is equivariant or need not be (``mlp``), gated elsewhere, with a residual swish in ``rpp``:
    small and fixed, or learned and under the prior with ``is_twin``.

    Raises:
        ValueError: If the activation or the mode is unknown.
    """
    require_mode(mode)
    require_activation(activation)
    if mode == "mlp":
        return Pointwise(rep.size * trivial(rep.group), activation)
    if _is_pointwise_legal(rep, activation):
        return Pointwise(rep, activation)
    if mode == "rpp" and is_twin:
        return Gated(rep, activation, is_twin=True, ensemble=ensemble)
    return Gated(rep, activation, residual_scale=RESIDUAL_SCALE if mode == "rpp" else 0.0)


def _is_pointwise_legal(rep: Rep, activation: str) -> bool:
    has_no_flow = not rep.lie_algebra.any()
    return has_no_flow and (rep.is_permutation or (rep.is_signed_permutation and activation in ODD_ACTIVATIONS))
