"""Uniform elements of compact groups, against moments that only the Haar measure has."""

import numpy as np
import pytest

from rpp_rl.studies.equivariance import element_matrices
from rpp_rl.studies.representations import orthogonal_about_z
from rpp_rl.symmetry import cyclic, orthogonal, parse_group, special_linear, vector
from rpp_rl.symmetry.haar import haar_element

N = 2000


def matrices(group, draw):
    return element_matrices(vector(group), [draw(group) for _ in range(N)]).numpy()


def test_matrices_of_many_elements_are_those_of_each():
    group, rng = orthogonal(3), np.random.default_rng(0)
    rep = vector(group) * vector(group)
    elements = [group.sample(rng) for _ in range(20)]
    expected = np.array([rep.rho(g) for g in elements])
    np.testing.assert_allclose(element_matrices(rep, elements).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("name", ["SO2", "O2", "SO3", "O3", "D4", "S3"])
def test_moments_of_the_trace_count_invariants(name):
    """The mean of tr(g)ᵏ over the group is the number of invariants in the k-th tensor power."""
    expected = {"SO2": (0, 2, 0, 6), "O2": (0, 1, 0, 3), "SO3": (0, 1, 1, 3), "O3": (0, 1, 0, 3)}
    group = parse_group(name)
    rng = np.random.default_rng(1)
    traces = np.trace(matrices(group, lambda g: haar_element(g, rng)), axis1=1, axis2=2)
    if name in expected:
        moments = expected[name]
    else:
        characters = np.array([np.trace(vector(group).rho(g)) for g in group.elements])
        moments = tuple((characters**k).mean() for k in range(1, 5))
    for k, moment in enumerate(moments, start=1):
        spread = max(float((traces**k).std()), 1.0) / np.sqrt(N)
        assert abs((traces**k).mean() - moment) < 5 * spread


def test_samples_that_prefer_the_identity_would_fail():
    """Negative control: the sampler that covers every group is not uniform."""
    rng = np.random.default_rng(1)
    traces = np.trace(matrices(parse_group("SO3"), lambda g: g.sample(rng)), axis1=1, axis2=2)
    assert abs((traces**2).mean() - 1) > 0.3


def test_about_the_vertical_the_horizontal_is_uniform():
    rng = np.random.default_rng(0)
    sample = matrices(orthogonal_about_z(), lambda g: haar_element(g, rng))
    assert np.linalg.det(sample).mean() == pytest.approx(0.0, abs=0.06)
    np.testing.assert_allclose(sample.mean(0), np.diag([0, 0, 1]), atol=0.06)


@pytest.mark.parametrize("group", [special_linear(3), parse_group("O(1,2)"), orthogonal(4)], ids=str)
def test_groups_without_known_uniform_elements_are_refused(group):
    with pytest.raises(ValueError, match="uniform elements are known for"):
        haar_element(group, np.random.default_rng(0))


def test_finite_groups_are_drawn_from_their_list():
    rng = np.random.default_rng(0)
    drawn = [haar_element(cyclic(3), rng) for _ in range(300)]
    counts = [drawn.count(g) for g in cyclic(3).elements]
    assert min(counts) > 70
