"""Weights that are made once for many passes: the same values and gradients as layer by layer."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from rpp_rl.fast import Weights, shared_weights
from rpp_rl.fast.chain_pass import ChainPass
from rpp_rl.fast.passes import AutogradPass, make_pass
from rpp_rl.nn import RPPEMLP, hidden_rep, merge
from rpp_rl.symmetry import cyclic, dihedral, sign, special_orthogonal, trivial, vector

V = vector(dihedral(4))
Z = vector(cyclic(2))
W = vector(special_orthogonal(3))
BATCHES = [(), (5,), (2, 5)]


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


def network(shake, mode="rpp", activation="relu", ensemble=None, **options):
    hidden = [hidden_rep(V.group, 24)] * 2
    return shake(RPPEMLP(3 * V, V, hidden, mode=mode, activation=activation, ensemble=ensemble, **options))


def gradients(net, x, *, shared):
    x = x.clone().requires_grad_()
    with shared_weights(net) if shared else nullcontext():
        y = net(x)
    (torch.linspace(0.5, 1, y.shape[-1]) * y.sin()).sum().backward()
    grads = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    return y.detach(), x.grad, grads


def test_shared_weights_are_made_once_and_carry_gradients(shake):
    net = network(shake)
    x, z = torch.randn(2, 5, net.rep_in.size)
    (net(x).sum() + net(z).square().sum()).backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    with shared_weights(net):
        y, weights = net(x), net.head.shared
        assert torch.equal(merge(net)(x), y)
        (y.sum() + net(z).square().sum()).backward()
        assert net.head.shared is weights
    assert net.head.shared is None
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)
    shake(net)
    assert not torch.equal(net(x), y), "weights are fresh after the block"


def test_shared_weights_are_dropped_after_an_error(shake):
    net = network(shake)
    with pytest.raises(RuntimeError), shared_weights(net):
        net(torch.randn(1, 3))
    assert net.head.shared is None


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@pytest.mark.parametrize("ensemble", [None, 3])
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_values_and_gradients_are_those_of_the_layers(activation, mode, ensemble, batch, shake, tolerance):
    net = network(shake, mode, activation, ensemble)
    x = torch.randn(*(() if ensemble is None else (ensemble,)), *batch, 6)
    expected_y, expected_x, expected = gradients(net, x, shared=False)
    y, grad_x, grads = gradients(net, x, shared=True)
    scale = max(float(grad.abs().max()) for grad in expected if grad.numel())
    torch.testing.assert_close(y, expected_y, rtol=0, atol=tolerance * float(expected_y.abs().max()))
    torch.testing.assert_close(grad_x, expected_x, rtol=0, atol=tolerance * scale)
    for grad, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, other, rtol=0, atol=tolerance * scale)


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
    for to_other_type in (net.double, net.float):
        to_other_type()
        assert weights.is_stale
        weights.make()
        for layer, (weight, bias) in zip(weights.layers, weights.pairs, strict=True):
            torch.testing.assert_close(weight, layer.weight().detach())
            torch.testing.assert_close(bias, layer.bias().detach())


def test_sharing_ends_with_the_block_and_merged_networks_have_nothing_to_share(shake):
    net = network(shake)
    with shared_weights(net):
        assert type(net.trunk(torch.randn(5, 6)).grad_fn).__name__ == "ChainBackward"
    assert type(net.trunk(torch.randn(5, 6)).grad_fn).__name__ != "ChainBackward"
    merged = merge(net)
    x = torch.randn(5, 6)
    with shared_weights(merged):
        torch.testing.assert_close(merged(x), net(x))


NETWORKS = {
    "regular": lambda **k: RPPEMLP(3 * V + 2 * trivial(V.group), V, [hidden_rep(V.group, 24)] * 2, **k),
    "filled up": lambda **k: RPPEMLP(3 * V, V, [hidden_rep(V.group, 27)] * 2, **k),
    "interleaved": lambda **k: RPPEMLP(Z + sign(Z.group) + Z, sign(Z.group) + Z, [8 * Z + 3 * sign(Z.group)], **k),
    "gated": lambda **k: RPPEMLP(2 * W, W + trivial(W.group), [hidden_rep(W.group, 32, "uniform")] * 2, **k),
    "no hidden layer": lambda **k: RPPEMLP(V, sign(V.group) + V, [], **k),
}


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("ensemble", [None, 2])
@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@pytest.mark.parametrize("name", NETWORKS)
def test_made_weights_and_pulled_gradients_are_those_of_every_layer(
    name, mode, ensemble, on_cpu, shake, tolerance, monkeypatch
):
    monkeypatch.setattr(Weights, "on_cpu", on_cpu)
    net = shake(NETWORKS[name](mode=mode, ensemble=ensemble))
    weights = Weights(net)
    for _ in range(2):  # the second time into the same memory
        weights.make()
        shake(net)
    weights.make()
    expected = [tensor for layer in weights.layers for tensor in (layer.weight(), layer.bias())]
    made = [tensor for pair in weights.pairs for tensor in pair]
    for tensor, other in zip(made, expected, strict=True):
        torch.testing.assert_close(tensor, other.detach(), rtol=0, atol=10 * tolerance)
    grads = [torch.randn_like(tensor) for tensor in made]
    torch.autograd.backward(expected, grads)
    wanted = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    weights.pull_back(list(zip(grads[::2], grads[1::2], strict=True)))
    for parameter, grad in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=0, atol=10 * tolerance)


def test_merged_parameters_are_those_of_the_merged_network(shake):
    net = shake(RPPEMLP(3 * V, V, [hidden_rep(V.group, 24)], ensemble=2, layer_norm=True))
    weights = Weights(net)
    weights.make()
    for ours, parameter in zip(weights.merged_parameters(), merge(net).parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.detach())


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@pytest.mark.parametrize("ensemble", [None, 3])
def test_passes_without_autograd_are_those_with_it(activation, mode, ensemble, shake, tolerance):
    net = network(shake, mode, activation, ensemble)
    weights = Weights(net)
    weights.make()

    def function(x):
        return net(x if ensemble is None else x.expand(ensemble, *x.shape))

    chain, reference = make_pass(weights, function, net.trunk, [net.head]), AutogradPass(weights, function)
    assert isinstance(chain, ChainPass)
    members = () if ensemble is None else (ensemble,)
    for n in (5, 7):  # batches of several sizes
        x, grad = torch.randn(n, 6), torch.randn(*members, n - 2, 2)
        # As where the least of several values is taken: a row counts for one member only.
        owner = torch.arange(n - 2) % 3
        if ensemble is not None:
            grad = grad * (owner == torch.arange(3)[:, None])[..., None]
        results = []
        for one in (chain, reference):
            net.zero_grad()
            y = one.forward(x).clone()
            one.backward(grad)
            grads = [parameter.grad.clone() for parameter in net.parameters()]
            one.forward(x, constant=True)
            results.append([y, *grads, one.input_gradient(grad, first=4).clone()])
        scale = max(float(tensor.abs().max()) for tensor in results[1] if tensor.numel())
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * scale)


def test_layers_side_by_side_follow_their_weights(shake, tolerance):
    """Two heads are joined for speed; the joint weights must not be those of an earlier step."""
    net, other = network(shake), network(shake)
    heads = nn.ModuleList([net.head, other.head])
    whole = nn.ModuleList([net.trunk, heads])
    weights = Weights(whole)

    def function(x):
        h = net.trunk(x)
        return torch.cat([head(h) for head in heads], dim=-1)

    joined = make_pass(weights, function, net.trunk, list(heads))
    x = torch.randn(5, 6)
    for _ in range(2):
        shake(whole)
        weights.make()
        expected = function(x).detach()
        torch.testing.assert_close(joined.forward(x), expected, rtol=0, atol=tolerance * float(expected.abs().max()))


def test_loaded_bases_are_noticed(shake):
    """A numerical null space is saved with the parameters and may be another one in the file."""
    net, other = (shake(NETWORKS["gated"]()) for _ in range(2))
    weights = Weights(net)
    weights.make()
    state = other.state_dict()
    bases = [key for key in state if key.endswith("basis") and state[key].any()]
    assert bases, "control: some bases are saved"
    for key in bases:
        state[key] = -state[key]
    net.load_state_dict(state)
    weights.make()
    for layer, (weight, bias) in zip(weights.layers, weights.pairs, strict=True):
        torch.testing.assert_close(weight, layer.weight().detach())
        torch.testing.assert_close(bias, layer.bias().detach())


def test_weights_of_another_device_leave_nothing_behind(shake):
    """There and back again."""
    net = network(shake)
    weights = Weights(net)
    weights.make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Weights, "on_cpu", False)
        weights.make()
    shake(net)
    weights.make()
    for layer, (weight, bias) in zip(weights.layers, weights.pairs, strict=True):
        torch.testing.assert_close(weight, layer.weight().detach())
        torch.testing.assert_close(bias, layer.bias().detach())
    for _ in range(2):  # a graph of gradients would serve once only
        weights.pull_back([(torch.ones_like(weight), torch.ones_like(bias)) for weight, bias in weights.pairs])


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_frozen_parameters_get_no_gradients(mode, on_cpu, shake, monkeypatch):
    monkeypatch.setattr(Weights, "on_cpu", on_cpu)
    net = network(shake, mode)
    weights = Weights(net)
    weights.make()
    net.head.requires_grad_(False)
    assert weights.is_stale
    weights.make()
    weights.pull_back([(torch.ones_like(weight), torch.ones_like(bias)) for weight, bias in weights.pairs])
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == name.startswith("head"), name


def test_passes_without_gradients_keep_no_graph(shake):
    net = network(shake)
    weights = Weights(net)
    weights.make()
    for keep in (True, False):
        one = AutogradPass(weights, net, keep=keep)
        one.forward(torch.randn(5, 6))
        assert one.y.requires_grad == keep
