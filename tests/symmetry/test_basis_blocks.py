"""The grid of blocks that layers are made of: merged or not, in a fixed order, shared by no one."""

import numpy as np
import pytest
from hypothesis import given, settings

from rpp_rl.symmetry import basis as basis_module
from rpp_rl.symmetry import (
    basis_blocks,
    dihedral,
    equivariant_basis,
    group_from_dict,
    group_to_dict,
    parse_rep,
    regular,
    rep_from_dict,
    rep_to_dict,
    sign,
    trivial,
    vector,
)
from tests.kit.symmetry_oracles import (
    KNOWN,
    projector,
    typed_pairs,
)

D4 = dihedral(4)


@pytest.fixture
def block_overhead(monkeypatch):
    """Sets what one more block costs, so that summands are never or always taken together."""

    def set_overhead(value):
        basis_module._division.cache_clear()
        monkeypatch.setattr(basis_module, "BLOCK_OVERHEAD", value)

    yield set_overhead
    basis_module._division.cache_clear()


@pytest.mark.parametrize(
    ("group", "rep_in", "rep_out"),
    [
        ("D4", "R + V + P + V*V", "2*regular"),
        ("D4", "3*regular", "V + P + 2*R + V"),
        ("D4", "R + V + P", "V + R + V*P"),
        ("D4", "2*R + regular + V", "regular + 2*R"),
        ("Z2", "R + V + P + 2*V", "P + V + R"),
        ("D3", "V + R + V + P", "4*regular"),
        ("O3", "R + P + R + P", "P + R + 2*P"),
        ("1", "3*R", "2*R"),
    ],
)
def test_merged_blocks_are_the_unmerged_ones(block_overhead, group, rep_in, rep_out):
    rep_in, rep_out = parse_rep(rep_in, KNOWN[group]), parse_rep(rep_out, KNOWN[group])
    spans, n_blocks, ranks = [], [], []
    for overhead in (0.0, 1e15):
        block_overhead(overhead)
        grid = basis_blocks(rep_in, rep_out)
        n_blocks.append(sum(map(len, grid)))
        ranks.append(sum(block.n_coefficients for row in grid for block in row))
        spans.append(projector(equivariant_basis(rep_in, rep_out)))
    assert n_blocks[0] >= n_blocks[1] == 1
    assert (n_blocks[0] > 1) == (len(rep_in.parts) > 1 or len(rep_out.parts) > 1)
    assert ranks[0] == ranks[1]
    np.testing.assert_allclose(spans[0], spans[1], atol=1e-12)


def test_numerical_blocks_are_never_merged(block_overhead):
    block_overhead(1e15)
    rep = parse_rep("R + V + P", KNOWN["D3"])
    assert [len(row) for row in basis_blocks(rep, rep)] == [3, 3, 3]


@settings(max_examples=25)
@given(typed_pairs())
def test_basis_is_its_blocks_in_order(pair):
    """Coefficients (n_out, n_in, rank) of the blocks, row by row, assemble the same map as those of the whole basis."""
    group, first, second = pair
    rep_in, rep_out = parse_rep(first, group), parse_rep(second, group)
    grid, basis = basis_blocks(rep_in, rep_out), equivariant_basis(rep_in, rep_out)
    coefficients = np.random.default_rng(0).normal(size=len(basis))
    rest, rows = coefficients, []
    for row in grid:
        pieces = []
        for block in row:
            mine, rest = np.split(rest, [block.n_coefficients])
            small = np.einsum("oir,rab->oaib", mine.reshape(block.n_out, block.n_in, len(block.basis)), block.basis)
            pieces.append(small.reshape(block.n_out * block.basis.shape[1], block.n_in * block.basis.shape[2]))
        rows.append(np.hstack(pieces))
    assert not len(rest)
    np.testing.assert_allclose(np.vstack(rows), np.tensordot(coefficients, basis, axes=1), atol=1e-12)


@pytest.mark.parametrize(
    ("group", "rep_in", "rep_out", "is_canonical"),
    [
        ("D4", "V", "V*P", True),
        ("D4", "regular", "V", True),
        ("D3", "V", "regular", True),
        ("D3", "V", "V", False),
        ("SO3", "R", "R", True),
        ("O3", "P", "R", True),
        ("SO3", "V", "V", False),
        ("SL2", "V", "V'", False),
        ("1", "V", "R", True),
    ],
)
def test_closed_forms_are_marked(group, rep_in, rep_out, is_canonical):
    [[block]] = basis_blocks(parse_rep(rep_in, KNOWN[group]), parse_rep(rep_out, KNOWN[group]))
    assert block.is_canonical == is_canonical


def test_closed_forms_are_the_same_bit_for_bit_when_solved_again():
    rep = parse_rep("2*V + P + regular + V*V", D4)
    before = [block.basis for row in basis_blocks(rep, rep) for block in row]
    for cache in (basis_module._division, basis_module._solve, basis_module._orbits):
        cache.cache_clear()
    again = rep_from_dict(rep_to_dict(rep), group_from_dict(group_to_dict(D4)))
    after = [block.basis for row in basis_blocks(again, again) for block in row]
    assert [array.tobytes() for array in before] == [array.tobytes() for array in after]


def test_arrays_belong_to_the_caller():
    """A layer may write into its basis, as loading a state dict does; no other layer may see that."""
    v = vector(dihedral(3))
    first = basis_blocks(v, v)[0][0].basis
    expected = first.copy()
    first[...] = 7.0
    np.testing.assert_array_equal(basis_blocks(v, v)[0][0].basis, expected)


def test_networks_of_the_size_of_the_ant():
    """Hidden layers share one small basis: 256 -> 256 has 8192 free numbers and 512 stored ones."""
    v, p, r = vector(D4), sign(D4), trivial(D4)
    obs = (
        r + v * v + regular(D4) + v + r + p + v + regular(D4) + r + 4 * regular(D4) + 2 * (v + p + regular(D4)) + 3 * v
    )
    action, hidden = regular(D4), 32 * regular(D4)
    for rep_in, rep_out, n_expected in (
        (obs + action, hidden, (obs.size + 8) * 32),
        (obs, hidden, obs.size * 32),
        (hidden, hidden, 32 * 32 * 8),
        (hidden, action, 32 * 8),
        (hidden, r, 32),
    ):
        grid = basis_blocks(rep_in, rep_out)
        assert sum(block.n_coefficients for row in grid for block in row) == n_expected
        assert sum(block.basis.size for row in grid for block in row) < 2e5
        assert all(block.is_canonical for row in grid for block in row)
