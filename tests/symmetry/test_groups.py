"""Groups: their elements, their multiplication table, what they preserve, and what is refused."""

import json
from math import factorial

import numpy as np
import pytest

from rpp_rl.symmetry import (
    Element,
    Group,
    cyclic,
    dihedral,
    dihedral_permutation,
    group_from_dict,
    group_to_dict,
    parse_group,
    product,
    symmetric,
    trivial_group,
)
from rpp_rl.symmetry.groups import element_matrix
from tests.kit.symmetry_oracles import FINITE, GROUPS, KNOWN, closure


def matrix(group, g):
    return element_matrix(g, group.generators, group.lie_algebra)


def matrices(group):
    return np.array([matrix(group, g) for g in group.elements])


def rotation_by(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("n", range(1, 41))
def test_orders_of_cyclic_and_dihedral_groups(n):
    assert cyclic(n).order == n
    assert dihedral(n).order == 2 * n
    if n >= 3:
        assert dihedral_permutation(n).order == 2 * n


@pytest.mark.parametrize("n", range(1, 6))
def test_orders_of_symmetric_groups(n):
    assert symmetric(n).order == factorial(n)


@pytest.mark.parametrize("text", FINITE)
def test_elements_are_the_closure_of_the_generators(text):
    group = KNOWN[text]
    found = closure(group.generators) if len(group.generators) else [np.eye(group.d)]
    assert group.order == len(found)
    for g in matrices(group):
        assert sum(np.allclose(g, h) for h in found) == 1
    assert group.elements[0] == Element((), ())
    lengths = [len(g.word) for g in group.elements]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("text", FINITE)
def test_table_is_the_product_of_matrices(text):
    group = KNOWN[text]
    g = matrices(group)
    np.testing.assert_allclose(g[group.table], g[:, None] @ g[None, :], atol=1e-12)
    np.testing.assert_allclose(g[group.left_action], group.generators[:, None] @ g[None, :], atol=1e-12)
    for rows in (group.table, group.table.T):
        assert (np.sort(rows, axis=1) == np.arange(group.order)).all()


def test_table_of_a_group_is_not_that_of_another():
    """Negative control: groups of one order have different tables."""
    assert not np.array_equal(parse_group("Z4").table, parse_group("Z2xZ2").table)
    assert (parse_group("D4").table != parse_group("D4").table.T).any()


@pytest.mark.parametrize("make", [dihedral, dihedral_permutation])
@pytest.mark.parametrize("n", [3, 4, 5, 6, 8])
def test_relations_of_dihedral_groups(make, n):
    r, f = make(n).generators
    for relation in (np.linalg.matrix_power(r, n), f @ f, f @ r @ f @ r):
        np.testing.assert_allclose(relation, np.eye(len(r)), atol=1e-12)
    assert not np.allclose(r @ f, f @ r)


def test_square_groups_have_exact_entries():
    assert set(np.unique(dihedral(4).generators)) == {-1.0, 0.0, 1.0}
    assert set(np.unique(dihedral(2).generators)) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("SO2", np.eye(2)),
        ("SO3", np.eye(3)),
        ("O3", np.eye(3)),
        ("SO(1,3)", np.diag([1.0, -1, -1, -1])),
        ("O(2,1)", np.diag([1.0, 1, -1])),
        ("SO(1,1)", np.diag([1.0, -1])),
    ],
)
def test_orthogonal_groups_preserve_their_form(text, form, rng):
    group = parse_group(text)
    determinants = []
    for _ in range(20):
        g = matrix(group, group.sample(rng))
        np.testing.assert_allclose(g.T @ form @ g, form, atol=1e-9 * np.abs(g).max() ** 2)
        determinants.append(np.linalg.det(g))
    signs = {1} if text.startswith("S") else {-1, 1}
    assert set(np.sign(determinants)) == signs
    np.testing.assert_allclose(np.abs(determinants), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "components"),
    [
        ("SO(1,3)", {(1, 1), (-1, -1)}),
        ("SO(2,2)", {(1, 1), (-1, -1)}),
        ("O(1,3)", {(1, 1), (-1, -1), (1, -1), (-1, 1)}),
        ("O(2,1)", {(1, 1), (-1, -1), (1, -1), (-1, 1)}),
    ],
)
def test_pseudo_orthogonal_groups_have_all_components(text, components, rng):
    """The signs of the determinants of the time block and the space block tell the components apart."""
    group = parse_group(text)
    p = int(text.partition("(")[2][0])
    draws = [matrix(group, group.sample(rng)) for _ in range(50)]
    assert {(np.sign(np.linalg.det(g[:p, :p])), np.sign(np.linalg.det(g[p:, p:]))) for g in draws} == components


def test_special_linear_group_keeps_volume_and_no_lengths(rng):
    group = parse_group("SL3")
    g = matrix(group, group.sample(rng))
    assert len(group.lie_algebra) == 8
    np.testing.assert_allclose(np.linalg.det(g), 1.0)
    assert not np.allclose(g.T @ g, np.eye(3), atol=0.1)


