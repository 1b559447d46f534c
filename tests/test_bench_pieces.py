"""Leaving out a piece of the fast code changes the time of an update and not its numbers."""

import argparse

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from scripts import bench_pieces
from scripts.bench_pieces import ALL, CHANGES, VARIANTS, make_agent, variant
from scripts.measuring import fill

pytestmark = [
    pytest.mark.mujoco,
    pytest.mark.filterwarnings("ignore:.*is out of date"),
]
ARGS = argparse.Namespace(env="Ant-v4", device="cpu", n_transitions=50, n_updates=2, rounds=1)
SMALL = {"net_arch": [16, 16], "batch_size": 16}


def updated(name, n=6, seed=0):
    """The parameters before and after some updates without a piece."""
    torch.manual_seed(0)
    agent = make_agent("base", "rpp", ARGS, **SMALL)
    fill(agent, ARGS.env, ARGS.n_transitions)
    CHANGES.get(name, lambda agent: None)(agent)
    before = parameters_to_vector(agent.policy.parameters()).detach().clone()
    torch.manual_seed(seed)
    with variant(name):
        for k in range(n):
            np.random.seed(k)  # noqa: NPY002 (buffers draw from the global stream)
            agent.train(1, agent.batch_size)
    return before, parameters_to_vector(agent.policy.parameters()).detach()


@pytest.fixture(scope="module")
def with_all():
    return updated(ALL)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != ALL])
def test_an_update_without_a_piece_is_the_same(name, with_all):
    before, expected = with_all
    _, ours = updated(name)
    assert (ours - expected).norm() < 1e-4 * (expected - before).norm()


def test_other_noise_makes_another_update(with_all):
    """Negative control."""
    before, expected = with_all
    assert (updated(ALL, seed=1)[1] - expected).norm() > 1e-2 * (expected - before).norm()


def test_what_stands_in_is_used(monkeypatch):
    """Every name that is replaced is there, and is asked for in an update."""
    for name, stand_ins in bench_pieces.PIECES.items():
        calls = []
        for target, stand_in in stand_ins.items():

            def noting(*args, stand_in=stand_in, calls=calls, **kwargs):
                calls.append(1)
                return stand_in(*args, **kwargs)

            monkeypatch.setitem(bench_pieces.PIECES, name, {target: noting})
        updated(name, n=2)
        assert calls or not stand_ins, name
