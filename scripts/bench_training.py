"""Whole trainings side by side, environment included: steps per second, peak memory, and the time to the first step.

    python scripts/bench_training.py --kinds sb3 mlp rpp

Every training has a process of its own, as a user's has, and waits while another takes its turn. Wall time counts here,
so nothing else should run on the machine; process time is printed beside it and says whether something did.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from rpp_rl.runs.environments import make_vec_env
from scripts.measuring import KINDS, OURS, available, machine, make_agent, print_table, set_threads

WARM_UP = 200
"""Random steps, and steps with updates, before the clock starts: what is compiled is compiled then."""

COLUMNS = {
    "steps_per_second": "steps/s",
    "cpu_ms_per_step": "CPU ms/step",
    "peak_mib": "peak [MiB]",
    "start_up_seconds": "first step after [s]",
    "start_up_cpu_seconds": "CPU [s]",
}

FIRST_STEP = """
import os, sys, time
from stable_baselines3.common.vec_env import DummyVecEnv

def first_step(envs):
    print(time.time(), time.process_time(), flush=True)
    os._exit(0)

DummyVecEnv.step_wait = first_step
"""
STARTS = {
    "sb3": "from stable_baselines3 import SAC; SAC('MlpPolicy', {env!r}, device={device!r}).learn(1)",
    "sbx": "from sbx import SAC; SAC('MlpPolicy', {env!r}).learn(1)",
    **{
        mode: f"from rpp_rl.cli.train_sac import main; main(['--env', {{env!r}}, '--{mode}', '--device', {{device!r}}])"
        for mode in ("mlp", "emlp", "rpp")
    },
}
"""How a training begins; ``train-sac`` reads settings and makes folders besides, which belongs to its time."""


def train(kind: str, args: argparse.Namespace, pipe: Connection) -> None:
    """A process that trains for a while whenever it is told to, and says how long that took."""
    set_threads(args.num_threads)
    with ExitStack() as stack:
        settings: dict[str, Any] = {"learning_starts": WARM_UP}
        if kind in OURS and args.num_envs > 1:
            settings["envs"] = make_vec_env(args.env, {}, n_envs=args.num_envs, seed=0)
            settings["gradient_steps"] = args.num_envs
            stack.callback(settings["envs"].close)
        agent = make_agent(kind, args.env, args.group, args.net_arch, args.device, **settings)
        agent.learn(2 * WARM_UP)
        pipe.send(None)
        while (n_steps := pipe.recv()) is not None:
            wall, cpu = time.perf_counter(), time.process_time()
            agent.learn(n_steps, reset_num_timesteps=False)
            pipe.send((time.perf_counter() - wall, time.process_time() - cpu))
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Let the trainings take turns.

    Returns:
        For every kind: steps per second, milliseconds of process time per step, and peak memory in MiB, those of the
        environments' own processes left out.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for kind in args.kinds:
        pipes[kind], end = context.Pipe()
        context.Process(target=train, args=(kind, args, end)).start()
        end.close()  # so that a process that dies is noticed
        pipes[kind].recv()
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in pipes}
    for _ in range(args.rounds):
        for kind, pipe in pipes.items():
            pipe.send(args.n_steps)
            times[kind].append(pipe.recv())
    found = {}
    for kind, pipe in pipes.items():
        pipe.send(None)
        walls, cpus = zip(*times[kind], strict=True)
        found[kind] = {
            "steps_per_second": args.n_steps / statistics.median(walls),
            "cpu_ms_per_step": 1000 * statistics.median(cpus) / args.n_steps,
            "peak_mib": pipe.recv(),
        }
    return found


def start_up(kind: str, args: argparse.Namespace) -> tuple[float, float]:
    """Seconds from the command to the first step of the environment, and those of the process; medians of three."""
    code = FIRST_STEP + STARTS[kind].format(env=args.env, device=args.device)
    walls, cpus = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            start = time.time()
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=folder
            )
            at, cpu = map(float, done.stdout.split()[-2:])
            walls.append(at - start)
            cpus.append(cpu)
    return statistics.median(walls), statistics.median(cpus)


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times as many steps per second as SB3's plain SAC makes, and as SBX's."""
    return {
        f"{kind}_vs_{base}": found[kind]["steps_per_second"] / found[base]["steps_per_second"]
        for base in ("sb3", "sbx")
        for kind in (*OURS, "sbx")
        if base in found and kind in found and kind != base
    }


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--group", help="variant of the environment's specification")
    parser.add_argument("--net-arch", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["sb3", "sbx", "mlp", "emlp", "rpp"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n-steps", type=int, default=1000, help="environment steps per round, one update each")
    parser.add_argument(
        "--num-envs", type=int, default=1, help="of this package's trainings, in processes of their own"
    )
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--no-start-up", dest="start_up", action="store_false", help="leave out the time to the first step"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    args.kinds = available(args.kinds)
    found = measure(args)
    for kind in found if args.start_up else ():
        if kind in STARTS:
            found[kind]["start_up_seconds"], found[kind]["start_up_cpu_seconds"] = start_up(kind, args)
    about = {
        "machine": machine(args.device),
        "settings": {
            name: getattr(args, name) for name in ("env", "group", "net_arch", "num_envs", "num_threads", "device")
        },
    }
    if args.json:
        print(json.dumps({**about, "training": found, "ratios": ratios(found)}, indent=2))
        return
    print(about)
    to_sb3 = ratios(found)
    rows: list[list[object]] = [
        [kind, *(row.get(name, "") for name in COLUMNS), to_sb3.get(f"{kind}_vs_sb3", "")]
        for kind, row in found.items()
    ]
    print_table(["training", *COLUMNS.values(), "to SB3"], rows)


if __name__ == "__main__":
    main()
