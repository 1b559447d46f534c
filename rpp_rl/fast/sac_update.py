"""The update of SAC without the overhead of autograd; on a CPU most of the time that is left is matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn
from torch.optim import Optimizer

from rpp_rl.fast import adam_step
from rpp_rl.fast.learner import Images, Learner
from rpp_rl.fast.matmul_library import fast_products
from rpp_rl.fast.network_weights import Weights
from rpp_rl.fast.passes import make_pass
from rpp_rl.fast.squashed_sample import SquashedSample
from rpp_rl.nn import Prior, pathways
from rpp_rl.nn.prior import add_decays

foreach: Any = torch  # torch's stubs do not know the functions on lists


class Numbers(NamedTuple):
    """What changes between two steps, as numbers on the device.

    Attributes:
        n_data: The number of data that divides the prior.
        learning_rate: That of all optimisers.
        reward_scale: What rewards are divided by.
    """

    n_data: Tensor
    learning_rate: Tensor
    reward_scale: Tensor


class FastUpdate:
    """One gradient step after another, equal to those of `rpp_rl.sac.plain_update` up to rounding.

    What makes it fast: W = A + B made once per step and used by every pass until the next step, by acting and by the
    targets; passes without autograd where that is possible (see `rpp_rl.fast.passes`); losses whose gradients are
    written down; no gradient of weights that are not stepped; coordinates made once for all networks.

    Args:
        agent: The agent whose networks are updated. If its networks are replaced, a new object is needed; loading
            parameters into them is noticed, and so are steps of their optimisers by others.

    Attributes:
        numbers: In place of the agent's own: what a step that is captured reads when it is replayed.
    """

    def __init__(self, agent: Learner) -> None:
        self.agent, self.policy = agent, agent.policy
        self.actor, self.critic = agent.actor, agent.critic
        self.target = agent.policy.critic_target
        self.actor_weights, self.critic_weights = Weights(self.actor), Weights(self.critic)
        self.target_weights = Weights(self.target)
        self.target_parameters = list(self.target.parameters())
        self.step_counts: dict[nn.Module, list[int]] = {}
        self.numbers: Numbers | None = None
        self.pathways = {network: pathways(network) for network in (self.actor, self.critic)}
        actor, critic, target = self.actor, self.critic, self.target
        heads = [actor.mu, actor.log_std]
        self.actor_pass = make_pass(self.actor_weights, actor.heads, actor.latent_pi, heads)
        self.critic_pass, self.target_pass = (
            make_pass(weights, network.q_values, network.q_ensemble.trunk, [network.q_ensemble.head], keep=keep)
            for weights, network, keep in ((self.critic_weights, critic, True), (self.target_weights, target, False))
        )
        self.extractors = [network.features_extractor for network in (actor, critic, target)]
        self.has_same_coordinates = self.policy.mode == self.policy.critic_mode

    def refresh(self) -> None:
        """Make the weights again if somebody else changed the parameters."""
        self._refresh(self.actor, self.actor_weights)
        self._refresh(self.critic, self.critic_weights)
        if self.target_weights.is_stale:
            self.target_weights.make()

    def forget_weights(self) -> None:
        """Make all weights again before their next use: steps that are replayed leave no trace."""
        self.step_counts.clear()
        self.target_weights.forget()

    def _refresh(self, network: Any, weights: Weights) -> None:  # noqa: ANN401
        if weights.is_stale or self.step_counts.get(network) != _step_counts(network.optimizer):
            self._make(network, weights)

    def _make(self, network: Any, weights: Weights) -> None:  # noqa: ANN401
        weights.make()
        self.step_counts[network] = _step_counts(network.optimizer)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Let the actor compute with the weights that are there."""
        self._refresh(self.actor, self.actor_weights)
        with self.actor_weights.used():
            yield

    @torch.no_grad()
    def __call__(self, batch: ReplayBufferSamples, *, with_actor: bool = True) -> dict[str, Tensor]:
        """Step the critics on a batch, and temperature and actor if asked for; returns losses that nobody has read."""
        self.refresh()
        agent = self.agent
        images = agent.group_action.images(batch.observations) if with_actor and agent.mirror_loss else None
        actor_x, critic_x, target_x = self._features(batch, images, with_actor=with_actor)
        with fast_products():
            heads = self.actor_pass.forward(actor_x)
            if not with_actor:
                sample = SquashedSample(heads, self.actor.std, _noise(heads))
                ent_coef = agent.ent_coef_tensor if agent.log_ent_coef is None else agent.log_ent_coef.detach().exp()
                return self._step_critics(batch, critic_x, target_x, sample.actions, sample.log_prob, ent_coef)
            return self._step_all(batch, critic_x, target_x, heads, images)

    def _step_all(
        self, batch: ReplayBufferSamples, critic_x: Tensor, target_x: Tensor, heads: Tensor, images: Images | None
    ) -> dict[str, Tensor]:
        """All networks, given the heads of the actor for observations, their images if there are any, and next ones."""
        agent, n = self.agent, len(batch.rewards)
        both = heads if images is None else torch.cat([heads[:n], heads[2 * n :]])
        noise = torch.cat([_noise(both[:n]) for _ in range(2)])
        sample = SquashedSample(both, self.actor.std, noise)
        (actions_pi, next_actions), (log_prob, next_log_prob) = sample.actions.split(n), sample.log_prob.split(n)
        ent_coef, losses = self._step_ent_coef(log_prob)
        losses |= self._step_critics(batch, critic_x, target_x, next_actions, next_log_prob, ent_coef)

        q_values = self.critic_pass.forward(torch.cat([critic_x, actions_pi], dim=1), constant=True)
        smallest = q_values.amin(0)
        # The gradients of the loss mean(ent_coef log π - min q)
        action_grad = self.critic_pass.input_gradient((q_values == smallest) * (-1.0 / n), first=critic_x.shape[1])
        heads_grad = sample.backward(action_grad, ent_coef / n)
        if images is not None:
            losses["mirror_loss"], mirror_grad = self._mirror_loss(heads[: 2 * n], images)
            mirror_grad[:n] += heads_grad
            heads_grad = mirror_grad
        self.actor_pass.backward(heads_grad)
        self._step(self.actor, agent.actor_prior, self.actor_weights)
        return {**losses, "actor_loss": (ent_coef * log_prob - smallest).mean(), "ent_coef": ent_coef}

    def _step_critics(
        self,
        batch: ReplayBufferSamples,
        critic_x: Tensor,
        target_x: Tensor,
        next_actions: Tensor,
        next_log_prob: Tensor,
        ent_coef: Tensor,
    ) -> dict[str, Tensor]:
        agent, n = self.agent, len(batch.rewards)
        next_q_values = self.target_pass.forward(torch.cat([target_x, next_actions], dim=1))
        next_values = next_q_values.amin(0) - ent_coef * next_log_prob
        discounts = agent.gamma if batch.discounts is None else batch.discounts
        rewards = batch.rewards / (agent.reward_scale if self.numbers is None else self.numbers.reward_scale)
        targets = rewards + (1 - batch.dones) * discounts * next_values
        errors = self.critic_pass.forward(torch.cat([critic_x, batch.actions], dim=1)) - targets
        # The gradient of the loss ½ Σ_critics mean error²
        self.critic_pass.backward(errors / n)
        self._step(self.critic, agent.critic_prior, self.critic_weights)
        return {"critic_loss": 0.5 * errors.square().sum() / n}

    def _mirror_loss(self, heads: Tensor, images: Images) -> tuple[Tensor, Tensor]:
        """The mirror loss, and its gradient times its weight with respect to the heads of observations and images."""
        n, n_actions = len(heads) // 2, heads.shape[1] // 2
        means = heads[:, :n_actions].tanh()
        slopes = 1 - means * means
        difference = means[n:] - images.of_actions(means[:n])
        factor = 2 * self.agent.mirror_loss / n
        grad = torch.zeros_like(heads)
        grad[:n, :n_actions] = -factor * images.back(difference) * slopes[:n]
        grad[n:, :n_actions] = factor * difference * slopes[n:]
        return difference.square().sum(1).mean(), grad

    @torch.no_grad()
    def follow_critic(self) -> None:
        """Move the target critics towards the critics by Polyak averaging; running statistics are copied."""
        foreach._foreach_lerp_(self.target_parameters, self.critic_weights.merged_parameters(), self.agent.tau)
        polyak_update(self.agent.batch_norm_stats, self.agent.batch_norm_stats_target, 1.0)

    def _features(
        self, batch: ReplayBufferSamples, images: Images | None, *, with_actor: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For the actor observations, images and next observations; observations for critics, next ones for targets.

        Without the actor's step it needs next observations alone.
        """
        n = len(batch.observations)
        parts = [batch.observations, *([] if images is None else [images.observations]), batch.next_observations]
        several = torch.cat(parts).float()
        actor, critic, target = self.extractors
        actor_x = actor.to_rep(several)
        critic_x = actor_x if self.has_same_coordinates else critic.to_rep(several)
        for extractor, x in ((actor, actor_x), (critic, critic_x)):
            if extractor.norm is not None:
                extractor.norm.update(x[:n])
        return (
            actor.normalized(actor_x if with_actor else actor_x[-n:]),
            critic.normalized(critic_x[:n]),
            target.normalized(critic_x[-n:]),
        )

    def _step_ent_coef(self, log_prob: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The temperature before the step, and the loss of the step when it is learned."""
        agent = self.agent
        if agent.ent_coef_optimizer is None or agent.log_ent_coef is None:
            return agent.ent_coef_tensor, {}
        log_ent_coef = agent.log_ent_coef.detach()
        ent_coef = log_ent_coef.exp()
        # The gradient of the loss mean(-log_ent_coef (log π + target entropy))
        agent.log_ent_coef.grad = -(log_prob.mean() + float(agent.target_entropy)).view(1)
        loss = (log_ent_coef * agent.log_ent_coef.grad).squeeze()
        adam_step.step(
            agent.ent_coef_optimizer, learning_rate=None if self.numbers is None else self.numbers.learning_rate
        )
        return ent_coef, {"ent_coef_loss": loss}

    def _step(self, network: Any, prior: Prior, weights: Weights) -> None:  # noqa: ANN401
        """Descend the gradients that are there plus those of the prior, and make the weights anew."""
        n_data = self.agent.n_prior_data if self.numbers is None else self.numbers.n_data
        learning_rate = None if self.numbers is None else self.numbers.learning_rate
        decays = prior.decays(self.pathways[network], n_data)
        if self.agent.max_grad_norm is not None:
            add_decays(decays)
            nn.utils.clip_grad_norm_(weights.parameters, self.agent.max_grad_norm)
            decays = []
        adam_step.step(network.optimizer, decays, learning_rate)
        for parameter in weights.parameters:
            parameter.grad = None
        self._make(network, weights)


def _noise(heads: Tensor) -> Tensor:
    """Normal numbers, one for each action."""
    return torch.randn(len(heads), heads.shape[1] // 2, device=heads.device)


def _step_counts(optimizer: Optimizer) -> list[int]:
    """What every step changes: a fused one counts itself, but not the versions of the parameters."""
    return [state["step"]._version for state in optimizer.state.values() if isinstance(state.get("step"), Tensor)]
