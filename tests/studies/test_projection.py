"""One matrix with a penalty on its projection: the same prior as two pathways."""

import pytest
import torch

from rpp_rl.nn import RPPEMLP, ChainLinear, EquivariantMatrix, RPPLinear, Subgroup
from rpp_rl.studies.projection import ProjectionPenalty, as_single_matrices, joined_pathways, projected
from rpp_rl.studies.representations import orthogonal_about_z, tensor_rep
from rpp_rl.studies.training import Penalty
from rpp_rl.symmetry import Element, cyclic, dihedral, equivariant_basis, orthogonal, vector

V = vector(dihedral(4))
PENALTY = Penalty(equiv=0.02, residual=0.3)


@pytest.mark.parametrize("group", [dihedral(4), orthogonal(3), cyclic(3)], ids=str)
def test_projection_agrees_with_a_dense_projector(group):
    torch.manual_seed(1)
    rep_in, rep_out = tensor_rep(group, 12) if group == orthogonal(3) else 2 * vector(group), 2 * vector(group)
    q = torch.as_tensor(equivariant_basis(rep_in, rep_out)).flatten(1)
    matrix = EquivariantMatrix(rep_in, rep_out).double()
    w = torch.randn(3, rep_out.size, rep_in.size, dtype=torch.float64)
    expected = (w.flatten(1) @ q.T @ q).view_as(w)
    # The basis was made in float32.
    torch.testing.assert_close(projected(matrix, w), expected, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(expected, w, atol=0.1), "control"


def minimised(layer, energy):
    """The best W and bias for a linear regression with a penalty."""
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.randn(30, 4, dtype=torch.float64)
    free = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    optimizer = torch.optim.LBFGS(
        free, max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = (layer(x) - y).square().mean() + energy(layer)
        value.backward()
        return value

    optimizer.step(loss)
    return layer.weight().detach(), layer.bias().detach(), loss().detach()


class Differentiable(torch.autograd.Function):
    """The penalty with the gradient that it says it has."""

    @staticmethod
    def forward(ctx, w, b, penalty):
        ctx.penalty = penalty
        return penalty.energy().double()

    @staticmethod
    def backward(ctx, grad):
        (layer,) = ctx.penalty.layers
        kept = [layer.residual_weight.grad, layer.residual_bias.grad]
        for parameter in (layer.residual_weight, layer.residual_bias):
            parameter.grad = torch.zeros_like(parameter)
        ctx.penalty.add_gradient()
        found = [layer.residual_weight.grad, layer.residual_bias.grad]
        layer.residual_weight.grad, layer.residual_bias.grad = kept
        return *found, None


def test_both_parametrisations_have_the_same_minimum():
    torch.manual_seed(0)
    two = RPPLinear(2 * V, 2 * V).double()
    torch.manual_seed(2)
    w, b, value = minimised(two, lambda layer: PENALTY.prior("rpp").energy(layer))
    one = as_single_matrices(RPPLinear(2 * V, 2 * V).double())
    penalty = ProjectionPenalty(one, PENALTY)
    torch.manual_seed(2)
    found = minimised(one, lambda layer: Differentiable.apply(layer.residual_weight, layer.residual_bias, penalty))
    torch.testing.assert_close(found[0], w, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], b, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2], value, atol=1e-8, rtol=1e-6)
    wrong = ProjectionPenalty(one, Penalty(equiv=0.3, residual=0.02))
    torch.manual_seed(2)
    other = minimised(one, lambda layer: Differentiable.apply(layer.residual_weight, layer.residual_bias, wrong))
    assert float((other[0] - w).norm()) > 0.01 * float(w.norm()), "control"


MIRROR = Subgroup(cyclic(2), [Element((1,), ())])


def test_penalty_of_two_groups_has_the_minimum_of_a_chain():
    torch.manual_seed(0)
    three = ChainLinear(2 * V, 2 * V, subgroups=[MIRROR]).double()
    torch.manual_seed(2)
    w, b, value = minimised(three, lambda layer: PENALTY.chain_prior(1).energy(layer))
    one = as_single_matrices(RPPLinear(2 * V, 2 * V).double())
    for subgroup, is_same in ((MIRROR, True), (None, False)):
        penalty = joined_pathways(one, PENALTY, subgroup)
        torch.manual_seed(2)
        found = minimised(one, lambda layer: Differentiable.apply(layer.residual_weight, layer.residual_bias, penalty))  # noqa: B023
        if is_same:
            torch.testing.assert_close(found[0], w, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(found[1], b, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(found[2], value, atol=1e-8, rtol=1e-6)
        else:
            assert float((found[0] - w).norm()) > 0.01 * float(w.norm()), "control: one group alone"


@pytest.mark.parametrize("subgroup", [MIRROR, Subgroup(cyclic(4), [Element((0,), ())])], ids=["Z2", "C4"])
def test_penalty_of_two_groups_counts_three_orthogonal_parts(subgroup):
    layer = as_single_matrices(RPPLinear(2 * V, 2 * V).double())
    torch.nn.init.normal_(layer.residual_weight)
    torch.nn.init.zeros_(layer.residual_bias)
    w = layer.residual_weight.detach().flatten()
    parts = []
    for rep in (2 * V, subgroup.restrict(2 * V)):
        q = torch.as_tensor(equivariant_basis(rep, rep)).flatten(1)
        parts.append(q.T @ (q @ w))
    a, level, c = PENALTY.equiv, (PENALTY.equiv * PENALTY.residual) ** 0.5, PENALTY.residual
    factors = [1 / (1 / a + 1 / level + 1 / c), 1 / (1 / level + 1 / c), c]
    squares = [parts[0].square().sum(), (parts[1] - parts[0]).square().sum(), (w - parts[1]).square().sum()]
    expected = sum(factor * square for factor, square in zip(factors, squares, strict=True))
    found = ProjectionPenalty.of_chain(layer, PENALTY, subgroup).energy()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert all(float(square) > 0.1 for square in squares), "control: every part is there"


def networks(group):
    return RPPEMLP(vector(group), vector(group), [tensor_rep(group, 16)], activation="silu", bilinear="tensor")


def test_joining_the_pathways_changes_nothing_but_what_is_learnt():
    net = networks(orthogonal(3))
    x = torch.randn(5, 3)
    before = net(x).detach()
    joined = as_single_matrices(net)
    torch.testing.assert_close(joined(x), before)
    joined(x).square().sum().backward()
    for layer in joined.modules():
        if isinstance(layer, RPPLinear):
            assert layer.equiv_weight.grad is None
            assert layer.residual_weight.grad.any()


def test_penalty_of_several_groups_sees_which_one_is_broken():
    """A matrix that commutes with O(2) about z alone is far from O(3) and near to itself."""
    net = as_single_matrices(networks(orthogonal(3)))
    other = networks(orthogonal_about_z())
    alone = ProjectionPenalty(net, Penalty(1e-12, 1.0))
    about_z = ProjectionPenalty(net, Penalty(1e-12, 1e-12), others={other: 1.0})
    assert float(alone.energy().detach()) < 1e-8
    layer, peer = (next(m for m in n.modules() if isinstance(m, RPPLinear)) for n in (net, other))
    with torch.no_grad():
        layer.residual_weight.copy_(peer.weight())
    assert float(about_z.energy().detach()) < 1e-8
    assert float(alone.energy().detach()) > 1e-2
    with pytest.raises(ValueError, match="layers of the same sizes"):
        ProjectionPenalty(net, PENALTY, others={RPPLinear(V, V): 1.0})
