"""Control a robot by planning in a transition model of it, and compare what it earns with random actions.

    python scripts/plan_in_model.py logs/rpp_model/HalfCheetah-v4_1 --steps 200

The planner is the cross-entropy method; ``--iterations 1`` makes it random shooting. The real environment is only
stepped: everything that the planner knows of it comes from the model, but for the known formulas of reward and
termination.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from tqdm import tqdm

from envs_reps.tasks import task
from rpp_rl.cli.arguments import integer
from rpp_rl.cli.errors import command
from rpp_rl.dynamics import load_model, read_episodes
from rpp_rl.dynamics.metrics import DIVERGED
from rpp_rl.dynamics.model_env import ModelEnv
from rpp_rl.dynamics.model_file import TEST_FILE
from rpp_rl.dynamics.planning import Planner
from rpp_rl.io.border import user_input
from rpp_rl.runs.environments import make_env

Policy = Callable[[np.ndarray], np.ndarray]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Play one episode with the planner and one with random actions from the same start."""
    args = _parser().parse_args(argv)
    with user_input(ValueError):
        model = load_model(args.run, args.device)
        known = task(model.spec.env_id)
        states = np.concatenate(read_episodes(args.run / TEST_FILE).states)
        with closing(make_env(model.spec.env_id, {})) as real:
            space = real.action_space
            assert isinstance(space, Box)
            model_env = ModelEnv(
                model,
                states,
                space,
                reward=known.reward,
                terminated=known.terminated,
                num_envs=args.plans * args.particles,
                max_norm=DIVERGED * float(np.linalg.norm(states, axis=1).max()),
            )
            model_env.reset(seed=args.seed)
            space.seed(args.seed)
            planner = Planner(model_env, horizon=args.horizon, n_iterations=args.iterations, n_particles=args.particles)
            planned = play(real, planner, args.steps, args.seed)
            random = play(real, lambda obs: space.sample(), args.steps, args.seed)
    result = {"env": model.spec.env_id, "steps": args.steps, "planned": planned, "random": random}
    print(
        json.dumps(result)
        if args.json
        else f"return of {args.steps} steps: {planned:.1f}, of random actions {random:.1f}"
    )
    return 0


def play(env: gymnasium.Env, policy: Policy, n_steps: int, seed: int) -> float:
    """The sum of rewards of an episode of at most so many steps."""
    obs, _ = env.reset(seed=seed)
    total = 0.0
    for _ in tqdm(range(n_steps), disable=None, leave=False):
        obs, reward, terminated, truncated, _ = env.step(policy(obs).astype(np.float32))
        total += float(reward)
        if terminated or truncated:
            break
    return total


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of train-model")
    for name, default, text in (
        ("steps", 200, "steps to play"),
        ("horizon", 20, "steps of a plan"),
        ("plans", 300, "plans tried in an iteration"),
        ("iterations", 4, "iterations of the cross-entropy method; 1 is random shooting"),
        ("particles", 1, "how often each plan is tried, for ensembles and Gaussian models"),
    ):
        parser.add_argument(f"--{name}", type=integer(1), default=default, metavar="N", help=f"{text} ({default})")
    parser.add_argument("--seed", type=integer(0), default=0, metavar="N", help="seed of everything (0)")
    parser.add_argument("--device", default="cpu", help="device of the model (cpu)")
    parser.add_argument("--json", action="store_true", help="print the returns as JSON")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(None))
