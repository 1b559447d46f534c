"""Time the training of every kind of transition model side by side, in one process.

The kinds take turns, round after round, so that a change of the machine's speed meets all of them; the median over the
rounds is reported, in CPU time on a CPU and in wall time on a GPU. A round is one epoch, with the order of its chunks
and the loss on 50 test trajectories. The data are random numbers, on which no time depends.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch

import envs_reps
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.training import Trainer
from rpp_rl.dynamics.trajectories import Trajectories
from rpp_rl.envs import EnvSpec
from scripts.measuring import in_turns, machine, milliseconds, print_table, set_threads

KINDS = ("mlp", "emlp", "rpp")
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


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All measurements."""
    set_threads(args.num_threads)
    spec = envs_reps.load(args.env, args.group)
    trainers = {kind: make_trainer(kind, spec, args) for kind in args.kinds}
    for trainer in trainers.values():
        trainer.run_epoch()
    epochs = {kind: lambda t=trainer: milliseconds(t.run_epoch, 1, args.device) for kind, trainer in trainers.items()}
    ms = in_turns(epochs, args.rounds)
    n_steps = args.n_chunks // min(args.batch_size, args.n_chunks)
    return {
        "machine": machine(args.device),
        "settings": {**{key: value for key, value in vars(args).items() if key != "json"}, "group": spec.variant},
        "captured": {kind: trainer.graph is not None for kind, trainer in trainers.items()},
        "n_parameters": {kind: trainer.model.n_parameters for kind, trainer in trainers.items()},
        "ms_per_step": {kind: value / n_steps for kind, value in ms.items()},
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
        [kind, result["n_parameters"][kind], ms, result["ratios"].get(f"{kind}_vs_mlp", 1.0)]
        for kind, ms in result["ms_per_step"].items()
    ]
    print_table(["model", "parameters", "ms per step", "to mlp"], rows)


if __name__ == "__main__":
    main()
