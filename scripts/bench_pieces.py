"""What each piece of `rpp_rl.fast` buys alone: the update with all of them, and again without one at a time.

    python scripts/bench_pieces.py                                  # one update on a CPU, presets base and sb3
    python scripts/bench_pieces.py --overlap                        # and whole trainings with and without overlap

All take turns in one process on batches of their own, as in ``bench_sac_update.py``. ``without / all`` is the time
without the piece relative to that with all of them: 1.05 means that the piece buys 5 %. The last rows are the readable
update, alone and with the choice of the library: what the hand-written update buys as a whole. Overlap is measured by
the clock, so nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from stable_baselines3.common.logger import configure
from torch import Tensor, nn

from rpp_rl.fast import sac_update
from rpp_rl.fast.matmul_library import fast_products
from rpp_rl.fast.passes import AutogradPass
from rpp_rl.nn import RPPLinear
from rpp_rl.runs.environments import make_vec_env, specification
from rpp_rl.runs.train_sac import build_agent
from rpp_rl.sac import RPPSAC, OverlappedRPPSAC
from rpp_rl.sac.config import sac_config
from rpp_rl.shipped_configs import config_file
from scripts.measuring import add_update_flags, fill, in_turns, machine, milliseconds, print_table, set_threads

N_ENVS = 2
"""Environments side by side where overlap is measured."""


class LayerByLayer:
    """Weights from coefficients by the layers themselves, in place of `rpp_rl.fast.basis_product.BasisProduct`."""

    is_stale = False

    def __init__(self, layers: Sequence[RPPLinear], coefficients: Sequence[nn.Parameter]) -> None:
        self.layers, self.coefficients = layers, coefficients
        self.multiply_into(None)
        self.product = torch.cat([tensor.detach().flatten() for tensor in self.graph])

    def multiply_into(self, product: Tensor | None) -> None:
        """Make A and a of every layer, and put them one after the other."""
        with torch.enable_grad():
            self.graph: list[Tensor] = []
            for layer in self.layers:
                assert layer.equiv_weight is not None
                assert layer.equiv_bias is not None
                self.graph += [layer.weight_matrix(layer.equiv_weight), layer.equiv_bias @ layer.bias_basis.T]
        if product is not None:
            torch.cat([tensor.detach().flatten() for tensor in self.graph], out=product)

    def multiply(self) -> None:
        """Make the weights, in ``product``."""
        self.multiply_into(self.product)

    def project(self, grads: Tensor) -> list[Tensor]:
        """The gradients of the coefficients, given that of the product."""
        pieces = grads.split([tensor.numel() for tensor in self.graph])
        shaped = [piece.view(tensor.shape) for piece, tensor in zip(pieces, self.graph, strict=True)]
        return list(torch.autograd.grad(self.graph, self.coefficients, shaped))


class FreshWeights(sac_update.FastUpdate):
    """Makes W = A + B in every pass, and not once per step."""

    def __init__(self, agent: Any) -> None:  # noqa: ANN401
        super().__init__(agent)
        for part, weights in ((self.actor_pass, self.actor_weights), (self.critic_pass, self.critic_weights)):
            vars(part)["forward"] = _after(weights.make, part.forward)

    def _make(self, network: Any, weights: Any) -> None:  # noqa: ANN401
        if weights.is_stale:
            super()._make(network, weights)
        self.step_counts[network] = sac_update._step_counts(network.optimizer)

    def follow_critic(self) -> None:
        """Move the target critics, by weights that are made for it."""
        self.critic_weights.make()
        super().follow_critic()


def _after(first: Callable[[], None], then: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def forward(*args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        first()
        return then(*args, **kwargs)

    return forward


def _with_autograd(weights: Any, function: Any, trunk: Any, heads: Any, *, keep: bool = True) -> AutogradPass:  # noqa: ANN401
    return AutogradPass(weights, function, keep=keep)


def _as_plain(agent: RPPSAC) -> None:
    agent.update = "plain"


class TransformingEachTime(sac_update.FastUpdate):
    """Makes the coordinates of the observations for every network and for the statistics of each."""

    def _features(self, batch: Any, images: Any, *, with_actor: bool) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        for extractor in self.extractors[:2]:
            extractor.update(batch.observations)
        n, (actor, critic, target) = len(batch.observations), self.extractors
        parts = [batch.observations, *([] if images is None else [images.observations]), batch.next_observations]
        several = torch.cat(parts).float()
        return actor(several if with_actor else several[-n:]), critic(several[:n]), target(several[-n:])


PIECES: dict[str, dict[str, Any]] = {
    "passes without autograd": {"rpp_rl.fast.sac_update.make_pass": _with_autograd},
    "basis product": {"rpp_rl.fast.network_weights.BasisProduct": LayerByLayer},
    "weights made once": {"rpp_rl.sac.sac.FastUpdate": FreshWeights},
    "choice of the library": {"rpp_rl.fast.sac_update.fast_products": nullcontext},
    "own step of Adam": {"rpp_rl.fast.adam_step.is_plain": lambda optimizer: False},
    "coordinates made once": {"rpp_rl.sac.sac.FastUpdate": TransformingEachTime},
}
"""Each piece, and what stands in its place when it is left out."""

CHANGES: dict[str, Callable[[RPPSAC], None]] = {
    "plain": _as_plain,
    "plain, choice of the library": _as_plain,
}
"""What is changed about the agent instead."""

ALL = "all"
VARIANTS = (ALL, *PIECES, "plain", "plain, choice of the library")


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Leave out a piece inside the ``with`` block."""
    with ExitStack() as stack:
        for target, stand_in in PIECES.get(name, {}).items():
            stack.enter_context(patch(target, stand_in))
        if name == "plain, choice of the library":
            stack.enter_context(fast_products())
        yield


