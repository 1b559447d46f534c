"""The update of SAC as its formulas stand in the paper, with losses that can be overridden.

It is the reference of `rpp_rl.sac.fast_update`, and what an agent with a loss of its own learns by.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor, nn

from rpp_rl.nn import Prior, merge
from rpp_rl.sac.features import RPPFeatures
from rpp_rl.sac.group_action import Images
from rpp_rl.sac.learner import Learner


def plain_update(agent: Learner, batch: ReplayBufferSamples, *, with_actor: bool = True) -> dict[str, Tensor]:
    """One gradient step of the temperature, the critics and the actor (arXiv:1812.05905); returns their losses.

    Args:
        agent: The agent.
        batch: Transitions from its replay buffer.
        with_actor: Whether policy and temperature are stepped too.
    """
    for network in (agent.actor, agent.critic):
        cast(RPPFeatures, network.features_extractor).update(batch.observations)
    if not with_actor:
        ent_coef = agent.ent_coef_tensor if agent.log_ent_coef is None else agent.log_ent_coef.detach().exp()
        errors = agent.critic_loss(batch, ent_coef)
        _step(agent, agent.critic, errors, agent.critic_prior)
        return {"critic_loss": errors.detach()}
    images = agent.group_action.images(batch.observations) if agent.mirror_loss else None
    actions_pi, log_prob = agent.actor.action_log_prob(batch.observations)
    log_prob = log_prob.reshape(-1, 1)
    ent_coef, losses = _step_ent_coef(agent, log_prob.detach())
    errors = agent.critic_loss(batch, ent_coef)
    _step(agent, agent.critic, errors, agent.critic_prior)
    values = agent.actor_loss(batch, actions_pi, log_prob, ent_coef)
    loss = values
    if images is not None:
        losses["mirror_loss"] = _mirror_loss(agent, batch, images)
        loss = values + agent.mirror_loss * losses["mirror_loss"]
    _step(agent, agent.actor, loss, agent.actor_prior)
    losses |= {"critic_loss": errors, "actor_loss": values, "ent_coef": ent_coef}
    return {name: loss.detach() for name, loss in losses.items()}


def _mirror_loss(agent: Learner, batch: ReplayBufferSamples, images: Images) -> Float[Tensor, ""]:
    """How far the mean action is from being equivariant (Yu, Turk & Liu 2018, arXiv:1801.08093)."""
    actions, of_images = (
        torch.tanh(agent.actor.get_action_dist_params(obs)[0]) for obs in (batch.observations, images.observations)
    )
    return (of_images - images.of_actions(actions)).square().sum(1).mean()


@torch.no_grad()
def plain_follow_critic(agent: Learner) -> None:
    """Move the target critics towards the critics by Polyak averaging."""
    target = agent.policy.critic_target
    for slow, fast in zip(target.parameters(), merge(agent.critic.q_ensemble).parameters(), strict=True):
        slow.mul_(1 - agent.tau).add_(fast, alpha=agent.tau)
    for slow, fast in zip(agent.batch_norm_stats_target, agent.batch_norm_stats, strict=True):
        slow.copy_(fast)


def critic_loss(agent: Learner, batch: ReplayBufferSamples, ent_coef: Tensor) -> Float[Tensor, ""]:
    """Half the mean squared error of the soft Bellman equation, summed over the critics."""
    discounts = agent.gamma if batch.discounts is None else batch.discounts
    with torch.no_grad():
        next_actions, next_log_prob = agent.actor.action_log_prob(batch.next_observations)
        next_q_values = torch.cat(agent.critic_target(batch.next_observations, next_actions), dim=1)
        next_values = next_q_values.min(dim=1, keepdim=True).values - ent_coef * next_log_prob.reshape(-1, 1)
        targets = batch.rewards / agent.reward_scale + (1 - batch.dones) * discounts * next_values
    q_values = agent.critic(batch.observations, batch.actions)
    return 0.5 * torch.stack([nn.functional.mse_loss(q, targets) for q in q_values]).sum()


def actor_loss(
    agent: Learner,
    batch: ReplayBufferSamples,
    actions: Float[Tensor, "batch action"],
    log_prob: Float[Tensor, "batch 1"],
    ent_coef: Tensor,
) -> Float[Tensor, ""]:
    """The mean of α log π - min Q over actions that the actor has drawn."""
    q_values = torch.cat(agent.critic(batch.observations, actions), dim=1)
    return (ent_coef * log_prob - q_values.min(dim=1, keepdim=True).values).mean()


def _step_ent_coef(agent: Learner, log_prob: Float[Tensor, "batch 1"]) -> tuple[Tensor, dict[str, Tensor]]:
    """The temperature before the step, and the loss of the step when it is learned."""
    if agent.ent_coef_optimizer is None or agent.log_ent_coef is None:
        return agent.ent_coef_tensor, {}
    ent_coef = agent.log_ent_coef.detach().exp()
    loss = -(agent.log_ent_coef * (log_prob + float(agent.target_entropy))).mean()
    agent.ent_coef_optimizer.zero_grad()
    loss.backward()
    agent.ent_coef_optimizer.step()
    return ent_coef, {"ent_coef_loss": loss.detach()}


def _step(agent: Learner, network: Any, loss: Tensor, prior: Prior) -> None:  # noqa: ANN401
    """Descend the loss plus the negative log prior per datum."""
    network.optimizer.zero_grad()
    (loss + prior.energy(network) / agent.n_prior_data).backward()
    if agent.max_grad_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), agent.max_grad_norm)
    network.optimizer.step()
