"""Representations and their algebra: every operation against its definition, on sampled elements."""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.linalg import block_diag

from rpp_rl.symmetry import (
    Element,
    Rep,
    cyclic,
    dihedral,
    dihedral_permutation,
    direct_sum,
    matrix_rep,
    parse_group,
    parse_rep,
    regular,
    sign,
    signed_permutation,
    special_orthogonal,
    symmetric,
    trivial,
    vector,
)
from tests.kit.symmetry_oracles import FINITE, GROUPS, KNOWN, typed_pairs

D4 = dihedral(4)
R, P, V = trivial(D4), sign(D4), vector(D4)


def elements(group, n=4):
    rng = np.random.default_rng(0)
    return [*group.generator_elements(0.7), *(group.sample(rng) for _ in range(n))]


def assert_acts(rep, expected):
    """``rep.rho(g)`` is ``expected(g)`` for generators and sampled elements."""
    for g in elements(rep.group):
        wanted = expected(g)
        np.testing.assert_allclose(rep.rho(g), wanted, atol=1e-9 * max(1.0, np.abs(wanted).max()))


@settings(max_examples=40)
@given(typed_pairs())
def test_operations_act_by_their_definition(pair):
    group, first, second = pair
    a, b = parse_rep(first, group), parse_rep(second, group)
    assert_acts(a + b, lambda g: block_diag(a.rho(g), b.rho(g)))
    assert_acts(3 * a, lambda g: np.kron(np.eye(3), a.rho(g)))
    assert_acts(a * b, lambda g: np.kron(a.rho(g), b.rho(g)))
    assert_acts(a.dual(), lambda g: np.linalg.inv(a.rho(g)).T)
    assert_acts(a.whole(), a.rho)


@pytest.mark.parametrize("text", GROUPS)
def test_products_and_duals_of_vectors(text):
    v, p = vector(KNOWN[text]), sign(KNOWN[text])
    assert_acts(v * v.dual(), lambda g: np.kron(v.rho(g), np.linalg.inv(v.rho(g)).T))
    assert_acts((v * v).dual(), lambda g: np.linalg.inv(np.kron(v.rho(g), v.rho(g))).T)
    assert_acts(p * v * (p + v), lambda g: np.kron(p.rho(g) * v.rho(g), block_diag(p.rho(g), v.rho(g))))


@settings(max_examples=40)
@given(typed_pairs(FINITE))
def test_rho_is_a_homomorphism(pair):
    group, text, _ = pair
    rep = parse_rep(text, group)
    rho = rep.element_matrices
    np.testing.assert_allclose(rho, [rep.rho(g) for g in group.elements], atol=1e-12)
    np.testing.assert_allclose(rho[group.table], rho[:, None] @ rho[None, :], atol=1e-9)


def test_wrong_matrices_are_no_homomorphism():
    """Negative control: the comparison with the table can fail (`Rep` itself does not check relations)."""
    wrong = Rep("wrong", D4, np.stack([V.generators[0], np.diag([1.0, 2.0])]), V.lie_algebra)
    rho = wrong.element_matrices
    assert not np.allclose(rho[D4.table], rho[:, None] @ rho[None, :])


@pytest.mark.parametrize("text", [text for text in GROUPS if len(KNOWN[text].lie_algebra)])
def test_flows_are_one_parameter_subgroups(text):
    group = KNOWN[text]
    rep = parse_rep("V*V + V' + P", group)
    for k in range(len(group.lie_algebra)):

        def flow(t, k=k):
            return rep.rho(Element((), tuple(t if i == k else 0.0 for i in range(len(group.lie_algebra)))))

        np.testing.assert_allclose(flow(0.3) @ flow(0.4), flow(0.7), atol=1e-9)
        step = 1e-6
        np.testing.assert_allclose((flow(step) - flow(-step)) / (2 * step), rep.lie_algebra[k], atol=1e-7)


@pytest.mark.parametrize("text", GROUPS)
def test_atoms(text):
    group = KNOWN[text]
    v = vector(group)
    assert_acts(trivial(group), lambda g: np.eye(1))
    assert_acts(sign(group), lambda g: [[np.sign(np.linalg.det(v.rho(g)))]])
    assert (trivial(group).size, sign(group).size, v.size) == (1, 1, group.d)
    assert trivial(group).is_trivial
    assert trivial(group).is_permutation


@pytest.mark.parametrize("text", FINITE)
def test_regular_moves_the_element_h_to_gh(text):
    group = KNOWN[text]
    rep = regular(group)
    assert rep.is_regular
    assert rep.is_permutation
    for i, g in enumerate(group.elements):
        np.testing.assert_array_equal(rep.rho(g)[group.table[i], np.arange(group.order)], np.ones(group.order))
        np.testing.assert_array_equal(rep.rho(g).sum(0), np.ones(group.order))


def test_regular_of_an_infinite_group_is_refused():
    with pytest.raises(ValueError, match="infinite"):
        regular(special_orthogonal(3))


def test_regular_is_recognised_in_the_order_of_the_elements_only():
    twin = signed_permutation(D4, regular(D4).generators.argmax(-1).tolist(), [[1] * 8] * 2)
    assert twin.is_regular
    order = np.array([1, 0, 2, 3, 4, 5, 6, 7])
    shuffled = matrix_rep(D4, regular(D4).generators[:, order][:, :, order])
    assert shuffled.is_permutation
    assert not shuffled.is_regular
    assert not (2 * regular(D4)).is_regular
    assert not (8 * R).is_regular
    assert not (regular(D4) * P).is_regular
    assert vector(cyclic(4)).is_regular
    assert not vector(dihedral_permutation(4)).is_regular


