"""Reward and end of the task where they are not known as functions of observations: two heads that learn them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from rpp_rl.dynamics.scaling import EquivariantScaling
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.nn import RPPEMLP, Mode, ObsToRep, hidden_rep
from rpp_rl.symmetry import trivial

HIDDEN = 128
"""Width of the hidden layers."""


class LearnedTask(nn.Module):
    """Invariant functions of a step: its reward, and the logarithm of the odds that it ends the task.

    Args:
        spec: How the group acts. A group that changes the reward binds nothing here.
        mode: That of the agent's other networks.
    """

    reward_mean: Tensor
    reward_scale: Tensor

    def __init__(self, spec: EnvSpec, mode: Mode) -> None:
        super().__init__()
        self.mode: Mode = mode if spec.keeps_reward else "mlp"
        self.to_rep = ObsToRep(spec.observation)
        rep_in = spec.obs_rep + spec.action_rep + spec.obs_rep
        kind = "regular" if spec.group.is_finite else "uniform"
        width = max(HIDDEN, spec.group.order if spec.group.is_finite else 0)
        hidden = [hidden_rep(spec.group, width, kind)] * 2
        scaled = rep_in.size * trivial(spec.group) if self.mode == "mlp" else rep_in
        self.inputs = EquivariantScaling(scaled)
        self.net = RPPEMLP(rep_in, 2 * trivial(spec.group), hidden, mode=self.mode, activation="silu")
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_scale", torch.ones(()))

    def fit_scaling(self, obs: Tensor, actions: Tensor, next_obs: Tensor, rewards: Float[Tensor, " n"]) -> None:
        """Take the normalisation from data."""
        self.inputs.fit(self._joined(obs, actions, next_obs))
        self.reward_mean.copy_(rewards.mean())
        self.reward_scale.copy_(rewards.std(correction=0).clamp(min=1e-6))

    def loss(
        self, obs: Tensor, actions: Tensor, next_obs: Tensor, rewards: Float[Tensor, " n"], dones: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Squared error of the normalised reward, and the negative log likelihood of the ends."""
        reward, odds = self(obs, actions, next_obs).unbind(-1)
        error = reward - (rewards - self.reward_mean) / self.reward_scale
        return 0.5 * error.square().mean() + nn.functional.binary_cross_entropy_with_logits(odds, dones)

    def forward(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Float[Tensor, "n 2"]:
        """Normalised rewards, and logarithms of the odds of an end."""
        return self.net(self.inputs(self._joined(obs, actions, next_obs)))

    @torch.no_grad()
    def judge(
        self, obs: Float[ndarray, "n obs"], actions: Float[ndarray, "n action"], next_obs: Float[ndarray, "n obs"]
    ) -> tuple[Float[ndarray, " n"], Bool[ndarray, " n"]]:
        """Rewards of steps, and whether they end the task; actions in the environment's units."""
        tensors = [
            torch.as_tensor(a, dtype=torch.float32, device=self.reward_mean.device) for a in (obs, actions, next_obs)
        ]
        reward, odds = self(*tensors).unbind(-1)
        rewards = self.reward_mean + self.reward_scale * reward
        return rewards.cpu().numpy(), np.asarray((odds > 0).cpu())

    def _joined(self, obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
        return torch.cat([self.to_rep(obs), actions, self.to_rep(next_obs)], dim=-1)
