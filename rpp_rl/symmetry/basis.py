"""Orthonormal bases of the equivariant linear maps Hom_G(rep_in, rep_out)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rpp_rl.symmetry.cache import kept
from rpp_rl.symmetry.matrices import frozen
from rpp_rl.symmetry.reps import Rep

RANK_TOLERANCE = 1e-8
"""Singular values below this count as zero, or below this times the largest one where that is above 1.

Matrices of a group have entries of about 1, and such that agree to 10 decimals are called equal, so this is what noise
can reach. The largest singular value alone is no measure: where every matrix is the identity but for rounding, it is
noise itself. The smallest true ones are about 2π/n for an element of order n.
"""

BLOCK_OVERHEAD = 2e6
"""Multiply-adds that take as long as handling one more block: the trade between few blocks and small ones.

Saved coefficients refer to the blocks chosen with this number and the next: changing them makes saved networks
unreadable.
"""

BASIS_OVERHEAD = 16
"""Multiply-adds that take as long as reading one number of a basis: a large basis for one pair of copies is slow."""


NULL_SPACE_VERSION = 2
"""To be raised with every change of how null spaces are computed, so that those on the disk are not taken for it."""

KEPT_ENTRIES = 100
"""Entries of W from which on a null space, whose time grows with their cube, takes longer than reading it (0.3 ms).

Closed forms are never kept: a large one is made faster than it is read.
"""


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

    This writes every basis matrix down; large layers use `basis_blocks`, which shares them between equal summands.

    >>> from rpp_rl.symmetry import Group, Rep
    >>> from rpp_rl.symmetry import parse_group, parse_rep
    >>> mirror = parse_group("Z2")
    >>> equivariant_basis(parse_rep("V", mirror), parse_rep("P", mirror)).round(3)
    array([[[ 0.707, -0.707]]])

    Args:
        rep_in: Representation of the input, size ``in``.
        rep_out: Representation of the output, size ``out``.

    Returns:
        Stack Q of matrices with ⟨Q_i, Q_j⟩ = δ_ij; the rank is 0 when only W = 0 is equivariant.

    Raises:
        ValueError: If the two reps belong to different groups.
    """
    grid = basis_blocks(rep_in, rep_out)
    rank = sum(block.n_coefficients for row in grid for block in row)
    matrices = np.zeros((rank, rep_out.size, rep_in.size))
    n = top = 0
    for row in grid:
        left = 0
        for block in row:
            _, size_out, size_in = block.basis.shape
            for o, i, q in product(range(block.n_out), range(block.n_in), block.basis):
                rows, columns = top + o * size_out, left + i * size_in
                matrices[n, rows : rows + size_out, columns : columns + size_in] = q
                n += 1
            left += block.n_in * size_in
        top += row[0].n_out * row[0].basis.shape[1]
    return matrices


def basis_blocks(rep_in: Rep, rep_out: Rep) -> tuple[tuple[BasisBlock, ...], ...]:
    """The basis as a grid of blocks: rows follow the summands of ``rep_out``, columns those of ``rep_in``.

    All summands of a side may be taken together, where closed forms make that cheaper than many blocks. The arrays
    belong to the caller.

    Raises:
        ValueError: If the two reps belong to different groups.
    """
    if rep_in.group != rep_out.group:
        raise ValueError(
            f"no common group: rep_in {rep_in.name} belongs to {rep_in.group!r}, "
            f"rep_out {rep_out.name} to {rep_out.group!r}"
        )
    ins, outs = _division(rep_in, rep_out)
    return tuple(tuple(_block(run_in, run_out) for run_in in ins) for run_out in outs)


def nearly_equivariant_blocks(rep_in: Rep, rep_out: Rep, softness: float) -> tuple[tuple[BasisBlock, ...], ...]:
    """Like `basis_blocks`, with matrices that violate the constraints of the group a little (arXiv:2603.26657).

    The size of the violation of W is that of x_out W − W x_in, summed in squares over all generators x. There are the
    orthonormal matrices whose violation is at most ``softness`` times the largest one between any two summands.

    Args:
        rep_in: Representation of the input.
        rep_out: Representation of the output.
        softness: From 0, the equivariant matrices alone, to 1, all matrices.

    Raises:
        ValueError: If the softness lies outside of this range.
    """
    if not 0 <= softness <= 1:
        raise ValueError(f"softness must be a number from 0 to 1, got {softness}")
    spectra = [[_spectrum(a, b) for _, a in rep_in.parts] for _, b in rep_out.parts]
    largest = max(values.max(initial=1.0) for row in spectra for values, _ in row)
    bound = max(softness, RANK_TOLERANCE) * largest * (1 + RANK_TOLERANCE)

    def block(n_in: int, n_out: int, shape: tuple[int, int], values: ndarray, vectors: ndarray) -> BasisBlock:
        return BasisBlock(n_out, n_in, vectors[values <= bound].reshape(-1, *shape), is_canonical=False)

    return tuple(
        tuple(
            block(n_in, n_out, (b.size, a.size), *spectrum)
            for (n_in, a), spectrum in zip(rep_in.parts, row, strict=True)
        )
        for (n_out, b), row in zip(rep_out.parts, spectra, strict=True)
    )