def test_large_groups_need_no_list_of_elements():
    v = vector(symmetric(12))
    assert not v.is_regular
    assert not (v * v).is_regular
    assert v.is_permutation
    assert v + v == 2 * v


@pytest.mark.parametrize(
    ("group", "text", "flags"),
    [
        ("D4", "R + V", (False, True, True)),
        ("D4", "regular + 2*R", (True, True, True)),
        ("D4", "P", (False, True, True)),
        ("D3", "V", (False, False, True)),
        ("Z3", "V*V", (True, True, True)),
        ("SO3", "R", (True, True, True)),
        ("SO3", "V", (False, False, True)),
        ("O3", "P", (False, True, True)),
        ("SL2", "V", (False, False, False)),
        ("SO(1,3)", "V", (False, False, False)),
        ("1", "V", (True, True, True)),
    ],
)
def test_flags(group, text, flags):
    rep = parse_rep(text, KNOWN[group])
    assert (rep.is_permutation, rep.is_signed_permutation, rep.is_orthogonal) == flags


def test_sums_remember_runs_of_equal_summands():
    rep = 2 * V + R + (V + V) + R + R
    assert rep.parts == ((2, V), (1, R), (2, V), (2, R))
    assert rep.size == 11
    assert (V + V).parts == (2 * V).parts == ((2, V),)
    assert (2 * (V + R)).parts == ((1, V), (1, R), (1, V), (1, R))
    assert direct_sum(V) == V
    assert rep.name == "2*V + R + 2*V + 2*R"


def test_equal_matrices_under_other_names_are_one_run():
    height = signed_permutation(D4, [[0], [0]], [[1], [1]], name="height")
    assert height == R
    assert (R + height).parts == ((2, R),)


def test_whole_forgets_the_summands_and_nothing_else():
    rep = 2 * V + R
    assert rep.whole().parts == ((1, rep.whole()),)
    assert rep.whole() != rep
    assert rep.whole().whole() == rep.whole()
    np.testing.assert_array_equal(rep.whole().generators, rep.generators)
    assert V.whole() is V


def test_tensor_product_is_row_major(rng):
    a, b = rng.normal(size=2), rng.normal(size=8)
    for g in D4.elements:
        image = np.outer(V.rho(g) @ a, regular(D4).rho(g) @ b).ravel()
        np.testing.assert_allclose((V * regular(D4)).rho(g) @ np.outer(a, b).ravel(), image)


def test_tensor_product_keeps_what_structure_it_can():
    rep = 2 * V + R
    assert R * rep == rep
    assert (2 * R) * V == 2 * V
    assert [(n, part.size) for n, part in (P * rep).parts] == [(2, 2), (1, 1)]
    assert (P * rep).parts[1][1] == P
    assert [(n, part.size) for n, part in (rep * V).parts] == [(2, 4), (1, 2)]
    assert [(n, part.size) for n, part in (V * rep).parts] == [(1, 10)]
    assert P * P == R


@pytest.mark.parametrize(
    ("rep", "name"),
    [
        (V * V, "V*V"),
        (V * (V * V), "V*(V*V)"),
        ((V * V) * V, "V*V*V"),
        (V * (2 * V), "V*(2*V)"),
        ((2 * V) * V, "2*V*V"),
        (V * (V + R), "V*(V + R)"),
        (3 * (V + R).whole(), "3*(V + R)"),
        (P * (V + R), "P*V + P*R"),
    ],
)
def test_names_tell_how_the_rep_was_built(rep, name):
    assert rep.name == name
    if "(V + R)" not in name:
        assert parse_rep(name, D4) == rep


def test_name_of_a_dual_is_not_that_of_another_rep():
    v = vector(parse_group("SL2"))
    assert (v * v).dual().name == "(V*V)'"
    assert (v * v.dual()).name == "V*V'"
    assert (2 * v + v * v).dual().parts == ((2, v.dual()), (1, (v * v).dual()))


@settings(max_examples=40)
@given(typed_pairs())
def test_name_is_read_back(pair):
    group, text, _ = pair
    rep = parse_rep(text, group)
    for part in {part for _, part in rep.parts} | {rep}:
        back = parse_rep(part.name, group)
        assert (back.size, back.name) == (part.size, part.name)
        np.testing.assert_allclose(back.generators, part.generators, atol=1e-12)


@settings(max_examples=25)
@given(typed_pairs(("Z2", "D2", "D4", "D4perm", "S3", "Z2xZ2", "1")))
def test_abs_drops_signs(pair):
    group, text, _ = pair
    rep = parse_rep(text, group)
    assert_acts(rep.abs(), lambda g: np.abs(rep.rho(g)))
    assert rep.abs().is_permutation
    assert rep.abs().abs() == rep.abs()


def test_abs_of_permutations_is_the_same_and_of_rotations_refused():
    assert regular(D4).abs() == regular(D4)
    assert (P + R).abs() == 2 * R
    with pytest.raises(ValueError, match="only a signed permutation has an absolute value, got V of D3"):
        vector(dihedral(3)).abs()


@pytest.mark.parametrize("text", ["SL2", "SL3", "SO(1,3)"])
def test_duals_of_lengthless_groups_pair_to_an_invariant(text, rng):
    v = vector(KNOWN[text])
    assert v.dual() != v
    x, y = rng.normal(size=(2, v.size))
    for g in elements(v.group):
        np.testing.assert_allclose((v.dual().rho(g) @ x) @ (v.rho(g) @ y), x @ y, rtol=1e-6)


def test_dual_of_an_orthogonal_rep_is_itself():
    rep = vector(special_orthogonal(3))
    assert rep.dual() is rep
