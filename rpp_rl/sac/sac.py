"""RPP-SAC: soft actor-critic whose networks prefer the symmetry of the robot (arXiv:2112.01388, section 6.1)."""

from __future__ import annotations

import io
import pathlib
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import save_to_pkl
from stable_baselines3.common.type_aliases import GymEnv, ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor, nn

from rpp_rl.nn import Mode, Prior, shared_weights
from rpp_rl.sac.policies import RPPCritic, RPPFeatures, RPPSACPolicy
from rpp_rl.sac.replay import filled, with_capacity


class RPPSAC(SAC):
    """SAC with residual pathway priors; every feature of SB3's ``SAC`` but gSDE works as there.

    The negative log prior of both pathways, divided by the number of data, is part of the loss of actor and critics.
    The number of data is the number of transitions in the replay buffer, unless ``prior_n_data`` fixes it.

    Args:
        policy: ``"RPPPolicy"``.
        env: The environment, or its id.
        actor_equiv_var: Prior variance of the actor's equivariant coefficients; None for no prior.
        actor_residual_var: Prior variance of the actor's residual weights; None for no prior. Residual variances
            count in ``rpp`` mode only: alone, a pathway is no residual.
        critic_equiv_var: Prior variance of the critics' equivariant coefficients; None for no prior.
        critic_residual_var: Prior variance of the critics' residual weights; None for no prior.
        prior_n_data: Number of data that divides the prior; None for the transitions in the replay buffer.
        max_grad_norm: Largest norm of the gradient of each loss; None for no clipping.
        kwargs: Passed on to ``stable_baselines3.SAC``. ``policy_kwargs`` are those of `RPPSACPolicy`.

    Raises:
        ValueError: If a prior variance is not positive, the policy is not built of RPP layers, or observations are
            normalised by ``VecNormalize``.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**SAC.policy_aliases, "RPPPolicy": RPPSACPolicy}
    acts_from_start: bool = False
    """Whether the policy acts before the first update too, and not chance; so it should if it is trained already."""

    policy: RPPSACPolicy  # pyright: ignore[reportIncompatibleVariableOverride]
    critic: RPPCritic  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        policy: str | type[RPPSACPolicy] = "RPPPolicy",
        env: GymEnv | str | None = None,
        *,
        actor_equiv_var: float | None = None,
        actor_residual_var: float | None = 1e-5,
        critic_equiv_var: float | None = None,
        critic_residual_var: float | None = 1e-5,
        prior_n_data: int | None = None,
        max_grad_norm: float | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.actor_equiv_var = actor_equiv_var
        self.actor_residual_var = actor_residual_var
        self.critic_equiv_var = critic_equiv_var
        self.critic_residual_var = critic_residual_var
        self.prior_n_data = prior_n_data
        self.max_grad_norm = max_grad_norm
        super().__init__(policy, env, _init_setup_model=False, **kwargs)  # pyright: ignore[reportArgumentType]
        if _init_setup_model:
            self._setup_model()

    @property
    def actor_prior(self) -> Prior:
        """The prior of the actor's parameters."""
        return _prior(self.policy.mode, self.actor_equiv_var, self.actor_residual_var)

    @property
    def critic_prior(self) -> Prior:
        """The prior of the critics' parameters."""
        return _prior(self.policy.critic_mode, self.critic_equiv_var, self.critic_residual_var)

    def _setup_model(self) -> None:
        for equiv_var, residual_var in (
            (self.actor_equiv_var, self.actor_residual_var),
            (self.critic_equiv_var, self.critic_residual_var),
        ):
            Prior(equiv_var, residual_var)  # refuse bad variances before anything is built
        if not issubclass(self.policy_class, RPPSACPolicy):
            raise ValueError(
                f"RPPSAC needs the policy 'RPPPolicy', got {self.policy_class.__name__}; for plain networks use "
                "policy_kwargs={'mode': 'mlp'}"
            )
        self._refuse_normalized(self.env)
        super()._setup_model()

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Go on in another environment of the same spaces.

        Raises:
            ValueError: If its spaces differ or its observations are normalised by ``VecNormalize``.
        """
        self._refuse_normalized(env)
        super().set_env(env, force_reset)

    def _refuse_normalized(self, env: GymEnv | None) -> None:
        vec_normalize = unwrap_vec_normalize(env) if isinstance(env, VecEnv) else None
        if vec_normalize is not None and vec_normalize.norm_obs and self.policy_kwargs.get("mode") != "mlp":
            raise ValueError(
                "VecNormalize scales every observation coordinate on its own, which breaks the symmetry; use "
                "policy_kwargs={'normalize_obs': True} or VecNormalize(norm_obs=False)"
            )

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update critics, actor and temperature ``gradient_steps`` times on batches from the replay buffer."""
        optimizers = [self.actor.optimizer, self.critic.optimizer]
        self._update_learning_rate(optimizers + ([self.ent_coef_optimizer] if self.ent_coef_optimizer else []))
        assert self.replay_buffer is not None
        sums: dict[str, Tensor] = {}
        for step in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            for key, value in self._update(batch).items():
                sums[key] = sums[key] + value if key in sums else value
            if step % self.target_update_interval == 0:
                self._follow_critic()
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for key, value in sums.items():
            self.logger.record(f"train/{key}", float(value) / gradient_steps)

    @torch.no_grad()
    def _follow_critic(self) -> None:
        """Move the target critics towards the critics by Polyak averaging; running statistics are copied."""
        foreach: Any = torch  # torch's stubs do not know the functions on lists
        foreach._foreach_mul_(self.policy.target_parameters, 1 - self.tau)
        foreach._foreach_add_(self.policy.target_parameters, self.policy.critic_parameters, alpha=self.tau)
        polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)

    def _update(self, batch: ReplayBufferSamples) -> dict[str, Tensor]:
        """One gradient step of the temperature, the critics and the actor; returns their losses."""
        for network in (self.actor, self.critic):
            cast(RPPFeatures, network.features_extractor).update(batch.observations)
        with shared_weights(self.actor):
            actions_pi, log_prob = self.actor.action_log_prob(batch.observations)
            log_prob = log_prob.reshape(-1, 1)
            ent_coef, losses = self._step_ent_coef(log_prob.detach())
            critic_loss = self._critic_loss(batch, ent_coef)
        self._step(self.critic, critic_loss, self.critic_prior)

        # The actor's loss does not step the critics: without this their weight gradients would be computed in vain.
        self._require_critic_grad(False)
        q_values = torch.cat(self.critic(batch.observations, actions_pi), dim=1)
        self._require_critic_grad(True)
        actor_loss = (ent_coef * log_prob - q_values.min(dim=1, keepdim=True).values).mean()
        self._step(self.actor, actor_loss, self.actor_prior)
        return {**losses, "critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach(), "ent_coef": ent_coef}

    def _require_critic_grad(self, required: bool) -> None:
        for parameter in self.policy.critic_parameters:
            parameter.requires_grad_(required)

    def _critic_loss(self, batch: ReplayBufferSamples, ent_coef: Tensor) -> Float[Tensor, ""]:
        """Half the mean squared error of the soft Bellman equation, summed over the critics."""
        discounts = self.gamma if batch.discounts is None else batch.discounts
        with torch.no_grad():
            next_actions, next_log_prob = self.actor.action_log_prob(batch.next_observations)
            next_q_values = torch.cat(self.critic_target(batch.next_observations, next_actions), dim=1)
            next_values = next_q_values.min(dim=1, keepdim=True).values - ent_coef * next_log_prob.reshape(-1, 1)
            targets = batch.rewards + (1 - batch.dones) * discounts * next_values
        q_values = self.critic(batch.observations, batch.actions)
        return 0.5 * torch.stack([nn.functional.mse_loss(q, targets) for q in q_values]).sum()

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

    def _step(self, module: Any, loss: Tensor, prior: Prior) -> None:  # noqa: ANN401
        """Descend the loss plus the negative log prior per datum."""
        module.optimizer.zero_grad()
        loss.backward()
        prior.add_gradient(module, self.n_prior_data)
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), self.max_grad_norm)
        module.optimizer.step()

    @property
    def n_prior_data(self) -> int:
        """The number of data that divides the prior."""
        if self.prior_n_data is not None:
            return self.prior_n_data
        buffer = self.replay_buffer
        return 1 if buffer is None else max(buffer.size() * buffer.n_envs, 1)

    def save_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase) -> None:
        """Save the transitions of the replay buffer as an SB3 replay buffer that is full with them."""
        assert self.replay_buffer is not None
        save_to_pkl(path, filled(self.replay_buffer), self.verbose)

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """Load a replay buffer, with room for as many transitions as this agent's settings say.

        Raises:
            ValueError: If there are more transitions than that.
        """
        super().load_replay_buffer(path, truncate_last_traj)
        assert self.replay_buffer is not None
        self.replay_buffer = with_capacity(filled(self.replay_buffer), max(self.buffer_size // self.n_envs, 1))

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        # SB3 draws actions at random up to the first update; a trained policy is better than chance.
        return super()._sample_action(0 if self.acts_from_start else learning_starts, action_noise, n_envs)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        # Where an episode ends, new_obs is the next one's first; what is stored is the last one of this episode.
        last = [info["terminal_observation"] for info in infos if "terminal_observation" in info]
        if not all(np.isfinite(array).all() for array in (np.asarray(new_obs), reward, *last)):
            raise FloatingPointError(
                f"step {self.num_timesteps}: the environment returned an observation or a reward that is no finite "
                "number; nothing was learned from it"
            )
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)


def _prior(mode: Mode, equiv_var: float | None, residual_var: float | None) -> Prior:
    return Prior(None if mode == "mlp" else equiv_var, residual_var if mode == "rpp" else None)
