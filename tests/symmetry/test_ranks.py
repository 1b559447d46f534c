"""The rank of Hom_G against published numbers (EMLP's own solver) and against characters."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from rpp_rl.symmetry import (
    Group,
    basis_blocks,
    cyclic,
    dihedral,
    dihedral_permutation,
    equivariant_basis,
    orthogonal,
    parse_group,
    parse_rep,
    sign,
    special_orthogonal,
    symmetric,
    trivial,
    vector,
)
from tests.kit.symmetry_oracles import FINITE, KNOWN, character_rank, typed_pairs

ROWS = json.loads((Path(__file__).parents[1] / "data" / "equivariant_ranks.json").read_text())["ranks"]
MAX_ENTRIES = 3_000
"""Bases of maps with more entries are counted by their blocks and not written down."""

ABOUT_Z = Group("SO2 about z", np.zeros((0, 3, 3)), np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]]))
REFLECTION = Group("reflection of y", np.diag([1.0, -1.0, 1.0])[None], np.zeros((0, 3, 3)))
GROUPS = {
    ("generic", "Z(2)"): cyclic(2),
    ("generic", "Z(4)"): cyclic(4),
    ("generic", "D(4) rpp 4x4 perm"): dihedral_permutation(4),
    ("generic", "SO(2)"): special_orthogonal(2),
    ("generic", "SO(3)"): special_orthogonal(3),
    ("generic", "O(3)"): orthogonal(3),
    ("vec3", "SO(2)"): ABOUT_Z,
    ("vec3", "Z(2)"): REFLECTION,
    ("Ant-v2", "Z(4)"): cyclic(4),
    ("Walker2d-v2", "Z(2)"): cyclic(2),
}
ENVIRONMENTS = {
    "Ant-v2": {"state": "11*R + 4*V", "action": "2*V", "middle": "136*R + 30*V"},
    "Walker2d-v2": {"state": "5*R + 6*V", "action": "3*V", "middle": "136*R + 60*V"},
}


def published_rep(where, text, group):
    """The rep that a row of the table means."""
    if where == "generic":
        return parse_rep(text, group)
    if text in ("scalar", "scalar(bias)"):
        return trivial(group)
    if where == "vec3":
        v = vector(group)
        names = {"vector3": v, "pseudovector3": sign(group) * v, "matrix3": v * v, "4*vector3": 4 * v}
        return {**names, "vector3+pseudovector3": v + sign(group) * v}[text]
    parts = [parse_rep(ENVIRONMENTS[where][part], group) for part in text.split("+")]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "{where} {group} {rep_in} -> {rep_out}".format(**row))
def test_published_rank(row):
    group = GROUPS[row["where"], row["group"]]
    rep_in, rep_out = (published_rep(row["where"], row[key], group) for key in ("rep_in", "rep_out"))
    assert (rep_in.size, rep_out.size) == (row["size_in"], row["size_out"])
    n_coefficients = sum(block.n_coefficients for blocks in basis_blocks(rep_in, rep_out) for block in blocks)
    assert n_coefficients == row["rank"]
    if rep_in.size * rep_out.size <= MAX_ENTRIES:
        assert equivariant_basis(rep_in, rep_out).shape == (row["rank"], row["size_out"], row["size_in"])


def test_no_published_row_is_missing():
    assert len(ROWS) == 184
    assert {(row["where"], row["group"]) for row in ROWS} == set(GROUPS)


def test_ranks_tell_groups_apart():
    """Negative control: the same texts under another group have other ranks."""
    texts = ("P+V", "V*V")
    ranks = {
        str(group): len(equivariant_basis(*(parse_rep(text, group) for text in texts)))
        for group in (cyclic(4), dihedral_permutation(4), dihedral(4), special_orthogonal(3))
    }
    assert len(set(ranks.values())) == len(ranks)


@settings(max_examples=60)
@given(typed_pairs(FINITE))
def test_rank_is_the_product_of_characters(pair):
    """dim Hom = 1/|G| Σ χ_in(g⁻¹) χ_out(g): no linear system is solved."""
    group, first, second = pair
    rep_in, rep_out = parse_rep(first, group), parse_rep(second, group)
    rank = character_rank(rep_in, rep_out)
    assert len(equivariant_basis(rep_in, rep_out)) == rank
    assert sum(block.n_coefficients for row in basis_blocks(rep_in, rep_out) for block in row) == rank


@pytest.mark.parametrize("k", range(5))
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_invariant_tensors_of_permutations_are_partitions(n, k):
    """Invariant k-tensors of S_n are the partitions of k points into at most n classes (Maron et al. 2019)."""
    if n**k > 700:
        k = 4
    partitions = {0: [1], 1: [1], 2: [1, 1], 3: [1, 3, 1], 4: [1, 7, 6, 1]}[k]
    group = symmetric(n)
    assert len(equivariant_basis(trivial(group), parse_rep(f"T({k},0)", group))) == sum(partitions[:n])


@pytest.mark.parametrize(
    ("group", "rep_in", "rep_out", "rank"),
    [
        ("SL2", "V", "V", 1),
        ("SL2", "V", "V'", 1),
        ("SL3", "V", "V'", 0),
        ("SL2", "V*V", "R", 1),
        ("SL2", "V*V'", "R", 1),
        ("SL3", "V*V", "V'", 1),
        ("SL3", "V^3", "R", 1),
        ("SL3", "V'", "V'", 1),
        ("SO3", "V*V", "V", 1),
        ("O3", "V*V", "V", 0),
        ("O3", "V*V", "P*V", 1),
        ("SO3", "V^3", "R", 1),
        ("O3", "V^3", "R", 0),
        ("O3", "V^3", "P", 1),
        ("SO2", "V", "V", 2),
        ("O2", "V", "V", 1),
        ("O2", "V", "P*V", 1),
        ("SO(1,3)", "V*V", "R", 1),
        ("SO(1,3)", "V", "V'", 1),
        ("SO(1,3)", "T(1,1)", "T(1,1)", 4),
        ("O(1,3)", "T(1,1)", "T(1,1)", 3),
        ("SO(1,1)", "V", "V", 2),
        ("O(1,1)", "V", "V", 1),
        ("SO3xZ2", "V", "V", 1 + 2),
        ("SO2xD4", "V", "R", 0),
    ],
)
def test_classical_invariants_of_lie_groups(group, rep_in, rep_out, rank):
    """First fundamental theorems: dot product, cross product, determinant, metric."""
    group = KNOWN.get(group) or parse_group(group)
    basis = equivariant_basis(parse_rep(rep_in, group), parse_rep(rep_out, group))
    assert len(basis) == rank
