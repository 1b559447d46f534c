"""Whole networks: equivariance, hidden representations, merging, size."""

import tracemalloc

import pytest
import torch
from torch import nn

from rpp_rl.nn import (
    RPPEMLP,
    EquivariantMatrix,
    RPPLinear,
    hidden_rep,
    merge,
    trunk,
)
from rpp_rl.nn.norm import EPSILON
from rpp_rl.symmetry import Group, parse_group, parse_rep, regular, trivial, vector

D4 = parse_group("D4")
SO3 = parse_group("SO3")
OBS, ACTION = parse_rep("14*R + 6*P + 45*V", D4), parse_rep("4*V", D4)
"""Ant-v5 has 110 coordinates with the rotation matrix in place of the quaternion, and 8 actions."""

OPTIONS = ({}, {"layer_norm": True}, {"bilinear": True, "activation": "silu"}, {"bilinear": True, "layer_norm": True})


def small(group: Group, mode="rpp", kind="uniform", width=24, **options) -> RPPEMLP:
    """A network from points and velocities to a vector."""
    hidden = 2 * [hidden_rep(group, width, kind)]
    return RPPEMLP(parse_rep("2*R + 2*V", group), parse_rep("R + V", group), hidden, mode=mode, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_strict_network_commutes_with_every_group(options, group, error, shake, equivariance_tolerance):
    net = shake(small(group, "emlp", **options))
    assert error(net, net.rep_in, net.rep_out) < equivariance_tolerance


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
def test_strict_network_with_regular_layers_commutes(activation, finite_group, error, shake, equivariance_tolerance):
    net = shake(small(finite_group, "emlp", "regular", activation=activation))
    assert error(net, net.rep_in, net.rep_out) < equivariance_tolerance


def test_soft_network_starts_equivariant_where_no_part_is_gated(finite_group, error):
    net = small(finite_group, kind="regular")
    assert error(net, net.rep_in, net.rep_out) < 1e-5


def test_soft_network_leaves_symmetry_by_its_residual(group, error):
    """Negative control."""
    net = small(group)
    assert error(net, net.rep_in, net.rep_out) < 1e-2
    for layer in (net.head, *net.trunk):
        if isinstance(layer, RPPLinear):
            nn.init.normal_(layer.residual_weight, std=0.1)
    assert error(net, net.rep_in, net.rep_out) > 1e-2


def test_plain_network_is_not_equivariant(group, error):
    """Negative control."""
    net = small(group, "mlp")
    assert error(net, net.rep_in, net.rep_out) > 1e-2


@pytest.mark.parametrize("layer_norm", [False, True])
def test_plain_network_is_the_plain_baseline(layer_norm):
    """No gates, no extra parameters, the same random numbers: only plain layers and the activation."""
    torch.manual_seed(3)
    net = small(SO3, "mlp", layer_norm=layer_norm)
    norm = [nn.RMSNorm(24, eps=EPSILON, elementwise_affine=False)] if layer_norm else []
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(8, 24), *norm, nn.ReLU(), nn.Linear(24, 24), *norm, nn.ReLU(), nn.Linear(24, 4))
    assert sum(p.numel() for p in net.parameters()) == 8 * 24 + 24 + 24 * 24 + 24 + 24 * 4 + 4
    assert not list(net.buffers())
    x = torch.randn(5, 8)
    torch.testing.assert_close(net(x), plain(x))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@pytest.mark.parametrize("name", ["D4", "S3", "SO2", "O3"])
def test_merged_network_computes_the_same(name, mode, options, dtype, shake):
    net = shake(small(parse_group(name), mode, **options))
    merged = merge(net)
    kinds = {type(module) for module in merged.modules()}
    assert nn.Linear in kinds
    assert not kinds & {RPPLinear, EquivariantMatrix}
    x = torch.randn(6, net.rep_in.size)
    y = net(x)
    assert (merged(x) - y).norm() <= (1e-5 if dtype == torch.float32 else 1e-12) * y.norm()
    shake(net)
    assert torch.equal(merged(x), merge(merged)(x)), "the copy shares nothing with the network"


def test_merging_finds_shared_and_nested_layers():
    layer = RPPLinear(vector(D4), vector(D4))
    net = nn.Sequential(layer, nn.ModuleDict({"again": nn.ModuleList([layer])}), layer)
    merged = merge(net)
    assert merged[0] is merged[2] is merged[1]["again"][0]
    assert type(merged[0]) is nn.Linear
    assert net[0] is layer, "the original stays"


def test_gradient_reaches_every_parameter(group):
    for options in OPTIONS:
        net = small(group, **options)
        net(torch.randn(32, net.rep_in.size)).square().sum().backward()
        silent = [name for name, p in net.named_parameters() if p.numel() and not p.grad.any()]
        assert not silent


