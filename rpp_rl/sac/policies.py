"""SAC's policy with the symmetry of a specification."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from rpp_rl.envs.spec import EnvSpec
from rpp_rl.nn import Mode, merge, parameter_groups
from rpp_rl.nn.linear import require_mode
from rpp_rl.nn.log_std import Std
from rpp_rl.sac.features import RPPFeatures
from rpp_rl.sac.networks import RPPActor, RPPCritic
from rpp_rl.symmetry import trivial, trivial_group

NO_EFFECT = ("activation_fn", "use_sde", "log_std_init", "use_expln", "clip_mean", "features_extractor_class",
             "features_extractor_kwargs", "share_features_extractor")  # fmt: skip
"""Arguments of SB3's policy that belong to parts which RPP policies do not have; only their defaults are accepted."""


class RPPSACPolicy(SACPolicy):
    """SAC's policy and critics with the symmetry of a specification.

    Every argument is a plain value, so that a saved agent holds no code.

    Args:
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        lr_schedule: SB3's learning rate schedule.
        spec: The environment's symmetry, an `EnvSpec` or its ``to_dict()``; only the mode ``mlp`` works without.
        mode: ``rpp``: soft prior; ``emlp``: law; ``mlp``: plain networks on the raw observation, as SB3's.
        policy_only: Whether the critics stay plain.
        hidden: Hidden representation: ``regular``, ``uniform`` or an expression such as ``"136*R + 30*V"``.
        activation: ``relu``, ``silu`` or ``tanh``.
        bilinear: Whether to use the paper's bilinear layer.
        layer_norm: Whether the critics have equivariant layer norm.
        normalize_obs: Whether to normalise observations by running statistics that commute with the group.
        head_scale: Factor on the fresh last layer of the actor; by default 0.01 (SB3's is 1).
        std: Parametrisation of the standard deviation, ``exp`` or ``softplus``.
        actor_residual_decay: Decoupled decay of the actor's residual pathway in ``rpp`` mode, see
            `rpp_rl.nn.parameter_groups`; the optimiser is torch's AdamW then.
        critic_residual_decay: The same for the critics.
        kwargs: Passed on to SB3's ``SACPolicy`` (``net_arch``, ``n_critics``, ``optimizer_kwargs``, ...). Adam is fused
            unless ``optimizer_kwargs`` say otherwise.

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
        policy_only: bool = False,
        hidden: str = "regular",
        activation: str = "relu",
        bilinear: bool = False,
        layer_norm: bool = False,
        normalize_obs: bool = False,
        head_scale: float | None = None,
        std: Std = "exp",
        actor_residual_decay: float | None = None,
        critic_residual_decay: float | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        require_mode(mode)
        if std not in ("exp", "softplus"):
            raise ValueError(f"std must be 'exp' or 'softplus', got {std!r}")
        _refuse_without_effect(kwargs)
        if not isinstance(observation_space, spaces.Box):
            raise ValueError(f"expected observations in a Box, got {observation_space}; SB3's own SAC takes others")
        if is_image_space(observation_space):
            raise ValueError(
                f"expected vectors, got images {observation_space.shape}, which these networks would take unscaled; "
                "use SB3's own SAC, or a wrapper that makes features of them"
            )
        if isinstance(spec, EnvSpec):
            spec = spec.to_dict()
        if spec is None and mode != "mlp":
            raise ValueError(f"mode {mode!r} needs policy_kwargs['spec'], for example rpp_rl.load_spec('Ant-v4')")
        self.symmetry = None if spec is None else EnvSpec.from_dict(spec)
        if self.symmetry is not None:
            self.symmetry.check_spaces(observation_space, action_space)
        self._action_box = action_space
        self.rpp_kwargs: dict[str, Any] = {
            "spec": spec,
            "mode": mode,
            "policy_only": policy_only,
            "hidden": hidden,
            "activation": activation,
            "bilinear": bilinear,
            "layer_norm": layer_norm,
            "normalize_obs": normalize_obs,
            "head_scale": head_scale,
            "std": std,
            "actor_residual_decay": actor_residual_decay,
            "critic_residual_decay": critic_residual_decay,
        }
        if issubclass(kwargs.get("optimizer_class", torch.optim.Adam), torch.optim.Adam):
            kwargs["optimizer_kwargs"] = {"fused": True, **(kwargs.get("optimizer_kwargs") or {})}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    @property
    def mode(self) -> Mode:
        """The mode of the actor."""
        return self.rpp_kwargs["mode"]

    @property
    def critic_mode(self) -> Mode:
        """The mode of the critics."""
        return "mlp" if self.rpp_kwargs["policy_only"] else self.mode

    def _build(self, lr_schedule: Schedule) -> None:
        self.actor, self.critic = self.make_actor(), self.make_critic()
        # Polyak averaging is linear, and so is W in the parameters: targets need W alone and cost what plain ones do.
        self.critic_target = cast(RPPCritic, merge(self.critic).requires_grad_(False))
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            decay = self.rpp_kwargs[f"{name}_residual_decay"]
            network.optimizer = self._make_optimizer(network, decay, lr_schedule(1))
        self.critic_target.set_training_mode(False)

    def _make_optimizer(self, network: nn.Module, residual_decay: float | None, lr: float) -> torch.optim.Optimizer:
        """The optimiser of a network, in whose steps the residual pathway decays."""
        groups = parameter_groups(network, residual_decay)
        kind = cast(Any, self.optimizer_class)
        if len(groups) == 1:
            return kind(network.parameters(), lr=lr, **self.optimizer_kwargs)
        if kind not in (torch.optim.Adam, torch.optim.AdamW):
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
        own = self.rpp_kwargs
        head_scale = 0.01 if own["head_scale"] is None else own["head_scale"]
        return RPPActor(
            self.observation_space,
            self._action_box,
            net_arch=self.actor_kwargs["net_arch"],
            head_scale=head_scale,
            std=own["std"],
            **self._typed(self.mode),
        ).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> RPPCritic:
        """Fresh critics on the policy's device."""
        return RPPCritic(
            self.observation_space,
            self._action_box,
            net_arch=self.critic_kwargs["net_arch"],
            n_critics=self.critic_kwargs["n_critics"],
            layer_norm=self.rpp_kwargs["layer_norm"],
            **self._typed(self.critic_mode),
        ).to(self.device)

    def _typed(self, mode: Mode) -> dict[str, Any]:
        """What actor and critics have in common in a mode; plain networks take every number on its own."""
        own = self.rpp_kwargs
        if mode == "mlp" or self.symmetry is None:
            one = trivial(trivial_group())
            layout, hidden = None, "regular"
            obs_rep = get_flattened_obs_dim(self.observation_space) * one
            action_rep = get_action_dim(self._action_box) * one
        else:
            layout, hidden = self.symmetry.observation, own["hidden"]
            obs_rep, action_rep = self.symmetry.obs_rep, self.symmetry.action_rep
        return {
            "features_extractor": RPPFeatures(
                self.observation_space, obs_rep, layout, normalize_obs=own["normalize_obs"]
            ),
            "obs_rep": obs_rep,
            "action_rep": action_rep,
            "hidden": hidden,
            "mode": mode,
            "options": {key: own[key] for key in ("activation", "bilinear")},
        }

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self.rpp_kwargs}


def _refuse_without_effect(kwargs: Mapping[str, Any]) -> None:
    defaults = inspect.signature(SACPolicy).parameters
    ignored = [name for name in NO_EFFECT if (kwargs.get(name) or defaults[name].default) != defaults[name].default]
    if ignored:
        raise ValueError(f"RPP policies have no {', '.join(ignored)}; 'activation' chooses the nonlinearity")
