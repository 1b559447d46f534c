"""Time the training of every kind of transition model, and imagining in an ensemble of it, side by side in one process.

The kinds take turns, round after round, so that a change of the machine's speed meets all of them; the median over the
rounds is reported, in CPU time on a CPU and in wall time on a GPU. A round is one epoch, with the order of its chunks
and the loss on 50 test trajectories. The data are random numbers, on which no time depends.

The limit is that of the arithmetic: the operations of the matrix products, as torch counts them, at the best rate that
any library reaches here in products of the batch with a hidden layer.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch.utils.flop_counter import FlopCounterMode

import envs_reps
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.training import Trainer
from rpp_rl.dynamics.trajectories import Trajectories
from rpp_rl.envs import EnvSpec
from rpp_rl.model_based import World
from scripts.measuring import in_turns, machine, milliseconds, print_table, product_timers, set_threads

KINDS = ("mlp", "emlp", "rpp")
MEMBERS = 5
CHUNK_LENGTH, TEST_LENGTH, N_TEST, N_EPOCHS = 10, 100, 50, 500


def random_data(spec: EnvSpec, n: int, time: int) -> Trajectories:
    """Trajectories without any dynamics."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(n, time + 1, spec.observation.size)).astype(np.float32)
    return Trajectories(states, rng.uniform(-1, 1, size=(n, time, spec.action.size)).astype(np.float32))


def make_trainer(kind: Any, spec: EnvSpec, args: argparse.Namespace) -> Trainer:  # noqa: ANN401
    """A fresh model in training."""
    torch.manual_seed(0)
    model = TransitionModel(spec, mode=kind, widths=args.net_arch, ensemble=args.ensemble).to(args.device)
    data = (random_data(spec, args.n_chunks, CHUNK_LENGTH), random_data(spec, N_TEST, TEST_LENGTH))
    return Trainer(model, *data, batch_size=args.batch_size, learning_rate=0.0, n_epochs=N_EPOCHS)


def make_world(kind: Any, spec: EnvSpec, args: argparse.Namespace) -> World:  # noqa: ANN401
    """An untrained ensemble that is believed wherever it goes, in which nothing ends or is rewarded."""
    actions = Box(-1.0, 1.0, (spec.action.size,))
    world = World(
        spec,
        actions,
        mode=kind,
        widths=tuple(args.net_arch),
        ensemble=MEMBERS,
        learning_rate=0.0,
        reward=lambda obs, action, next_obs: np.zeros(len(obs)),
        terminated=lambda obs: np.zeros(len(obs), dtype=bool),
        device=args.device,
    )
    world.largest_norm = np.inf
    return world


def imagine(world: World, n: int) -> None:
    """One step each from ``n`` observations, without the time of a policy."""
    obs = np.random.default_rng(0).normal(size=(n, world.model.spec.observation.size)).astype(np.float32)
    world.imagine(lambda obs: np.zeros((len(obs), len(world.low)), np.float32), obs, 1)


def training_flops(trainer: Trainer) -> int:
    """Operations of the matrix products of a training step."""
    with FlopCounterMode(display=False) as counter:
        trainer._loss().backward()
    trainer.optimizer.zero_grad()
    return counter.get_total_flops()


def imagining_flops(world: World, n: int) -> float:
    """Operations of the matrix products of one of ``n`` imagined steps, for which weights are made once."""
    sizes = world.model.rep_out.size, len(world.low)
    x, u = (torch.zeros(MEMBERS, n // MEMBERS, size, device=world.device) for size in sizes)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        world.model.distribution(x, u)
    return counter.get_total_flops() / (n // MEMBERS * MEMBERS)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All measurements."""
    set_threads(args.num_threads)
    spec = envs_reps.load(args.env, args.group)
    trainers = {kind: make_trainer(kind, spec, args) for kind in args.kinds}
    worlds = {kind: make_world(kind, spec, args) for kind in args.kinds}
    for kind in args.kinds:
        trainers[kind].run_epoch()
        imagine(worlds[kind], args.rollouts)
    epochs = {kind: lambda t=trainer: milliseconds(t.run_epoch, 1, args.device) for kind, trainer in trainers.items()}
    rollouts = {
        f"imagining {kind}": lambda w=world: milliseconds(lambda: imagine(w, args.rollouts), 1, args.device)
        for kind, world in worlds.items()
    }
    rows = min(args.batch_size, args.n_chunks)
    times = in_turns({**epochs, **rollouts, **product_timers(rows, args.net_arch[0], args.device)}, args.rounds)
    ms = {kind: times[kind] for kind in args.kinds}
    n_steps = args.n_chunks // rows
    fastest = min(times[name] for name in times.keys() - epochs.keys() - rollouts.keys())
    flops_per_ms = 2.0 * rows * args.net_arch[0] ** 2 / fastest
    return {
        "machine": machine(args.device),
        "settings": {**{key: value for key, value in vars(args).items() if key != "json"}, "group": spec.variant},
        "captured": {kind: trainer.graph is not None for kind, trainer in trainers.items()},
        "n_parameters": {kind: trainer.model.n_parameters for kind, trainer in trainers.items()},
        "ms_per_step": {kind: value / n_steps for kind, value in ms.items()},
        "limit_ms_per_step": {kind: training_flops(trainer) / flops_per_ms for kind, trainer in trainers.items()},
        "imagined_per_second": {kind: 1000 * args.rollouts / times[f"imagining {kind}"] for kind in args.kinds},
        "limit_imagined_per_second": {
            kind: 1000 * flops_per_ms / imagining_flops(world, args.rollouts) for kind, world in worlds.items()
        },
        "gigaflops_per_second": flops_per_ms / 1e6,
        f"seconds_per_{N_EPOCHS}_epochs": {kind: value * N_EPOCHS / 1000 for kind, value in ms.items()},
        "ratios": {f"{kind}_vs_mlp": ms[kind] / ms["mlp"] for kind in ms if kind != "mlp" and "mlp" in ms},
    }


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--group", help="variant of the environment's specification; its first when absent")
    parser.add_argument("--net-arch", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--ensemble", type=int, help="number of members; absent for a single model")
    parser.add_argument("--batch-size", type=int, default=500, help=f"chunks of {CHUNK_LENGTH} steps per training step")
    parser.add_argument("--n-chunks", type=int, default=5000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=7, help="epochs measured for each kind")
    parser.add_argument("--rollouts", type=int, default=25_000, help="steps imagined at once")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    result = run(args)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(result["machine"], result["settings"], sep="\n")
    rows: list[list[object]] = [
        [
            kind,
            result["n_parameters"][kind],
            ms,
            result["ratios"].get(f"{kind}_vs_mlp", 1.0),
            ms / result["limit_ms_per_step"][kind],
            round(result["imagined_per_second"][kind], -3),
            result["limit_imagined_per_second"][kind] / result["imagined_per_second"][kind],
        ]
        for kind, ms in result["ms_per_step"].items()
    ]
    heads = ["model", "parameters", "ms per step", "to mlp", "to limit", "imagined steps/s", "limit to it"]
    print_table(heads, rows)
    print(f"the limit is {result['gigaflops_per_second']:.0f} GFLOP/s; imagining in an ensemble of {MEMBERS}")


if __name__ == "__main__":
    main()
