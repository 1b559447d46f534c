"""``evaluate-agent``: what a saved agent earns, and how symmetric it is on the states it visits."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from rpp_rl.cli.arguments import add_env_kwargs, integer
from rpp_rl.cli.checkpoint import load_agent
from rpp_rl.cli.environments import check_device, make_vec_env
from rpp_rl.cli.errors import UserError, command, user_input
from rpp_rl.cli.finite import naming_divergence
from rpp_rl.cli.run_folder import RunFolder
from rpp_rl.config import SACConfig, sac_config
from rpp_rl.nn import shared_weights
from rpp_rl.sac import RPPSAC, actor_equivariance_errors


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
        agent: The agent's file.
        env: The environment.
        deterministic: Whether the agent took its mean action.
        n_steps: Environment steps that the agent was trained for.
        mean_return: Mean of the returns.
        std_return: Their standard deviation.
        returns: Sum of rewards of each episode.
        lengths: Steps of each episode.
        group: The group by which symmetry was measured, if there is one.
        equivariance_error: For each generator the relative error of the policy's mean and log standard deviation on
            the visited states; 0 is equivariant, 0.7 unrelated, 1 the opposite.
    """

    agent: str
    env: str
    deterministic: bool
    n_steps: int
    mean_return: float
    std_return: float
    returns: list[float]
    lengths: list[int]
    group: str | None
    equivariance_error: dict[str, dict[str, float]]

    def __str__(self) -> str:
        policy = "deterministic" if self.deterministic else "stochastic"
        lines = [
            f"{self.agent} after {self.n_steps} steps on {self.env}",
            f"return {self.mean_return:.1f} ± {self.std_return:.1f} in {len(self.returns)} episodes ({policy}), "
            f"mean length {np.mean(self.lengths):.0f}",
        ]
        for name, error in self.equivariance_error.items():
            lines.append(
                f"equivariance error of the policy under {name} of {self.group}: "
                f"mean {error['mean']:.3f}, log std {error['log_std']:.3f}"
            )
        return "\n".join(lines)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, evaluate, print, and return the status for the shell."""
    args = _parser().parse_args(argv)
    check_device(args.device)
    torch.set_num_threads(1)
    path, trained = find_agent(args.path)
    model = load_agent(path, args.device)
    env_id, env_kwargs = _environment(args, model, trained)
    with closing(make_vec_env(env_id, env_kwargs, n_envs=1, seed=args.seed)) as envs:
        with user_input(ValueError, about=f"{path} does not fit {env_id}"):
            check_for_correct_spaces(envs, model.observation_space, model.action_space)
        model.set_random_seed(args.seed)
        result = evaluate(model, path, env_id, envs, args.episodes, deterministic=args.deterministic)
    print(json.dumps(dataclasses.asdict(result), indent=2) if args.json else result)
    return 0


def find_agent(path: Path) -> tuple[Path, SACConfig | None]:
    """The agent's file, and the settings it was trained with where they are known.

    Of the folder of a run it is the best agent, since that is what the run is kept for; before the first evaluation it
    is the last one.

    Raises:
        UserError: If there is no agent.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder; expected an agent's zip file or the folder of a run")
    if path.is_file():
        is_in_run = any(path.parent.glob("*/config.yml"))
        return path, _settings(RunFolder.open(path.parent)) if is_in_run else None
    folder = RunFolder.open(path)
    for agent in (folder.best_agent, folder.agent, *folder.checkpoints()):
        if agent.exists():
            return agent, _settings(folder)
    raise UserError(f"{path}: the run has saved no agent yet")


def evaluate(model: RPPSAC, path: Path, env_id: str, envs: VecEnv, n_episodes: int, *, deterministic: bool) -> Result:
    """Play episodes, and measure the policy's symmetry on the states met.

    Args:
        model: The agent.
        path: Where it came from.
        env_id: The environment.
        envs: One environment.
        n_episodes: Number of episodes.
        deterministic: Whether to take the mean action.
    """
    visited: list[np.ndarray] = []

    def remember(local: dict[str, Any], _: dict[str, Any]) -> None:
        visited.append(local["observations"][0])

    with torch.no_grad(), shared_weights(model.actor), naming_divergence(model):
        returns, lengths = evaluate_policy(
            model, envs, n_episodes, deterministic=deterministic, callback=remember, return_episode_rewards=True
        )
    assert isinstance(returns, list)
    assert isinstance(lengths, list)
    spec = model.policy.symmetry
    errors = {} if spec is None else actor_equivariance_errors(model.policy, np.asarray(visited), spec)
    return Result(
        agent=str(path),
        env=env_id,
        deterministic=deterministic,
        n_steps=model.num_timesteps,
        mean_return=float(np.mean(returns)),
        std_return=float(np.std(returns)),
        returns=[float(value) for value in returns],
        lengths=[int(value) for value in lengths],
        group=None if spec is None else spec.variant,
        equivariance_error=errors,
    )


def _settings(folder: RunFolder) -> SACConfig:
    with user_input(ValueError):
        return sac_config({}, folder.config)


def _environment(args: argparse.Namespace, model: RPPSAC, trained: SACConfig | None) -> tuple[str, dict[str, object]]:
    """Which environment to play: the one asked for, else the one of the run, else the one of the specification."""
    if trained is not None and args.env in (None, trained.env):
        return trained.env, {**trained.env_kwargs, **args.env_kwargs}
    spec = model.policy.symmetry
    env_id = args.env or (None if spec is None else spec.env_id)
    if env_id is None:
        raise UserError("the agent's file does not say which environment it is for: add --env ID")
    return env_id, args.env_kwargs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate-agent",
        description="Play episodes with a saved agent; print its returns and how far its policy is from equivariant.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="an agent's zip file, or a run (takes its best agent)")
    parser.add_argument("--episodes", type=integer(1), default=10, metavar="N", help="episodes to play (default: 10)")
    parser.add_argument(
        "--seed",
        type=integer(0, at_most=2**32 - 1),
        default=0,
        metavar="N",
        help="seed of the environment and of the policy (default: 0)",
    )
    parser.add_argument("--env", metavar="ID", help="environment, if not the one the agent was trained in")
    add_env_kwargs(parser)
    parser.add_argument("--device", default="auto", help="device of the networks (default: auto)")
    policies = parser.add_mutually_exclusive_group()
    policies.add_argument(
        "--deterministic", action="store_true", default=True, help="take the mean action (this is the default)"
    )
    policies.add_argument(
        "--stochastic", dest="deterministic", action="store_false", help="draw actions from the policy"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser
