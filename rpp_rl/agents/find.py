"""Where an agent is: in the registry, in a file, or in the folder of a run. Torch is not needed to find out."""

from __future__ import annotations

from pathlib import Path

from rpp_rl.agents import registry
from rpp_rl.agents.errors import AgentError, refusing
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.settings import nearest

SCHEME = "hf://"
"""How the names of agents on the hub begin: ``hf://org/name``, or ``hf://org/name@revision``."""


def is_on_hub(source: str | Path) -> bool:
    """Whether an agent has to be fetched from the hub."""
    return str(source).startswith(SCHEME)


def find_agent(source: str | Path) -> Path:
    """The file on this machine that a name or a path refers to.

    Raises:
        AgentError: If there is none.
    """
    if str(source) in registry.names():
        return registry.path_of(str(source))
    path = Path(source)
    if path.is_dir():
        return _agent_of_run(path)
    if not path.is_file():
        known = registry.names()
        hint = (
            nearest(str(source), known)
            if known and len(path.parts) == 1
            else "list-agents prints those that come along"
        )
        raise AgentError(f"{source}: no such file, folder or pretrained agent; {hint}")
    return path


def _agent_of_run(folder: Path) -> Path:
    """The best agent of a run; before the first evaluation, the last one."""
    with refusing(folder, ValueError):
        agents = RunFolder.open(folder).saved_agents()
    if not agents:
        raise AgentError(f"{folder}: the run has saved no agent yet")
    return agents[0]
