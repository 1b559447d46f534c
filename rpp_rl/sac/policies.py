"""SAC's policy with the symmetry of a specification."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from rpp_rl.envs.spec import EnvSpec
from rpp_rl.nn import Mode, merge, parameter_groups, residual_decay
from rpp_rl.nn.levels import SubgroupLevel, subgroup_level
from rpp_rl.nn.prior import UNKNOWN_ERROR
from rpp_rl.sac.config import NETWORK_SETTINGS, NetworkSettings
from rpp_rl.sac.features import RPPFeatures
from rpp_rl.sac.networks import NetworkParts, RPPActor, RPPCritic
from rpp_rl.symmetry import trivial, trivial_group

NO_EFFECT = ("activation_fn", "use_sde", "log_std_init", "use_expln", "clip_mean", "features_extractor_class",
             "features_extractor_kwargs", "share_features_extractor")  # fmt: skip
"""Arguments of SB3's policy that belong to parts which RPP policies do not have; only their defaults are accepted."""

OF_SB3 = ("net_arch", "n_critics")
"""Those of `NetworkSettings` that SB3's policy has too, and divides among actor and critics."""

DECAYING = (torch.optim.Adam, torch.optim.AdamW)
"""Optimisers in whose steps a residual pathway can decay."""

REWARD_ERROR = 0.3
"""What a symmetry that changes the reward counts as at least, as an error of the dynamics would."""


