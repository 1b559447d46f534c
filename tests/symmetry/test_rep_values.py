"""Representations as values: what they are equal to, what they refuse to mix with, what is too large."""

import copy
import pickle

import numpy as np
import pytest

from rpp_rl.symmetry import (
    Group,
    Rep,
    dihedral,
    dihedral_permutation,
    direct_sum,
    matrix_rep,
    parse_rep,
    regular,
    sign,
    tensor_product,
    trivial,
    vector,
)

D4 = dihedral(4)
R, P, V = trivial(D4), sign(D4), vector(D4)


def test_groups_are_never_mixed():
    """D4 of the plane and D4 of four points have the same name in the books and different matrices."""
    other = vector(dihedral_permutation(4))
    for mix in (lambda: V + other, lambda: V * other, lambda: direct_sum(V, other), lambda: tensor_product(V, other)):
        with pytest.raises(ValueError, match="D4perm"):
            mix()
    assert trivial(D4) != trivial(dihedral_permutation(4))
    with pytest.raises(ValueError, match="exactly one group"):
        direct_sum()


def test_groups_equal_by_content_mix():
    twin = Group("legs", D4.generators, D4.lie_algebra)
    assert V + vector(twin) == 2 * V


@pytest.mark.parametrize("copies", [0, -1])
def test_no_copies_are_refused(copies):
    with pytest.raises(ValueError, match="positive count"):
        copies * V


def test_counts_may_be_numpy_integers():
    assert np.int64(3) * V == 3 * V
    assert (V + R).__rmul__(np.int64(2)) == 2 * (V + R)


def test_other_things_are_no_reps(unchecked_shapes):
    with pytest.raises(TypeError):
        2.0 * V
    with pytest.raises(TypeError):
        V + 1
    with pytest.raises(TypeError):
        V * 2


@pytest.mark.parametrize("make", [lambda: 10**9 * V, lambda: 10**9 * (V + R), lambda: (80 * V) * (80 * V)])
def test_reps_too_large_to_write_down_are_refused(make):
    with pytest.raises(ValueError, match="would have size"):
        make()


def test_regular_rep_too_large_to_write_down_is_refused(monkeypatch):
    monkeypatch.setattr("rpp_rl.symmetry.reps.MAX_SIZE", 7)
    with pytest.raises(ValueError, match="regular of D4 would have size 8; the largest supported is 7"):
        regular(D4)


@pytest.mark.parametrize(
    ("generators", "lie_algebra", "message"),
    [
        (np.eye(2)[None], np.zeros((0, 2, 2)), "needs stacks of shape"),
        (np.stack([np.eye(2)] * 2), np.zeros((0, 3, 3)), "needs stacks of shape"),
        (np.stack([np.eye(2)] * 2), np.zeros((1, 2, 2)), "needs stacks of shape"),
        (np.zeros((2, 2, 3)), np.zeros((0, 3, 3)), "square"),
        (np.full((2, 2, 2), np.inf), np.zeros((0, 2, 2)), "finite"),
    ],
)
def test_stacks_that_do_not_fit_the_group_are_refused(unchecked_shapes, generators, lie_algebra, message):
    with pytest.raises(ValueError, match=message):
        Rep("bad", D4, generators, lie_algebra)


def test_equality_and_hash_are_by_content():
    twin = matrix_rep(D4, V.generators, name="another name")
    assert twin == V
    assert hash(twin) == hash(V)
    assert V != P * V
    assert V != "V"
    assert len({V, twin, 2 * V, V + twin, (2 * V).whole()}) == 3


def test_equality_forgives_rounding_errors_and_nothing_more():
    """Sums of cosines differ in the last digit between processors, and between (V⊗V)⊗V and V⊗(V⊗V)."""
    v = vector(dihedral(7))
    assert v * (v * v) == (v * v) * v
    for offset, is_equal in ((1e-15, True), (1e-9, False)):
        other = Rep("V", v.group, v.generators + offset, v.lie_algebra)
        assert (other == v) == is_equal
        assert (hash(other) == hash(v)) == is_equal
        group = Group("D7", v.group.generators + offset, v.group.lie_algebra)
        assert (group == v.group) == is_equal


def test_copies_are_equal():
    rep = parse_rep("2*V + regular + P", D4)
    _ = rep.element_matrices, rep.group.table
    for twin in (pickle.loads(pickle.dumps(rep)), copy.deepcopy(rep)):
        assert twin == rep
        assert (twin + rep).parts == (rep + rep).parts
        assert twin.name == rep.name


def test_matrices_are_read_only():
    for array in (V.generators, V.lie_algebra, V.element_matrices):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_repr_names_group_and_size():
    assert repr(2 * V + R) == "Rep(2*V + R, group=D4, size=5)"
