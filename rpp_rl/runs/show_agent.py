"""Agents watched in their environments: a picture and a film."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

import envs_reps
from rpp_rl.agents import TrainedAgent
from rpp_rl.agents.plot import Portrait, plot_agent
from rpp_rl.agents.record import Recording, RenderError, choose_renderer, record_agent
from rpp_rl.io.border import user_input
from rpp_rl.runs.environments import environment_of, make_env


def draw(
    agent: TrainedAgent, path: Path, env_id: str | None, env_kwargs: dict[str, Any], *, n_episodes: int, seed: int
) -> Portrait:
    """Draw an agent, see `rpp_rl.agents.plot_agent`.

    Args:
        agent: The agent.
        path: The picture.
        env_id: The environment; None for the agent's own.
        env_kwargs: Arguments of the environment.
        n_episodes: Episodes to play.
        seed: Seed of the environment.

    Raises:
        UserError: If that is not possible.
    """
    torch.set_num_threads(1)
    env_id, env_kwargs = environment_of(agent, env_id, env_kwargs)
    with closing(make_env(env_id, env_kwargs)) as env, user_input(ValueError, about="cannot plot"):
        spec = None if agent.spec is None else envs_reps.described(agent.spec)
        return plot_agent(agent, env, path, n_episodes=n_episodes, seed=seed, spec=spec)


def film(
    agent: TrainedAgent,
    path: Path,
    env_id: str | None,
    env_kwargs: dict[str, Any],
    *,
    picture: Mapping[str, int],
    seconds: float,
    seed: int,
) -> Recording:
    """Film an agent, see `rpp_rl.agents.record_agent`.

    Args:
        agent: The agent.
        path: The film.
        env_id: The environment; None for the agent's own.
        env_kwargs: Arguments of the environment.
        picture: Its ``width`` and ``height``, if they are not the environment's own.
        seconds: Longest duration.
        seed: Seed of the environment.

    Raises:
        UserError: If that is not possible.
    """
    torch.set_num_threads(1)
    with user_input(RenderError, about="cannot render"):
        choose_renderer()
    env_id, env_kwargs = environment_of(agent, env_id, env_kwargs)
    env = make_env(env_id, {**env_kwargs, "render_mode": "rgb_array", **picture})
    with closing(env), user_input(ValueError, RenderError, about="cannot record"):
        return record_agent(agent, env, path, seconds=seconds, seed=seed)
