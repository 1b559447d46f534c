"""Pointwise functions only where they commute with the group, gates elsewhere."""

import pytest
import torch
from torch import nn

from rpp_rl.nn import Gated, Pointwise, nonlinearity
from rpp_rl.nn.nonlinearity import RESIDUAL_SCALE
from rpp_rl.symmetry import parse_group, parse_rep, trivial, vector

D4 = parse_group("D4")
SO3 = parse_group("SO3")


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
def test_strict_nonlinearity_commutes_with_every_group(activation, group, error, equivariance_tolerance):
    layer = nonlinearity(parse_rep("3*R + 2*P + 2*V + V*V", group), activation, "emlp")
    assert error(layer, layer.rep_in, layer.rep_out) < equivariance_tolerance


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
def test_regular_representations_pass_pointwise(activation, finite_group, error, equivariance_tolerance):
    rep = parse_rep("2*regular + R", finite_group)
    for mode in ("rpp", "emlp"):
        layer = nonlinearity(rep, activation, mode)
        assert type(layer) is Pointwise
        assert error(layer, rep) < equivariance_tolerance


@pytest.mark.parametrize(("activation", "text"), [("relu", "V"), ("relu", "R + P"), ("silu", "2*V"), ("tanh", "V*V")])
def test_pointwise_functions_break_what_they_are_refused_for(activation, text, error):
    """The refusal is right: on these representations the function does not commute."""
    group = SO3 if activation == "tanh" else D4
    rep = parse_rep(text, group)
    function = {"relu": torch.relu, "silu": nn.functional.silu, "tanh": torch.tanh}[activation]
    assert error(function, rep) > 0.01
    with pytest.raises(ValueError, match=r"is not equivariant on .*; use Gated"):
        Pointwise(rep, activation)


def test_odd_functions_are_legal_on_signed_permutations(error):
    rep = parse_rep("2*V + P + regular", D4)
    assert type(nonlinearity(rep, "tanh", "emlp")) is Pointwise
    assert error(Pointwise(rep, "tanh"), rep) < 1e-5
    assert type(nonlinearity(rep, "relu", "emlp")) is Gated


def test_gates_scale_parts_and_scalars_pass_pointwise(dtype):
    rep = 2 * trivial(SO3) + 2 * vector(SO3)
    layer = Gated(rep, "silu")
    assert layer.rep_in == rep + 2 * trivial(SO3)
    x = torch.randn(5, 10)
    scalars, first, second, gates = x.split([2, 3, 3, 2], dim=1)
    sigmoid = 1 / (1 + torch.exp(-gates))
    expected = torch.cat([scalars / (1 + torch.exp(-scalars)), first * sigmoid[:, :1], second * sigmoid[:, 1:]], dim=1)
    torch.testing.assert_close(layer(x), expected)


def test_residual_swish_falls_on_gated_parts_only(error):
    rep = 2 * trivial(SO3) + 2 * vector(SO3)
    soft, strict = nonlinearity(rep, "silu", "rpp"), nonlinearity(rep, "silu", "emlp")
    assert soft.rep_in == strict.rep_in
    x = torch.randn(5, soft.rep_in.size)
    difference = soft(x) - strict(x)
    assert not difference[:, :2].any()
    torch.testing.assert_close(difference[:, 2:], RESIDUAL_SCALE * nn.functional.silu(x[:, 2:8]), rtol=1e-3, atol=1e-6)
    assert 1e-5 < error(soft, soft.rep_in, rep) < 1e-2


def test_plain_mode_has_no_gates_and_no_parameters():
    rep = parse_rep("3*R + 2*V", SO3)
    layer = nonlinearity(rep, "relu", "mlp")
    assert layer.rep_in.size == rep.size
    assert not list(layer.parameters())
    x = torch.randn(4, rep.size)
    assert torch.equal(layer(x), torch.relu(x))


def test_nothing_to_gate_needs_no_gates():
    rep = parse_rep("2*regular", D4)
    layer = Gated(rep, "relu")
    x = torch.randn(3, 16)
    assert layer.rep_in == rep
    assert torch.equal(layer(x), torch.relu(x))


def test_leading_axes_are_batch_axes():
    layer = Gated(parse_rep("R + V", SO3))
    assert layer(torch.randn(5)).shape == (4,)
    assert layer(torch.randn(2, 3, 5)).shape == (2, 3, 4)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="activation must be one of relu, silu, tanh, got 'gelu'"):
        nonlinearity(trivial(D4), "gelu", "rpp")
    with pytest.raises(ValueError, match="activation must be one of relu, silu, tanh, got 'gelu'"):
        Gated(trivial(D4), "gelu")
    with pytest.raises(ValueError, match="mode must be one of rpp, emlp, mlp, got 'soft'"):
        nonlinearity(trivial(D4), "relu", "soft")
