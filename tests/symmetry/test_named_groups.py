"""GL, Sp, U, SU and the regular solids; complex reps as real ones; reps of different groups together."""

from itertools import product as product_of

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpp_rl.symmetry import (
    assert_equivariant,
    complex_rep,
    cyclic,
    equivariant_basis,
    on_product,
    parse_group,
    parse_rep,
    polyhedral,
    product,
    sign,
    trivial,
    vector,
)
from rpp_rl.symmetry.groups import element_matrix
from tests.kit.symmetry_oracles import character_rank, closure, null_space_projector, projector

J = np.array([[0.0, 1.0], [-1.0, 0.0]])
seeds = st.integers(0, 2**32 - 1)


def draw(group, seed):
    return element_matrix(group.sample(np.random.default_rng(seed)), group.generators, group.lie_algebra)


def as_complex(matrix):
    n = len(matrix) // 2
    return matrix[:n, :n] + 1j * matrix[n:, :n]


@given(seeds, st.integers(1, 3))
def test_symplectic_matrices_preserve_their_form(seed, n):
    g, form = draw(parse_group(f"Sp{n}"), seed), np.kron(J, np.eye(n))
    np.testing.assert_allclose(g.T @ form @ g, form, atol=1e-8 * max(1.0, np.abs(g).max() ** 2))


def test_other_matrices_do_not_preserve_the_symplectic_form():
    """Negative control; and there are as many generators as the group has dimensions."""
    g, form = draw(parse_group("SL4"), 0), np.kron(J, np.eye(2))
    assert not np.allclose(g.T @ form @ g, form, atol=0.1)
    assert [len(parse_group(f"Sp{n}").lie_algebra) for n in (1, 2, 3)] == [3, 10, 21]


@given(seeds, st.integers(2, 3))
def test_unitary_matrices_are_unitary(seed, n):
    for name in ("U", "SU"):
        g = draw(parse_group(f"{name}({n})"), seed)
        z = as_complex(g)
        np.testing.assert_allclose(g, np.block([[z.real, -z.imag], [z.imag, z.real]]), atol=1e-12)
        np.testing.assert_allclose(z.conj().T @ z, np.eye(n), atol=1e-9)
        if name == "SU":
            np.testing.assert_allclose(np.linalg.det(z), 1.0, atol=1e-9)


def test_unitary_groups_are_as_large_as_they_should_be():
    sizes = {text: len(parse_group(text).lie_algebra) for text in ("U1", "U2", "U3", "SU2", "SU3")}
    assert sizes == {"U1": 1, "U2": 4, "U3": 9, "SU2": 3, "SU3": 8}
    assert abs(np.linalg.det(as_complex(draw(parse_group("U2"), 1))) - 1) > 0.1
    assert parse_group("U1") == parse_group("SO2")


def test_the_general_linear_group_has_both_orientations_and_any_volume(rng):
    group = parse_group("GL3")
    volumes = [np.linalg.det(element_matrix(group.sample(rng), group.generators, group.lie_algebra)) for _ in range(40)]
    assert min(volumes) < 0 < max(volumes)
    assert np.std(np.log(np.abs(volumes))) > 0.5