def make_agent(preset: str, mode: str, args: argparse.Namespace, **settings: Any) -> RPPSAC:  # noqa: ANN401
    """An agent with a preset's settings that logs nothing."""
    flags = {"env": args.env, "mode": mode, "seed": 0, "device": args.device, "buffer_size": 10 * args.n_transitions}
    config = sac_config({**flags, **settings}, config_file(preset, "sac"))
    envs = make_vec_env(config.env, {}, n_envs=config.n_envs, seed=0)
    agent = build_agent(config, specification(config, envs), envs)
    agent.set_logger(configure(None, []))
    return agent


def updates_of(preset: str, mode: str, args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds per update of every variant."""
    timers = {}
    for name in VARIANTS:
        agent = make_agent(preset, mode, args)
        fill(agent, args.env, args.n_transitions)
        CHANGES.get(name, lambda agent: None)(agent)

        def work(n: int, agent: RPPSAC = agent, name: str = name) -> float:
            with variant(name):
                return milliseconds(lambda: agent.train(1, agent.batch_size), n, args.device)

        work(3)  # makes what is made once
        timers[name] = lambda work=work: work(args.n_updates)
    return in_turns(timers, args.rounds)


def trainings_of(preset: str, mode: str, args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds by the clock per step of all environments, with updates during the steps and after them."""
    with ExitStack() as stack:
        timers = {}
        for name, kind in ((ALL, OverlappedRPPSAC), ("overlap", RPPSAC)):
            with patch("rpp_rl.runs.train_sac.algorithm_for", return_value=kind):
                agent = make_agent(preset, mode, args, n_envs=N_ENVS, learning_starts=100)
            stack.enter_context(closing(agent.get_env()))  # pyright: ignore[reportArgumentType]
            agent.learn(100 + 10 * N_ENVS)

            def work(agent: RPPSAC = agent) -> float:
                start = time.perf_counter()
                agent.learn(args.n_updates * N_ENVS, reset_num_timesteps=False)
                return 1000 * (time.perf_counter() - start) / args.n_updates

            timers[name] = work
        return in_turns(timers, args.rounds)


def show(title: str, times: dict[str, float]) -> None:
    """Print the times beside their ratios to the first."""
    print(f"\n{title}")
    first = next(iter(times.values()))
    print_table(["without", "ms", "without / all"], [[name, ms, ms / first] for name, ms in times.items()])


def main() -> None:
    """Parse the command line, measure, print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--presets", nargs="+", default=["base", "sb3"], help="shipped settings of train-sac")
    parser.add_argument("--modes", nargs="+", choices=["rpp", "emlp", "mlp"], default=["rpp"])
    parser.add_argument("--overlap", action="store_true", help="measure whole trainings, too")
    add_update_flags(parser)
    args = parser.parse_args()
    set_threads(args.num_threads)
    about = {"machine": machine(args.device), "num_threads": args.num_threads, "env": args.env}
    kinds = [(preset, mode) for preset in args.presets for mode in args.modes]
    results = {f"{mode}, {preset}: one update": updates_of(preset, mode, args) for preset, mode in kinds}
    if args.overlap:
        results |= {f"{mode}, {preset}: {N_ENVS} steps": trainings_of(preset, mode, args) for preset, mode in kinds}
    if args.json:
        print(json.dumps({**about, "milliseconds": results}, indent=2))
        return
    print(about)
    for title, times in results.items():
        show(title, times)


if __name__ == "__main__":
    main()
