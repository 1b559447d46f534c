"""Orthonormal bases of the equivariant linear maps Hom_G(rep_in, rep_out)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.linalg import null_space

from rpp_rl.symmetry.reps import Rep

RANK_TOLERANCE = 1e-10
"""Singular values below this times the largest count as zero."""

BLOCK_OVERHEAD = 2e5
"""Multiply-adds that take as long as handling one more block: the trade between few blocks and small ones."""


@dataclass(frozen=True, eq=False)
class BasisBlock:
    """Basis of Hom(n_in copies of a, n_out copies of b): one small basis shared by all pairs of copies.

    Attributes:
        n_out: Copies of the output summand.
        n_in: Copies of the input summand.
        basis: Orthonormal basis of Hom(a, b), shape ``(rank, b.size, a.size)``.
        is_canonical: Whether the basis is a closed form. A numerical null space is unique only up to a rotation, so
            coefficients with respect to it mean nothing without it.
    """

    n_out: int
    n_in: int
    basis: Float[ndarray, "rank out in"]
    is_canonical: bool

    @property
    def n_coefficients(self) -> int:
        """Free numbers of a map of this block."""
        return self.n_out * self.n_in * len(self.basis)


def equivariant_basis(rep_in: Rep, rep_out: Rep) -> Float[ndarray, "rank out in"]:
    """Orthonormal basis of Hom_G(rep_in, rep_out) = {W : rho_out(g) W = W rho_in(g) for all g}.

    Args:
        rep_in: Representation of the input, size ``in``.
        rep_out: Representation of the output, size ``out``.

    Returns:
        Stack Q of matrices with ⟨Q_i, Q_j⟩ = δ_ij; the rank is 0 when only W = 0 is equivariant.

    Raises:
        ValueError: If the two reps belong to different groups.
    """
    matrices = []
    row = 0
    for block_row in basis_blocks(rep_in, rep_out):
        column = 0
        for block in block_row:
            _, size_out, size_in = block.basis.shape
            for o, i, q in product(range(block.n_out), range(block.n_in), block.basis):
                matrix = np.zeros((rep_out.size, rep_in.size))
                top, left = row + o * size_out, column + i * size_in
                matrix[top : top + size_out, left : left + size_in] = q
                matrices.append(matrix)
            column += block.n_in * size_in
        row += block_row[0].n_out * block_row[0].basis.shape[1]
    return np.array(matrices).reshape(-1, rep_out.size, rep_in.size)


@lru_cache(maxsize=1024)
def basis_blocks(rep_in: Rep, rep_out: Rep) -> tuple[tuple[BasisBlock, ...], ...]:
    """The basis as a grid of blocks: rows follow the summands of ``rep_out``, columns those of ``rep_in``.

    For a finite group the summands of a side may be taken together when that costs less arithmetic than one more block.

    Raises:
        ValueError: If the two reps belong to different groups.
    """
    if rep_in.group != rep_out.group:
        raise ValueError(
            f"no common group: rep_in is {rep_in.name} of {rep_in.group}, rep_out is {rep_out.name} of {rep_out.group}"
        )
    divisions = [
        (ins, outs)
        for ins, outs in product(_divisions(rep_in), _divisions(rep_out))
        if (ins, outs) == (rep_in.parts, rep_out.parts)
        or all(_has_closed_form(a, b) for (_, a), (_, b) in product(ins, outs))
    ]
    ins, outs = min(divisions, key=lambda division: _cost(*division))
    return tuple(
        tuple(BasisBlock(n_out, n_in, *_solve(part_in, part_out)) for n_in, part_in in ins) for n_out, part_out in outs
    )


Runs = tuple[tuple[int, Rep], ...]


def _divisions(rep: Rep) -> list[Runs]:
    """The ways to cut ``rep`` into runs: as it is, and as one piece where closed forms make that cheap."""
    whole: Runs = ((1, rep.whole()),)
    return [rep.parts, whole] if rep.group.is_finite and len(rep.parts) > 1 else [rep.parts]


def _has_closed_form(rep_in: Rep, rep_out: Rep) -> bool:
    if not rep_in.group.is_finite:
        return False
    signed = rep_in.is_signed_permutation and rep_out.is_signed_permutation
    return signed or (rep_out.is_regular and rep_in.is_orthogonal) or (rep_in.is_regular and rep_out.is_orthogonal)


def _cost(ins: Runs, outs: Runs) -> float:
    """Multiply-adds to assemble W from its coefficients, blocks counted as `BLOCK_OVERHEAD` each."""
    order = ins[0][1].group.order if ins[0][1].group.is_finite else 1
    return sum(
        n_in * n_out * (a.size * b.size) ** 2 / order + BLOCK_OVERHEAD for (n_in, a), (n_out, b) in product(ins, outs)
    )


@lru_cache(maxsize=4096)
def _solve(rep_in: Rep, rep_out: Rep) -> tuple[Float[ndarray, "rank out in"], bool]:
    """Basis of Hom(rep_in, rep_out) for two summands, and whether it is a closed form."""
    if not _has_closed_form(rep_in, rep_out):
        return _null_space_basis(rep_in, rep_out), False
    if rep_out.is_regular:
        return _basis_into_regular(rep_in), True
    if rep_in.is_regular:
        return np.ascontiguousarray(np.swapaxes(_basis_into_regular(rep_out), -1, -2)), True
    return _orbit_basis(rep_in, rep_out), True


def _basis_into_regular(rep_in: Rep) -> Float[ndarray, "in order in"]:
    """Hom(rep_in, regular): the row of the identity determines the map, W_h = W_e rho_in(h)⁻¹."""
    matrices = rep_in.element_matrices / np.sqrt(rep_in.group.order)
    # W_h = w rho(h)ᵀ for an orthogonal rho, so basis matrix c (w = e_c) has rows rho(h)[:, c].
    return np.ascontiguousarray(matrices.transpose(2, 0, 1))


def _orbit_basis(rep_in: Rep, rep_out: Rep) -> Float[ndarray, "rank out in"]:
    """Hom of two signed permutations: one matrix for each orbit of entries whose signs agree."""
    perm_in, sign_in = _signed_indices(rep_in)
    perm_out, sign_out = _signed_indices(rep_out)
    n = rep_out.size * rep_in.size
    images = (perm_out[:, :, None] * rep_in.size + perm_in[:, None, :]).reshape(-1, n)
    signs = (sign_out[:, :, None] * sign_in[:, None, :]).reshape(-1, n)
    first = images.min(axis=0)
    reaches_first = images == first
    sign = signs[reaches_first.argmax(axis=0), np.arange(n)]
    is_consistent = (~reaches_first | (signs == sign)).all(axis=0)
    orbits = np.unique(first[is_consistent])
    basis = np.where((first == orbits[:, None]) & is_consistent, sign, 0.0)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    return basis.reshape(-1, rep_out.size, rep_in.size)


def _signed_indices(rep: Rep) -> tuple[Int[ndarray, "order size"], Float[ndarray, "order size"]]:
    matrices = rep.element_matrices
    return np.abs(matrices).argmax(-1), matrices.sum(-1)


def _null_space_basis(rep_in: Rep, rep_out: Rep) -> Float[ndarray, "rank out in"]:
    """Solve (x_out ⊗ I − I ⊗ x_inᵀ) vec(W) = 0 for every generator x, W flattened row by row (arXiv:2104.09459, §4)."""
    n_in, n_out = rep_in.size, rep_out.size
    pairs = [
        *zip(rep_out.generators, rep_in.generators, strict=True),
        *zip(rep_out.lie_algebra, rep_in.lie_algebra, strict=True),
    ]
    constraints = [np.kron(x_out, np.eye(n_in)) - np.kron(np.eye(n_out), x_in.T) for x_out, x_in in pairs]
    if not constraints:
        return np.eye(n_out * n_in).reshape(-1, n_out, n_in)
    stacked = np.concatenate(constraints)
    if not stacked.any():
        return np.eye(n_out * n_in).reshape(-1, n_out, n_in)
    return null_space(stacked, rcond=RANK_TOLERANCE).T.reshape(-1, n_out, n_in)
