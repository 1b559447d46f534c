"""What the benchmarks of agents share: the agents, clocks that count the same for all, and the machine's own limit."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

import envs_reps
from rpp_rl.io.provenance import git_commit
from rpp_rl.sac import algorithm_for
from rpp_rl.sac.config import SACConfig
from rpp_rl.settings import merged_settings

OURS: dict[str, dict[str, Any]] = {
    "mlp": {"mode": "mlp"},
    "emlp": {"mode": "emlp"},
    "rpp": {"mode": "rpp"},
    "rpp_policy_only": {"mode": "rpp", "policy_only": True},
    "rpp_faithful": {"mode": "rpp"},
}
KINDS = ("sb3", "sbx", *OURS)
"""SAC of SB3 and of SBX with plain networks, and this package's; ``rpp_faithful`` has the paper's group and layers."""
FAITHFUL = Path(__file__).parent.parent / "configs" / "sac" / "faithful.yaml"

PACKAGES = ("torch", "stable-baselines3", "sbx-rl", "jax", "gymnasium", "mujoco", "numpy")
ACCURACY = 1e-4
"""Largest error, relative to the largest entry, of a product that counts as float32."""


def available(kinds: list[str]) -> list[str]:
    """The kinds without SBX where it is not installed."""
    return [kind for kind in kinds if kind != "sbx" or find_spec("sbx") is not None]


def add_update_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the benchmarks that measure updates: how many, of what, and where."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--n-updates", type=int, default=50, help="updates per round")
    parser.add_argument("--n-transitions", type=int, default=2000, help="in the replay buffer")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def set_threads(n: int) -> None:
    """Let torch and, unless it is imported already, JAX use so many threads."""
    torch.set_num_threads(n)
    if n == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def make_agent(
    kind: str,
    env_id: str,
    group: str | None,
    net_arch: list[int],
    device: str,
    *,
    envs: VecEnv | None = None,
    **settings: Any,  # noqa: ANN401
) -> OffPolicyAlgorithm:
    """A fresh agent of one of the `KINDS` that logs nothing.

    Args:
        kind: Which.
        env_id: Gymnasium's id.
        group: Variant of the environment's specification; None for the default. ``rpp_faithful`` has its own.
        net_arch: Widths of the hidden layers.
        device: For torch; JAX chooses for itself.
        envs: Environments for one of this package's, in place of one in this process.
        settings: Passed on to the agent.
    """
    settings = {"seed": 0, **settings}
    if kind == "sb3":
        agent = SAC("MlpPolicy", env_id, policy_kwargs={"net_arch": net_arch}, device=device, **settings)
    elif kind == "sbx":
        import sbx  # an extra, imported after its flags are set

        agent = sbx.SAC("MlpPolicy", env_id, policy_kwargs={"net_arch": net_arch}, **settings)
    else:
        networks = OURS[kind]
        if kind == "rpp_faithful":
            config = merged_settings(SACConfig, {"env": env_id, **networks}, FAITHFUL)
            group, settings = config.group, {**settings, "max_grad_norm": config.max_grad_norm}
            networks = config.policy_kwargs() | {"net_arch": net_arch}
        policy_kwargs = {"spec": envs_reps.load(env_id, group).to_dict(), "net_arch": net_arch, **networks}
        agent = algorithm_for(envs)("RPPPolicy", envs or env_id, policy_kwargs=policy_kwargs, device=device, **settings)
    agent.set_logger(configure(None, []))
    return agent


def fill(agent: OffPolicyAlgorithm, env_id: str, n: int) -> None:
    """Store ``n`` transitions of a random policy."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    for _ in range(n):
        action = env.action_space.sample()
        next_obs, reward, terminated, truncated, _ = env.step(action)
        scaled = agent.policy.scale_action(action)
        agent.replay_buffer.add(obs, next_obs, scaled, np.array([reward]), np.array([terminated]), [{}])  # pyright: ignore
        obs = env.reset()[0] if terminated or truncated else next_obs


def milliseconds(work: Callable[[], object], n: int, device: str) -> float:
    """Time of one of ``n`` calls: of all threads of the process on a CPU, by the clock on the wall on a GPU."""
    on_gpu = torch.device(device).type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    start = clock()
    for _ in range(n):
        work()
    if on_gpu:
        torch.cuda.synchronize()
    return 1000 * (clock() - start) / n


def in_turns(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median over the rounds, in which all take turns: a change of the machine's speed meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(work())
    return {name: statistics.median(values) for name, values in times.items()}


def update_flops(obs_dim: int, act_dim: int, net_arch: list[int], batch_size: int, n_critics: int = 2) -> float:
    """Floating-point operations of the matrix products of one SAC update with plain networks.

    A pass forward through a layer is one product, the gradients of its weights and of its input are one each. The
    actor goes forward twice (actions now and next) and back once; the critics go forward three times (targets, values,
    values of the actor's actions) and back once for their weights and inputs, and once for their inputs only.
    """

    def products(*sizes: int) -> int:
        return sum(n_in * n_out for n_in, n_out in pairwise(sizes))

    actor = products(obs_dim, *net_arch, 2 * act_dim)
    critic = products(obs_dim + act_dim, *net_arch, 1)
    return 2.0 * batch_size * ((2 + 2) * actor + n_critics * (3 + 2 + 1) * critic)


def product_ways(batch_size: int, width: int, device: str) -> dict[str, Callable[[], object]]:
    """Ways of multiplying float32 matrices (batch, width) and (width, width), those that are not accurate left out."""
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, width, generator=generator) for n in (batch_size, width))
    exact = x.double() @ w.double().T
    a, b = x.numpy(), w.numpy()
    x, w = x.to(device), w.to(device)
    zeros = torch.zeros(width, device=device)
    ways: dict[str, Callable[[], Any]] = {
        "linear": lambda: torch.nn.functional.linear(x, w, zeros),
        "mm": lambda: x @ w.T,
        "bmm": lambda: torch.bmm(x[None], w.T[None])[0],
    }
    if torch.device(device).type == "cpu":
        ways["numpy"] = lambda: torch.from_numpy(a @ b.T)
        if torch.backends.mkldnn.is_available():
            ways["onednn"] = lambda: torch.ops.mkldnn._linear_pointwise(x, w, zeros, "none", [], "")
    bound = ACCURACY * float(exact.abs().max())
    return {name: way for name, way in ways.items() if float((way().cpu() - exact).abs().max()) < bound}


def product_timers(batch_size: int, width: int, device: str) -> dict[str, Callable[[], float]]:
    """For every way of `product_ways` a measurement of its milliseconds per product."""

    def timer(way: Callable[[], object]) -> Callable[[], float]:
        return lambda: milliseconds(way, 100, device)

    return {name: timer(way) for name, way in product_ways(batch_size, width, device).items()}


def machine(device: str) -> dict[str, Any]:
    """What numbers depend on besides the code."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra
            continue
    return {
        "processor": processor(),
        "gpu": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None,
        "python": platform.python_version(),
        "commit": git_commit(Path(__file__).parent.parent / "rpp_rl"),
        **found,
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


def print_table(columns: list[str], rows: list[list[object]]) -> None:
    """Print rows under their columns, numbers with three digits that count."""
    texts = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]
    for first, *others in texts:
        print("  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]))
