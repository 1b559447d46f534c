"""Every layer is one graph for torch.compile, and compiling changes nothing."""

import pytest
import torch

from rpp_rl.nn import RPPEMLP, Bilinear, EquivariantLayerNorm, EquivariantNorm, Gated, Pointwise, RPPLinear, hidden_rep
from rpp_rl.symmetry import Group, parse_group, parse_rep

D4 = parse_group("D4")
SO3 = parse_group("SO3")
MIXED = parse_rep("3*R + 2*V", SO3)

LAYERS = {
    "one block": lambda: RPPLinear(parse_rep("2*regular", D4), parse_rep("3*regular", D4)),
    "many blocks": lambda: RPPLinear(MIXED, parse_rep("R + V", SO3)),
    "no map": lambda: RPPLinear(parse_rep("R", SO3), parse_rep("V", SO3), mode="emlp"),
    "plain": lambda: RPPLinear(MIXED, MIXED, mode="mlp"),
    "pointwise": lambda: Pointwise(parse_rep("2*regular", D4)),
    "gated": lambda: Gated(MIXED, residual_scale=0.1),
    "bilinear": lambda: Bilinear(parse_rep("V + 3*R + 2*V*V", SO3)),
    "norm": lambda: EquivariantNorm(MIXED),
    "layer norm": lambda: EquivariantLayerNorm(MIXED),
    "regular network": lambda: network(D4, "regular"),
    "gated network": lambda: network(SO3, "uniform", bilinear=True, layer_norm=True),
}


def network(group: Group, kind: str, **options) -> RPPEMLP:
    return RPPEMLP(
        parse_rep("2*R + 2*V", group), parse_rep("R + V", group), [hidden_rep(group, 24, kind)] * 2, **options
    )


def outputs(module, function, x) -> list[torch.Tensor]:
    """The result and the gradients of all parameters."""
    module.zero_grad()
    y = function(x)
    if y.requires_grad:
        y.square().sum().backward()
    return [y.detach(), *(parameter.grad.clone() for parameter in module.parameters())]


def assert_same_when_compiled(module, backend):
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    x = torch.randn(7, module.rep_in.size)
    for actual, expected in zip(outputs(module, compiled, x), outputs(module, module, x), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_layer_compiles_to_one_graph(kind):
    assert_same_when_compiled(LAYERS[kind](), "aot_eager")


@pytest.mark.slow
def test_network_compiles_to_machine_code():
    assert_same_when_compiled(LAYERS["regular network"](), "inductor")
