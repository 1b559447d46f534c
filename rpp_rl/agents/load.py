"""Finding an agent by the name of the registry, by a file, or by the folder of a run."""

from __future__ import annotations

from pathlib import Path

from rpp_rl.agents.agent import Agent
from rpp_rl.agents.errors import AgentError
from rpp_rl.agents.sb3_zip import read_zip


def load_agent(source: str | Path, *, trust: bool = False, device: str = "auto") -> Agent:
    """Load an agent.

    Args:
        source: A name of the registry, such as ``"rpp_sac-Ant-v4"``, or the path of a file.
        trust: Whether pickled code in a zip file from elsewhere may run.
        device: Device of the networks.

    Raises:
        AgentError: If there is no such agent, or its file is damaged, foreign or not to be trusted.
        OSError: If the file cannot be read.
    """
    path = Path(source)
    if not path.exists():
        raise AgentError(f"{source}: there is no such file")
    return read_zip(path, trust=trust, device=device)