class RPPSACPolicy(SACPolicy):
    """SAC's policy and critics with the symmetry of a specification.

    Every argument is a plain value, so that a saved agent holds no code.

    Args:
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        lr_schedule: SB3's learning rate schedule.
        spec: The environment's symmetry, an `EnvSpec` or its ``to_dict()``; only the mode ``mlp`` works without.
        mode: ``rpp``: soft prior; ``emlp``: law; ``mlp``: plain networks on the raw observation, as SB3's.
        actor_residual_decay: Decoupled decay of the actor's residual pathway in ``rpp`` mode, see
            `rpp_rl.nn.parameter_groups`; the optimiser is torch's AdamW then. ``"auto"`` for
            `rpp_rl.nn.residual_decay` of the specification's measured error.
        critic_residual_decay: The same for the critics.
        kwargs: Those of `NetworkSettings`, and of SB3's ``SACPolicy`` (``optimizer_kwargs``, ``net_arch`` as a mapping,
            ...). Adam is fused unless ``optimizer_kwargs`` say otherwise.

    Attributes:
        symmetry: The specification.
        networks: What the networks are.
        level: The level between both pathways; None for two pathways.
        residual_decay: The decays of the residual pathways of ``actor`` and ``critic``.

    Raises:
        ValueError: If the specification is missing or does not fit the spaces, or an option is unknown.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        spec: EnvSpec | Mapping[str, Any] | None = None,
        mode: Mode = "rpp",
        actor_residual_decay: float | Literal["auto"] | None = None,
        critic_residual_decay: float | Literal["auto"] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        own = {name: kwargs.pop(name) for name in NETWORK_SETTINGS if name in kwargs and name not in OF_SB3}
        self.networks = NetworkSettings(mode=mode, **own)
        _refuse_without_effect(kwargs)
        if not isinstance(observation_space, spaces.Box):
            raise ValueError(f"expected observations in a Box, got {observation_space}; SB3's own SAC takes others")
        if is_image_space(observation_space):
            raise ValueError(
                f"expected vectors, got images {observation_space.shape}, which these networks would take unscaled; "
                "use SB3's own SAC, or a wrapper that makes features of them"
            )
        if spec is None and mode != "mlp":
            raise ValueError(f"mode {mode!r} needs policy_kwargs['spec'], for example rpp_rl.load_spec('Ant-v4')")
        self.symmetry = spec if spec is None or isinstance(spec, EnvSpec) else EnvSpec.from_dict(spec)
        if self.symmetry is not None:
            self.symmetry.check_spaces(observation_space, action_space)
        self._action_box = action_space
        self.level = self._make_level()
        optimizer = kwargs.get("optimizer_class", torch.optim.Adam)
        decays = {"actor": actor_residual_decay, "critic": critic_residual_decay}
        trusting = self._trusting_decay(optimizer)
        self.residual_decay: dict[str, float | None] = {
            name: trusting if isinstance(decay, str) else decay for name, decay in decays.items()
        }
        if issubclass(optimizer, torch.optim.Adam):
            kwargs["optimizer_kwargs"] = {"fused": True, **(kwargs.get("optimizer_kwargs") or {})}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    @property
    def mode(self) -> Mode:
        """The mode of the actor."""
        return self.networks.mode

    @property
    def critic_mode(self) -> Mode:
        """The mode of the critics."""
        return "mlp" if self.networks.policy_only else self.mode

    @property
    def network_kwargs(self) -> dict[str, Any]:
        """The arguments that make these networks, as plain values."""
        own = {"net_arch": self.net_arch, "n_critics": self.critic_kwargs["n_critics"]}
        spec = None if self.symmetry is None else self.symmetry.to_dict()
        return {"spec": spec, **self.networks.policy_kwargs(), **own}

    def _trusting_decay(self, optimizer: type[torch.optim.Optimizer]) -> float | None:
        """The decay of a residual pathway that trusts the symmetry; None where nothing can decay so."""
        if self.symmetry is None or self.mode != "rpp" or optimizer not in DECAYING:
            return None
        return residual_decay(trusted_error(self.symmetry if self.level is None else self.level.spec))

    def _make_level(self) -> SubgroupLevel | None:
        """The level that the settings ask for."""
        names = self.networks.subgroup
        if not names:
            return None
        if self.symmetry is None or self.mode != "rpp":
            raise ValueError(f"subgroup: soft networks alone have levels, got mode {self.mode!r}; use mode 'rpp'")
        return subgroup_level(self.symmetry, names)

    def _build(self, lr_schedule: Schedule) -> None:
        self.actor, self.critic = self.make_actor(), self.make_critic()
        # Polyak averaging is linear, and so is W in the parameters: targets need W alone and cost what plain ones do.
        self.critic_target = cast(RPPCritic, merge(self.critic).requires_grad_(False))
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            network.optimizer = self._make_optimizer(network, self.residual_decay[name], lr_schedule(1))
        self.critic_target.set_training_mode(False)

    def _make_optimizer(self, network: nn.Module, residual_decay: float | None, lr: float) -> torch.optim.Optimizer:
        """The optimiser of a network, in whose steps the residual pathway decays."""
        decay = residual_decay or 0.0
        level_decays = [] if self.level is None else [decay * self.networks.subgroup_decay]
        groups = parameter_groups(network, residual_decay, level_decays)
        kind = cast(Any, self.optimizer_class)
        if len(groups) == 1:
            return kind(network.parameters(), lr=lr, **self.optimizer_kwargs)
        if kind not in DECAYING:
            raise ValueError(
                f"a residual pathway decays in the steps of Adam, got {kind.__name__}; set actor_residual_decay and "
                "critic_residual_decay to null"
            )
        return torch.optim.AdamW(groups, lr=lr, **self.optimizer_kwargs)

    def set_training_mode(self, mode: bool) -> None:
        """Do nothing when the mode is as asked: SB3 asks at every step, and no layer here depends on the mode.

        Raises:
            ValueError: If SB3's own SAC is about to train networks with a prior, of which it knows nothing.
        """
        if mode and self.mode != "mlp":
            raise ValueError(
                f"networks in mode {self.mode!r} are trained by RPPSAC, not by SB3's SAC: load with RPPSAC.load"
            )
        if mode != self.training:
            super().set_training_mode(mode)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> RPPActor:
        """A fresh actor on the policy's device."""
        arch = self.actor_kwargs["net_arch"]
        return RPPActor(self.observation_space, self._action_box, self._parts(self.mode, arch)).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> RPPCritic:
        """Fresh critics on the policy's device."""
        arch = self.critic_kwargs["net_arch"]
        return RPPCritic(self.observation_space, self._action_box, self._parts(self.critic_mode, arch)).to(self.device)

    def _parts(self, mode: Mode, net_arch: Sequence[int]) -> NetworkParts:
        """What a network is made of; plain ones take every number on its own."""
        settings = replace(
            self.networks, mode=mode, net_arch=tuple(net_arch), n_critics=self.critic_kwargs["n_critics"]
        )
        if mode == "mlp" or self.symmetry is None:
            one = trivial(trivial_group())
            settings = replace(settings, hidden="regular")
            layout, obs_rep = None, get_flattened_obs_dim(self.observation_space) * one
            action_rep = get_action_dim(self._action_box) * one
        else:
            layout, obs_rep = self.symmetry.observation, self.symmetry.obs_rep
            action_rep = self.symmetry.action_rep
        features = RPPFeatures(self.observation_space, obs_rep, layout, normalize_obs=settings.normalize_obs)
        subgroups = () if self.level is None or mode != "rpp" else (self.level.subgroup,)
        return NetworkParts(features, obs_rep, action_rep, settings, subgroups)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        decays = {f"{name}_residual_decay": decay for name, decay in self.residual_decay.items()}
        return {**super()._get_constructor_parameters(), **self.network_kwargs, **decays}


def trusted_error(spec: EnvSpec) -> float:
    """The measured error of a symmetry, as the prior counts it: `EnvSpec.error` with what is not in it."""
    error = UNKNOWN_ERROR if spec.error is None else spec.error
    return error if spec.keeps_reward else max(error, REWARD_ERROR)


def _refuse_without_effect(kwargs: Mapping[str, Any]) -> None:
    defaults = inspect.signature(SACPolicy).parameters
    ignored = [name for name in NO_EFFECT if (kwargs.get(name) or defaults[name].default) != defaults[name].default]
    if ignored:
        raise ValueError(f"RPP policies have no {', '.join(ignored)}; 'activation' chooses the nonlinearity")
