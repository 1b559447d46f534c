"""Linear maps with a residual pathway prior: an equivariant map plus a free one."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.symmetry import Rep, basis_blocks, trivial

Mode = Literal["rpp", "emlp", "mlp"]
"""``rpp``: equivariant and residual pathway; ``emlp``: equivariant only; ``mlp``: residual only, a plain linear map."""


def require_mode(mode: str) -> None:
    """Refuse an unknown mode.

    Raises:
        ValueError: If ``mode`` is not one of `Mode`.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")


class EquivariantMatrix(nn.Module):
    """The linear parametrisation β -> W = Σ_i β_i Q_i of Hom_G(rep_in, rep_out), Q orthonormal; it has no parameters.

    W is made by one small product per pair of distinct summands, never by a projector of size (out·in)². Closed-form
    bases are recomputed on construction; numerical null spaces are unique only up to a rotation, hence saved with the
    state dict.

    Args:
        rep_in: How the input transforms; ``in = rep_in.size``.
        rep_out: How the output transforms; ``out = rep_out.size``.
    """

    def __init__(self, rep_in: Rep, rep_out: Rep) -> None:
        super().__init__()
        self.grid: list[list[tuple[str, int, tuple[int, int, int, int, int]]]] = []
        self.sizes: list[int] = []
        for i, row in enumerate(basis_blocks(rep_in, rep_out)):
            self.grid.append([])
            for j, block in enumerate(row):
                rank, size_out, size_in = block.basis.shape
                name = f"basis_{i}_{j}"
                flat = torch.as_tensor(block.basis, dtype=torch.get_default_dtype()).reshape(rank, size_out * size_in)
                self.register_buffer(name, flat, persistent=not block.is_canonical)
                self.grid[-1].append((name, len(self.sizes), (block.n_out, block.n_in, rank, size_out, size_in)))
                self.sizes.append(block.n_coefficients)
        self.n_coefficients = sum(self.sizes)

    def forward(self, coefficients: Float[Tensor, " n_coefficients"]) -> Float[Tensor, "out in"]:
        """The matrix W with the given coefficients in the basis."""
        pieces = coefficients.split(self.sizes) if len(self.sizes) > 1 else (coefficients,)
        rows = []
        for row in self.grid:
            blocks = []
            for name, piece, (n_out, n_in, rank, size_out, size_in) in row:
                products = pieces[piece].view(n_out * n_in, rank) @ self.get_buffer(name)
                copies = products.view(n_out, n_in, size_out, size_in).transpose(1, 2)
                blocks.append(copies.reshape(n_out * size_out, n_in * size_in))
            rows.append(torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0])
        return torch.cat(rows) if len(rows) > 1 else rows[0]


class RPPLinear(nn.Module):
    """y = (A + B) x + (a + b): A and a are equivariant, B and b free (Finzi, Benton & Wilson 2021, arXiv:2112.01388).

    The mode decides which pathways exist. A fresh layer has the scale of ``nn.Linear``: entries of W have variance
    1/(3 in) on average. In ``rpp`` mode the residual pathway starts at zero, the most probable value of its prior.

    Args:
        rep_in: How the input transforms; ``in = rep_in.size``.
        rep_out: How the output transforms; ``out = rep_out.size``.
        mode: Which pathways exist, see `Mode`.

    Attributes:
        equiv_weight: Coefficients of A in the orthonormal basis, shape ``(n_weight,)``; None in ``mlp`` mode.
        equiv_bias: Coefficients of a in the basis of invariant vectors, shape ``(n_bias,)``; None in ``mlp`` mode.
        residual_weight: B, shape ``(out, in)``; None in ``emlp`` mode.
        residual_bias: b, shape ``(out,)``; None in ``emlp`` mode.

    Raises:
        ValueError: If the reps belong to different groups or the mode is unknown.
    """

    equiv_weight: nn.Parameter | None
    equiv_bias: nn.Parameter | None
    residual_weight: nn.Parameter | None
    residual_bias: nn.Parameter | None

    def __init__(self, rep_in: Rep, rep_out: Rep, *, mode: Mode = "rpp") -> None:
        super().__init__()
        require_mode(mode)
        self.rep_in, self.rep_out, self.mode = rep_in, rep_out, mode
        names = ("equiv_weight", "equiv_bias", "residual_weight", "residual_bias")
        for name in names:
            self.register_parameter(name, None)
        if mode != "mlp":
            self.weight_matrix = EquivariantMatrix(rep_in, rep_out)
            self.bias_matrix = EquivariantMatrix(trivial(rep_out.group), rep_out)
            self.equiv_weight = nn.Parameter(torch.empty(self.weight_matrix.n_coefficients))
            self.equiv_bias = nn.Parameter(torch.empty(self.bias_matrix.n_coefficients))
        if mode != "emlp":
            self.residual_weight = nn.Parameter(torch.empty(rep_out.size, rep_in.size))
            self.residual_bias = nn.Parameter(torch.empty(rep_out.size))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw fresh parameters at the scale of ``nn.Linear``; the residual of an ``rpp`` layer is zero."""
        bound = self.rep_in.size**-0.5
        for equiv, residual, n_entries in (
            (self.equiv_weight, self.residual_weight, self.rep_out.size * self.rep_in.size),
            (self.equiv_bias, self.residual_bias, self.rep_out.size),
        ):
            if equiv is not None:
                # Q is orthonormal: E‖W‖² = n_weight·Var(β), which must be n_entries times the variance bound²/3.
                scale = bound * (n_entries / max(equiv.numel(), 1)) ** 0.5
                nn.init.uniform_(equiv, -scale, scale)
            if residual is not None and equiv is not None:
                nn.init.zeros_(residual)
            elif residual is not None:
                nn.init.uniform_(residual, -bound, bound)

    def weight(self) -> Float[Tensor, "out in"]:
        """W = A + B."""
        return _sum(None if self.equiv_weight is None else self.weight_matrix(self.equiv_weight), self.residual_weight)

    def bias(self) -> Float[Tensor, " out"]:
        """The sum of both biases."""
        return _sum(None if self.equiv_bias is None else self.bias_matrix(self.equiv_bias)[:, 0], self.residual_bias)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Map vectors of type ``rep_in`` to vectors of type ``rep_out``."""
        return nn.functional.linear(x, self.weight(), self.bias())

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """A plain linear layer that computes the same, detached from this one."""
        weight = self.weight()
        linear = nn.Linear(self.rep_in.size, self.rep_out.size, device=weight.device, dtype=weight.dtype)
        linear.weight.copy_(weight)
        linear.bias.copy_(self.bias())
        return linear

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        n_equiv = 0 if self.equiv_weight is None else self.equiv_weight.numel()
        n_residual = 0 if self.residual_weight is None else self.residual_weight.numel()
        return (
            f"{self.rep_in.name} -> {self.rep_out.name}, group={self.rep_in.group}, mode={self.mode}, "
            f"n_equiv={n_equiv}, n_residual={n_residual}"
        )


def _sum(equiv: Tensor | None, residual: Tensor | None) -> Tensor:
    present = [pathway for pathway in (equiv, residual) if pathway is not None]
    return present[0] if len(present) == 1 else present[0] + present[1]
