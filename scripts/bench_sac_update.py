"""Time one SAC update of every kind of network side by side with Stable-Baselines3's, in one process.

The kinds take turns, round after round, so that a change of the machine's speed meets all of them; the median over the
rounds is reported, in CPU time on a CPU and in wall time on a GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3 import __version__ as sb3_version
from stable_baselines3.common.logger import configure

import envs_reps
from rpp_rl.sac import RPPSAC

KINDS = ("sb3", "mlp", "emlp", "rpp", "rpp_policy_only", "rpp_uniform")
N_TRANSITIONS = 10_000


def make_agent(kind: str, env_id: str, group: str | None, net_arch: list[int], batch_size: int, device: str) -> SAC:
    """An agent with a replay buffer of random transitions, ready to be updated."""
    settings: dict[str, Any] = {"batch_size": batch_size, "buffer_size": N_TRANSITIONS, "device": device, "seed": 0}
    if kind == "sb3":
        agent = SAC("MlpPolicy", env_id, policy_kwargs={"net_arch": net_arch}, **settings)
    else:
        policy_kwargs = {
            "spec": envs_reps.load(env_id, group).to_dict(),
            "mode": "rpp" if kind.startswith("rpp") else kind,
            "net_arch": net_arch,
            "policy_only": kind == "rpp_policy_only",
            "hidden": "uniform" if kind == "rpp_uniform" else "regular",
        }
        agent = RPPSAC("RPPPolicy", env_id, policy_kwargs=policy_kwargs, **settings)
    agent.set_logger(configure(None, []))
    return agent


def fill(agent: SAC, env_id: str) -> None:
    """Store the transitions of a random policy."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    for _ in range(N_TRANSITIONS):
        action = env.action_space.sample()
        next_obs, reward, terminated, truncated, _ = env.step(action)
        scaled = agent.policy.scale_action(action)
        agent.replay_buffer.add(obs, next_obs, scaled, np.array([reward]), np.array([terminated]), [{}])  # pyright: ignore
        obs = env.reset()[0] if terminated or truncated else next_obs


def time_updates(agent: SAC, n_updates: int, batch_size: int) -> float:
    """Milliseconds per update."""
    on_gpu = agent.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    start = clock()
    for _ in range(n_updates):
        agent.train(gradient_steps=1, batch_size=batch_size)
    if on_gpu:
        torch.cuda.synchronize()
    return 1000 * (clock() - start) / n_updates


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Time all kinds and compare them."""
    torch.set_num_threads(args.num_threads)
    agents, build_seconds = {}, {}
    for kind in args.kinds:
        start = time.perf_counter()
        agents[kind] = make_agent(kind, args.env, args.group, args.net_arch, args.batch_size, args.device)
        build_seconds[kind] = time.perf_counter() - start
        fill(agents[kind], args.env)
        time_updates(agents[kind], args.n_updates, args.batch_size)
    rounds: dict[str, list[float]] = {kind: [] for kind in args.kinds}
    for _ in range(args.rounds):
        for kind, agent in agents.items():
            rounds[kind].append(time_updates(agent, args.n_updates, args.batch_size))
    ms = {kind: statistics.median(times) for kind, times in rounds.items()}
    ratios = {f"{kind}_vs_sb3": ms[kind] / ms["sb3"] for kind in ms if kind != "sb3" and "sb3" in ms}
    if "rpp" in ms and "mlp" in ms:
        ratios["rpp_vs_mlp"] = ms["rpp"] / ms["mlp"]
    return {
        "machine": processor(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "stable_baselines3": sb3_version},
        "settings": {key: value for key, value in vars(args).items() if key != "json"},
        "ms_per_update": ms,
        "build_seconds": build_seconds,
        "ratios": ratios,
    }


def processor() -> str:
    """The processor's name as the operating system gives it."""
    path = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in path.read_text().splitlines() if line.startswith("model name")]
        if path.exists()
        else []
    )
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--group", help="variant of the environment's specification")
    parser.add_argument("--net-arch", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS[:5]))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--n-updates", type=int, default=100, help="updates per round")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    result = run(args)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['machine']}; {result['versions']}")
    print(f"{args.env}, {args.net_arch}, batch {args.batch_size}, {args.num_threads} thread(s), {args.device}")
    print(f"{'networks':<16} {'ms/update':>10} {'to SB3':>8} {'build [s]':>10}")
    for kind, ms in result["ms_per_update"].items():
        ratio = ms / result["ms_per_update"]["sb3"] if "sb3" in result["ms_per_update"] else float("nan")
        print(f"{kind:<16} {ms:>10.2f} {ratio:>8.2f} {result['build_seconds'][kind]:>10.2f}")


if __name__ == "__main__":
    main()
