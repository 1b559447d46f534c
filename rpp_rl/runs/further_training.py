"""Training an agent further, in a new run: its networks and temperature, a fresh replay buffer, fresh optimisers."""

from collections.abc import Mapping
from typing import Any

from rpp_rl.agents import TrainedAgent
from rpp_rl.io.border import UserError, user_input
from rpp_rl.runs.environments import environment_of
from rpp_rl.sac import RPPSACPolicy
from rpp_rl.sac.config import NETWORK_SETTINGS, SACConfig, sac_config
from rpp_rl.settings import MACHINE_SETTINGS

OF_THE_RUN = {"n_timesteps", "seed", *MACHINE_SETTINGS}
"""Settings that an agent does not bring along from the run it comes from."""
OF_THE_NETWORKS = {"group", "spec", *NETWORK_SETTINGS}
"""Settings that cannot change, because the agent has its networks already."""


def continued_settings(flags: Mapping[str, Any], agent: TrainedAgent) -> SACConfig:
    """The settings that the agent was trained with under those that the flags ask for.

    Args:
        flags: Settings that are to differ.
        agent: The agent.

    Raises:
        UserError: If the agent's settings are not known, or a flag asks for other networks or another environment.
    """
    if not agent.config:
        raise UserError(f"{agent.path} does not say how it was trained, so it cannot be trained further")
    fixed = sorted(flags.keys() & OF_THE_NETWORKS)
    if flags.get("env", agent.env_id) != agent.env_id:
        fixed.append("env")
    if fixed:
        raise UserError(
            f"--resume-agent keeps environment and networks, so {', '.join(fixed)} cannot be given with it; "
            "other settings can, with -params"
        )
    env_id, env_kwargs = environment_of(agent, flags.get("env"), flags.get("env_kwargs", {}))
    own = {name: value for name, value in agent.config.items() if name not in OF_THE_RUN}
    with user_input(ValueError, about=f"{agent.path}"):
        config = sac_config({**own, **flags, "env": env_id, "env_kwargs": env_kwargs})
    if agent.n_steps >= config.n_timesteps:
        raise UserError(f"the agent has made {agent.n_steps} steps already; give more with -n to continue")
    _require_networks(agent, config)
    return config


def _require_networks(agent: TrainedAgent, config: SACConfig) -> None:
    """Refuse an agent whose settings describe other networks than it has."""
    if not isinstance(agent.policy, RPPSACPolicy):
        raise UserError(f"{agent.path}: only agents of this package can be trained further")
    settings = config.to_dict()
    for name, value in agent.policy.network_kwargs.items():
        if name != "spec" and settings[name] != value:
            raise UserError(
                f"{agent.path}: its settings say {name}={settings[name]!r}, but its networks have {value!r}"
            )