@pytest.mark.parametrize(
    ("name", "width", "kind", "expected"),
    [
        ("D4", 256, "regular", "32*regular"),
        ("D4", 260, "regular", "32*regular + 4*R"),
        ("D4", 8, "regular", "regular"),
        ("1", 5, "regular", "5*R"),
        ("1", 5, "uniform", "5*R"),
        ("D4", 2, "uniform", "2*R"),
        ("D4", 4, "uniform", "2*R + V"),
        ("SO3", 27, "uniform", "9*R + 3*V + V*V"),
        ("SO3", 128, "uniform", "38*R + 12*V + 3*V*V + V*V*V"),
        ("SO2", 16, "uniform", "6*R + 3*V + V*V"),
        ("SO3", 226, "136*R + 30*V", "136*R + 30*V"),
    ],
)
def test_hidden_representations(name, width, kind, expected):
    group = parse_group(name)
    rep = hidden_rep(group, width, kind)
    assert rep.size == width
    if kind == "regular" and name == "1":
        assert rep == 5 * regular(group)
    else:
        assert rep == parse_rep(expected, group)


@pytest.mark.parametrize("width", [1, 2, 7, 64, 100, 255, 256, 400])
def test_uniform_heuristic_fills_any_width(width, group):
    """Equal shares for V^0..V^r as long as a full round fits, the rest the same way; small tensors come first."""
    rep = hidden_rep(group, width, "uniform")
    assert rep.size == width
    shares = [count * part.size for count, part in rep.parts]
    sizes = [part.size for _, part in rep.parts]
    assert sizes == [group.d**k for k in range(len(sizes))]
    assert shares == sorted(shares, reverse=True)
    assert max(sizes) <= 32
    top = sizes[-1]
    assert (len(sizes) + 1) * top * group.d > width or top * group.d > 32, "one more tensor power would have fitted"


@pytest.mark.parametrize(
    ("name", "width", "kind", "message"),
    [
        ("SO2", 64, "regular", r"SO2 is infinite and has no regular representation; use hidden='uniform'"),
        ("D4", 7, "regular", r"a regular representation of D4 has 8 coordinates, more than 7; use wider layers or"),
        ("D4", 0, "regular", r"a hidden layer needs a positive width, got 0"),
        ("D4", 64, "3*V", r"the hidden representation '3\*V' of D4 has 6 coordinates, expected 64"),
        ("D4", 64, "regulr", r"cannot read the representation 'regulr'"),
        ("D4", 64, "", r"cannot read the representation ''"),
    ],
)
def test_impossible_hidden_representations_are_refused_in_one_line(name, width, kind, message):
    with pytest.raises(ValueError, match=message) as caught:
        hidden_rep(parse_group(name), width, kind)
    assert "\n" not in str(caught.value)


def test_impossible_networks_are_refused():
    with pytest.raises(ValueError, match="no common group"):
        RPPEMLP(vector(D4), vector(D4), [hidden_rep(SO3, 16, "uniform")])
    with pytest.raises(ValueError, match="the bilinear layer needs scalars"):
        small(D4, kind="regular", bilinear=True)
    with pytest.raises(ValueError, match="mode must be one of rpp, emlp, mlp, got 'soft'"):
        small(D4, mode="soft")
    with pytest.raises(ValueError, match="activation must be one of"):
        small(D4, activation="elu")
    with pytest.raises(ValueError, match="equivariant layer norm needs an orthogonal representation"):
        small(parse_group("SL2"), layer_norm=True)


def test_network_without_hidden_layers_is_its_head():
    net = RPPEMLP(vector(D4), vector(D4), [])
    x = torch.randn(3, 2)
    assert torch.equal(net(x), net.head(x))


def test_trunk_places_extras_between_linear_map_and_nonlinearity():
    layers = trunk(vector(SO3), [parse_rep("4*R + 4*V", SO3)], bilinear=True, layer_norm=True, activation="silu")
    assert [type(layer).__name__ for layer in layers] == ["RPPLinear", "Bilinear", "EquivariantLayerNorm", "Gated"]
    assert layers[0].rep_out.size == 4 + 12 + 4, "one gate for each vector"


@pytest.mark.parametrize("kind", ["regular", "uniform"])
def test_networks_of_ants_size_are_small(kind):
    """No buffer nor intermediate comes near the (256 · 256)² numbers of a projector."""
    assert (OBS.size, ACTION.size) == (110, 8)
    hidden = [hidden_rep(D4, 256, kind)] * 2
    tracemalloc.start()
    actor = RPPEMLP(OBS, ACTION, hidden)
    critic = RPPEMLP(OBS + ACTION, trivial(D4), hidden)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    for net in (actor, critic):
        assert max(buffer.numel() for buffer in net.buffers()) < 5e5
        assert not any("basis" in key for key in net.state_dict()), "closed forms are not saved"
        assert net(torch.randn(3, net.rep_in.size)).shape == (3, net.rep_out.size)
