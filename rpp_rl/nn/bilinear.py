"""The bilinear layer of EMLP in structured form: products of scalars and parts, never a matrix per sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn.linear import linear, member_axis
from rpp_rl.symmetry import Rep, tensor_product, trivial


class Bilinear(nn.Module):
    """x -> x + c W(x) x, where W(x) is linear in x: arXiv:2104.09459, section 5, as residual layer.

    Between scalars s and copies x_k of each other summand this is exactly s_j += c Σ_ki a_jki ⟨x_k, x_i⟩ and
    x_i += c Σ_k (Σ_s b_iks s_s) x_k, which costs two small products instead of a matrix for every sample. W(x) is made
    of as many copies x_k as the summand has dimensions, which is enough to span it, as in the paper's code. The layer
    is quadratic, hence has no bounded Lipschitz constant.

    With ``contractions`` the layer also holds the products of three summands other than scalars: where x has a summand
    c = b ⊗ a*, its copies are matrices from a to b, and b_i += c Σ_kj w_ikj x_k a_j. Only so can a network make r rᵀ
    from a vector r: by a linear map r -> r ⊗ δ and the contraction of that with r.

    Args:
        rep: How input and output transform; scalars are its trivial summands, wherever they stand.
        scale: The factor c (the paper's code: 0.03 in reinforcement learning, 0.1 elsewhere).
        contractions: Whether summands act on one another as matrices; groups that are not orthogonal are allowed then.
        is_twin: Whether every coordinate x_d also takes c Σ_s r_ds s_s x_d with free weights r, zero at first: a
            residual pathway like that of a linear map, which `Prior` counts with the others.
        ensemble: Number of independent layers computed together, see `RPPLinear`.

    Attributes:
        to_scalars: a, shape ``(n_scalars, n_pairs)``; pairs (k, i) of copies of the same run, run after run; k runs
            over the first copies, as many as the summand's dimension. Without an invariant scalar product the x_k
            belong to the dual summand.
        to_parts: b, shape ``(n_pairs, n_scalars)``; pairs (i, k).
        contracted: w of each triple of runs, shape ``(n_k · n_b, n_a)``; absent without ``contractions``.
        residual: r, shape ``(size, n_scalars)``; None without ``is_twin``.

    Raises:
        ValueError: If the rep has no scalars, no other parts, or is not orthogonal.
    """

    residual: nn.Parameter | None

    def __init__(
        self,
        rep: Rep,
        *,
        scale: float = 0.03,
        contractions: bool = False,
        is_twin: bool = False,
        ensemble: int | None = None,
    ) -> None:
        super().__init__()
        members = member_axis(ensemble)
        one = trivial(rep.group)
        self.runs = [(count, part.size, part == one) for count, part in rep.parts]
        n_scalars = sum(count for count, _, is_scalar in self.runs if is_scalar)
        parts = [(count, part) for count, part in rep.parts if part != one]
        self.duals = _duals(parts)
        if n_scalars == 0 or not self.duals or not (contractions or rep.is_orthogonal):
            raise ValueError(
                f"the bilinear layer needs scalars beside other, orthogonal parts, got {rep.name} of {rep.group}; "
                "choose a hidden representation such as 'uniform' or leave the layer out"
            )
        self.rep_in = self.rep_out = rep
        self.scale = scale
        self.n_firsts = [min(count, part.size) for count, part in parts]
        self.n_pairs = [first * count for first, (count, _) in zip(self.n_firsts, parts, strict=True)]
        n_grams = sum(self.n_firsts[dual] * parts[run][0] for run, dual in self.duals)
        self.to_scalars = nn.Parameter(torch.randn(*members, n_scalars, n_grams) / max(n_grams, 1) ** 0.5)
        self.to_parts = nn.Parameter(torch.randn(*members, sum(self.n_pairs), n_scalars) / n_scalars**0.5)
        self.contractions = _contractions(parts) if contractions else []
        self.contracted = nn.ParameterList()
        for acting, source, target in self.contractions:
            n_acting, n_source, n_target = self.n_firsts[acting], parts[source][0], parts[target][0]
            weight = torch.randn(*members, n_acting * n_target, n_source) / (n_acting * n_source) ** 0.5
            self.contracted.append(nn.Parameter(weight))
        twin = nn.Parameter(torch.zeros(*members, rep.size, n_scalars)) if is_twin else None
        self.register_parameter("residual", twin)

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Add the products of scalars and parts, of pairs of parts, and of triples where they are asked for."""
        pieces = x.split([count * size for count, size, _ in self.runs], dim=-1)
        scalars = [piece for piece, (_, _, is_scalar) in zip(pieces, self.runs, strict=True) if is_scalar]
        parts = [
            piece.unflatten(-1, (count, size))
            for piece, (count, size, is_scalar) in zip(pieces, self.runs, strict=True)
            if not is_scalar
        ]
        firsts = [part[..., :n, :] for part, n in zip(parts, self.n_firsts, strict=True)]
        grams = [(firsts[dual] @ parts[run].transpose(-1, -2)).flatten(-2) for run, dual in self.duals]
        products = linear(torch.cat(grams, dim=-1), self.to_scalars)
        mixing = linear(torch.cat(scalars, dim=-1), self.to_parts).split(self.n_pairs, dim=-1)
        mixed = [
            weights.unflatten(-1, (-1, first.shape[-2])) @ first for weights, first in zip(mixing, firsts, strict=True)
        ]
        for (acting, source, target), weight in zip(self.contractions, self.contracted, strict=True):
            mixed[target] = mixed[target] + _contract(firsts[acting], parts[source], parts[target].shape, weight)
        next_product = iter(products.split([piece.shape[-1] for piece in scalars], dim=-1))
        next_mixed = iter([part.flatten(-2) for part in mixed])
        change = [next(next_product if is_scalar else next_mixed) for _, _, is_scalar in self.runs]
        changes = torch.cat(change, dim=-1)
        if self.residual is not None:
            changes = changes + linear(torch.cat(scalars, dim=-1), self.residual) * x
        return x + self.scale * changes

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.rep_in.name}, scale={self.scale}"


