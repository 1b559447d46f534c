"""Irreducible representations: their characters are orthogonal, and there are no others."""

import numpy as np
import pytest

from rpp_rl.symmetry import (
    cyclic,
    dihedral,
    dihedral_permutation,
    equivariant_basis,
    irrep,
    irreps,
    orthogonal,
    parse_group,
    regular,
    sign,
    special_orthogonal,
    trivial,
    trivial_group,
    vector,
)
from tests.kit.symmetry_oracles import character_rank, joint_closure

GROUPS = [
    trivial_group(),
    *(cyclic(n) for n in range(1, 8)),
    *(dihedral(n) for n in range(1, 8)),
    *(dihedral_permutation(n) for n in range(3, 7)),
]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_characters_are_orthogonal_and_complete(group):
    """⟨χ_i, χ_j⟩ = 0, and Σ_i dim_i² / ⟨χ_i, χ_i⟩ = |G|, where ⟨χ, χ⟩ is 1 for the real and 2 for the complex type."""
    reps = irreps(group)
    gram = np.array([[character_rank(a, b) for a in reps] for b in reps])
    norms = np.diag(gram)
    np.testing.assert_array_equal(gram, np.diag(norms))
    assert set(norms) <= {1, 2}
    assert sum(rep.size**2 / norm for rep, norm in zip(reps, norms, strict=True)) == group.order
    assert reps[0] == trivial(group)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_each_is_what_its_number_says(group):
    for k, rep in enumerate(irreps(group)):
        assert irrep(group, k) == rep
        assert rep.is_orthogonal
        assert len(equivariant_basis(rep, regular(group))) == rep.size


def test_sum_of_two_irreps_is_reducible():
    """Negative control: the norm of a character can exceed 2."""
    reps = irreps(dihedral(4))
    both = reps[0] + reps[1]
    assert character_rank(both, both) == 2
    both = reps[0] + 2 * reps[4]
    assert character_rank(both, both) == 5


def test_frequency_is_the_number():
    for group in (cyclic(7), dihedral(7), dihedral_permutation(7)):
        for k in (1, 2, 3):
            assert np.trace(irrep(group, k).generators[0]) == pytest.approx(2 * np.cos(2 * np.pi * k / 7))
    for group in (special_orthogonal(2), orthogonal(2)):
        for k in (1, 2, 5):
            np.testing.assert_array_equal(irrep(group, k).lie_algebra[0], [[0, -k], [k, 0]])


def test_vectors_of_the_plane_are_the_first():
    for group in (dihedral(5), special_orthogonal(2)):
        assert irrep(group, 1) == vector(group)
    assert len(equivariant_basis(irrep(orthogonal(2), 1), vector(orthogonal(2)))) == 1


def test_sign_follows_the_rotations():
    assert irrep(dihedral(4), 2) == sign(dihedral(4))
    characters = {tuple(np.ravel(rep.generators)) for rep in irreps(dihedral_permutation(4)) if rep.size == 1}
    assert characters == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_plane_rotations_of_different_frequency_do_not_map_to_each_other():
    group = special_orthogonal(2)
    ranks = [[len(equivariant_basis(irrep(group, a), irrep(group, b))) for a in range(4)] for b in range(4)]
    np.testing.assert_array_equal(ranks, np.diag([1, 2, 2, 2]))


@pytest.mark.parametrize(
    ("group", "k"),
    [("Z4", 3), ("Z4", -1), ("D4", 5), ("D3", 3), ("D4", -1), ("SO2", -1), ("O2", -2), ("S3", 1), ("SO3", 1), ("1", 1)],
)
def test_numbers_that_do_not_exist_are_refused(group, k):
    with pytest.raises(ValueError, match=rf"{group} has no irreducible representation irrep\({k}\)"):
        irrep(parse_group(group), k)


@pytest.mark.parametrize("group", ["S4", "SO3", "SO2", "Z2xZ2", "S12", "SL2"])
def test_list_of_other_groups_is_refused(group):
    with pytest.raises(ValueError, match="the list of irreducible representations is known for"):
        irreps(parse_group(group))
    assert irrep(parse_group(group), 0) == trivial(parse_group(group))


def test_every_irrep_of_a_group_of_order_eight_is_listed_by_the_regular_one():
    """The regular rep holds each real irrep dim/⟨χ,χ⟩ times: an oracle for the list itself."""
    group = dihedral(4)
    traces = [np.trace(a) for (a,) in joint_closure(regular(group))]
    total = sum(
        rep.size * np.array([np.trace(a) for _, a in joint_closure(regular(group), rep)]) for rep in irreps(group)
    )
    np.testing.assert_allclose(total, traces, atol=1e-12)
