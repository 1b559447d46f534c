"""Weights that are made once for many passes: the same values and gradients as layer by layer."""

import pytest
import torch

from rpp_rl.nn import RPPEMLP, Weights, hidden_rep, merge, shared_weights
from rpp_rl.symmetry import dihedral, vector

V = vector(dihedral(4))
BATCHES = [(), (5,), (2, 5)]


def network(shake, mode="rpp", activation="relu", ensemble=None, **options):
    hidden = [hidden_rep(V.group, 24)] * 2
    return shake(RPPEMLP(3 * V, V, hidden, mode=mode, activation=activation, ensemble=ensemble, **options))


def gradients(net, x, weights=None, **how):
    x = x.clone().requires_grad_()
    if weights is None:
        y = net(x)
    else:
        with weights.used(**how):
            y = net(x)
    (torch.linspace(0.5, 1, y.shape[-1]) * y.sin()).sum().backward()
    grads = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    return y.detach(), x.grad, grads


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@pytest.mark.parametrize("ensemble", [None, 3])
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_values_and_gradients_are_those_of_the_layers(activation, mode, ensemble, batch, shake, tolerance):
    net = network(shake, mode, activation, ensemble)
    x = torch.randn(*(() if ensemble is None else (ensemble,)), *batch, 6)
    weights = Weights(net)
    weights.make()
    expected_y, expected_x, expected = gradients(net, x)
    y, grad_x, grads = gradients(net, x, weights)
    scale = max(float(grad.abs().max()) for grad in expected if grad.numel())
    torch.testing.assert_close(y, expected_y, rtol=0, atol=tolerance * float(expected_y.abs().max()))
    torch.testing.assert_close(grad_x, expected_x, rtol=0, atol=tolerance * scale)
    for grad, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("options", [{}, {"layer_norm": True}], ids=str)
def test_constant_weights_pass_gradients_to_the_input_only(options, shake, tolerance):
    net = network(shake, **options)
    weights = Weights(net)
    weights.make()
    x = torch.randn(5, 6)
    _, expected, _ = gradients(net, x)
    _, grad_x, grads = gradients(net, x, weights, constant=True)
    torch.testing.assert_close(grad_x, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    linear = [p for layer in weights.layers for p in layer.parameters()]
    assert all(grad is None for p, grad in zip(net.parameters(), grads, strict=True) if any(p is q for q in linear))


def test_a_passes_gradient_does_not_change_what_it_was_given(shake):
    net = network(shake)
    with shared_weights(net):
        hidden = net.trunk(torch.randn(5, 6))
    grad = torch.randn_like(hidden)
    before = grad.clone()
    hidden.backward(grad)
    assert torch.equal(grad, before)


def test_weights_notice_what_is_loaded_or_moved(shake):
    net = network(shake)
    weights = Weights(net)
    assert weights.is_stale
    weights.make()
    assert not weights.is_stale
    net.load_state_dict(net.state_dict())
    assert weights.is_stale
    weights.make()
    net.double()
    assert weights.is_stale


def test_sharing_ends_with_the_block_and_merged_networks_have_nothing_to_share(shake):
    net = network(shake)
    with shared_weights(net):
        assert type(net.trunk(torch.randn(5, 6)).grad_fn).__name__ == "ChainBackward"
    assert type(net.trunk(torch.randn(5, 6)).grad_fn).__name__ != "ChainBackward"
    merged = merge(net)
    x = torch.randn(5, 6)
    with shared_weights(merged):
        torch.testing.assert_close(merged(x), net(x))
