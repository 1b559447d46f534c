"""An agent in its environment, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from stable_baselines3.common.utils import check_for_correct_spaces

from rpp_rl.agents.errors import AgentError
from rpp_rl.agents.trained_agent import TrainedAgent


@dataclass(frozen=True)
class Step:
    """One step of an episode.

    Attributes:
        obs: The observation that the agent acted on, shape ``(obs,)``.
        reward: The reward for its action.
    """

    obs: Float[ndarray, " obs"]
    reward: float


def play(agent: TrainedAgent, env: gym.Env, *, seed: int | None = None) -> Iterator[Step]:
    """Play one episode with the mean action. When a step is yielded, the environment has already made it.

    Args:
        agent: The agent.
        env: Its environment.
        seed: Seed of the environment; None to leave its random numbers alone.

    Raises:
        AgentError: If the agent does not fit the environment.
    """
    try:
        check_for_correct_spaces(env, agent.observation_space, agent.action_space)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        raise AgentError(f"{agent!r} does not fit {env}: {error}") from error
    obs, _ = env.reset(seed=seed)
    is_over = False
    while not is_over:
        action, _ = agent.predict(obs, deterministic=True)
        before = np.array(obs)
        obs, reward, terminated, truncated, _ = env.step(action)
        is_over = terminated or truncated
        yield Step(before, float(reward))
