"""Agents that people can load: the safe file format, the registry, and loading by name or path."""

from rpp_rl.agents.agent import Agent
from rpp_rl.agents.agent_file import save_agent
from rpp_rl.agents.errors import AgentError
from rpp_rl.agents.load import load_agent

__all__ = ["Agent", "AgentError", "load_agent", "save_agent"]
