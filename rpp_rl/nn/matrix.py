"""Matrices that commute with a group, made from coefficients by cheap products of small bases."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from rpp_rl.symmetry import (
    BasisBlock,
    Rep,
    basis_blocks,
    direct_sum,
    equivariant_basis,
    nearly_equivariant_blocks,
    trivial,
)

NONZERO = 1e-9
"""Entries of an orthonormal basis up to this size are rounding."""


class EquivariantMatrix(nn.Module):
    """The linear parametrisation θ -> W = Σ_i θ_i E_i of Hom_G(rep_in, rep_out); it has no parameters.

    The basis is orthogonal and has unit entries: E_i = n_i Q_i with Q orthonormal and norms n_i such that a change of
    all θ_i by ±δ changes those entries of W that can be other than zero by δ in the root mean square. So an optimiser
    that steps every parameter by its learning rate, as Adam does, moves W as it would move a free matrix.

    W is made by one small product per pair of distinct summands, wherever their copies stand, never by a projector of
    size (out·in)². Closed-form bases are recomputed on construction; numerical null spaces are unique only up to a
    rotation, hence saved with the state dict.

    Args:
        rep_in: How the input transforms; ``in = rep_in.size``.
        rep_out: How the output transforms; ``out = rep_out.size``.

    Attributes:
        norms: n, shape ``(n_coefficients,)``: the coefficients in the orthonormal basis are n θ.
    """

    norms: Tensor

    def __init__(self, rep_in: Rep, rep_out: Rep, *, softness: float = 0.0) -> None:
        super().__init__()
        (gathered_in, self.columns), (gathered_out, self.rows) = _gather(rep_in), _gather(rep_out)
        if softness:
            basis = nearly_equivariant_blocks(gathered_in, gathered_out, softness)
        else:
            basis = basis_blocks(gathered_in, gathered_out)
        # A side that is one block costs nothing to bring back into its own order: its basis is brought back.
        if len(basis[0]) == 1:
            basis = [[self.columns.restore_basis(block, axis=2) for block in row] for row in basis]
            self.columns = _Order([], [])
        if len(basis) == 1:
            basis = [[self.rows.restore_basis(block, axis=1) for block in row] for row in basis]
            self.rows = _Order([], [])
        grid = [[BlockMatrix(block) for block in row] for row in basis]
        self.blocks = nn.ModuleList([block for row in grid for block in row])
        self.n_columns = len(grid[0])
        self.sizes = [block.n_coefficients for row in grid for block in row]
        self.n_coefficients = sum(self.sizes)
        self.row_sizes = [sum(block.n_coefficients for block in row) for row in grid]
        self.size_in = rep_in.size
        self.row_entries = [row[0].n_out * row[0].size_out * rep_in.size for row in grid]
        norms = np.concatenate([np.zeros(0), *(block_norms(block) for row in basis for block in row)])
        self.register_buffer("norms", torch.as_tensor(norms, dtype=torch.get_default_dtype()), persistent=False)

    def unit_scales(self) -> Float[Tensor, " n_coefficients"]:
        """Standard deviations of the coefficients at which W has entries of mean square 1 in every row of blocks.

        The mean of ‖W‖² is the sum of the variances of n θ, which are the same for all coefficients of a row.
        """
        in_rows = [(n / max(size, 1)) ** 0.5 for n, size in zip(self.row_entries, self.row_sizes, strict=True)]
        return self.norms.new_tensor(in_rows).repeat_interleave(torch.tensor(self.row_sizes)) / self.norms

    def forward(
        self,
        coefficients: Float[Tensor, "*members n_coefficients"],
        residual: Float[Tensor, "*members out in"] | None = None,
    ) -> Float[Tensor, "*members out in"]:
        """The matrix W with the given coefficients, plus ``residual``; one for each member."""
        members = coefficients.shape[:-1]
        if not members:
            coefficients = coefficients.unsqueeze(0)
        if len(self.blocks) == 1:
            copies = self.blocks[0](coefficients)
            # The residual comes first because the sum takes its memory layout: no copy of the transposed blocks.
            weight = copies if residual is None else residual.view(copies.shape) + copies
            return weight.reshape(*members, -1, copies.shape[-1])
        pieces = [
            block(c).flatten(1, 2) for block, c in zip(self.blocks, coefficients.split(self.sizes, dim=1), strict=True)
        ]
        rows = [torch.cat(pieces[i : i + self.n_columns], dim=2) for i in range(0, len(pieces), self.n_columns)]
        weight = self.rows.restore(self.columns.restore(torch.cat(rows, dim=1), dim=2), dim=1)
        weight = weight.view(*members, *weight.shape[1:])
        return weight if residual is None else weight + residual

    def operator(self) -> sparse.csr_array:
        """The same map θ -> W, W row by row, as a sparse matrix of shape ``(out·in, n_coefficients)``."""
        rows = []
        blocks, column = list(self.blocks), 0
        for start in range(0, len(blocks), self.n_columns):
            row = [cast(BlockMatrix, block) for block in blocks[start : start + self.n_columns]]
            n_rows, n_columns = row[0].n_out * row[0].size_out, sum(block.n_in * block.size_in for block in row)
            entries, first = [], 0
            for block in row:
                i, j, coefficient, value = block.entries()
                entries.append((i * n_columns + first + j, coefficient + column, value))
                column, first = column + block.n_coefficients, first + block.n_in * block.size_in
            where, coefficients, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
            shape = (n_rows * n_columns, self.n_coefficients)
            rows.append(sparse.csr_array(sparse.coo_array((values, (where, coefficients)), shape=shape)))
        places = torch.arange(sum(row.shape[0] for row in rows)).view(-1, self.size_in)
        order = self.rows.restore(self.columns.restore(places, dim=1), dim=0)
        gathered: Any = sparse.vstack(rows, format="csr")
        return gathered[order.flatten().numpy()]


class BlockMatrix(nn.Module):
    """The part of an `EquivariantMatrix` between the copies of one summand and those of another."""

    basis: Tensor
    _version = 2
    """Of the state dict: before 2 bases were orthonormal."""

    def __init__(self, block: BasisBlock) -> None:
        super().__init__()
        rank, self.size_out, self.size_in = block.basis.shape
        self.n_out, self.n_in, self.rank = block.n_out, block.n_in, rank
        self.n_coefficients = block.n_coefficients
        # One product per output coordinate leaves whole rows together, which transpose without scattering numbers; but
        # its gradient passes through size_out · rank numbers per pair of copies.
        self.by_row = self.n_in > 1 and rank <= self.size_in
        norms = unit_norms(block)
        self.largest_norm = float(norms.max(initial=0.0))
        basis = torch.as_tensor(block.basis * norms[:, None, None], dtype=torch.get_default_dtype())
        basis = basis.transpose(0, 1).contiguous() if self.by_row else basis.flatten(1)
        self.register_buffer("basis", basis, persistent=not block.is_canonical)

    def forward(
        self, coefficients: Float[Tensor, "members n_coefficients"]
    ) -> Float[Tensor, "members n_out size_out columns"]:
        """Rows (copy, coordinate) and columns of the block for each member; not contiguous in general."""
        members = len(coefficients)
        coefficients = coefficients.reshape(members * self.n_out * self.n_in, self.rank)
        if self.by_row:
            products = torch.bmm(coefficients.expand(self.size_out, -1, -1), self.basis)
            return products.view(self.size_out, members, self.n_out, self.n_in * self.size_in).permute(1, 2, 0, 3)
        products = (coefficients @ self.basis).view(members, self.n_out, self.n_in, self.size_out, self.size_in)
        return products.transpose(2, 3).flatten(3)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = f"{prefix}basis"
        if key in state_dict and local_metadata.get("version", self._version) < 2:
            # Only bases that are no closed form are saved, and their norms are equal.
            state_dict[key] = state_dict[key] * self.largest_norm
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def entries(self) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, " n"]]:
        """Row, column, coefficient and value of every number of the block that can be other than zero."""
        basis = self.basis.detach().cpu().double().numpy()
        basis = basis.transpose(1, 0, 2) if self.by_row else basis.reshape(self.rank, self.size_out, self.size_in)
        r, s, t = np.nonzero(basis)
        pair_out, pair_in = (axis.reshape(-1, 1) for axis in np.indices((self.n_out, self.n_in)))
        row, column = pair_out * self.size_out + s, pair_in * self.size_in + t
        coefficient = (pair_out * self.n_in + pair_in) * self.rank + r
        value = np.broadcast_to(basis[r, s, t], row.shape)
        return row.ravel(), column.ravel(), coefficient.ravel(), value.ravel()


class _Order:
    """The way back from gathered runs of coordinates to a representation's own order."""

    def __init__(self, sizes: list[int], places: list[int]) -> None:
        self.sizes, self.places = sizes, places
        self.is_needed = places != sorted(places)

    def restore(self, gathered: Tensor, dim: int) -> Tensor:
        """Bring runs along ``dim`` back to their places; in pieces, because the gradient of an index gather is slow."""
        if not self.is_needed:
            return gathered
        pieces = gathered.split(self.sizes, dim)
        return torch.cat([pieces[place] for place in self.places], dim)

    def restore_basis(self, block: BasisBlock, axis: int) -> BasisBlock:
        """The same for a block that holds all runs of its side."""
        if not self.is_needed:
            return block
        pieces = np.split(block.basis, np.cumsum(self.sizes)[:-1], axis)
        return replace(block, basis=np.concatenate([pieces[place] for place in self.places], axis))


