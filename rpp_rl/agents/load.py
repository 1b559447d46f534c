"""Load an agent by its name in the registry, from a file, or from the folder of a run."""

from __future__ import annotations

from pathlib import Path

import torch

from rpp_rl.agents.agent_file import read_agent
from rpp_rl.agents.errors import AgentError, refusing
from rpp_rl.agents.find import find_agent, is_on_hub
from rpp_rl.agents.hub import download_agent
from rpp_rl.agents.sb3_zip import read_zip
from rpp_rl.agents.trained_agent import TrainedAgent
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.sac.config import sac_config
from rpp_rl.settings import load_yaml


def load_agent(source: str | Path, *, trust: bool = False, device: str = "auto") -> TrainedAgent:
    """Load an agent.

    Args:
        source: A name in the registry, such as ``"rpp_sac-Ant-v4"``; ``"hf://org/name"`` on the Hugging Face hub; the
            path of a file of this package or of a zip file of Stable-Baselines3; or the folder of a run, which stands
            for its best agent, or for its last one before the first evaluation.
        trust: Whether to run the pickled code in a zip file from elsewhere. Files of this package need no trust.
        device: Device of the networks.

    Raises:
        AgentError: If there is no such agent, or its file is damaged, foreign or not to be trusted.
        OSError: If the file cannot be read.
    """
    path = download_agent(str(source)) if is_on_hub(source) else find_agent(source)
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    # Networks draw their first weights; those who load an agent need not know.
    with torch.random.fork_rng(devices=[]):
        agent = read_zip(path, trust=trust, device=device) if is_zip else read_agent(path, device)
    agent.path = path
    if is_zip:
        _add_run(agent, path.parent)
    return agent


def _add_run(agent: TrainedAgent, folder: Path) -> None:
    """Complete an agent from a run's zip file by what the run knows: environment and settings."""
    if not RunFolder.exists(folder):
        return
    with refusing(folder, ValueError):
        run = RunFolder.open(folder)
        config = sac_config(load_yaml(run.config))
    if agent.spec is not None and agent.spec.env_id != config.env:
        raise AgentError(
            f"{agent.path} has the symmetry of {agent.spec.env_id[:80]}, but {run.config} says that it is for "
            f"{config.env[:80]}: one of them was changed"
        )
    with refusing(folder, ValueError):
        timesteps, returns, _ = run.load_evaluations()
    if len(timesteps):
        agent.card["learning_curve"] = {
            "steps": [int(step) for step in timesteps],
            "mean_return": [float(mean) for mean in returns.mean(axis=1)],
            "std_return": [float(std) for std in returns.std(axis=1)],
        }
    agent.env_id, agent.env_kwargs, agent.config = config.env, dict(config.env_kwargs), config.to_dict()
