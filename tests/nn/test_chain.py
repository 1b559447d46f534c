"""Levels along a chain of subgroups: what each commutes with, and how the prior divides a matrix among them."""

import numpy as np
import pytest
import torch
from torch import nn

from rpp_rl.fast import Weights
from rpp_rl.nn import RPPEMLP, ChainLinear, Prior, RPPLinear, Subgroup, hidden_rep, merge, parameter_groups, pathways
from rpp_rl.symmetry import Element, cyclic, dihedral, equivariant_basis, parse_rep, regular, trivial_group, vector

D4, Z2 = dihedral(4), cyclic(2)
MIRROR = Subgroup(Z2, [Element((1,), ())])
TURNS = Subgroup(cyclic(4), [Element((0,), ())])
V = vector(D4)
REP_IN, REP_OUT = parse_rep("R + 2*V", D4), parse_rep("V + P", D4)


def test_a_level_commutes_with_its_subgroup_alone(error, equivariance_tolerance, dtype):
    layer = ChainLinear(REP_IN, REP_OUT, subgroups=[MIRROR])
    reps = REP_IN, REP_OUT
    restricted = [MIRROR.restrict(rep) for rep in reps]
    assert error(layer, *reps) < equivariance_tolerance, "levels start at zero"
    (level,) = layer.levels
    for parameter in level.parameters():
        nn.init.normal_(parameter)
    assert error(layer, *restricted) < equivariance_tolerance
    assert error(layer, *reps) > 0.01, "control: the larger group is broken"
    nn.init.normal_(layer.residual_weight)
    assert error(layer, *restricted) > 0.01, "control: the residual breaks both"


def test_covariance_of_a_chain_is_a_sum_over_nested_subspaces(dtype, tolerance):
    """W ~ N(0, σ_a² P_G + σ_h² P_H + σ_b²), by the Jacobian of W and the Hessian of the energy, not by the layer."""
    layer = ChainLinear(REP_IN, REP_OUT, subgroups=[MIRROR])
    prior = Prior(3.0, 0.5, (1.5,))
    weights = [layer.equiv_weight, layer.levels[0].equiv_weight, layer.residual_weight]
    w = layer.weight().flatten()
    energy = prior.energy(layer)
    covariance = np.zeros((len(w), len(w)))
    gradients = torch.autograd.grad(energy, weights, create_graph=True)
    for parameter, gradient in zip(weights, gradients, strict=True):
        (precision,) = torch.autograd.grad(gradient.sum(), parameter, retain_graph=True)
        jacobian = torch.stack([torch.autograd.grad(entry, parameter, retain_graph=True)[0].flatten() for entry in w])
        covariance += (jacobian / precision.flatten() @ jacobian.T).numpy()
    expected = 0.5 * np.eye(len(w))
    for variance, reps in ((3.0, (REP_IN, REP_OUT)), (1.5, (MIRROR.restrict(REP_IN), MIRROR.restrict(REP_OUT)))):
        basis = equivariant_basis(*reps).reshape(-1, len(w))
        expected += variance * basis.T @ basis
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=10 * tolerance)


def test_added_gradient_is_that_of_the_energy(dtype, tolerance, shake):
    layer, prior = shake(ChainLinear(REP_IN, REP_OUT, subgroups=[MIRROR, TURNS])), Prior(2.0, 0.1, (1.0, 0.3))
    prior.energy(layer).backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters()]
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    prior.add_gradient(pathways(layer), 1)
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        assert gradient.any() or not gradient.numel()
        torch.testing.assert_close(parameter.grad, gradient, rtol=tolerance, atol=tolerance)


def test_as_many_variances_and_decays_as_levels():
    layer = ChainLinear(REP_IN, REP_OUT, subgroups=[MIRROR, TURNS])
    assert Prior(1.0, 1.0).energy(layer) > 0, "levels without a prior are free"
    with pytest.raises(ValueError, match="2 levels need as many level_vars, got 1"):
        Prior(1.0, 1.0, (1.0,)).energy(layer)
    with pytest.raises(ValueError, match="level_vars must be positive"):
        Prior(1.0, 1.0, (0.0,))
    with pytest.raises(ValueError, match="2 levels need as many level_decays, got 0"):
        parameter_groups(layer, 3.0)
    groups = parameter_groups(layer, 3.0, (1.0, 2.0))
    assert [group["weight_decay"] for group in groups] == [0.0, 3.0, 1.0, 2.0]
    assert [len(group["params"]) for group in groups] == [2, 2, 2, 2]
    assert groups[3]["params"][0] is layer.levels[1].equiv_weight


@pytest.mark.parametrize("ensemble", [None, 2])
def test_networks_of_chains_merge_and_learn_on_every_level(ensemble, shake, tolerance):
    hidden = [hidden_rep(D4, 8)]
    net = shake(RPPEMLP(REP_IN, REP_OUT, hidden, subgroups=[MIRROR], ensemble=ensemble))
    x = torch.randn(*(() if ensemble is None else (ensemble,)), 7, REP_IN.size)
    torch.testing.assert_close(merge(net)(x), net(x), rtol=tolerance, atol=tolerance)
    net(x).square().sum().backward()
    assert all(parameter.grad.any() for parameter in net.parameters() if parameter.numel())
    assert not any(isinstance(m, ChainLinear) for m in RPPEMLP(V, V, hidden, mode="emlp", subgroups=[MIRROR]).modules())


def test_the_trivial_subgroup_is_one_more_residual(shake, tolerance):
    """Its level can be any matrix, so moving B into it changes nothing."""
    everything = Subgroup(trivial_group())
    layer = shake(ChainLinear(regular(D4), regular(D4), subgroups=[everything]))
    weight = layer.weight().detach().clone()
    level = layer.levels[0]
    with torch.no_grad():
        moved = (level.equiv_weight * level.equiv_norms()[0]).norm() ** 2
        assert float(moved) == pytest.approx(float(level.weight().square().sum()), rel=1e-4)
        level.equiv_weight.add_(layer.residual_weight.flatten())
        layer.residual_weight.zero_()
    torch.testing.assert_close(layer.weight(), weight, rtol=tolerance, atol=tolerance)


def test_subgroups_of_another_group_are_refused():
    with pytest.raises(ValueError, match="does not represent"):
        ChainLinear(V, V, subgroups=[Subgroup(cyclic(3), [Element((0,), ())])])


def test_layers_say_their_levels():
    assert "levels=Z2>Z4" in repr(ChainLinear(V, V, subgroups=[MIRROR, TURNS]))
    assert isinstance(ChainLinear(V, V, subgroups=[MIRROR]), RPPLinear)


def test_the_fast_update_refuses_what_it_would_leave_out():
    layer = ChainLinear(V, V, subgroups=[MIRROR])
    with pytest.raises(ValueError, match="update='plain'"):
        Weights(layer)
    Weights(RPPLinear(V, V))  # control: two pathways are what it is made for