@lru_cache(maxsize=256)
def _gather(rep: Rep) -> tuple[Rep, _Order]:
    """The representation with equal summands brought together, and the way back."""
    runs_of: dict[Rep, list[int]] = {}
    for run, (_, part) in enumerate(rep.parts):
        runs_of.setdefault(part, []).append(run)
    order = [run for runs in runs_of.values() for run in runs]
    gathered = direct_sum(*(rep.parts[run][0] * rep.parts[run][1] for run in order))
    sizes = [rep.parts[run][0] * rep.parts[run][1].size for run in order]
    return gathered, _Order(sizes, [order.index(run) for run in range(len(order))])


def invariant_basis(rep: Rep) -> tuple[Float[Tensor, "size n_invariant"], Float[Tensor, " n_invariant"], bool]:
    """Invariant vectors of ``rep`` as columns with unit entries, as in `EquivariantMatrix`.

    Returns:
        The columns, their norms, and whether the columns must be saved with the state dict.
    """
    one, dtype = trivial(rep.group), torch.get_default_dtype()
    blocks = [block for row in basis_blocks(one, rep) for block in row]
    norms = np.concatenate([np.zeros(0), *map(block_norms, blocks)])
    columns = equivariant_basis(one, rep)[..., 0].T * norms
    is_saved = not all(block.is_canonical for block in blocks)
    return torch.as_tensor(columns, dtype=dtype).contiguous(), torch.as_tensor(norms, dtype=dtype), is_saved


def block_norms(block: BasisBlock) -> Float[ndarray, " n_coefficients"]:
    """The norms of the matrices of a basis with unit entries, for all coefficients of a block."""
    return np.tile(unit_norms(block), block.n_out * block.n_in)


def unit_norms(block: BasisBlock) -> Float[ndarray, " rank"]:
    """Factors n such that W = Σ ± n_i Q_i has entries of mean square 1, for the basis Q of a block and any signs.

    What counts are the entries that some Q_i has. In a closed form, matrices that share no entries have factors of
    their own, so that every entry has mean square 1; a basis that is unique up to a rotation has one for all.
    """
    rank, size_out, size_in = block.basis.shape
    entries = np.abs(block.basis.reshape(rank, size_out * size_in)) > NONZERO
    if not block.is_canonical:
        return np.full(rank, np.sqrt(entries.any(0).sum() / max(rank, 1)))
    sharing = entries.astype(np.float32) @ entries.T.astype(np.float32)
    n_sets, set_of = connected_components(sharing, directed=False)
    n_entries = np.array([entries[set_of == k].any(0).sum() for k in range(n_sets)], dtype=np.float64)
    return np.sqrt(n_entries / np.bincount(set_of, minlength=n_sets))[set_of]
