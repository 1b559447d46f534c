"""The benchmarks' own arithmetic: operations counted by torch, products that are products, turns that are fair."""

from argparse import Namespace
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import envs_reps
from scripts import bench_model, measuring


def network(*sizes):
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(("obs_dim", "act_dim", "net_arch", "batch"), [(27, 8, [256, 256], 256), (5, 2, [16], 7)])
def test_operations_are_those_that_torch_counts(obs_dim, act_dim, net_arch, batch):
    actor = network(obs_dim, *net_arch, 2 * act_dim)
    critics = [network(obs_dim + act_dim, *net_arch, 1) for _ in range(2)]
    obs = torch.randn(batch, obs_dim, requires_grad=True)  # the count includes the gradients of all inputs
    with FlopCounterMode(display=False) as counter:
        actions = actor(obs)[:, :act_dim]
        with torch.no_grad():
            next_actions = actor(obs)[:, :act_dim]
            for critic in critics:
                critic(torch.cat([obs, next_actions], dim=1))
        inputs = torch.randn(batch, obs_dim + act_dim, requires_grad=True)
        sum(critic(inputs).sum() for critic in critics).backward()
        for critic in critics:
            critic.requires_grad_(False)
        sum(critic(torch.cat([obs, actions], dim=1)).sum() for critic in critics).backward()
    assert measuring.update_flops(obs_dim, act_dim, net_arch, batch) == counter.get_total_flops()


def test_the_ant_needs_616_million_operations():
    assert round(measuring.update_flops(27, 8, [256, 256], 256) / 1e6) == 616


def test_only_accurate_products_count(monkeypatch):
    assert {"linear", "mm", "bmm", "numpy"} <= measuring.product_ways(32, 16, "cpu").keys()
    monkeypatch.setattr(measuring, "ACCURACY", 0.0)
    assert measuring.product_ways(32, 16, "cpu") == {}


def test_all_take_turns_and_the_median_counts():
    order, slow = [], iter([1.0, 9.0, 2.0])
    works = {"a": lambda: order.append("a") or 3.0, "b": lambda: order.append("b") or next(slow)}
    assert measuring.in_turns(works, 3) == {"a": 3.0, "b": 2.0}
    assert order == ["a", "b"] * 3


def test_operations_of_models_are_those_of_their_layers():
    """Forward one product per weight, row and step; backward two, but for the input of the first step."""
    args = Namespace(net_arch=[16, 24], ensemble=None, device="cpu", n_chunks=6, batch_size=6)
    spec = envs_reps.load("Hopper-v4")
    n_in, n_out = spec.obs_rep.size + spec.action_rep.size, spec.obs_rep.size
    layers = n_in * 16 + 16 * 24 + 24 * n_out
    flops = bench_model.training_flops(bench_model.make_trainer("mlp", spec, args))
    assert flops == 2 * 6 * (10 * 3 * layers - n_in * 16)
    imagined = bench_model.imagining_flops(bench_model.make_world("mlp", spec, args), 30)
    assert imagined == 2 * (layers + 24 * n_out)
