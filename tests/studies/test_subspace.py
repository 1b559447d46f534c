"""Weights in a subspace of nearly equivariant ones: its limits, its bound, and networks that start strict."""

import numpy as np
import pytest
import torch

from rpp_rl.nn import EquivariantMatrix, RPPLinear
from rpp_rl.studies.equivariance import equivariance_error
from rpp_rl.studies.inertia import network, reps
from rpp_rl.studies.projection import projected
from rpp_rl.studies.representations import tensor_rep
from rpp_rl.studies.subspace import widen
from rpp_rl.symmetry import (
    dihedral,
    equivariant_basis,
    nearly_equivariant_blocks,
    orthogonal,
    special_linear,
    trivial,
    vector,
)

GROUPS = [orthogonal(3), dihedral(4), special_linear(3)]


def spaces(group):
    return 3 * trivial(group) + 2 * vector(group), vector(group) * vector(group) + vector(group)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_softness_leads_from_the_equivariant_matrices_to_all(group):
    rep_in, rep_out = spaces(group)
    w = torch.randn(2, rep_out.size, rep_in.size, dtype=torch.float64)
    matrices = [EquivariantMatrix(rep_in, rep_out, softness=softness).double() for softness in (1e-12, 0.5, 0.7, 1.0)]
    sizes = [matrix.n_coefficients for matrix in matrices]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] < sizes[3] == rep_out.size * rep_in.size
    q = torch.as_tensor(equivariant_basis(rep_in, rep_out)).flatten(1)
    torch.testing.assert_close(projected(matrices[0], w), (w.flatten(1) @ q.T @ q).view_as(w), atol=1e-6, rtol=0)
    torch.testing.assert_close(projected(matrices[-1], w), w, atol=1e-5, rtol=0)
    strict = projected(matrices[0], w)
    for matrix in matrices[1:]:
        torch.testing.assert_close(projected(matrix, strict), strict, atol=1e-5, rtol=0)
    assert float((projected(matrices[2], w) - w).norm()) > 0.1, "control: not everything is in it"


def violation(rep_in, rep_out, w):
    """Norm of x_out W − W x_in over all generators."""
    stacks = zip((*rep_out.generators, *rep_out.lie_algebra), (*rep_in.generators, *rep_in.lie_algebra), strict=True)
    return np.sqrt(sum(np.square(x_out @ w - w @ x_in).sum() for x_out, x_in in stacks))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_no_matrix_of_the_subspace_violates_the_group_more_than_the_bound(group, rng):
    a, b = vector(group) * vector(group), vector(group) * vector(group)
    ((whole,),), ((part,),) = (nearly_equivariant_blocks(a, b, softness) for softness in (1.0, 0.6))
    largest = max(violation(a, b, w) for w in whole.basis)
    mixed = [np.tensordot(c / np.linalg.norm(c), part.basis, 1) for c in rng.normal(size=(20, len(part.basis)))]
    assert max(violation(a, b, w) for w in mixed) < 0.6 * largest * (1 + 1e-6)
    within = sum(violation(a, b, w) < 0.6 * largest for w in whole.basis)
    assert len(part.basis) == within < len(whole.basis), "control: others violate it more"
    with pytest.raises(ValueError, match=r"softness must be a number from 0 to 1, got 1\.5"):
        nearly_equivariant_blocks(a, b, 1.5)


@pytest.mark.parametrize("members", [None, 2])
def test_a_widened_network_starts_as_it_was_and_learns_to_break_the_symmetry(members):
    group = orthogonal(3)
    net = network(group, "emlp", width=12, members=members)
    x = torch.randn(members or 1, 16, 20)
    x = x if members else x[0]
    before = net(x)
    n_before = sum(parameter.numel() for parameter in net.parameters())
    widen(net)
    torch.testing.assert_close(net(x), before, atol=1e-5, rtol=1e-4)
    assert sum(parameter.numel() for parameter in net.parameters()) > n_before
    net = net.double()
    points = torch.randn(members or 1, 32, 20, dtype=torch.float64)

    def error():
        one = net if members else (lambda z: net(z[0])[None])
        return float(equivariance_error(one, *reps(group), points, seed=0, form="batch").max())

    assert error() < 1e-5
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, RPPLinear):
                layer.equiv_weight.add_(0.1 * torch.randn_like(layer.equiv_weight))
    assert error() > 1e-3, "control"


def test_biases_of_a_widened_layer_are_those_of_its_softness():
    group = orthogonal(3)
    rep = tensor_rep(group, 12)
    layer = widen(RPPLinear(rep, rep, mode="emlp"), 1.0)
    assert layer.equiv_bias.shape == (12,)
    bias = layer.bias().detach()
    assert bias.shape == (12,)
    assert len(widen(RPPLinear(rep, rep, mode="emlp"), 1e-9).equiv_bias) < 12, "control"
