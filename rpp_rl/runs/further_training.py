"""Training an agent further, in a new run: its networks and temperature, a fresh replay buffer, fresh optimisers."""

from collections.abc import Mapping
from typing import Any

import torch

from rpp_rl.agents import TrainedAgent
from rpp_rl.agents.agent_file import policy_kwargs
from rpp_rl.agents.checked_policy import POLICY_TYPES
from rpp_rl.io.border import UserError, user_input
from rpp_rl.runs.environments import environment_of
from rpp_rl.sac import RPPSAC, RPPSACPolicy
from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import MACHINE_SETTINGS

OF_THE_RUN = {"n_timesteps", "seed", *MACHINE_SETTINGS}
"""Settings that an agent does not bring along from the run it comes from."""
OF_THE_NETWORKS = {"group", "spec", *POLICY_TYPES}
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
        raise UserError(f"the agent has made {agent.n_steps} steps already; give more with -n to go on")
    _require_networks(agent, config)
    return config


def take_over(agent: RPPSAC, source: TrainedAgent) -> None:
    """Give a fresh agent the networks, the temperature and the step counter of a trained one.

    The agent fills ``learning_starts`` transitions into the fresh buffer by its own policy before its first update: one
    on a few neighbouring states would undo what it has learned.
    """
    agent.policy.load_state_dict(source.policy.state_dict())
    if agent.log_ent_coef is not None and source.log_ent_coef is not None:
        with torch.no_grad():
            agent.log_ent_coef.fill_(source.log_ent_coef)
    agent.num_timesteps = source.n_steps
    agent.learning_starts += source.n_steps
    agent.acts_from_start = True


def _require_networks(agent: TrainedAgent, config: SACConfig) -> None:
    """Refuse an agent whose settings describe other networks than it has."""
    if not isinstance(agent.policy, RPPSACPolicy):
        raise UserError(f"{agent.path}: only agents of this package can be trained further")
    settings = config.to_dict()
    for name, value in policy_kwargs(agent.policy).items():
        if name != "spec" and settings[name] != value:
            raise UserError(
                f"{agent.path}: its settings say {name}={settings[name]!r}, but its networks have {value!r}"
            )
