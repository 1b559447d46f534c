"""SAC's actor and critics built from RPP layers; the seams are those of `stable_baselines3.sac.policies`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import BaseModel, BasePolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.sac.policies import Actor
from torch import Tensor

from rpp_rl.nn import RPPEMLP, Subgroup, hidden_rep, linear_layer, trunk
from rpp_rl.nn.log_std import Std, log_std_of
from rpp_rl.sac.config import NetworkSettings
from rpp_rl.sac.features import RPPFeatures
from rpp_rl.symmetry import Rep, trivial

DEFAULT_HEAD_SCALE = 0.01
"""Factor on the fresh last layer of an actor; Stable-Baselines3's is 1."""


@dataclass(frozen=True)
class NetworkParts:
    """What an actor or critics are made of.

    Attributes:
        features_extractor: Turns observations into vectors that transform.
        obs_rep: How these do.
        action_rep: How actions transform.
        settings: What the layers are.
        subgroups: Those of levels between both pathways, see `rpp_rl.nn.ChainLinear`.
    """

    features_extractor: RPPFeatures
    obs_rep: Rep
    action_rep: Rep
    settings: NetworkSettings
    subgroups: tuple[Subgroup, ...] = ()


class _OfParts(BaseModel):
    """A network that can be made again of the same parts."""

    parts: NetworkParts

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "parts": self.parts,
        }


class RPPActor(_OfParts, Actor):
    """A squashed Gaussian policy whose mean transforms by the action's representation.

    The log standard deviation transforms by the absolute value of that representation: a sign flips the mean only.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        parts: NetworkParts,
    ) -> None:
        # SB3's Actor.__init__ would build plain networks only to throw them away, and draw random numbers for them.
        BasePolicy.__init__(
            self,
            observation_space,
            action_space,
            features_extractor=parts.features_extractor,
            normalize_images=False,
            squash_output=True,
        )
        self.use_sde = False
        self.parts = parts
        obs_rep, action_rep, settings = parts.obs_rep, parts.action_rep, parts.settings
        self.std: Std = settings.std
        self.action_dist = SquashedDiagGaussianDistribution(get_action_dim(action_space))
        reps = [hidden_rep(obs_rep.group, width, settings.hidden) for width in settings.net_arch]
        last = reps[-1] if reps else obs_rep
        self.latent_pi = trunk(
            obs_rep,
            reps,
            mode=settings.mode,
            activation=settings.activation,
            bilinear=settings.bilinear,
            subgroups=parts.subgroups,
        )
        self.mu = linear_layer(last, action_rep, mode=settings.mode, subgroups=parts.subgroups)
        self.log_std = linear_layer(last, action_rep.abs(), mode=settings.mode, subgroups=parts.subgroups)
        head_scale = DEFAULT_HEAD_SCALE if settings.head_scale is None else settings.head_scale
        with torch.no_grad():
            for parameter in (*self.mu.parameters(), *self.log_std.parameters()):
                parameter.mul_(head_scale)

    def get_action_dist_params(self, obs: PyTorchObs) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Mean and log standard deviation before squashing, each ``(batch, action)``."""
        return *self.gaussian(self.heads(self.extract_features(obs, self.features_extractor))), {}

    def heads(self, features: Float[Tensor, "batch rep"]) -> Float[Tensor, "batch mean_and_head"]:
        """The outputs of both last layers, side by side."""
        latent = self.latent_pi(features)
        return torch.cat([self.mu(latent), self.log_std(latent)], dim=1)

    def gaussian(self, heads: Float[Tensor, "batch mean_and_head"]) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before squashing, each ``(batch, action)``, of what `heads` gives."""
        mean, head = heads.chunk(2, dim=1)
        return mean, log_std_of(head, self.std)


class RPPCritic(_OfParts, ContinuousCritic):
    """Several Q networks of observation and action, each invariant under the group up to its residual pathway.

    They are computed together: their parameters have a leading member axis.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        parts: NetworkParts,
    ) -> None:
        BaseModel.__init__(
            self, observation_space, action_space, features_extractor=parts.features_extractor, normalize_images=False
        )
        self.share_features_extractor = False
        self.parts = parts
        obs_rep, action_rep, settings = parts.obs_rep, parts.action_rep, parts.settings
        self.n_critics = settings.n_critics
        self.q_ensemble = RPPEMLP(
            obs_rep + action_rep,
            trivial(obs_rep.group),
            [hidden_rep(obs_rep.group, width, settings.hidden) for width in settings.net_arch],
            mode=settings.mode,
            activation=settings.activation,
            bilinear=settings.bilinear,
            layer_norm=settings.layer_norm,
            subgroups=parts.subgroups,
            ensemble=settings.n_critics,
        )

    def forward(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """The value that each critic gives to each action, each ``(batch, 1)``."""
        features = self.extract_features(obs, self.features_extractor)
        return self.q_values(torch.cat([features, actions], dim=1)).unbind()

    def q1_forward(self, obs: Tensor, actions: Tensor) -> Float[Tensor, "batch 1"]:
        """The values of the first critic."""
        return self.forward(obs, actions)[0]

    def q_values(self, x: Float[Tensor, "batch rep_and_action"]) -> Float[Tensor, "n_critics batch 1"]:
        """The values of all critics, of what the features extractor gives beside the actions."""
        return self.q_ensemble(x.expand(self.n_critics, -1, -1))