Runs = tuple[tuple[int, Rep], ...]


def _block(run_in: tuple[int, Rep], run_out: tuple[int, Rep]) -> BasisBlock:
    (n_in, part_in), (n_out, part_out) = run_in, run_out
    basis, is_canonical = _solve(part_in, part_out)
    return BasisBlock(n_out, n_in, basis.copy(), is_canonical)


@lru_cache(maxsize=1024)
def _division(rep_in: Rep, rep_out: Rep) -> tuple[Runs, Runs]:
    """How to cut both sides into runs: by their summands, or as one piece where closed forms make that cheaper."""

    def cuts(rep: Rep) -> list[Runs]:
        whole: Runs = ((1, rep.whole()),)
        return [rep.parts, whole] if len(rep.parts) > 1 else [rep.parts]

    if not _is_closed(rep_in.parts, rep_out.parts):
        return rep_in.parts, rep_out.parts
    divisions = [division for division in product(cuts(rep_in), cuts(rep_out)) if _is_closed(*division)]
    return min(divisions, key=lambda division: _cost(*division))


def _is_closed(ins: Runs, outs: Runs) -> bool:
    return all(_has_closed_form(a, b) for (_, a), (_, b) in product(ins, outs))


def _has_closed_form(rep_in: Rep, rep_out: Rep) -> bool:
    signed = rep_in.is_signed_permutation and rep_out.is_signed_permutation
    return signed or (rep_out.is_regular and rep_in.is_orthogonal) or (rep_in.is_regular and rep_out.is_orthogonal)


def _cost(ins: Runs, outs: Runs) -> float:
    """Multiply-adds to assemble W from its coefficients, with those that reading bases and handling blocks is worth."""
    return sum(
        (n_in * n_out + BASIS_OVERHEAD) * _closed_rank(a, b) * a.size * b.size + BLOCK_OVERHEAD
        for (n_in, a), (n_out, b) in product(ins, outs)
    )


def _closed_rank(rep_in: Rep, rep_out: Rep) -> int:
    if rep_out.is_regular:
        return rep_in.size
    return rep_out.size if rep_in.is_regular else len(_orbits(rep_in, rep_out)[0])


@lru_cache(maxsize=4096)
def _solve(rep_in: Rep, rep_out: Rep) -> tuple[Float[ndarray, "rank out in"], bool]:
    """Basis of Hom(rep_in, rep_out) for two summands, and whether it is a closed form."""
    if not _has_closed_form(rep_in, rep_out):
        return frozen(_kept_null_space_basis(rep_in, rep_out)), False
    if rep_out.is_regular:
        return frozen(_basis_into_regular(rep_in)), True
    if rep_in.is_regular:
        return frozen(np.ascontiguousarray(np.swapaxes(_basis_into_regular(rep_out), -1, -2))), True
    return frozen(_orbit_basis(rep_in, rep_out)), True


def _basis_into_regular(rep_in: Rep) -> Float[ndarray, "in order in"]:
    """Hom(rep_in, regular): the row of the identity determines the map, W_h = W_e rho_in(h)⁻¹."""
    matrices = rep_in.element_matrices / np.sqrt(rep_in.group.order)
    # W_h = w rho(h)ᵀ for an orthogonal rho, so basis matrix c (w = e_c) has rows rho(h)[:, c].
    return np.ascontiguousarray(matrices.transpose(2, 0, 1))


def _orbit_basis(rep_in: Rep, rep_out: Rep) -> Float[ndarray, "rank out in"]:
    """Hom of two signed permutations: one matrix for each orbit of entries whose signs agree."""
    firsts, first, is_positive = _orbits(rep_in, rep_out)
    basis = np.where(first == firsts[:, None], np.where(is_positive, 1.0, -1.0), 0.0)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    return basis.reshape(-1, rep_out.size, rep_in.size)


