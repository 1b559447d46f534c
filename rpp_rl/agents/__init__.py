"""Agents to load, watch and deploy: safe files, the registry, films, pictures, exports, the hub."""

from typing import TYPE_CHECKING

from rpp_rl._lazy import lazy_names

if TYPE_CHECKING:
    from rpp_rl.agents.agent_file import save_agent
    from rpp_rl.agents.errors import AgentError
    from rpp_rl.agents.export import export_agent
    from rpp_rl.agents.hub import push_agent
    from rpp_rl.agents.load import load_agent
    from rpp_rl.agents.plot import plot_agent
    from rpp_rl.agents.record import record_agent
    from rpp_rl.agents.trained_agent import TrainedAgent

__all__ = [
    "AgentError",
    "TrainedAgent",
    "export_agent",
    "load_agent",
    "plot_agent",
    "push_agent",
    "record_agent",
    "save_agent",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "rpp_rl.agents.agent_file": ("save_agent",),
        "rpp_rl.agents.errors": ("AgentError",),
        "rpp_rl.agents.export": ("export_agent",),
        "rpp_rl.agents.hub": ("push_agent",),
        "rpp_rl.agents.load": ("load_agent",),
        "rpp_rl.agents.plot": ("plot_agent",),
        "rpp_rl.agents.record": ("record_agent",),
        "rpp_rl.agents.trained_agent": ("TrainedAgent",),
    },
)
