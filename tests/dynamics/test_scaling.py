"""Normalisation that commutes with the group, whatever the group does."""

import numpy as np
import pytest
import torch

import envs_reps
from rpp_rl.dynamics.scaling import EquivariantScaling
from rpp_rl.symmetry import equivariance_error, parse_group, parse_rep, trivial


def fitted(rep, rng, n=500):
    """A scaling of data of all sizes and places."""
    data = rng.normal(size=(n, rep.size)) * rng.uniform(0.1, 10, size=rep.size) + rng.normal(size=rep.size)
    scaling = EquivariantScaling(rep)
    scaling.fit(torch.as_tensor(data))
    return scaling, data


def function(module):
    return lambda x: module(torch.as_tensor(x, dtype=torch.get_default_dtype())).numpy()


@pytest.mark.parametrize("name", ["Hopper-v4/Z2", "Ant-v4/D4", "Ant-v4/D4xyaw", "Humanoid-v4/O2", "Swimmer-v4/Z2xZ2"])
def test_it_commutes_with_every_group(name, rng, tolerance):
    rep = envs_reps.load(*name.split("/")).obs_rep
    scaling, _ = fitted(rep, rng)
    x = rng.normal(size=(10, rep.size))
    elements = [*rep.group.generator_elements(), *(rep.group.sample(rng) for _ in range(3))]
    for map_ in (scaling, scaling.inverse):
        assert equivariance_error(function(map_), rep, rep, x, elements) < tolerance


def test_scaling_each_coordinate_on_its_own_does_not(rng):
    """Negative control."""
    rep = envs_reps.load("Ant-v4", "D4").obs_rep
    scaling, _ = fitted(rep.size * trivial(rep.group), rng)
    assert equivariance_error(function(scaling), rep, rep, rng.normal(size=(10, rep.size))) > 0.05


def test_without_a_group_every_coordinate_gets_mean_zero_and_variance_one(rng, tolerance):
    scaling, data = fitted(5 * trivial(parse_group("Z2")), rng)
    y = function(scaling)(data)
    np.testing.assert_allclose(y.mean(0), 0, atol=tolerance)
    np.testing.assert_allclose(y.std(0), 1, rtol=tolerance)


def test_an_orbit_shares_the_root_mean_square_around_an_invariant_mean(rng, dtype):
    scaling, data = fitted(parse_rep("V", parse_group("D4")), rng)
    np.testing.assert_allclose(scaling.mean, 0, atol=1e-7)
    np.testing.assert_allclose(scaling.scale, np.sqrt((data**2).mean()), rtol=1e-6)


def test_the_inverse_undoes_it(rng, tolerance):
    scaling, data = fitted(parse_rep("V + R", parse_group("Z4")), rng)
    np.testing.assert_allclose(
        scaling.inverse(torch.as_tensor(function(scaling)(data))), data, rtol=1e-3, atol=tolerance
    )


def test_what_does_not_vary_is_not_blown_up():
    scaling = EquivariantScaling(parse_rep("2*R", parse_group("Z2")))
    x = torch.tensor([[0.1, 1.0], [0.1, -1.0], [0.1, 3.0]])
    scaling.fit(x)
    assert scaling.scale[0] == 1
    assert scaling(x).abs().max() < 2
