"""Controlling a robot by planning in a transition model of it, beside random actions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from tqdm import tqdm

from envs_reps.tasks import task
from rpp_rl.dynamics import ModelEnv, Planner, load_model, read_episodes
from rpp_rl.dynamics.metrics import DIVERGED
from rpp_rl.dynamics.model_file import MODEL_FILE, TEST_FILE
from rpp_rl.dynamics.planning import Method
from rpp_rl.io.border import UserError, user_input
from rpp_rl.runs.environments import make_env


@dataclass(frozen=True)
class Played:
    """What was earned in the real environment, episode by episode.

    Attributes:
        env: The environment.
        method: How it was planned.
        steps: Most steps of an episode.
        planned: Returns of the planner.
        random: Returns of random actions from the same starts.
    """

    env: str
    method: Method
    steps: int
    planned: list[float]
    random: list[float]

    def __str__(self) -> str:
        lines = []
        for name, returns in (("planned", self.planned), ("random actions", self.random)):
            text = ", ".join(f"{value:.1f}" for value in returns)
            mean = f"; mean {np.mean(returns):.1f}" if len(returns) > 1 else ""
            lines.append(f"{self.env}, {name}: return of {self.steps} steps {text}{mean}")
        return "\n".join(lines)


def plan_in_model(
    run: Path,
    *,
    method: Method = "cem",
    n_steps: int = 200,
    n_episodes: int = 1,
    horizon: int = 20,
    n_plans: int = 300,
    n_iterations: int = 4,
    n_particles: int = 1,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Played:
    """Play episodes with a planner in the model of a run, and with random actions from the same starts.

    The real environment is only stepped: what the planner knows of it comes from the model, but for the formulas of
    reward and termination.

    Args:
        run: Folder of a run of ``train-model``.
        method: See `rpp_rl.dynamics.Planner`, which plans from the rest of its last plan on.
        n_steps: Most steps of an episode.
        n_episodes: Number of episodes.
        horizon: Steps of a plan.
        n_plans: Plans tried in an iteration.
        n_iterations: Iterations of the method.
        n_particles: How often each plan is tried, for ensembles and Gaussian models.
        seed: Seed of the first episode and of the planner.
        device: Device of the model.
        progress: Whether to show a bar.

    Raises:
        UserError: If there is no such run, or the reward of its environment is not known as a function.
        OSError: If a file cannot be read.
    """
    for name in (MODEL_FILE, TEST_FILE):
        if not (run / name).exists():
            raise UserError(f"{run} is no run of train-model with a model: it has no {name}")
    with user_input(ValueError):
        model = load_model(run, device)
        known = task(model.spec.env_id)
        states = np.concatenate(read_episodes(run / TEST_FILE).states)
        with closing(make_env(model.spec.env_id, {})) as real:
            space = real.action_space
            assert isinstance(space, Box)
            model_env = ModelEnv(
                model,
                states,
                space,
                reward=known.reward,
                terminated=known.terminated,
                num_envs=n_plans * n_particles,
                max_norm=DIVERGED * float(np.linalg.norm(states, axis=1).max()),
            )
            model_env.reset(seed=seed)
            space.seed(seed)
            planner = Planner(
                model_env, horizon=horizon, n_iterations=n_iterations, n_particles=n_particles, method=method
            )
            planned, random = [], []
            for episode in range(seed, seed + n_episodes):
                planner.reset()
                planned.append(_play(real, planner, n_steps, episode, progress=progress))
                random.append(_play(real, lambda obs: space.sample(), n_steps, episode, progress=False))
    return Played(model.spec.env_id, method, n_steps, planned, random)


def _play(
    env: gym.Env, policy: Callable[[np.ndarray], np.ndarray], n_steps: int, seed: int, *, progress: bool
) -> float:
    """The sum of rewards of an episode of at most so many steps."""
    obs, _ = env.reset(seed=seed)
    total = 0.0
    for _ in tqdm(range(n_steps), disable=not progress, leave=False):
        obs, reward, terminated, truncated, _ = env.step(policy(obs).astype(np.float32))
        total += float(reward)
        if terminated or truncated:
            break
    return total
