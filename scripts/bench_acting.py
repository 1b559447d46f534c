"""Time acting through a merged and exported agent side by side with a plain MLP of the same width, in one process.

The plain MLP is Stable-Baselines3's fresh SAC agent for ``predict``, and linear layers with ReLU and a tanh, nothing
else, for ``torch`` (modules called as they are) and ``onnx`` (files in onnxruntime). Agents take turns, round after
round, so that a change of the machine's speed meets all of them; the CPU time's median over them is reported.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import onnxruntime
import torch
from stable_baselines3 import SAC
from torch import nn

import envs_reps
from rpp_rl.agents import TrainedAgent, load_agent
from rpp_rl.agents.acting_network import acting_network
from rpp_rl.agents.export import onnx_bytes
from rpp_rl.sac import RPPSACPolicy
from scripts.measuring import processor


def fresh_agent(env: gym.Env, mode: str, net_arch: list[int]) -> TrainedAgent:
    """An untrained agent: how long it takes to act does not depend on the weights."""
    assert env.spec is not None
    spec = envs_reps.load(env.spec.id).to_dict()
    policy = RPPSACPolicy(
        env.observation_space, env.action_space, lambda _: 0.0, spec=spec, mode=mode, net_arch=net_arch
    )
    return TrainedAgent(policy, env_id=env.spec.id, env_kwargs={}, config={}, card={})


def plain_mlp(env: gym.Env, net_arch: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between them, and a tanh."""
    sizes = [env.observation_space.shape[0], *net_arch]
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], env.action_space.shape[0]), nn.Tanh()).requires_grad_(False)


def onnx_session(network: nn.Module, n_obs: int, num_threads: int) -> Callable[[np.ndarray], Any]:
    """A network as an ONNX file in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(onnx_bytes(network, torch.zeros(2, n_obs), {}), options)
    return lambda obs: session.run(None, {"observation": obs})


def actors(args: argparse.Namespace) -> dict[tuple[str, str], Callable[[np.ndarray], Any]]:
    """What acts, by way and kind."""
    env = gym.make(args.env)
    plain = plain_mlp(env, args.net_arch)
    sb3 = SAC("MlpPolicy", env, policy_kwargs={"net_arch": args.net_arch}, buffer_size=1, device="cpu")
    agents = {kind: fresh_agent(env, kind, args.net_arch) for kind in args.kinds}
    if args.agent:
        agents[args.agent] = load_agent(args.agent, device="cpu")
    networks = {"plain": plain, **{kind: acting_network(agent.policy) for kind, agent in agents.items()}}
    predict = {"plain": sb3.predict, **{kind: agent.predict for kind, agent in agents.items()}}
    n_obs = env.observation_space.shape[0]
    return {
        **{("predict", kind): partial(function, deterministic=True) for kind, function in predict.items()},
        **{("torch", kind): _on_tensors(network) for kind, network in networks.items()},
        **{("onnx", kind): onnx_session(network, n_obs, args.num_threads) for kind, network in networks.items()},
    }


def _on_tensors(network: nn.Module) -> Callable[[np.ndarray], Any]:
    return lambda obs: network(torch.from_numpy(obs))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time all of them and compare each with the plain MLP that acts in the same way."""
    torch.set_num_threads(args.num_threads)
    acting = actors(args)
    n_obs = gym.make(args.env).observation_space.shape[0]
    results = []
    for batch in args.batches:
        obs = np.random.default_rng(0).normal(size=(batch, n_obs)).astype(np.float32)
        times: dict[tuple[str, str], list[float]] = {key: [] for key in acting}
        with torch.inference_mode():
            for _ in range(args.rounds + 1):
                for key, act in acting.items():
                    start = time.process_time()
                    for _ in range(args.n_calls):
                        act(obs)
                    times[key].append(1e6 * (time.process_time() - start) / args.n_calls)
        us = {key: statistics.median(values[1:]) for key, values in times.items()}  # the first round warms up
        results += [
            {"way": way, "kind": kind, "batch": batch, "us": value, "ratio": value / us[way, "plain"]}
            for (way, kind), value in us.items()
        ]
    return {
        "machine": processor(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "settings": {key: value for key, value in vars(args).items() if key != "json"},
        "results": results,
    }


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--agent", help="a trained agent too: its name or path")
    parser.add_argument("--net-arch", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--kinds", nargs="+", choices=("rpp", "emlp", "mlp"), default=["rpp", "mlp"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--n-calls", type=int, default=200, help="calls per round")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    result = measure(args)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['machine']}; {result['versions']}")
    print(f"{args.env}, {args.net_arch}, {args.num_threads} thread(s)")
    print(f"{'way':<8} {'network':<8} {'batch':>6} {'µs':>9} {'to plain':>9}")
    for row in result["results"]:
        print(f"{row['way']:<8} {row['kind']:<8} {row['batch']:>6} {row['us']:>9.1f} {row['ratio']:>9.2f}")


if __name__ == "__main__":
    main()
