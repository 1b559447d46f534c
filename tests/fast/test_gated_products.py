"""Products and gates over the batch: the same values, gradients and trainings as layer by layer."""

import weakref
from contextlib import nullcontext

import pytest
import torch

from rpp_rl.fast import shared_weights
from rpp_rl.fast.contraction import FastContraction
from rpp_rl.fast.gated_products import GatedProducts, gated_products
from rpp_rl.nn import RPPEMLP, Bilinear
from rpp_rl.studies import inertia, training
from rpp_rl.studies.representations import tensor_network, tensor_rep
from rpp_rl.studies.training import PAPER_PENALTY, Recipe, epochs_of_training
from rpp_rl.symmetry import orthogonal, parse_group, special_linear, special_orthogonal, vector


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


def network(group, mode="rpp", *, width=60, **options):
    return tensor_network(2 * vector(group), vector(group), mode, width=width, **options)


def scalars_alone(group, mode="rpp", *, activation="silu", members=None):
    """The network of reinforcement learning: products with scalars, no contractions."""
    hidden = [tensor_rep(group, 24)] * 2
    return RPPEMLP(
        2 * vector(group), vector(group), hidden, mode=mode, activation=activation, bilinear=True, ensemble=members
    )


NETWORKS = {
    "O3": lambda **k: network(orthogonal(3), **k),
    "SO3, strict": lambda **k: network(special_orthogonal(3), "emlp", **k),
    "SL3": lambda **k: network(special_linear(3), **k),
    "SO2": lambda **k: network(parse_group("SO2"), **k),
    "scalars alone": lambda **k: scalars_alone(orthogonal(3), **k),
    "relu": lambda **k: scalars_alone(orthogonal(3), "emlp", activation="relu", **k),
}


def outcome(net, x, *, fast):
    """Output and all gradients of some loss."""
    x = x.clone().requires_grad_()
    net.zero_grad()
    with shared_weights(net) if fast else nullcontext():
        y = net(x)
    (torch.linspace(0.5, 1, y.shape[-1]) * y.sin()).sum().backward()
    return y.detach(), x.grad, *(parameter.grad for parameter in net.parameters())


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_values_and_gradients_are_those_of_the_layers(name, members, shake, tolerance):
    net = shake(NETWORKS[name](members=members), 0.05)
    x = torch.randn(*(() if members is None else (members,)), 7, net.rep_in.size)
    with shared_weights(net):
        assert net.trunk.stand_in is not None
    for found, expected in zip(outcome(net, x, fast=True), outcome(net, x, fast=False), strict=True):
        scale = float(expected.abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(found, expected, rtol=0, atol=10 * tolerance * max(scale, 1.0))


def test_both_orders_of_a_contraction_are_the_same_and_both_occur(shake, monkeypatch):
    net = shake(network(orthogonal(3), width=120), 0.02).double()
    orders = {c.product_first for layer in gated_products(net.trunk) for c in layer.contractions}
    assert orders == {True, False}
    x = torch.randn(7, 6, dtype=torch.float64)
    expected = outcome(net, x, fast=True)
    before = FastContraction.__init__

    def other_order(self, *args):
        before(self, *args)
        self.product_first = not self.product_first

    monkeypatch.setattr(FastContraction, "__init__", other_order)
    for found, other in zip(outcome(net, x, fast=True), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-9, atol=1e-10)


def test_a_wrong_factor_would_be_seen(shake):
    """Negative control of the comparison: it notices a bilinear layer whose factor is off by a per mille."""
    net = shake(network(orthogonal(3)), 0.05).double()
    x = torch.randn(7, 6, dtype=torch.float64)
    expected = outcome(net, x, fast=False)
    for layer in net.modules():
        if isinstance(layer, Bilinear):
            layer.scale *= 1.001
    found = outcome(net, x, fast=True)
    errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True) if b.numel()]
    assert max(errors) > 1e-5


@pytest.mark.parametrize("backward", [True, False])
def test_what_a_pass_keeps_is_gone_with_its_output(backward, monkeypatch):
    kept, forward = [], GatedProducts.forward

    def observed(self, *args):
        result = forward(self, *args)
        kept.extend(weakref.ref(tensor) for tensor in (result.new, result.gates))
        return result

    monkeypatch.setattr(GatedProducts, "forward", observed)
    net = network(orthogonal(3), members=3)
    with shared_weights(net):
        y = net(torch.randn(3, 7, 6)).sum()
    assert all(tensor() is not None for tensor in kept)
    if backward:
        y.backward()
    del y
    assert len(kept) == 12
    assert all(tensor() is None for tensor in kept)


def test_what_does_not_fit_goes_the_plain_way():
    assert gated_products(network(orthogonal(3), twins=True).trunk) is None
    assert gated_products(network(orthogonal(3), "mlp").trunk) is None
    assert (
        gated_products(tensor_network(vector(orthogonal(3)), vector(orthogonal(3)), "rpp", width=24).trunk[:2]) is None
    )


@pytest.mark.parametrize(
    ("group", "mode"), [(orthogonal(3), "rpp"), (orthogonal(3), "emlp"), (special_linear(3), "rpp")], ids=str
)
def test_a_training_has_the_losses_of_the_layers(group, mode, monkeypatch):
    data = inertia.sample(2, 40, torch.Generator().manual_seed(0))
    recipe = Recipe(10, 20, 1e-2, PAPER_PENALTY.prior(mode))
    losses = []
    for context in (shared_weights, lambda _: nullcontext()):
        monkeypatch.setattr(training, "shared_weights", context)
        torch.manual_seed(1)
        net = inertia.network(group, mode, width=48, members=2)
        losses.append(torch.stack(list(epochs_of_training(net, *data, training.squared_error, recipe, seed=0))))
    assert (losses[0][-1] < 0.98 * losses[0][0]).all(), "it learns"
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=0)
