"""Matrices are accepted as a representation exactly when they are one."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.linalg import block_diag

from rpp_rl.symmetry import (
    Group,
    cyclic,
    dihedral,
    matrix_rep,
    parse_group,
    parse_rep,
    signed_permutation,
    special_orthogonal,
    symmetric,
    trivial_group,
    vector,
)
from tests.kit.symmetry_oracles import GROUPS, KNOWN, closure, typed_pairs

TURN = np.array([[0.0, -1.0], [1.0, 0.0]])
# Left multiplication of quaternions (w, x, y, z) by i, j, k.
QUATERNION_UNITS = np.array(
    [
        [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
        [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]],
        [[0, 0, 0, -1], [0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
    ],
    dtype=float,
)


@settings(max_examples=40)
@given(typed_pairs())
def test_whatever_the_grammar_makes_is_a_representation(pair):
    group, text, _ = pair
    rep = parse_rep(text, group)
    assert matrix_rep(group, rep.generators, rep.lie_algebra) == rep.whole()


@pytest.mark.parametrize("text", [text for text in GROUPS if len(KNOWN[text].generators)])
def test_one_scaled_generator_is_refused(text):
    """Negative control: no relation of these groups survives a generator that is twice as long."""
    v = vector(KNOWN[text])
    for k in range(len(v.generators)):
        scaled = v.generators.copy()
        scaled[k] *= 2
        with pytest.raises(
            ValueError, match=f"scaled does not represent {text}".replace("(", r"\(").replace(")", r"\)")
        ):
            matrix_rep(v.group, scaled, v.lie_algebra, name="scaled")


@pytest.mark.parametrize("text", [text for text in GROUPS if len(KNOWN[text].lie_algebra) > 1])
def test_one_scaled_infinitesimal_generator_is_refused(text):
    v = vector(KNOWN[text])
    for k in range(len(v.lie_algebra)):
        scaled = v.lie_algebra.copy()
        scaled[k] *= 2
        with pytest.raises(ValueError, match="does not represent"):
            matrix_rep(v.group, v.generators, scaled)


def signed_matrices(size):
    for perm in permutations(range(size)):
        for signs in product((1, -1), repeat=size):
            yield list(perm), list(signs)


@pytest.mark.parametrize("text", ["Z1", "Z2", "Z3", "Z4", "D1", "D2", "D3", "D4", "D4perm", "S3", "Z2xZ2"])
@pytest.mark.parametrize("size", [1, 2])
def test_signed_permutations_are_accepted_exactly_when_the_joint_group_does_not_grow(text, size):
    """ρ represents G iff the matrices h ⊕ ρ(h) generate no more elements than the h do."""
    group = KNOWN[text]
    outcomes = set()
    for choice in product(signed_matrices(size), repeat=len(group.generators)):
        perms, signs = zip(*choice, strict=True)
        images = [np.array(s)[:, None] * np.eye(size)[p] for p, s in choice]
        joint = [block_diag(h, image) for h, image in zip(group.generators, images, strict=True)]
        is_rep = len(closure(joint)) == group.order
        outcomes.add(is_rep)
        if is_rep:
            np.testing.assert_array_equal(signed_permutation(group, perms, signs).generators, images)
        else:
            with pytest.raises(ValueError, match="does not represent"):
                signed_permutation(group, perms, signs)
    always = text == "Z4" or (size == 1 and text not in ("Z1", "Z3", "D1", "D3", "D3perm", "S3"))
    assert outcomes == ({True} if always else {True, False})


def test_signed_permutation_acts_as_the_tables_say(rng):
    """o'[i] = sign[i] * o[perm[i]]: the actions of the Ant under a turn of its legs and a mirror."""
    turn, mirror = ([6, 7, 0, 1, 2, 3, 4, 5], [1, -1, 1, 1, 1, -1, 1, 1]), ([2, 3, 0, 1, 6, 7, 4, 5], [-1, 1] * 4)
    rep = signed_permutation(dihedral(4), (turn[0], mirror[0]), (turn[1], mirror[1]), name="legs")
    o = rng.normal(size=8)
    np.testing.assert_array_equal(rep.generators[0] @ o, np.array(turn[1]) * o[turn[0]])
    np.testing.assert_array_equal(rep.generators[1] @ o, np.array(mirror[1]) * o[mirror[0]])
    assert rep.is_signed_permutation
    assert not rep.is_permutation
    for k in range(8):
        wrong = list(turn[1])
        wrong[k] *= -1
        with pytest.raises(ValueError, match="legs does not represent D4: generator"):
            signed_permutation(dihedral(4), (turn[0], mirror[0]), (wrong, mirror[1]), name="legs")


@pytest.mark.parametrize(
    ("perms", "signs", "message"),
    [
        ([[0, 0]], [[1, 1]], "expected permutations of 0..1"),
        ([[0, 2]], [[1, 1]], "expected permutations of 0..1"),
        ([[0, 1]], [[1]], "with as many signs"),
        ([[]], [[]], "expected permutations"),
        ([[0, 1]], [[1, 0]], "signs must be 1 or -1"),
        ([[0, 1]], [[1, 2]], "signs must be 1 or -1"),
        ([[0, 1], [0, 1]], [[1, 1], [1, 1]], "1 discrete generators, got 2 permutations"),
        ([], [], "1 discrete generators, got 0 permutations"),
        ([[0, 1]], [], "got 1 permutations and 0 lists of signs"),
    ],
)
def test_lists_that_are_no_signed_permutation_are_refused(perms, signs, message):
    with pytest.raises(ValueError, match=message):
        signed_permutation(cyclic(2), perms, signs)


