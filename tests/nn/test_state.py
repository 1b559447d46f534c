"""Saving and loading: what a state dict holds, and that it means the same function elsewhere."""

import copy
import io
import subprocess
import sys

import pytest
import torch
from torch import nn

from rpp_rl.nn import RPPEMLP, Bilinear, EquivariantLayerNorm, EquivariantNorm, RPPLinear, hidden_rep
from rpp_rl.symmetry import parse_group, parse_rep

NEW_PROCESS = """
import sys, torch
from rpp_rl.nn import RPPEMLP, hidden_rep
from rpp_rl.symmetry import parse_group, parse_rep
group = parse_group("SO3")
rep = parse_rep("2*R + 2*V", group)
net = RPPEMLP(rep, rep, [hidden_rep(group, 24, "uniform")] * 2, layer_norm=True, bilinear=True)
state, x = torch.load(sys.argv[1])
net.load_state_dict(state)
torch.save(net(x).detach(), sys.argv[2])
"""

SO3 = parse_group("SO3")


def network(name: str) -> RPPEMLP:
    group = parse_group(name)
    rep = parse_rep("2*R + 2*V", group)
    return RPPEMLP(rep, rep, [hidden_rep(group, 24, "uniform")] * 2, layer_norm=True, bilinear=True)


class Parent(nn.Module):
    """A module that holds layers by attribute, in a list and in a dictionary."""

    def __init__(self):
        super().__init__()
        rep = parse_rep("3*R + 2*V", SO3)
        self.norm = EquivariantNorm(rep)
        self.layers = nn.ModuleList([RPPLinear(rep, rep), Bilinear(rep)])
        self.named = nn.ModuleDict({"norm": EquivariantLayerNorm(rep), "net": network("SO3")})

    def forward(self, x):
        for layer in (self.norm, *self.layers, self.named["norm"]):
            x = layer(x)
        return self.named["net"](x[..., 1:9])


@pytest.mark.parametrize("modes", [(True, True), (True, False), (False, True), (False, False)], ids=str)
def test_state_dict_round_trip_in_a_parent(modes, shake):
    first, second = shake(Parent()).train(modes[0]), Parent().train(modes[1])
    first.norm.update(torch.randn(50, 9))
    x = torch.randn(5, 9)
    assert not torch.allclose(second(x), first(x))
    second.load_state_dict(copy.deepcopy(first.state_dict()), strict=True)
    assert torch.equal(second(x), first(x))


@pytest.mark.parametrize("name", ["SO3", "O2", "D3"])
def test_numerical_bases_are_saved_and_restored(name, shake):
    """A basis that came out otherwise, here wiped out, must give way to the saved one."""
    first, second = shake(network(name)), network(name)
    saved = dict(first.named_buffers())
    assert {key for key in first.state_dict() if "basis" in key} <= set(saved)
    x = torch.randn(5, first.rep_in.size)
    bases = [key for key in second.state_dict() if "basis" in key]
    assert bases
    for key in bases:
        second.get_buffer(key).zero_()
    assert not torch.allclose(second(x), first(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(x), first(x))


@pytest.mark.parametrize("kind", ["regular", "uniform"])
@pytest.mark.parametrize("name", ["Z2", "Z4", "D4", "D4perm", "Z2xZ2", "S3"])
def test_closed_forms_are_not_saved(name, kind):
    group = parse_group(name)
    rep = parse_rep("2*R + P + 2*V", group)
    net = RPPEMLP(rep, rep, [hidden_rep(group, 24, kind)] * 2)
    assert list(net.state_dict()) == [key for key, _ in net.named_parameters()]


def test_saved_network_is_the_same_in_a_new_process(tmp_path, shake):
    net = shake(network("SO3"))
    x = torch.randn(5, net.rep_in.size)
    torch.save((net.state_dict(), x), tmp_path / "in.pt")
    command = [sys.executable, "-c", NEW_PROCESS, str(tmp_path / "in.pt"), str(tmp_path / "out.pt")]
    subprocess.run(command, check=True)
    torch.testing.assert_close(torch.load(tmp_path / "out.pt"), net(x))


@pytest.mark.parametrize(
    ("name", "text_in", "text_out", "expected"),
    [
        ("D4", "3*regular", "2*regular", 0.2170),
        ("D4", "14*R + 6*P + 5*V", "4*regular", -5.6196),
        ("D4", "4*regular", "V + 2*P + 2*R", -0.2750),
        ("S3", "3*regular + 2*R", "2*regular + R", 0.4128),
        ("Z2", "3*V + 2*R", "5*V + P", -2.3737),
        ("Z2", "150*V + 20*R + 150*V", "100*V + 20*R + 100*V + R", 1230.0636),
    ],
)
def test_order_of_coefficients_has_not_changed(name, text_in, text_out, expected):
    """Agents saved without their bases depend on it: change these numbers only together with a way to read old ones."""
    group = parse_group(name)
    layer = RPPLinear(parse_rep(text_in, group), parse_rep(text_out, group), mode="emlp")
    with torch.no_grad():
        for parameter, norms in zip(layer.parameters(), layer.equiv_norms(), strict=True):
            parameter.copy_(torch.arange(parameter.numel()).sin() / norms)
    probe_in, probe_out = torch.arange(layer.rep_in.size).cos(), (1.7 * torch.arange(layer.rep_out.size)).cos()
    assert (probe_out @ layer(probe_in)).item() == pytest.approx(expected, rel=1e-4, abs=2e-4)


def test_whole_modules_pickle():
    buffer = io.BytesIO()
    net = network("SO3")
    torch.save(net, buffer)
    buffer.seek(0)
    x = torch.randn(3, 8)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), net(x))


def test_deepcopy_is_independent(shake):
    net = network("SO3")
    twin = copy.deepcopy(net)
    x = torch.randn(3, 8)
    expected = net(x)
    shake(net)
    assert torch.equal(twin(x), expected)
    assert not torch.allclose(net(x), expected)
