"""The prior against torch.distributions and autograd, and the covariance it gives to W = A + B."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

from rpp_rl.nn import RPPEMLP, Prior, RPPLinear, hidden_rep, merge, pathway_norms, pathways
from rpp_rl.symmetry import equivariant_basis, parse_group, parse_rep, trivial, vector

D4 = parse_group("D4")


def network(mode="rpp") -> RPPEMLP:
    return RPPEMLP(3 * vector(D4), vector(D4) + trivial(D4), [hidden_rep(D4, 16)], mode=mode)


def log_density(net: nn.Module, equiv_var: float, residual_var: float) -> torch.Tensor:
    """Sum of the Gaussian log densities of A in an orthonormal basis, by projection, and of B."""
    total = torch.zeros(())
    for layer in (m for m in net.modules() if isinstance(m, RPPLinear)):
        for name, parameter in layer.named_parameters():
            if name.startswith("residual"):
                total = total + Normal(0.0, residual_var**0.5).log_prob(parameter).sum()
        if layer.equiv_weight is not None:
            basis = torch.as_tensor(equivariant_basis(layer.rep_in, layer.rep_out)).to(layer.equiv_weight)
            weight = layer.weight_matrix(layer.equiv_weight)
            coefficients = torch.einsum("koi,oi->k", basis, weight)
            invariant = torch.as_tensor(equivariant_basis(trivial(D4), layer.rep_out))[..., 0].to(weight)
            bias = invariant @ (layer.bias_basis @ layer.equiv_bias)
            for beta in (coefficients, bias):
                total = total + Normal(0.0, equiv_var**0.5).log_prob(beta).sum()
    return total


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_energy_is_the_gaussian_log_density_up_to_a_constant(mode, dtype, tolerance, shake):
    net, prior = network(mode), Prior(2.0, 0.05)
    energy, log_p = prior.energy(net), log_density(net, 2.0, 0.05)
    shake(net)
    difference = prior.energy(net) - energy
    torch.testing.assert_close(difference, log_p - log_density(net, 2.0, 0.05), rtol=10 * tolerance, atol=0)
    assert difference.abs() > 0.1


@pytest.mark.parametrize("variances", [(2.0, 0.05), (None, 0.05), (2.0, None), (None, None)])
def test_added_gradient_is_that_of_loss_and_energy(variances, dtype, tolerance, shake):
    net, prior, x = shake(network()), Prior(*variances), torch.randn(5, 6)
    (net(x).square().mean() + prior.energy(net) / 7).backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net(x).square().mean().backward()
    plain = [parameter.grad.clone() for parameter in net.parameters()]
    prior.add_gradient(pathways(net), 7)
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=tolerance, atol=tolerance)
    changed = [not torch.equal(p.grad, g) for p, g in zip(net.parameters(), plain, strict=True)]
    names = [name for name, _ in net.named_parameters()]
    for name, is_changed in zip(names, changed, strict=True):
        assert is_changed == (variances[0 if ".equiv" in name else 1] is not None)


def test_parameters_without_a_gradient_stay_alone():
    net = network()
    Prior(1.0, 1.0).add_gradient(pathways(net), 1)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_no_variance_means_no_energy():
    net = network()
    for energy in (Prior().energy(net), Prior(1.0, 1.0).energy(merge(net)), Prior(1.0, 1.0).energy(nn.Identity())):
        assert energy.shape == ()
        assert energy == 0
    assert Prior(None, 1.0).energy(net) == 0, "the residual starts at zero"


@pytest.mark.parametrize("variances", [(0.0, 1.0), (1.0, -1.0), (float("nan"), None)])
def test_variances_must_be_positive(variances):
    with pytest.raises(ValueError, match=r"(equiv|residual)_var must be positive, or null for no prior, got"):
        Prior(*variances)


@pytest.mark.parametrize("name", ["D4", "S3", "SO2", "O3"])
def test_covariance_of_the_weight_is_that_of_the_paper(name, constraints, dtype, tolerance):
    """W ~ N(0, (σ_a² + σ_b²) QQᵀ + σ_b² PPᵀ); the parameters' variances come from the energy's Hessian, not by hand."""
    group = parse_group(name)
    layer = RPPLinear(parse_rep("R + V", group), parse_rep("P + 2*V", group))
    weight, energy = layer.weight().flatten(), Prior(3.0, 0.5).energy(layer)
    covariance = 0.0
    for parameter in (layer.equiv_weight, layer.residual_weight):
        rows = [torch.autograd.grad(w, parameter, retain_graph=True)[0].flatten() for w in weight]
        (gradient,) = torch.autograd.grad(energy, parameter, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient.sum(), parameter)
        jacobian = torch.stack(rows)
        covariance = covariance + jacobian @ torch.diag(1 / curvature.flatten()) @ jacobian.T
    system = constraints(layer.rep_in, layer.rep_out)
    complement = np.linalg.pinv(system) @ system
    expected = (3.0 + 0.5) * (np.eye(len(weight)) - complement) + 0.5 * complement
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=tolerance)


def test_pathways_hold_every_parameter_of_the_linear_maps_once():
    net = network()
    equiv, residual, norms, levels = pathways(nn.ModuleList([net, net]))
    names = dict(net.named_parameters())
    assert {id(p) for p in equiv} == {id(p) for name, p in names.items() if ".equiv" in name}
    assert {id(p) for p in residual} == {id(p) for name, p in names.items() if ".residual" in name}
    assert len(equiv) == len(residual) == len(norms) == 4
    assert not levels


def test_pathway_norms_are_those_of_both_summands_of_the_weight():
    layer = RPPLinear(2 * vector(D4) + trivial(D4), vector(D4))
    equiv = layer.weight().detach().clone()
    nn.init.normal_(layer.residual_weight)
    with torch.no_grad():
        layer.equiv_bias.zero_()
    norms = pathway_norms(layer)
    assert norms == pytest.approx((equiv.norm().item(), layer.residual_weight.norm().item()), rel=1e-5)
    assert pathway_norms(nn.Linear(2, 2)) == (0.0, 0.0)