def test_permutations_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"expected permutations of 0..1"):
        signed_permutation(dihedral(2), [[0, 1], [0, 1, 2]], [[1, 1], [1, 1, 1]])


@pytest.mark.parametrize(
    ("generators", "lie_algebra", "message"),
    [
        ([np.eye(2)] * 2, None, "has 1 discrete and 0 infinitesimal generators, got 2 and 0"),
        ([], None, "got 0 and 0"),
        ([np.eye(2)], [np.zeros((2, 2))], "got 1 and 1"),
        (np.eye(2), None, "square matrices"),
        (np.ones((1, 2, 3)), None, "square matrices"),
        ([np.full((2, 2), np.nan)], None, "finite numbers"),
        ([np.zeros((2, 2))], None, "does not represent Z2"),
    ],
)
def test_stacks_of_the_wrong_kind_are_refused(unchecked_shapes, generators, lie_algebra, message):
    with pytest.raises(ValueError, match=message):
        matrix_rep(cyclic(2), generators, lie_algebra)


def test_trivial_group_is_represented_at_any_size():
    assert matrix_rep(trivial_group(), np.zeros((0, 5, 5))).size == 5
    assert matrix_rep(trivial_group(), []).size == 1


@pytest.mark.parametrize("frequency", [1, 2, -3])
def test_rotations_turn_a_whole_number_of_times(frequency):
    assert matrix_rep(special_orthogonal(2), [], [frequency * TURN]).size == 2


@pytest.mark.parametrize(
    "flow", [0.5 * TURN, 1.01 * TURN, np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [0.0, 0.0]])], ids=str
)
def test_flows_that_do_not_return_after_a_full_turn_are_refused(flow):
    """Every matrix satisfies the only bracket of so(2); the circle is what it must close on."""
    with pytest.raises(ValueError, match=r"exp\(.*A_0\) must be the word"):
        matrix_rep(special_orthogonal(2), [], [flow])


def test_spinors_are_refused():
    """Quaternions satisfy the brackets of so(3), but a full turn is -1."""
    i, j, k = QUATERNION_UNITS
    spin = np.array([k, -j, i]) / 2
    x, y, z = spin[2], -spin[1], spin[0]
    for a, b, c in ((x, y, z), (y, z, x), (z, x, y)):
        np.testing.assert_allclose(a @ b - b @ a, c)
    with pytest.raises(ValueError, match=r"exp\(24·2π/24 A_0\)"):
        matrix_rep(special_orthogonal(3), [], spin)


def test_wrong_bracket_is_refused():
    v = vector(special_orthogonal(3))
    with pytest.raises(ValueError, match="bracket"):
        matrix_rep(v.group, [], v.lie_algebra[[1, 0, 2]])


def test_reflection_must_square_to_one_in_an_infinite_group():
    o3 = parse_group("O3")
    assert matrix_rep(o3, [-np.eye(1)], np.zeros((3, 1, 1))) == parse_rep("P", o3)
    for number in (2.0, -0.5):
        with pytest.raises(ValueError, match="does not represent O3: generator 0 times"):
            matrix_rep(o3, [number * np.eye(1)], np.zeros((3, 1, 1)))


def test_reflection_must_reverse_the_flow():
    o2 = parse_group("O2")
    with pytest.raises(ValueError, match="generator 0 moves A_0 wrongly"):
        matrix_rep(o2, [np.eye(2)], [TURN])


def test_cycle_must_move_the_flows_forwards():
    """Three wheels in a circle: a generator that is not its own inverse tells h A h⁻¹ from h⁻¹ A h."""
    wheels = np.array([np.kron(np.diag(axis), TURN) for axis in np.eye(3)])
    cycle = np.kron(np.roll(np.eye(3), 1, axis=0), np.eye(2))
    group = Group("wheels", cycle[None], wheels)
    assert matrix_rep(group, [cycle], wheels) == vector(group)
    with pytest.raises(ValueError, match="generator 0 moves A_0 wrongly"):
        matrix_rep(group, [cycle.T], wheels)


def test_discrete_element_on_the_flow_must_be_its_image():
    group = Group("circle", TURN[None], TURN[None])
    assert matrix_rep(group, [TURN], [TURN]) == vector(group)
    for wrong in (-TURN, np.eye(2)):
        with pytest.raises(ValueError, match="circle"):
            matrix_rep(group, [wrong], [TURN])


def test_algebra_that_is_not_closed_is_named():
    v = vector(special_orthogonal(3))
    group = Group("two axes", v.generators, v.lie_algebra[:2])
    with pytest.raises(ValueError, match="two axes: the Lie algebra is not closed under brackets"):
        matrix_rep(group, [], v.lie_algebra[:2])


def test_algebra_that_the_reflections_do_not_keep_is_named():
    v = vector(special_orthogonal(3))
    cycle = np.roll(np.eye(3), 1, axis=0)
    group = Group("one axis", cycle[None], v.lie_algebra[:1])
    with pytest.raises(ValueError, match="one axis: the Lie algebra is not preserved by the discrete generators"):
        matrix_rep(group, [cycle], v.lie_algebra[:1])


def test_large_numbers_are_compared_relatively():
    """A boost by a large rapidity is a conjugation with entries of 1e4; its rounding errors are no failure."""
    v = vector(symmetric(3))
    change = np.diag([1.0, 1e-2, 1e2]) @ np.array([[1.0, 2, 3], [0, 1, 4], [5, 6, 0]])
    conjugated = change @ v.generators @ np.linalg.inv(change)
    assert np.abs(conjugated).max() > 1e4
    assert matrix_rep(v.group, conjugated).size == 3
