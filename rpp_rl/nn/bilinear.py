"""The bilinear layer of EMLP in structured form: products of scalars and parts, never a matrix per sample."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.symmetry import Rep, trivial


class Bilinear(nn.Module):
    """x -> x + c W(x) x, where W(x) is linear in x: arXiv:2104.09459, section 5, as residual layer.

    Between scalars s and copies x_k of each other summand this is exactly s_j += c Σ_ki a_jki ⟨x_k, x_i⟩ and
    x_i += c Σ_k (Σ_s b_iks s_s) x_k, which costs two small products instead of a matrix for every sample. The layer is
    quadratic, hence has no bounded Lipschitz constant.

    Args:
        rep: How input and output transform; the scalars (trivial summands) come first.
        scale: The factor c (the paper's code: 0.03 in reinforcement learning, 0.1 elsewhere).

    Raises:
        ValueError: If the rep does not begin with scalars, has no other parts, or is not orthogonal.
    """

    def __init__(self, rep: Rep, *, scale: float = 0.03) -> None:
        super().__init__()
        n_scalars, first = rep.parts[0]
        if first != trivial(rep.group) or len(rep.parts) < 2 or not rep.is_orthogonal:
            raise ValueError(f"the bilinear layer needs scalars followed by other orthogonal parts, got {rep.name}")
        self.rep_in = self.rep_out = rep
        self.scale, self.n_scalars = scale, n_scalars
        self.runs = [(count, part.size) for count, part in rep.parts[1:]]
        n_pairs = sum(count * count for count, _ in self.runs)
        self.to_scalars = nn.Parameter(torch.randn(n_scalars, n_pairs) / n_pairs**0.5)
        self.to_parts = nn.Parameter(torch.randn(n_pairs, n_scalars) / n_scalars**0.5)

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Add the products of pairs of parts."""
        scalars = x[..., : self.n_scalars]
        mixing = nn.functional.linear(scalars, self.to_parts)
        grams, pieces, at, pair = [], [], self.n_scalars, 0
        for count, size in self.runs:
            part = x[..., at : at + count * size].unflatten(-1, (count, size))
            grams.append((part @ part.transpose(-1, -2)).flatten(-2))
            weights = mixing[..., pair : pair + count * count].unflatten(-1, (count, count))
            pieces.append((weights @ part).flatten(-2))
            at, pair = at + count * size, pair + count * count
        products = nn.functional.linear(torch.cat(grams, dim=-1), self.to_scalars)
        return x + self.scale * torch.cat([products, *pieces], dim=-1)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.rep_in.name}, scale={self.scale}"
