"""The update of `plain_update` without its overhead; on a CPU most of the time that is left is matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn
from torch.optim import Optimizer

from rpp_rl.nn import Prior, Weights, pathways
from rpp_rl.nn.passes import make_pass
from rpp_rl.nn.prior import add_decays
from rpp_rl.nn.products import fast_products
from rpp_rl.sac import adam
from rpp_rl.sac.features import RPPFeatures
from rpp_rl.sac.networks import RPPCritic
from rpp_rl.sac.squashed import SquashedSample

if TYPE_CHECKING:
    from rpp_rl.sac.sac import RPPSAC

foreach: Any = torch  # torch's stubs do not know the functions on lists


class FastUpdate:
    """One gradient step after another, equal to those of `plain_update` up to rounding.

    What makes it fast: W = A + B made once per step and used by every pass until the next step, by acting and by the
    targets; passes without autograd where that is possible (see `rpp_rl.nn.passes`); losses whose gradients are
    written down; no gradient of weights that are not stepped; observations transformed once.

    Args:
        agent: The agent whose networks are updated. If its networks are replaced, a new object is needed; loading
            parameters into them is noticed, and so are steps of their optimisers by others.

    Attributes:
        numbers: The number of data that divides the prior and the learning rate as numbers on the device, in place of
            the agent's own: what a step that is captured reads when it is replayed.
    """

    def __init__(self, agent: RPPSAC) -> None:
        self.agent, self.policy = agent, agent.policy
        self.actor, self.critic = agent.actor, agent.critic
        self.target = cast(RPPCritic, agent.policy.critic_target)
        self.actor_weights, self.critic_weights = Weights(self.actor), Weights(self.critic)
        self.target_weights = Weights(self.target)
        self.target_parameters = list(self.target.parameters())
        self.step_counts: dict[nn.Module, list[int]] = {}
        self.numbers: tuple[Tensor, Tensor] | None = None
        self.pathways = {network: pathways(network) for network in (self.actor, self.critic)}
        actor, critic, target = self.actor, self.critic, self.target
        heads = [actor.mu, actor.log_std]
        self.actor_pass = make_pass(self.actor_weights, actor.heads, actor.latent_pi, heads)
        self.critic_pass, self.target_pass = (
            make_pass(weights, network.q_values, network.q_ensemble.trunk, [network.q_ensemble.head], keep=keep)
            for weights, network, keep in ((self.critic_weights, critic, True), (self.target_weights, target, False))
        )
        networks = (self.actor, self.critic, self.target)
        self.extractors = [cast(RPPFeatures, network.features_extractor) for network in networks]
        self.norms = [extractor for extractor in self.extractors[:2] if extractor.norm is not None]
        self.one_transform = not self.norms and self.policy.mode == self.policy.critic_mode

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
    def __call__(self, batch: ReplayBufferSamples) -> dict[str, Tensor]:
        """Step temperature, critics and actor on a batch; returns their losses, which nobody has read yet."""
        self.refresh()
        features = self._features(batch)
        with fast_products():
            return self._descend(batch, *features)

    def _descend(
        self, batch: ReplayBufferSamples, actor_x: Tensor, critic_x: Tensor, target_x: Tensor
    ) -> dict[str, Tensor]:
        agent, n = self.agent, len(batch.rewards)
        heads = self.actor_pass.forward(actor_x)
        noise = torch.cat([torch.randn(n, heads.shape[1] // 2, device=heads.device) for _ in range(2)])
        sample = SquashedSample(heads, self.actor.std, noise)
        (actions_pi, next_actions), (log_prob, next_log_prob) = sample.actions.split(n), sample.log_prob.split(n)
        ent_coef, losses = self._step_ent_coef(log_prob)

        next_q_values = self.target_pass.forward(torch.cat([target_x, next_actions], dim=1))
        next_values = next_q_values.amin(0) - ent_coef * next_log_prob
        discounts = agent.gamma if batch.discounts is None else batch.discounts
        targets = batch.rewards + (1 - batch.dones) * discounts * next_values
        errors = self.critic_pass.forward(torch.cat([critic_x, batch.actions], dim=1)) - targets
        # The gradient of the loss ½ Σ_critics mean error²
        self.critic_pass.backward(errors / n)
        self._step(self.critic, agent.critic_prior, self.critic_weights)

        q_values = self.critic_pass.forward(torch.cat([critic_x, actions_pi], dim=1), constant=True)
        smallest = q_values.amin(0)
        # The gradients of the loss mean(ent_coef log π - min q)
        action_grad = self.critic_pass.input_gradient((q_values == smallest) * (-1.0 / n), first=critic_x.shape[1])
        self.actor_pass.backward(sample.backward(action_grad, ent_coef / n))
        self._step(self.actor, agent.actor_prior, self.actor_weights)
        return {
            **losses,
            "critic_loss": 0.5 * errors.square().sum() / n,
            "actor_loss": (ent_coef * log_prob - smallest).mean(),
            "ent_coef": ent_coef,
        }

    @torch.no_grad()
    def follow_critic(self) -> None:
        """Move the target critics towards the critics by Polyak averaging; running statistics are copied."""
        foreach._foreach_lerp_(self.target_parameters, self.critic_weights.merged_parameters(), self.agent.tau)
        polyak_update(self.agent.batch_norm_stats, self.agent.batch_norm_stats_target, 1.0)

    def _features(self, batch: ReplayBufferSamples) -> tuple[Tensor, Tensor, Tensor]:
        """Observations and next ones for the actor, observations for the critics, next ones for the targets."""
        for extractor in self.norms:
            extractor.update(batch.observations)
        n = len(batch.observations)
        both = torch.cat([batch.observations, batch.next_observations]).float()
        actor_x = self.extractors[0](both)
        if self.one_transform:
            return actor_x, actor_x[:n], actor_x[n:]
        return actor_x, self.extractors[1](both[:n]), self.extractors[2](both[n:])

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
        adam.step(agent.ent_coef_optimizer, learning_rate=self.numbers and self.numbers[1])
        return ent_coef, {"ent_coef_loss": loss}

    def _step(self, network: Any, prior: Prior, weights: Weights) -> None:  # noqa: ANN401
        """Descend the gradients that are there plus those of the prior, and make the weights anew."""
        n_data, learning_rate = self.numbers or (self.agent.n_prior_data, None)
        decays = prior.decays(self.pathways[network], n_data)
        if self.agent.max_grad_norm is not None:
            add_decays(decays)
            nn.utils.clip_grad_norm_(weights.parameters, self.agent.max_grad_norm)
            decays = []
        adam.step(network.optimizer, decays, learning_rate)
        for parameter in weights.parameters:
            parameter.grad = None
        self._make(network, weights)


def _step_counts(optimizer: Optimizer) -> list[int]:
    """What every step changes: a fused one counts itself, but not the versions of the parameters."""
    return [state["step"]._version for state in optimizer.state.values() if isinstance(state.get("step"), Tensor)]
