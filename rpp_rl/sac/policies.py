"""SAC's actor, critics and policy built from RPP layers; the seams are those of `stable_baselines3.sac.policies`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import BaseModel, BasePolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim, get_flattened_obs_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN, Actor, SACPolicy
from torch import Tensor, nn

from rpp_rl.envs.layout import Layout
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.envs.transform import ObsToRep
from rpp_rl.nn import RPPEMLP, EquivariantNorm, Mode, RPPLinear, hidden_rep, trunk
from rpp_rl.nn.linear import require_mode
from rpp_rl.symmetry import Rep, trivial, trivial_group

NO_EFFECT = ("activation_fn", "use_sde", "log_std_init", "use_expln", "clip_mean", "features_extractor_class",
             "features_extractor_kwargs", "share_features_extractor")  # fmt: skip
"""Arguments of SB3's policy that belong to parts which RPP policies do not have; only their defaults are accepted."""

Std = Literal["exp", "softplus"]
"""How the actor's head becomes a standard deviation: SB3's clamped exponential or the paper's clipped softplus."""

SOFTPLUS_LOG_STD_MIN = -10.0
"""Lower bound of the log standard deviation in the authors' code; the upper bound is SB3's 2."""


class RPPFeatures(BaseFeaturesExtractor):
    """Observations in coordinates on which the group acts linearly, optionally normalised equivariantly.

    Args:
        observation_space: The environment's observation space.
        rep: How the coordinates transform.
        layout: How to make the coordinates from an observation; None to take it as it is.
        normalize_obs: Whether to normalise by running statistics that commute with the group.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], rep: Rep, layout: Layout | None, *, normalize_obs: bool = False
    ) -> None:
        super().__init__(observation_space, rep.size)
        self.to_rep = nn.Flatten() if layout is None else ObsToRep(layout)
        self.norm = EquivariantNorm(rep) if normalize_obs else None

    def forward(self, observations: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch rep"]:
        """Transform a batch of observations."""
        x = self.to_rep(observations)
        return x if self.norm is None else self.norm(x)

    def update(self, observations: Float[Tensor, "batch obs"]) -> None:
        """Add a batch to the running statistics, if there are any."""
        if self.norm is not None:
            self.norm.update(self.to_rep(observations.float()))


class RPPActor(Actor):
    """A squashed Gaussian policy whose mean transforms by the action's representation.

    The log standard deviation transforms by the absolute value of that representation: a sign flips the mean only.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        *,
        features_extractor: RPPFeatures,
        net_arch: Sequence[int],
        obs_rep: Rep,
        action_rep: Rep,
        hidden: str,
        mode: Mode,
        head_scale: float,
        std: Std,
        options: Mapping[str, Any],
    ) -> None:
        # SB3's Actor.__init__ would build plain networks only to throw them away, and draw random numbers for them.
        BasePolicy.__init__(
            self,
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=False,
            squash_output=True,
        )
        self.use_sde = False
        self.std = std
        self.action_dist = SquashedDiagGaussianDistribution(get_action_dim(action_space))
        reps = [hidden_rep(obs_rep.group, width, hidden) for width in net_arch]
        last = reps[-1] if reps else obs_rep
        self.latent_pi = trunk(obs_rep, reps, mode=mode, **options)
        self.mu = RPPLinear(last, action_rep, mode=mode)
        self.log_std = RPPLinear(last, action_rep.abs(), mode=mode)
        with torch.no_grad():
            for parameter in (*self.mu.parameters(), *self.log_std.parameters()):
                parameter.mul_(head_scale)

    def get_action_dist_params(self, obs: PyTorchObs) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Mean and log standard deviation before squashing, each ``(batch, action)``."""
        latent = self.latent_pi(self.extract_features(obs, self.features_extractor))
        mean, head = self.mu(latent), self.log_std(latent)
        if self.std == "exp":
            return mean, torch.clamp(head, LOG_STD_MIN, LOG_STD_MAX), {}
        # log softplus(h) tends to h for very negative h, where log(softplus(h)) would be -inf with a NaN gradient.
        log_std = torch.where(head < -20.0, head, nn.functional.softplus(head.clamp(min=-20.0)).log())
        return mean, torch.clamp(log_std, SOFTPLUS_LOG_STD_MIN, LOG_STD_MAX), {}


class RPPCritic(ContinuousCritic):
    """Several Q networks of observation and action, each invariant under the group up to its residual pathway."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        *,
        features_extractor: RPPFeatures,
        net_arch: Sequence[int],
        obs_rep: Rep,
        action_rep: Rep,
        hidden: str,
        mode: Mode,
        n_critics: int,
        options: Mapping[str, Any],
    ) -> None:
        BaseModel.__init__(
            self, observation_space, action_space, features_extractor=features_extractor, normalize_images=False
        )
        self.share_features_extractor = False
        self.n_critics = n_critics
        reps = [hidden_rep(obs_rep.group, width, hidden) for width in net_arch]
        self.q_networks = [
            RPPEMLP(obs_rep + action_rep, trivial(obs_rep.group), reps, mode=mode, **options) for _ in range(n_critics)
        ]
        for index, network in enumerate(self.q_networks):
            self.add_module(f"qf{index}", network)