@pytest.mark.parametrize(("name", "order"), [("T", 12), ("Th", 24), ("O", 24), ("Oh", 48), ("I", 60), ("Ih", 120)])
def test_regular_solids_have_their_motions(name, order):
    group = parse_group(name)
    elements = np.array(closure(group.generators))
    assert group == polyhedral(name)
    assert group.order == len(elements) == order
    np.testing.assert_allclose(
        elements @ elements.transpose(0, 2, 1), np.broadcast_to(np.eye(3), elements.shape), atol=1e-12
    )
    determinants = np.linalg.det(elements)
    np.testing.assert_allclose(determinants, 1.0 if name in "TOI" else np.sign(determinants), atol=1e-12)
    assert np.isclose(determinants, -1.0).sum() == (0 if name in "TOI" else order // 2)


def test_solids_keep_their_corners_and_others_do_not():
    """Negative control; and there are no more names."""
    golden = (1 + np.sqrt(5)) / 2
    corners = {"O": np.array(list(product_of((-1, 1), repeat=3)))}
    corners["I"] = np.array([np.roll([0, a, b * golden], k) for a in (-1, 1) for b in (-1, 1) for k in range(3)])
    for name in ("T", "Th", "O", "Oh", "I", "Ih"):
        for solid, points in corners.items():
            moved = points @ polyhedral(name).generators.transpose(0, 2, 1)
            kept = all(np.abs(points - p).max(axis=1).min() < 1e-9 for p in moved.reshape(-1, 3))
            assert kept == (name[0] in ("T", solid))
    with pytest.raises(ValueError, match="expected one of T, Th, O, Oh, I, Ih, got 'C'"):
        polyhedral("C")


RANKS = [
    # Schur's lemma: V is irreducible of real, complex or quaternionic type.
    ("GL2", "V", "V", 1),
    ("Sp2", "V", "V", 1),
    ("U2", "V", "V", 2),
    ("SU2", "V", "V", 4),
    ("SU3", "V", "V", 2),
    ("O", "V", "V", 1),
    # Invariants of two vectors: the symplectic form; real part of the Hermitian form; and that of SU(2), quaternionic.
    ("GL2", "V*V", "R", 0),
    ("GL2", "V*V'", "R", 1),
    ("Sp2", "V*V", "R", 1),
    ("U2", "V*V", "R", 2),
    ("SU2", "V*V", "R", 4),
    # The determinant of three vectors is kept by rotations alone.
    ("O", "V*V*V", "R", 1),
    ("Oh", "V*V*V", "R", 0),
    ("SU3", "V*V", "V", 2),
    ("U3", "V*V", "V", 0),
]


@pytest.mark.parametrize(("text", "rep_in", "rep_out", "rank"), RANKS)
def test_equivariant_maps(text, rep_in, rep_out, rank, rng):
    group = parse_group(text)
    a, b = parse_rep(rep_in, group), parse_rep(rep_out, group)
    basis = equivariant_basis(a, b)
    assert len(basis) == rank
    np.testing.assert_allclose(projector(basis), null_space_projector(a, b), atol=1e-8)
    for matrix in basis:
        assert_equivariant(lambda x, m=matrix: x @ m.T, a, b, rng=rng)
    if rank < a.size * b.size:
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(lambda x: x @ rng.normal(size=(b.size, a.size)).T, a, b, rng=rng)


@given(seeds, st.integers(2, 9), st.integers(1, 8))
def test_complex_phases_turn_the_plane(seed, n, k):
    """Z_n by exp(2πi k/n); wrong phases are refused."""
    phase = np.exp(2j * np.pi * k / n)
    rep = complex_rep(cyclic(n), [[[phase]]])
    z = np.random.default_rng(seed).normal(size=2)
    moved = rep.generators[0] @ z
    np.testing.assert_allclose(complex(*moved), phase * complex(*z), atol=1e-12)
    with pytest.raises(ValueError, match="does not represent"):
        complex_rep(cyclic(n), [[[phase * np.exp(0.1j)]]])


def test_a_complex_rep_of_a_lie_group_is_its_defining_one():
    group = parse_group("SU2")
    algebra = [as_complex(a) for a in group.lie_algebra]
    assert complex_rep(group, [], algebra).lie_algebra.tolist() == vector(group).lie_algebra.tolist()
    with pytest.raises(ValueError, match="bracket"):
        complex_rep(group, [], [2 * a for a in algebra])


def test_each_factor_moves_its_own_representation(rng):
    d4, z3 = parse_group("D4"), parse_group("Z3")
    legs, points, scalar = on_product(2 * vector(d4) + sign(d4), vector(z3), trivial(parse_group("1")))
    assert legs.group == product(product(d4, z3), parse_group("1"))
    assert [(count, part.name) for count, part in legs.parts] == [(2, "V"), (1, "P")]
    both = legs * points + scalar
    assert both.size == 5 * 3 + 1
    # Maps of a tensor product of different groups are products of their maps.
    expected = character_rank(2 * vector(d4) + sign(d4), 2 * vector(d4) + sign(d4)) * character_rank(
        vector(z3), vector(z3)
    )
    assert (
        len(equivariant_basis(legs * points, legs * points)) == expected == character_rank(legs * points, legs * points)
    )
    assert_equivariant(lambda z: z[:, :5], legs + points, legs, rng=rng)


def test_factors_may_not_be_mixed_up(rng):
    """Negative control: without the product the groups differ, and the other factor does not move it."""
    a, b = vector(parse_group("Z4")), vector(parse_group("SO2"))
    with pytest.raises(ValueError, match="one group"):
        _ = a * b
    legs, heading = on_product(a, b)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda z: z[:, :2], legs + heading, heading, rng=rng)
    with pytest.raises(ValueError, match="at least one"):
        on_product()