@pytest.mark.parametrize("text", GROUPS)
def test_sampler_does_not_only_draw_the_identity(text, rng):
    group = KNOWN[text]
    draws = [matrix(group, group.sample(rng)) for _ in range(300)]
    if not group.is_finite:
        assert np.mean([np.allclose(g, np.eye(group.d), atol=1e-3) for g in draws]) < 0.01
        return
    drawn = [any(np.allclose(g, h) for g in draws) for h in matrices(group)]
    assert all(drawn) if group.order <= 8 else np.mean(drawn) > 0.5


def test_words_of_fixed_length_would_only_draw_the_identity():
    """Why the length of a word is random: every word of length 8 is the identity of Z4."""
    np.testing.assert_array_equal(matrix(cyclic(4), Element((0,) * 8, ())), np.eye(4))


def test_generator_elements_are_the_generators():
    group = parse_group("O2")
    flip, turn = (matrix(group, g) for g in group.generator_elements(angle=0.3))
    np.testing.assert_array_equal(flip, group.generators[0])
    np.testing.assert_allclose(turn, rotation_by(0.3))


def test_product_has_the_generators_of_both_in_order():
    group = product(dihedral(3), cyclic(2))
    assert (group.order, group.d, len(group.generators)) == (12, 4, 3)
    assert str(group) == "D3xZ2"
    first, second = group.generators[0], group.generators[2]
    np.testing.assert_array_equal(first[2:, 2:], np.eye(2))
    np.testing.assert_array_equal(second[:2, :2], np.eye(2))
    np.testing.assert_array_equal(first @ second, second @ first)
    mixed = product(parse_group("SO2"), cyclic(2))
    assert (len(mixed.generators), len(mixed.lie_algebra), mixed.is_finite) == (1, 1, False)
    np.testing.assert_array_equal(mixed.lie_algebra[0, 2:], np.zeros((2, 4)))


def test_product_with_the_trivial_group_keeps_the_order():
    assert product(trivial_group(), dihedral(4)).order == 8
    assert product(trivial_group(), trivial_group()).order == 1


@pytest.mark.parametrize("text", ["SO2", "O3", "SO3xZ2"])
def test_elements_of_an_infinite_group_are_refused(text):
    with pytest.raises(ValueError, match="infinite"):
        _ = parse_group(text).elements


def test_generators_of_infinite_order_are_refused(monkeypatch):
    monkeypatch.setattr("rpp_rl.symmetry.groups.MAX_ORDER", 500)
    with pytest.raises(ValueError, match="more than 500 elements"):
        _ = Group("slip", rotation_by(1.0)[None], np.zeros((0, 2, 2))).order


def test_equality_is_by_content():
    z2 = cyclic(2)
    other = Group("swap", -np.array([[[-0.0, -1], [-1, -0.0]]]), np.zeros((0, 2, 2)))
    assert z2 == other
    assert hash(z2) == hash(other)
    assert len({z2, other, cyclic(2)}) == 1
    assert z2 != "Z2"


def test_integer_matrices_make_the_same_group(unchecked_shapes):
    assert cyclic(2) == Group("integers", np.array([[[0, 1], [1, 0]]]), np.zeros((0, 2, 2), dtype=int))


def test_different_groups_differ():
    assert len(set(KNOWN.values())) == len(GROUPS)
    assert dihedral(4) != dihedral_permutation(4)
    assert trivial_group() != cyclic(1)


def test_matrices_are_copied_and_read_only():
    generators = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    group = Group("swap", generators, np.zeros((0, 2, 2)))
    generators[0, 0, 0] = 5.0
    assert group == cyclic(2)
    for array in (group.generators, group.lie_algebra, group.left_action, group.table):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1


@pytest.mark.parametrize(
    ("generators", "lie_algebra", "message"),
    [
        (np.zeros((1, 2, 3)), np.zeros((0, 3, 3)), "square"),
        (np.eye(2), np.zeros((0, 2, 2)), "square"),
        (np.eye(2)[None], np.zeros((0, 3, 3)), "one size"),
        (np.full((1, 2, 2), np.nan), np.zeros((0, 2, 2)), "finite"),
        (np.eye(2)[None], np.full((1, 2, 2), np.inf), "finite"),
        (np.zeros((1, 2, 2)), np.zeros((0, 2, 2)), "generator 0 has no inverse"),
        (np.zeros((0, 0, 0)), np.zeros((0, 0, 0)), "square"),
    ],
)
def test_what_is_no_group_is_refused(unchecked_shapes, generators, lie_algebra, message):
    with pytest.raises(ValueError, match=message):
        Group("bad", generators, lie_algebra)


@pytest.mark.parametrize("text", GROUPS)
def test_json_round_trip_is_exact(text):
    group = KNOWN[text]
    back = group_from_dict(json.loads(json.dumps(group_to_dict(group))))
    assert back == group
    assert (str(back), back.d) == (str(group), group.d)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generators": None}, "missing: generators"),
        ({"d": None, "name": None}, "missing: name, d"),
        ({"generators": [[[1.0]]]}, "expected matrices of shape"),
        ({"generators": [[[0.0, 0.0], [0.0, 1.0]]]}, "no inverse"),
        ({"generators": [[1.0, 2.0], [3.0, 4.0]]}, "expected matrices of shape"),
    ],
)
def test_broken_data_of_a_group_are_refused(change, message):
    data = {key: value for key, value in {**group_to_dict(cyclic(2)), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        group_from_dict(data)
