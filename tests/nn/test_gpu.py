"""The layers on an accelerator: the same numbers as on the CPU, and no step that waits for the device."""

import copy

import pytest
import torch

from rpp_rl.nn import RPPEMLP, EquivariantNorm, Prior, hidden_rep, merge, pathways
from rpp_rl.symmetry import parse_group, parse_rep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("D4", "regular", {}),
        ("SO3", "uniform", {"bilinear": True, "layer_norm": True, "activation": "silu"}),
    ],
)
def test_training_step_is_that_of_the_cpu_and_never_waits(name, kind, options, shake):
    group = parse_group(name)
    rep = parse_rep("R + 2*V + R", group)
    modules = [EquivariantNorm(rep), shake(RPPEMLP(rep, rep, [hidden_rep(group, 24, kind)] * 2, **options))]
    x, results = torch.randn(32, rep.size), []
    for device in ("cpu", "cuda"):
        norm, net = (copy.deepcopy(module).to(device) for module in modules)
        batch = x.to(device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            norm.update(batch)
            (net(norm(batch)).square().mean() + Prior(1.0, 0.1).energy(net) / 10).backward()
            Prior(1.0, 0.1).add_gradient(pathways(net), 10)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        gradients = [parameter.grad.cpu() for parameter in net.parameters()]
        results.append([net(norm(batch)).detach().cpu(), merge(net)(norm(batch)).detach().cpu(), *gradients])
    for on_cpu, on_gpu in zip(*results, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-4)
