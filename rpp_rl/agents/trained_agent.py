"""A trained agent as a value: its policy, the environment it is for, and the record of how it was made."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.sac.policies import SACPolicy

from rpp_rl.agents.acting_network import acting_network
from rpp_rl.agents.errors import AgentError
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.nn import merge
from rpp_rl.sac import RPPSAC, RPPSACPolicy
from rpp_rl.sac.config import sac_config

OF_ANOTHER_RUN = ("seed", "device")
"""Settings of the agent that are not those of a training with other environments on another machine."""


class TrainedAgent:
    """A policy with everything that is needed to act, to evaluate it and to train it further.

    Args:
        policy: Actor, critics and target critics. Those of this package are an `rpp_rl.sac.RPPSACPolicy`; only a
            trusted zip file from elsewhere holds another kind.
        env_id: Gymnasium's id of the environment; None if a zip file does not say.
        env_kwargs: Arguments of the environment.
        config: The settings of the run as `rpp_rl.sac.config.SACConfig.to_dict` gives them; empty if they are unknown.
        card: The record, of plain values: ``steps``, ``versions``, ``evaluation``, ``learning_curve``, ...
        log_ent_coef: Logarithm of the entropy coefficient at the end of the training, if it was learned.
        path: The file that it was loaded from.
    """

    def __init__(
        self,
        policy: SACPolicy,
        *,
        env_id: str | None,
        env_kwargs: Mapping[str, Any],
        config: Mapping[str, Any],
        card: Mapping[str, Any],
        log_ent_coef: float | None = None,
        path: Path | None = None,
    ) -> None:
        self.policy = policy
        self.env_id = env_id
        self.env_kwargs, self.config, self.card = dict(env_kwargs), dict(config), dict(card)
        self.log_ent_coef, self.path = log_ent_coef, path
        # Acting needs no pathways: one plain matrix per layer, made once; and the mean action not even the rest.
        is_own = isinstance(policy, RPPSACPolicy)
        self._network = acting_network(policy).to(policy.device) if is_own else None
        self._acting = copy.copy(policy)
        self._acting._modules = {**policy._modules, "actor": merge(policy.actor)}

    @property
    def spec(self) -> EnvSpec | None:
        """The symmetry that the agent carries by value."""
        return getattr(self.policy, "symmetry", None)

    @property
    def observation_space(self) -> Box:
        """The observation space."""
        assert isinstance(self.policy.observation_space, Box)
        return self.policy.observation_space

    @property
    def action_space(self) -> Box:
        """The action space."""
        assert isinstance(self.policy.action_space, Box)
        return self.policy.action_space

    @property
    def n_steps(self) -> int:
        """Environment steps that it was trained for."""
        return int(self.card.get("steps", 0))

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """The action for one observation, or the actions for a batch, with the signature of Stable-Baselines3.

        Args:
            observation: Shape ``(obs,)`` or ``(batch, obs)``, as the environment gives it.
            state: Returned unchanged; the policy has no memory.
            episode_start: Not used.
            deterministic: Whether to take the mean action.

        Returns:
            Actions in the environment's bounds, shape ``(action,)`` or ``(batch, action)``, and ``state``.

        Raises:
            ValueError: If the observation has another shape.
        """
        if not deterministic or self._network is None:
            return self._acting.predict(observation, state, episode_start, deterministic)
        obs, is_batch = self.policy.obs_to_tensor(observation)
        assert isinstance(obs, torch.Tensor)
        with torch.inference_mode():
            actions = self._network(obs.float()).cpu().numpy()
        return (actions if is_batch else actions[0]), state

    def to_sb3(self, env: GymEnv | str, **settings: Any) -> RPPSAC:  # noqa: ANN401
        """An agent that goes on learning from here in Stable-Baselines3, with callbacks and environments of one's own.

        It has these networks, this temperature and the settings of the training, so far as they are known; optimisers
        and replay buffer are fresh. Its policy fills the buffer with ``learning_starts`` transitions before the first
        update. Call ``learn(..., reset_num_timesteps=False)`` to go on counting steps.

        Args:
            env: The environment to learn in, or its id.
            settings: Arguments of `rpp_rl.sac.RPPSAC` in place of those of the training.

        Raises:
            AgentError: If the policy is not of this package.
            ValueError: If the environment does not fit, or an argument is wrong.
        """
        if not isinstance(self.policy, RPPSACPolicy):
            raise AgentError(f"{self!r}: only agents of this package can be trained further")
        own = sac_config(self.config).agent_kwargs() if self.config else {}
        for name in OF_ANOTHER_RUN:
            own.pop(name, None)
        networks = self.policy.network_kwargs
        if "optimizer_betas" in self.config:
            networks["optimizer_kwargs"] = {"betas": list(self.config["optimizer_betas"])}
        agent = RPPSAC("RPPPolicy", env, **{**own, "policy_kwargs": networks, **settings})
        take_over(agent, self)
        return agent

    def __repr__(self) -> str:
        return f"TrainedAgent({self.card.get('name', 'unnamed')}, env_id={self.env_id}, steps={self.n_steps})"


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
