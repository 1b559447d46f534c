"""The bilinear layer of EMLP in structured form: products of scalars and parts, never a matrix per sample."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn.linear import linear, member_axis
from rpp_rl.symmetry import Rep, trivial


class Bilinear(nn.Module):
    """x -> x + c W(x) x, where W(x) is linear in x: arXiv:2104.09459, section 5, as residual layer.

    Between scalars s and copies x_k of each other summand this is exactly s_j += c Σ_ki a_jki ⟨x_k, x_i⟩ and
    x_i += c Σ_k (Σ_s b_iks s_s) x_k, which costs two small products instead of a matrix for every sample. W(x) is made
    of as many copies x_k as the summand has dimensions, for so many span it, as in the paper's code. The layer is
    quadratic, hence has no bounded Lipschitz constant.

    Args:
        rep: How input and output transform; scalars are its trivial summands, wherever they stand.
        scale: The factor c (the paper's code: 0.03 in reinforcement learning, 0.1 elsewhere).
        ensemble: Number of independent layers computed together, see `RPPLinear`.

    Attributes:
        to_scalars: a, shape ``(n_scalars, n_pairs)``; pairs (k, i) of copies of the same run, run after run; k runs
            over the first copies, as many as the summand's dimension.
        to_parts: b, shape ``(n_pairs, n_scalars)``; pairs (i, k).

    Raises:
        ValueError: If the rep has no scalars, no other parts, or is not orthogonal.
    """

    def __init__(self, rep: Rep, *, scale: float = 0.03, ensemble: int | None = None) -> None:
        super().__init__()
        members = member_axis(ensemble)
        one = trivial(rep.group)
        self.runs = [(count, part.size, part == one) for count, part in rep.parts]
        n_scalars = sum(count for count, _, is_scalar in self.runs if is_scalar)
        self.n_pairs = [min(count, size) * count for count, size, is_scalar in self.runs if not is_scalar]
        if n_scalars == 0 or not self.n_pairs or not rep.is_orthogonal:
            raise ValueError(
                f"the bilinear layer needs scalars beside other, orthogonal parts, got {rep.name} of {rep.group}; "
                "choose a hidden representation such as 'uniform' or leave the layer out"
            )
        self.rep_in = self.rep_out = rep
        self.scale = scale
        n_pairs = sum(self.n_pairs)
        self.to_scalars = nn.Parameter(torch.randn(*members, n_scalars, n_pairs) / n_pairs**0.5)
        self.to_parts = nn.Parameter(torch.randn(*members, n_pairs, n_scalars) / n_scalars**0.5)

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Add the products of scalars and parts and of pairs of parts."""
        pieces = x.split([count * size for count, size, _ in self.runs], dim=-1)
        scalars = [piece for piece, (_, _, is_scalar) in zip(pieces, self.runs, strict=True) if is_scalar]
        parts = [
            piece.unflatten(-1, (count, size))
            for piece, (count, size, is_scalar) in zip(pieces, self.runs, strict=True)
            if not is_scalar
        ]
        firsts = [part[..., : part.shape[-1], :] for part in parts]
        grams = torch.cat(
            [(first @ part.transpose(-1, -2)).flatten(-2) for first, part in zip(firsts, parts, strict=True)], dim=-1
        )
        products = linear(grams, self.to_scalars)
        mixing = linear(torch.cat(scalars, dim=-1), self.to_parts).split(self.n_pairs, dim=-1)
        mixed = [
            (weights.unflatten(-1, (-1, first.shape[-2])) @ first).flatten(-2)
            for weights, first in zip(mixing, firsts, strict=True)
        ]
        next_product = iter(products.split([piece.shape[-1] for piece in scalars], dim=-1))
        next_mixed = iter(mixed)
        change = [next(next_product if is_scalar else next_mixed) for _, _, is_scalar in self.runs]
        return x + self.scale * torch.cat(change, dim=-1)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.rep_in.name}, scale={self.scale}"
