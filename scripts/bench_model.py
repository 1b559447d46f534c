"""Time the training of every kind of transition model side by side, in one process.

The kinds take turns, round after round, so that a change of the machine's speed meets all of them; the median over the
rounds is reported, in CPU time on a CPU and in wall time on a GPU. The data are random numbers, of which no time
depends.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from typing import Any

import numpy as np
import torch
from measuring import processor

import envs_reps
from rpp_rl.dynamics.data import Trajectories
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.training import Trainer
from rpp_rl.envs import EnvSpec

KINDS = ("mlp", "emlp", "rpp")
CHUNK_LENGTH, TEST_LENGTH, N_TEST, N_EPOCHS = 10, 100, 50, 500


def random_data(spec: EnvSpec, n: int, time: int) -> Trajectories:
    """Trajectories without any dynamics."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(n, time + 1, spec.observation.size)).astype(np.float32)
    return Trajectories(states, rng.uniform(-1, 1, size=(n, time, spec.action.size)).astype(np.float32))


def make_trainer(kind: str, spec: EnvSpec, args: argparse.Namespace) -> Trainer:
    """A fresh model in training on the paper's amount of data."""
    torch.manual_seed(0)
    model = TransitionModel(spec, mode=kind, widths=args.net_arch, ensemble=args.ensemble)  # pyright: ignore[reportArgumentType]
    train = random_data(spec, args.n_chunks, CHUNK_LENGTH)
    test = random_data(spec, N_TEST, TEST_LENGTH)
    return Trainer(model.to(args.device), train, test, batch_size=args.batch_size, learning_rate=0.0)


def milliseconds_per_epoch(trainer: Trainer) -> float:
    """Time of one epoch, the loss on the test trajectories included."""
    on_gpu = trainer.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    start = clock()
    trainer.run_epoch()  # which ends in numbers on the CPU, so the device has done its work
    return 1e3 * (clock() - start)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All measurements."""
    torch.set_num_threads(args.num_threads)
    spec = envs_reps.load(args.env, args.group)
    trainers = {kind: make_trainer(kind, spec, args) for kind in args.kinds}
    times: dict[str, list[float]] = {kind: [] for kind in args.kinds}
    for turn in range(args.rounds + 1):
        for kind, trainer in trainers.items():
            elapsed = milliseconds_per_epoch(trainer)
            if turn:  # the first one warms up
                times[kind].append(elapsed)
    n_steps = args.n_chunks // min(args.batch_size, args.n_chunks)
    ms = {kind: statistics.median(values) for kind, values in times.items()}
    return {
        "machine": torch.cuda.get_device_name() if args.device.startswith("cuda") else processor(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "settings": {key: value for key, value in vars(args).items() if key != "json"},
        "group": str(spec.group),
        "n_parameters": {kind: trainer.model.n_parameters for kind, trainer in trainers.items()},
        "ms_per_step": {kind: value / n_steps for kind, value in ms.items()},
        f"seconds_per_{N_EPOCHS}_epochs": {kind: value * N_EPOCHS / 1e3 for kind, value in ms.items()},
        "ratios": {f"{kind}_vs_mlp": ms[kind] / ms["mlp"] for kind in ms if kind != "mlp" and "mlp" in ms},
    }


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--group", help="variant of the environment's specification")
    parser.add_argument("--net-arch", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--ensemble", type=int, help="number of members; absent for a single model")
    parser.add_argument("--batch-size", type=int, default=500, help="chunks of 10 steps per training step")
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
    print(f"{result['machine']}; {result['versions']}")
    print(f"{args.env}, {result['group']}, {args.net_arch}, batch {args.batch_size}, {args.device}")
    print(f"{'model':<8} {'parameters':>10} {'ms/step':>9} {'to mlp':>8}")
    for kind, ms in result["ms_per_step"].items():
        ratio = result["ratios"].get(f"{kind}_vs_mlp", 1.0)
        print(f"{kind:<8} {result['n_parameters'][kind]:>10} {ms:>9.2f} {ratio:>8.2f}")


if __name__ == "__main__":
    main()
