"""The update of SAC as its formulas stand in the paper, with losses that can be overridden.

It is the reference of `rpp_rl.fast.FastUpdate`, and what an agent with a loss of its own learns by.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor, nn

from rpp_rl.nn import Prior, merge
from rpp_rl.sac.features import RPPFeatures
from rpp_rl.sac.group_action import GroupAction, Images
from rpp_rl.sac.networks import RPPActor, RPPCritic
from rpp_rl.sac.policies import RPPSACPolicy
from rpp_rl.sac.reward_scale import ReturnStatistics, reward_scale


class PlainSAC(SAC):
    """The losses of `rpp_rl.sac.RPPSAC`, which has the settings, and the update that descends them.

    Attributes:
        policy: Holder of the networks.
        actor: The policy network with its ``optimizer``.
        critic: The critics with their ``optimizer``.
    """

    policy: RPPSACPolicy  # pyright: ignore[reportIncompatibleVariableOverride]
    actor: RPPActor  # pyright: ignore[reportIncompatibleVariableOverride]
    critic: RPPCritic  # pyright: ignore[reportIncompatibleVariableOverride]

    actor_equiv_var: float | None
    actor_residual_var: float | None
    critic_equiv_var: float | None
    critic_residual_var: float | None
    prior_n_data: int | None
    max_grad_norm: float | None
    scale_rewards: bool
    return_statistics: ReturnStatistics
    augment: bool
    mirror_loss: float
    _group_action: GroupAction | None

    @property
    def actor_prior(self) -> Prior:
        """The prior of the actor's parameters."""
        return Prior(self.actor_equiv_var, self.actor_residual_var).of_mode(self.policy.mode)

    @property
    def critic_prior(self) -> Prior:
        """The prior of the critics' parameters."""
        return Prior(self.critic_equiv_var, self.critic_residual_var).of_mode(self.policy.critic_mode)

    @property
    def n_prior_data(self) -> int:
        """The number of data that divides the prior."""
        if self.prior_n_data is not None:
            return self.prior_n_data
        buffer = self.replay_buffer
        return 1 if buffer is None else max(buffer.size() * buffer.n_envs, 1)

    @property
    def reward_scale(self) -> float:
        """What the updates divide rewards by."""
        return reward_scale(self.return_statistics) if self.scale_rewards else 1.0

    @property
    def group_action(self) -> GroupAction:
        """How the specification's group acts on batches.

        Raises:
            ValueError: If there is no specification, or its group cannot act on them.
        """
        if self._group_action is None:
            if self.policy.symmetry is None:
                raise ValueError("augment and mirror_loss need a symmetry, for example spec=rpp_rl.load_spec('Ant-v4')")
            self._group_action = GroupAction(self.policy.symmetry).to(self.device)
        return self._group_action

    def augmented(self, batch: ReplayBufferSamples) -> ReplayBufferSamples:
        """The batch, with its transitions moved by random elements of the group if they are to be."""
        return self.group_action.move(batch) if self.augment else batch

    def critic_loss(self, batch: ReplayBufferSamples, ent_coef: Tensor) -> Float[Tensor, ""]:
        """The loss that the critics descend, without the prior.

        It is half the mean squared error of the soft Bellman equation, summed over the critics. Override it, or
        `actor_loss`, for a loss of your own; the agent learns by the plain update then.

        Args:
            batch: Transitions.
            ent_coef: The temperature α.
        """
        discounts = self.gamma if batch.discounts is None else batch.discounts
        with torch.no_grad():
            next_actions, next_log_prob = self.actor.action_log_prob(batch.next_observations)
            next_q_values = torch.cat(self.critic_target(batch.next_observations, next_actions), dim=1)
            next_values = next_q_values.min(dim=1, keepdim=True).values - ent_coef * next_log_prob.reshape(-1, 1)
            targets = batch.rewards / self.reward_scale + (1 - batch.dones) * discounts * next_values
        q_values = self.critic(batch.observations, batch.actions)
        return 0.5 * torch.stack([nn.functional.mse_loss(q, targets) for q in q_values]).sum()

    def actor_loss(
        self,
        batch: ReplayBufferSamples,
        actions: Float[Tensor, "batch action"],
        log_prob: Float[Tensor, "batch 1"],
        ent_coef: Tensor,
    ) -> Float[Tensor, ""]:
        """The loss that the actor descends, without the prior: the mean of α log π - min Q.

        Args:
            batch: Transitions.
            actions: Actions that the actor has drawn for ``batch.observations``, in [-1, 1].
            log_prob: Their log probability densities.
            ent_coef: The temperature α.
        """
        q_values = torch.cat(self.critic(batch.observations, actions), dim=1)
        return (ent_coef * log_prob - q_values.min(dim=1, keepdim=True).values).mean()

    def plain_update(self, batch: ReplayBufferSamples, *, with_actor: bool = True) -> dict[str, Tensor]:
        """One gradient step of the temperature, the critics and the actor (arXiv:1812.05905); returns their losses.

        Args:
            batch: Transitions from the replay buffer.
            with_actor: Whether policy and temperature are stepped too.
        """
        for network in (self.actor, self.critic):
            cast(RPPFeatures, network.features_extractor).update(batch.observations)
        if not with_actor:
            ent_coef = self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.detach().exp()
            errors = self.critic_loss(batch, ent_coef)
            self._descend(self.critic, errors, self.critic_prior)
            return {"critic_loss": errors.detach()}
        images = self.group_action.images(batch.observations) if self.mirror_loss else None
        actions_pi, log_prob = self.actor.action_log_prob(batch.observations)
        log_prob = log_prob.reshape(-1, 1)
        ent_coef, losses = self._step_ent_coef(log_prob.detach())
        errors = self.critic_loss(batch, ent_coef)
        self._descend(self.critic, errors, self.critic_prior)
        values = self.actor_loss(batch, actions_pi, log_prob, ent_coef)
        loss = values
        if images is not None:
            losses["mirror_loss"] = self._asymmetry(batch, images)
            loss = values + self.mirror_loss * losses["mirror_loss"]
        self._descend(self.actor, loss, self.actor_prior)
        losses |= {"critic_loss": errors, "actor_loss": values, "ent_coef": ent_coef}
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def plain_follow_critic(self) -> None:
        """Move the target critics towards the critics by Polyak averaging."""
        for slow, fast in zip(self.critic_target.parameters(), merge(self.critic.q_ensemble).parameters(), strict=True):
            slow.mul_(1 - self.tau).add_(fast, alpha=self.tau)
        for slow, fast in zip(self.batch_norm_stats_target, self.batch_norm_stats, strict=True):
            slow.copy_(fast)

    def _asymmetry(self, batch: ReplayBufferSamples, images: Images) -> Float[Tensor, ""]:
        """How far the mean action is from being equivariant (Yu, Turk & Liu 2018, arXiv:1801.08093)."""
        actions, of_images = (
            torch.tanh(self.actor.get_action_dist_params(obs)[0]) for obs in (batch.observations, images.observations)
        )
        return (of_images - images.of_actions(actions)).square().sum(1).mean()

    def _step_ent_coef(self, log_prob: Float[Tensor, "batch 1"]) -> tuple[Tensor, dict[str, Tensor]]:
        """The temperature before the step, and the loss of the step when it is learned."""
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            return self.ent_coef_tensor, {}
        ent_coef = self.log_ent_coef.detach().exp()
        loss = -(self.log_ent_coef * (log_prob + float(self.target_entropy))).mean()
        self.ent_coef_optimizer.zero_grad()
        loss.backward()
        self.ent_coef_optimizer.step()
        return ent_coef, {"ent_coef_loss": loss.detach()}

    def _descend(self, network: Any, loss: Tensor, prior: Prior) -> None:  # noqa: ANN401
        """Descend the loss plus the negative log prior per datum."""
        network.optimizer.zero_grad()
        (loss + prior.energy(network) / self.n_prior_data).backward()
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), self.max_grad_norm)
        network.optimizer.step()