@lru_cache(maxsize=512)
def _orbits(
    rep_in: Rep, rep_out: Rep
) -> tuple[Int[ndarray, " rank"], Int[ndarray, " entries"], Bool[ndarray, " entries"]]:
    """Orbits of the entries of W that the generators link by W[o, i] = ± W[o', i'], found without listing the group.

    Returns:
        The first entry of each orbit whose signs agree; for each entry the first one of its orbit; and whether the two
        have equal signs.
    """
    n = rep_out.size * rep_in.size
    entries = np.arange(n)
    images, flips = [entries], [np.zeros(n, dtype=bool)]
    for h_in, h_out in zip(rep_in.generators, rep_out.generators, strict=True):
        perms = np.abs(h_out).argmax(-1), np.abs(h_in).argmax(-1)
        images.append((perms[0][:, None] * rep_in.size + perms[1]).ravel())
        flips.append((h_out.sum(-1)[:, None] * h_in.sum(-1) < 0).ravel())
    # Two nodes for each entry, W and −W; an orbit vanishes if it links the two.
    starts, ends, flip = np.tile(entries, len(images)), np.concatenate(images), np.concatenate(flips)
    rows, columns = np.concatenate([starts, starts + n]), np.concatenate([ends + n * flip, ends + n * ~flip])
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(2 * n, 2 * n))
    label = connected_components(graph, directed=False)[1]
    orbit = np.minimum(label[:n], label[n:])
    _, where, inverse = np.unique(orbit, return_index=True, return_inverse=True)
    first = where[inverse]
    firsts = np.unique(first[label[:n] != label[n:]])
    return frozen(firsts), frozen(first), frozen(label[:n] == label[first])


def _kept_null_space_basis(rep_in: Rep, rep_out: Rep) -> Float[ndarray, "rank out in"]:
    """The numerical basis, from the disk if this or another process has computed it before."""
    if rep_in.size * rep_out.size < KEPT_ENTRIES:
        return _null_space_basis(rep_in, rep_out)
    # Exact matrices and versions: the basis read must be the one that would be computed, bit for bit.
    stacks = [stack for rep in (rep_in, rep_out) for stack in (rep.generators, rep.lie_algebra)]
    stacks.append(_units(rep_in.group.lie_algebra))
    method = ("null space", NULL_SPACE_VERSION, RANK_TOLERANCE, np.__version__, scipy.__version__)
    header = repr((method, [(stack.shape, stack.dtype.str) for stack in stacks])).encode()
    content = header + b"".join(stack.tobytes() for stack in stacks)
    return kept(content, lambda: _null_space_basis(rep_in, rep_out))


def _null_space_basis(rep_in: Rep, rep_out: Rep) -> Float[ndarray, "rank out in"]:
    """The matrices that violate no constraint."""
    values, vectors = _violations(rep_in, rep_out)
    kernel = vectors[int((values > RANK_TOLERANCE * values.max(initial=1.0)).sum()) :]
    return np.ascontiguousarray(kernel).reshape(-1, rep_out.size, rep_in.size)


def _violations(rep_in: Rep, rep_out: Rep) -> tuple[Float[ndarray, " entries"], Float[ndarray, "entries entries"]]:
    """Orthonormal matrices, flattened row by row, and how much each violates the constraints, the largest first.

    Those are (x_out ⊗ I − I ⊗ x_inᵀ) vec(W) = 0 for every generator x (arXiv:2104.09459, section 4).
    """
    n_in, n_out = rep_in.size, rep_out.size
    group = rep_in.group
    stacks = [
        (rep_out.generators, rep_in.generators, np.ones(len(group.generators))),
        (rep_out.lie_algebra, rep_in.lie_algebra, _units(group.lie_algebra)),
    ]
    constraints = [
        (np.kron(x_out, np.eye(n_in)) - np.kron(np.eye(n_out), x_in.T)) / unit
        for outs, ins, units in stacks
        for x_out, x_in, unit in zip(outs, ins, units, strict=True)
    ]
    if not any(constraint.any() for constraint in constraints):
        return np.zeros(n_out * n_in), np.eye(n_out * n_in)
    # R has the singular values of the constraints and fewer rows.
    _, values, vectors = scipy.linalg.svd(np.linalg.qr(np.concatenate(constraints), mode="r"))
    return np.concatenate([values, np.zeros(len(vectors) - len(values))]), vectors


@lru_cache(maxsize=64)
def _spectrum(rep_in: Rep, rep_out: Rep) -> tuple[Float[ndarray, " entries"], Float[ndarray, "entries entries"]]:
    """`_violations` of two summands, which many layers share."""
    values, vectors = _violations(rep_in, rep_out)
    return frozen(values), frozen(vectors)


def _units(lie_algebra: Float[ndarray, "n_lie d d"]) -> Float[ndarray, " n_lie"]:
    """The size of each infinitesimal generator, whose unit anyone may choose, as a power of two: exact to divide by."""
    sizes = np.abs(lie_algebra).max((1, 2), initial=0.0)
    return np.exp2(np.floor(np.log2(np.where(sizes > 0.0, sizes, 1.0))))