class Contraction(NamedTuple):
    """Copies of the run ``acting`` = target ⊗ source* act as matrices on copies of ``source``."""

    acting: int
    source: int
    target: int


def _duals(parts: Sequence[tuple[int, Rep]]) -> list[tuple[int, int]]:
    """For each run the run of its dual, which for orthogonal parts is the run itself; runs without one are left out."""
    duals = []
    for run, (_, part) in enumerate(parts):
        if part.is_orthogonal:
            duals.append((run, run))
            continue
        dual = part.dual()
        duals += [(run, other) for other, (_, candidate) in enumerate(parts) if candidate == dual][:1]
    return duals


def _contractions(parts: Sequence[tuple[int, Rep]]) -> list[Contraction]:
    """All triples of runs in which the first is the space of matrices from the second to the third."""
    wholes = [part.whole() for _, part in parts]
    triples = []
    for source, a in enumerate(wholes):
        for target, b in enumerate(wholes):
            sizes = [part.size for part in wholes]
            if a.size * b.size not in sizes:
                continue
            matrices = tensor_product(b, a.dual()).whole()
            triples += [Contraction(acting, source, target) for acting, part in enumerate(wholes) if part == matrices][
                :1
            ]
    return triples


def _contract(
    acting: Float[Tensor, "*batch n_acting size"],
    source: Float[Tensor, "*batch n_source size_in"],
    target_shape: torch.Size,
    weight: Float[Tensor, "*members mixed n_source"],
) -> Float[Tensor, "*batch n_target size_out"]:
    """Σ_kj w_ikj x_k a_j: first the sum over j, one large product for the batch, then one small product per sample."""
    n_target, size_out = target_shape[-2:]
    n_acting, size_in = acting.shape[-2], source.shape[-1]
    mixed = linear(source.transpose(-1, -2), weight)
    mixed = mixed.unflatten(-1, (n_acting, n_target)).flatten(-3, -2)
    matrices = acting.unflatten(-1, (size_out, size_in)).movedim(-3, -1).flatten(-2)
    return (matrices @ mixed).transpose(-1, -2)
