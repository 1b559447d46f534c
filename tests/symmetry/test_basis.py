"""Bases of equivariant maps: orthonormal, equivariant, complete, and the same by every way to find them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpp_rl.symmetry import basis as basis_module
from rpp_rl.symmetry import (
    basis_blocks,
    cyclic,
    dihedral,
    dihedral_permutation,
    equivariant_basis,
    irrep,
    matrix_rep,
    parse_rep,
    regular,
    relative_error,
    sign,
    special_linear,
    special_orthogonal,
    symmetric,
    trivial,
    trivial_group,
    vector,
)
from tests.kit.symmetry_oracles import (
    FINITE,
    GROUPS,
    KNOWN,
    null_space_projector,
    projector,
    reynolds_projector,
    typed_pairs,
)

D4 = dihedral(4)
SIGNED = ("1", "Z2", "Z4", "D2", "D4", "D3perm", "D4perm", "S3", "S4", "Z2xZ2")


def largest_error(basis, rep_in, rep_out, rng):
    group = rep_in.group
    elements = [*group.generator_elements(0.5), *(group.sample(rng) for _ in range(4))]
    pairs = [(q @ rep_in.rho(g), rep_out.rho(g) @ q) for g in elements for q in basis]
    return max((relative_error(a, b) for a, b in pairs), default=0.0)


@settings(max_examples=50)
@given(typed_pairs())
def test_basis_is_orthonormal_and_equivariant(pair):
    group, first, second = pair
    rep_in, rep_out = parse_rep(first, group), parse_rep(second, group)
    basis = equivariant_basis(rep_in, rep_out)
    assert basis.shape[1:] == (rep_out.size, rep_in.size)
    flat = basis.reshape(len(basis), rep_out.size * rep_in.size)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(basis)), atol=1e-12)
    assert largest_error(basis, rep_in, rep_out, np.random.default_rng(0)) < 1e-9


@settings(max_examples=50)
@given(typed_pairs())
def test_basis_spans_all_solutions(pair):
    group, first, second = pair
    rep_in, rep_out = parse_rep(first, group), parse_rep(second, group)
    np.testing.assert_allclose(
        projector(equivariant_basis(rep_in, rep_out)), null_space_projector(rep_in, rep_out), atol=1e-9
    )


ORTHOGONAL_FINITE = tuple(text for text in FINITE if vector(KNOWN[text]).is_orthogonal)


@settings(max_examples=40)
@given(typed_pairs(ORTHOGONAL_FINITE, max_size=8))
def test_basis_spans_what_averaging_over_the_group_leaves(pair):
    """For orthogonal reps the Reynolds operator is the projector QQᵀ."""
    group, first, second = pair
    rep_in, rep_out = parse_rep(first, group), parse_rep(second, group)
    np.testing.assert_allclose(
        projector(equivariant_basis(rep_in, rep_out)), reynolds_projector(rep_in, rep_out), atol=1e-9
    )


def test_averaging_is_no_orthogonal_projection_without_an_invariant_sphere():
    assert set(FINITE) - set(ORTHOGONAL_FINITE) == {"lattice"}
    v = vector(KNOWN["lattice"])
    p = reynolds_projector(v * v, v)
    np.testing.assert_allclose(p @ p, p, atol=1e-12)
    assert not np.allclose(p, p.T)
    assert len(equivariant_basis(v * v, v)) == round(np.trace(p))


@pytest.mark.parametrize("text", [text for text in GROUPS if text not in ("1", "Z1")])
def test_oracles_can_fail(text):
    """Negative control: a basis of the trivial group is neither equivariant nor the right span."""
    v = vector(KNOWN[text])
    everything = np.eye(v.size**2).reshape(-1, v.size, v.size)
    assert largest_error(everything, v, v, np.random.default_rng(0)) > 0.1
    assert not np.allclose(projector(everything), null_space_projector(v, v))


def test_one_wrong_sign_is_seen():
    basis = equivariant_basis(regular(D4), regular(D4))
    wrong = basis.copy()
    wrong[0, 0, 0] *= -1
    rng = np.random.default_rng(0)
    assert largest_error(basis, regular(D4), regular(D4), rng) < 1e-12
    assert wrong[0, 0, 0] != basis[0, 0, 0]
    assert largest_error(wrong, regular(D4), regular(D4), rng) > 0.1


@st.composite
def signed_permutations(draw):
    """Two signed-permutation reps: sums of small ones, seen through a random signed permutation of coordinates."""
    text = draw(st.sampled_from(SIGNED))
    sides = []
    for _ in range(2):
        atoms = draw(st.lists(st.sampled_from(["R", "P", "V", "P*V"]), min_size=1, max_size=4))
        sides.append((" + ".join(atoms), draw(st.integers(0, 2**32 - 1))))
    return text, sides


@settings(max_examples=40)
@given(signed_permutations())
def test_orbits_of_signed_permutations_are_the_null_space(case):
    text, sides = case
    reps = []
    for atoms, seed in sides:
        rep, rng = parse_rep(atoms, KNOWN[text]), np.random.default_rng(seed)
        change = rng.choice([-1.0, 1.0], size=rep.size)[:, None] * rng.permutation(np.eye(rep.size))
        reps.append(matrix_rep(rep.group, change @ rep.generators @ change.T))
    rep_in, rep_out = reps
    assert rep_in.is_signed_permutation
    basis = basis_module._orbit_basis(rep_in, rep_out)
    np.testing.assert_allclose(projector(basis), null_space_projector(rep_in, rep_out), atol=1e-9)
    np.testing.assert_allclose(projector(basis), projector(basis_module._null_space_basis(rep_in, rep_out)), atol=1e-9)


@pytest.mark.parametrize("text", [text for text in ORTHOGONAL_FINITE if text not in ("S4", "F21")])
@pytest.mark.parametrize("other", ["V", "V*V", "P + V", "R", "irrep(1)"])
def test_closed_forms_with_the_regular_rep_are_the_null_space(text, other):
    group = KNOWN[text]
    if other == "irrep(1)" and text not in ("Z2", "Z3", "Z4", "D3", "D6", "D3perm", "D4perm"):
        other = "P*V"
    rep, reg = parse_rep(other, group).whole(), regular(group)
    for rep_in, rep_out in ((rep, reg), (reg, rep), (reg, reg)):
        [[block]] = basis_blocks(rep_in, rep_out)
        assert block.is_canonical
        numeric = basis_module._null_space_basis(rep_in, rep_out)
        assert len(block.basis) == len(numeric) == (rep_in.size if rep_out is reg else rep_out.size)
        np.testing.assert_allclose(projector(block.basis), projector(numeric), atol=1e-9)


def test_into_regular_the_row_of_the_identity_is_free(rng):
    """One free vector w determines the map: row h is w ρ(h)⁻¹."""
    rep = 2 * vector(dihedral(3)) + sign(dihedral(3))
    basis = equivariant_basis(rep.whole(), regular(rep.group))
    w = rng.normal(size=rep.size)
    weight = np.tensordot(w * np.sqrt(6), basis, axes=1)
    for row, g in zip(weight, rep.group.elements, strict=True):
        np.testing.assert_allclose(row, w @ np.linalg.inv(rep.rho(g)), atol=1e-12)


def test_regular_closed_form_does_not_hold_for_reps_that_are_not_orthogonal():
    change = np.array([[1.0, 2.0], [0.0, 1.0]])
    skew = matrix_rep(D4, change @ vector(D4).generators @ np.linalg.inv(change))
    assert not skew.is_orthogonal
    for rep_in, rep_out in ((skew, regular(D4)), (regular(D4), skew), (skew, skew), (skew, vector(D4))):
        np.testing.assert_allclose(
            projector(equivariant_basis(rep_in, rep_out)), null_space_projector(rep_in, rep_out), atol=1e-9
        )
    assert len(equivariant_basis(skew, vector(D4))) == 1


def test_no_map_but_zero():
    empty = equivariant_basis(vector(special_linear(2)), trivial(special_linear(2)))
    assert empty.shape == (0, 1, 2)
    assert equivariant_basis(sign(D4), trivial(D4)).shape == (0, 1, 1)
    assert equivariant_basis(sign(D4), sign(D4) + trivial(D4)).shape == (1, 2, 1)


def test_without_symmetry_every_map_is_equivariant():
    r = trivial(trivial_group())
    np.testing.assert_array_equal(equivariant_basis(3 * r, 2 * r), np.eye(6).reshape(6, 2, 3))
    one = matrix_rep(trivial_group(), np.zeros((0, 3, 3)))
    np.testing.assert_array_equal(projector(equivariant_basis(one, one)), np.eye(9))
    zero = matrix_rep(special_orthogonal(2), [], [np.zeros((2, 2))])
    np.testing.assert_array_equal(projector(equivariant_basis(zero, zero)), np.eye(4))


def test_reps_of_different_groups_are_refused():
    plane, points = vector(D4), vector(dihedral_permutation(4))
    for function in (equivariant_basis, basis_blocks):
        with pytest.raises(ValueError, match=r"no common group: .*D4, d=2.*D4perm, d=4"):
            function(plane, points)


@pytest.mark.parametrize("n", [8, 12])
def test_groups_too_large_to_list(n):
    """Deep sets for S_n, whose elements nobody lists: aI + b11ᵀ."""
    v = vector(symmetric(n))
    basis = equivariant_basis(v, v)
    assert len(basis) == 2
    mean = np.full((n, n), 1 / n)
    span = projector(np.array([np.eye(n) - mean, mean]) / np.array([np.sqrt(n - 1), 1])[:, None, None])
    np.testing.assert_allclose(projector(basis), span, atol=1e-12)
    assert len(equivariant_basis(v * v, v)) == 5
    assert len(equivariant_basis(3 * v + trivial(v.group), sign(v.group))) == 0


def test_frequencies_do_not_mix():
    group = cyclic(8)
    rep = irrep(group, 1) + irrep(group, 2) + irrep(group, 3)
    basis = equivariant_basis(rep, rep)
    assert len(basis) == 3 * 2
    mask = np.kron(np.eye(3), np.ones((2, 2)))
    assert np.abs(basis * (1 - mask)).max() < 1e-12
