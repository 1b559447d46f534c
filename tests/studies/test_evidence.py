"""Penalties of largest evidence: kernels against autograd, the fixed point against the evidence of a linear model."""

import math

import pytest
import torch
from torch import nn

from rpp_rl.nn import RPPConv2d
from rpp_rl.studies.evidence import EvidencePenalty
from rpp_rl.studies.images import Architecture, ImageNetwork
from rpp_rl.studies.training import Penalty

MEMBERS, N = 2, 5


def shaken(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network.double()


@pytest.fixture
def network():
    torch.manual_seed(0)
    return shaken(ImageNetwork(Architecture((1, 3, 4), (3, 2), (1, 2), head=(1,)), "rpp", MEMBERS))


def test_kernels_are_products_of_derivatives(network):
    x = torch.randn(MEMBERS, N, 1, 3, 4, dtype=torch.float64)
    chooser = EvidencePenalty(network, Penalty(1.0, 1.0), MEMBERS)
    kernels, errors = chooser._kernels(x, torch.zeros(MEMBERS, N, 1))
    assert len(kernels) == len(chooser.parts) == 4
    torch.testing.assert_close(errors, network(x).square().sum((1, 2)))
    for part, kernel in zip(chooser.parts, kernels, strict=True):
        rows = []
        for i in range(N):
            of_datum = torch.autograd.grad(network(x)[:, i].sum(), part.parameters)
            rows.append(torch.cat([(d / n).flatten(1) for d, n in zip(of_datum, part.norms, strict=True)], dim=1))
        jacobian = torch.stack(rows, dim=1)
        torch.testing.assert_close(kernel, jacobian @ jacobian.mT)


def test_gradient_is_that_of_the_penalty(network):
    chooser = EvidencePenalty(network, Penalty(0.5, 2.0), MEMBERS)
    for factor, penalty in enumerate(chooser.penalties):
        penalty.mul_(torch.tensor([1.0, 3.0]) * (1 + factor))
    network.zero_grad()
    (0.0 * network(torch.zeros(MEMBERS, N, 1, 3, 4, dtype=torch.float64)).sum()).backward()
    chooser.add_gradient()
    energy = sum(
        (penalty.view(-1, *[1] * (p.ndim - 1)) * (p * norm).square()).sum()
        for part, penalty in zip(chooser.parts, chooser.penalties, strict=True)
        for p, norm in zip(part.parameters, part.norms, strict=True)
    )
    parameters = [p for part in chooser.parts for p in part.parameters]
    for parameter, expected in zip(parameters, torch.autograd.grad(energy, parameters), strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-6, atol=1e-8)


def test_fixed_point_has_the_largest_evidence_of_a_linear_model():
    """With one dense map of the columns nothing is approximate, and the best weights have a closed form."""
    torch.manual_seed(0)
    n, d = 40, 6
    layer = RPPConv2d(d, 1, 1, image_size=(1, 1), mode="mlp", ensemble=1)
    network = nn.Sequential(layer, nn.Flatten(2)).double()
    x = torch.randn(1, n, d, 1, 1, dtype=torch.float64)
    columns = torch.cat([x[0, :, :, 0, 0], torch.ones(n, 1)], dim=1).double()
    y = columns @ torch.randn(d + 1, 1).double() + 0.5 * torch.randn(n, 1)
    chooser = EvidencePenalty(network, Penalty(1.0, 1.0), 1)
    for _ in range(100):
        penalty = float(chooser.penalties[0])
        weights = torch.linalg.solve(columns.T @ columns + n * penalty * torch.eye(d + 1), columns.T @ y)
        with torch.no_grad():
            layer.residual_weight.copy_(weights[:d].T[None])
            layer.residual_bias.copy_(weights[d:].T)
        chooser.update(x, y[None])
    noise = float(chooser.noise)
    alpha = float(chooser.penalties[0]) * n / noise

    def evidence(alpha, noise):
        covariance = columns @ columns.T / alpha + noise * torch.eye(n)
        return float(torch.distributions.MultivariateNormal(torch.zeros(n).double(), covariance).log_prob(y[:, 0]))

    assert 0.1 < noise < 0.5, "about 0.25"
    best = evidence(alpha, noise)
    for factor in (math.exp(-0.3), math.exp(0.3)):
        assert evidence(alpha * factor, noise) < best
        assert evidence(alpha, noise * factor) < best