class RPPSACPolicy(SACPolicy):
    """SAC's policy and critics with the symmetry of a specification.

    Every argument is a plain value, so that a saved agent holds no code.

    Args:
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        lr_schedule: SB3's learning rate schedule.
        spec: ``EnvSpec.to_dict()`` of the environment's symmetry; only the mode ``mlp`` works without.
        mode: ``rpp``: soft prior; ``emlp``: law; ``mlp``: plain networks on the raw observation, as SB3's.
        policy_only: Whether the critics stay plain.
        hidden: Hidden representation: ``regular``, ``uniform`` or an expression such as ``"136*R + 30*V"``.
        activation: ``relu``, ``silu`` or ``tanh``.
        bilinear: Whether to use the paper's bilinear layer.
        layer_norm: Whether to use equivariant layer norm.
        normalize_obs: Whether to normalise observations by running statistics that commute with the group.
        head_scale: Factor on the fresh last layer of the actor; by default 0.01 with a symmetry and 1 without.
        std: Parametrisation of the standard deviation, ``exp`` or ``softplus``.
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
        spec: Mapping[str, Any] | None = None,
        mode: Mode = "rpp",
        policy_only: bool = False,
        hidden: str = "regular",
        activation: str = "relu",
        bilinear: bool = False,
        layer_norm: bool = False,
        normalize_obs: bool = False,
        head_scale: float | None = None,
        std: Std = "exp",
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        require_mode(mode)
        if std not in ("exp", "softplus"):
            raise ValueError(f"std must be 'exp' or 'softplus', got {std!r}")
        _refuse_without_effect(kwargs)
        if not isinstance(observation_space, spaces.Box):
            raise ValueError(f"expected observations in a Box, got {observation_space}")
        if spec is None and mode != "mlp":
            raise ValueError(
                f"mode {mode!r} needs policy_kwargs['spec'], for example envs_reps.load('Ant-v4').to_dict()"
            )
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
        super()._build(lr_schedule)
        # Walking through the modules at every update would take longer than some of its arithmetic.
        self.critic_parameters = list(self.critic.parameters())
        self.target_parameters = list(self.critic_target.parameters())

    def set_training_mode(self, mode: bool) -> None:
        """Do nothing when the mode is as asked: SB3 asks at every step, and no layer here depends on the mode."""
        if mode != self.training:
            super().set_training_mode(mode)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> RPPActor:
        """A fresh actor on the policy's device."""
        own = self.rpp_kwargs
        head_scale = own["head_scale"]
        if head_scale is None:
            head_scale = 1.0 if self.mode == "mlp" else 0.01
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
            "options": {key: own[key] for key in ("activation", "bilinear", "layer_norm")},
        }

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self.rpp_kwargs}


def _refuse_without_effect(kwargs: Mapping[str, Any]) -> None:
    defaults = inspect.signature(SACPolicy).parameters
    ignored = [name for name in NO_EFFECT if (kwargs.get(name) or defaults[name].default) != defaults[name].default]
    if ignored:
        raise ValueError(f"RPP policies have no {', '.join(ignored)}; 'activation' chooses the nonlinearity")
