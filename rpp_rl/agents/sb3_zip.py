"""Zip files of Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path

from rpp_rl.agents.agent import Agent
from rpp_rl.sac import RPPSAC


def read_zip(path: Path, *, trust: bool, device: str) -> Agent:
    """The agent in a zip file."""
    model = RPPSAC.load(path, device=device)
    env_id = None if model.policy.symmetry is None else model.policy.symmetry.env_id
    return Agent(model.policy, env_id=env_id, env_kwargs={}, config={}, card={"steps": model.num_timesteps})
