"""The test kit for equivariance: it passes what is equivariant and fails everything else."""

import numpy as np
import pytest
from hypothesis import given, settings

from rpp_rl.symmetry import (
    Element,
    assert_equivariant,
    cyclic,
    dihedral,
    dihedral_permutation,
    equivariance_error,
    equivariance_errors,
    equivariant_basis,
    parse_rep,
    regular,
    relative_error,
    sign,
    special_orthogonal,
    trivial,
    vector,
)
from tests.kit.symmetry_oracles import GROUPS, KNOWN, typed_pairs

Z4, D4 = cyclic(4), dihedral(4)


@settings(max_examples=30)
@given(typed_pairs())
def test_equivariant_maps_pass_and_others_fail(pair):
    group, first, second = pair
    rep_in, rep_out = parse_rep(first, group), parse_rep(second, group)
    rng = np.random.default_rng(0)
    basis = equivariant_basis(rep_in, rep_out)
    weight = np.tensordot(rng.normal(size=len(basis)), basis, axes=1)
    assert_equivariant(lambda x: x @ weight.T, rep_in, rep_out, rng=rng)
    if len(basis) < weight.size:
        off = rng.normal(size=weight.shape)
        off -= np.tensordot(np.tensordot(basis, off, axes=2), basis, axes=1)
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(lambda x: x @ (weight + off).T, rep_in, rep_out, rng=rng)


@pytest.mark.parametrize("text", [text for text in GROUPS if text not in ("1", "Z1")])
def test_wrong_type_of_output_fails(text, rng):
    """Negative control for every group: the identity is no map from vectors to scalars."""
    v = vector(KNOWN[text])
    with pytest.raises(AssertionError, match=f"{v.size}"):
        assert_equivariant(lambda x: x, v, v.size * trivial(v.group), rng=rng)


def test_nonlinear_functions(rng):
    legs, signed = vector(Z4), vector(D4)
    assert_equivariant(np.tanh, legs, legs, rng=rng)
    assert_equivariant(lambda x: np.maximum(x, 0), legs, legs, rng=rng)
    assert_equivariant(np.tanh, signed, signed, rng=rng)
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: np.maximum(x, 0), signed, signed, rng=rng)
    plane = vector(special_orthogonal(2))
    assert_equivariant(lambda x: x * np.linalg.norm(x, axis=1, keepdims=True), plane, plane, rng=rng)
    with pytest.raises(AssertionError):
        assert_equivariant(np.tanh, plane, plane, rng=rng)


def test_generator_that_fails_is_named(rng):
    v = vector(D4)
    with pytest.raises(AssertionError, match=r"word=\(1,\).* of D4 \(V -> V\)"):
        assert_equivariant(lambda x: x @ v.generators[0].T, v, v, rng=rng)


def test_numbers_that_are_not_finite_fail(rng):
    v = vector(Z4)
    for bad in (np.nan, np.inf):
        with pytest.raises(AssertionError), np.errstate(invalid="ignore"):
            assert_equivariant(lambda x, bad=bad: np.full_like(x, bad), v, v, rng=rng)
    assert np.isnan(relative_error(np.array([np.nan]), np.array([1.0])))


def test_nan_for_one_element_is_not_lost_among_the_others():
    plane, x = vector(D4), np.array([[1.0, 0.0]])
    turn, mirror = D4.generator_elements()

    def nan_upwards(x):
        return np.where(x[:, 1:] > 0.5, np.nan, x)

    for elements in ([turn, mirror], [mirror, turn]):
        assert np.isnan(equivariance_error(nan_upwards, plane, plane, x, elements))
    assert equivariance_error(nan_upwards, plane, plane, x, [mirror]) == 0


def test_relative_error():
    a, b = np.array([3.0, 4.0]), np.array([0.0, 0.0])
    assert relative_error(a, a) == 0
    assert relative_error(b, b) == 0
    assert relative_error(a, b) == relative_error(b, a) == 1
    assert relative_error(a, -a) == 1
    assert relative_error(a, 3 * a) == pytest.approx(0.5)


def test_errors_are_one_for_each_element(rng):
    v = vector(D4)
    x = rng.normal(size=(16, 2))

    def only_mirrored(x):
        return x @ np.diag([2.0, 1.0])

    turn, mirror = equivariance_errors(only_mirrored, v, v, x)
    assert turn > 0.1
    assert mirror < 1e-12
    assert equivariance_error(only_mirrored, v, v, x) == turn
    assert equivariance_error(only_mirrored, v, v, x, [Element((1,), ())]) == mirror
    assert equivariance_error(only_mirrored, v, v, x, []) == 0


def test_outputs_in_single_precision_are_compared_in_double(rng):
    v = vector(Z4)
    assert_equivariant(lambda x: x.astype(np.float32), v, v, rng=rng)
    assert equivariance_error(lambda x: x.astype(np.float32) ** 2, v, v, rng.normal(size=(4, 4))) == 0


def test_reps_of_different_groups_are_refused(rng):
    """Both have two generators, so nothing but the groups' equality tells them apart."""
    plane, points = vector(D4), vector(dihedral_permutation(4))
    with pytest.raises(ValueError, match="no common group"):
        assert_equivariant(lambda x: np.hstack([x, x]), plane, points, rng=rng)


def test_shapes_that_do_not_fit_are_refused(rng):
    v = vector(Z4)
    for function in (lambda x: x[:, :3], lambda x: x[0], lambda x: x.sum()):
        with pytest.raises(ValueError, match=r"expected outputs of shape \(32, 4\)"):
            assert_equivariant(function, v, v, rng=rng)
    with pytest.raises(ValueError, match=r"expected inputs of shape \(batch, 4\), got \(5, 3\)"):
        equivariance_error(lambda x: x, v, v, rng.normal(size=(5, 3)))


def test_elements_beyond_the_generators_are_tried(rng):
    """A function that answers rightly only as often as there are generators is caught by the random products."""
    rep_in, rep_out = regular(D4), sign(D4)
    seen = []

    def overfit(x):
        seen.append(x)
        return x[:, :1] * 0 if len(seen) <= 3 else x[:, :1]

    with pytest.raises(AssertionError, match=r"word=\("):
        assert_equivariant(overfit, rep_in, rep_out, rng=rng)
