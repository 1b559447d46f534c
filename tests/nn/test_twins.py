"""Residual pathways of gates and bilinear layers: with them no symmetry leaks past the prior."""

import pytest
import torch
from torch import nn

from rpp_rl.nn import RPPEMLP, Bilinear, Gated, Prior, hidden_rep, pathways
from rpp_rl.symmetry import parse_group, parse_rep

REP = parse_rep("3*R + 2*V + V*V", parse_group("O3"))


@pytest.mark.parametrize("make", [Gated, Bilinear])
def test_a_twin_starts_at_zero_and_breaks_the_symmetry_when_it_leaves(make, error, equivariance_tolerance):
    layer = make(REP, is_twin=True)
    assert error(layer, layer.rep_in, layer.rep_out) < equivariance_tolerance
    nn.init.normal_(layer.residual)
    assert error(layer, layer.rep_in, layer.rep_out) > 1e-3


@torch.no_grad()
def test_what_twins_add(dtype, tolerance):
    gates, products = Gated(REP, is_twin=True, ensemble=2), Bilinear(REP, scale=0.5, is_twin=True, ensemble=2)
    for layer in (gates, products):
        x = torch.randn(2, 4, layer.rep_in.size)
        before = layer(x)
        nn.init.normal_(layer.residual)
        change = layer(x) - before
        for member in range(2):
            r, z = layer.residual[member], x[member, :, : REP.size]
            expected = r * nn.functional.silu(z) if layer is gates else 0.5 * (z[:, :3] @ r.T) * z
            torch.testing.assert_close(change[member], expected, rtol=tolerance, atol=tolerance)


def network(*, twins):
    hidden = 2 * [hidden_rep(REP.group, 24, "uniform")]
    options = {"activation": "silu", "bilinear": "tensor", "twins": twins}
    return RPPEMLP(REP, REP, hidden, **options)


def test_without_residuals_a_network_with_twins_is_strict_and_one_without_leaks(error, equivariance_tolerance, shake):
    errors = {}
    for twins in (True, False):
        net = shake(network(twins=twins))
        with torch.no_grad():
            for parameter in pathways(net).residual:
                parameter.zero_()
        errors[twins] = error(net, REP, REP)
    assert errors[True] < 10 * equivariance_tolerance
    assert errors[False] > 10 * errors[True], "control: the fixed swish of gates"


@torch.no_grad()
def test_a_fresh_network_with_twins_computes_what_the_strict_one_does():
    torch.manual_seed(1)
    strict = RPPEMLP(REP, REP, [hidden_rep(REP.group, 24, "uniform")], mode="emlp", activation="silu", bilinear=True)
    x = torch.randn(5, REP.size)
    for twins, at_most in ((True, 1e-6), (False, 1e-2)):
        soft = RPPEMLP(REP, REP, [hidden_rep(REP.group, 24, "uniform")], activation="silu", bilinear=True, twins=twins)
        soft.load_state_dict(strict.state_dict(), strict=False)
        difference = float((soft(x) - strict(x)).norm() / strict(x).norm())
        assert difference < at_most
        assert (difference > 1e-6) != twins, "control"


def test_the_prior_holds_twins(shake, tolerance):
    net = shake(network(twins=True))
    twins = [module.residual for module in net.modules() if isinstance(module, (Gated, Bilinear))]
    assert len(twins) == 4
    energy = Prior(None, 0.5).energy(net)
    with torch.no_grad():
        norms = sum(float(twin.square().sum()) for twin in twins)
        for twin in twins:
            twin.zero_()
    assert float((energy - Prior(None, 0.5).energy(net)).detach()) == pytest.approx(norms, rel=1e-4)
    net(torch.randn(3, REP.size)).square().sum().backward()
    assert all(twin.grad.any() for twin in twins), "zero is no place to be stuck at"
