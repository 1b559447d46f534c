"""Restriction to subgroups, and along homomorphisms in general."""

import numpy as np
import pytest

from rpp_rl.symmetry import (
    Element,
    cyclic,
    dihedral,
    product,
    regular,
    sign,
    special_orthogonal,
    trivial,
    trivial_group,
    vector,
)

D4 = dihedral(4)
R, P, V = trivial(D4), sign(D4), vector(D4)


def test_restriction_to_a_subgroup():
    turns, mirror = cyclic(4), cyclic(2)
    rep = 2 * V + P + regular(D4)
    by_turns = rep.restrict(turns, [Element((0,), ())])
    assert by_turns.group == turns
    np.testing.assert_array_equal(by_turns.generators[0], rep.generators[0])
    assert [(n, part.size) for n, part in by_turns.parts] == [(2, 2), (1, 1), (1, 8)]
    assert by_turns.parts[1][1] == trivial(turns)
    by_mirror = (R + P).restrict(mirror, [Element((0, 1), ())])
    assert by_mirror == trivial(mirror) + sign(mirror)
    assert (R + P).restrict(turns, [Element((0,), ())]) == 2 * trivial(turns)


def test_restriction_to_the_trivial_group_keeps_the_size():
    rep = (2 * V + regular(D4)).restrict(trivial_group(), [])
    assert rep.size == 12
    assert [(n, part.size) for n, part in rep.parts] == [(2, 2), (1, 8)]
    assert rep.is_permutation


def test_restriction_of_rotations_to_one_axis():
    so3, so2 = special_orthogonal(3), special_orthogonal(2)
    rep = vector(so3).restrict(so2, [], np.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(rep.lie_algebra[0], so3.lie_algebra[0])
    quarter = rep.rho(Element((), (np.pi / 2,)))
    np.testing.assert_allclose(quarter, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    with pytest.raises(ValueError, match="does not represent SO2"):
        vector(so3).restrict(so2, [], np.array([[2.5, 0.0, 0.0]]))


def test_restriction_of_a_circle_to_its_polygon_is_exact():
    """Half a turn of D6 is -1 without rounding errors, so that it stays a signed permutation."""
    rep = vector(dihedral(6)).restrict(cyclic(2), [Element((0, 0, 0), ())])
    assert rep.is_signed_permutation
    eighth = vector(special_orthogonal(2)).restrict(cyclic(4), [Element((), (np.pi / 2,))])
    assert eighth.is_signed_permutation


def test_pull_back_along_a_projection():
    """A homomorphism that is no inclusion: the vector of the first factor as a rep of the product."""
    first, second = dihedral(4), cyclic(2)
    both = product(first, second)
    rep = vector(first).restrict(both, [Element((0,), ()), Element((1,), ()), Element((), ())])
    np.testing.assert_array_equal(rep.generators, [*first.generators, np.eye(2)])


@pytest.mark.parametrize("rep", [R, V, regular(D4)], ids=repr)
def test_images_that_break_the_relations_of_the_subgroup_are_refused(rep):
    """Also where the rep cannot tell, such as the trivial one."""
    with pytest.raises(ValueError, match="the restriction does not represent Z3"):
        rep.restrict(cyclic(3), [Element((0,), ())])
    with pytest.raises(ValueError, match="got 2 and 0 matrices"):
        rep.restrict(cyclic(2), [Element((1,), ()), Element((1,), ())])
