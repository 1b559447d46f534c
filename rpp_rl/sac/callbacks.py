"""A callback that shows how symmetric an agent is while it learns."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from rpp_rl.nn import pathway_norms
from rpp_rl.sac.evaluation import actor_equivariance_errors, critic_equivariance_errors
from rpp_rl.sac.sac import RPPSAC


class SymmetryCallback(BaseCallback):
    """Log ``rpp/*`` every ``log_freq`` steps: equivariance errors on replayed states, pathway norms, prior energy.

    ``rpp/actor_mean_error/{g}``, ``rpp/actor_log_std_error/{g}`` and ``rpp/critic_error/{g}`` are relative errors for
    each generator g of the specification (0: equivariant; 0.7: unrelated; 1: the opposite).
    ``rpp/actor_residual_ratio`` and ``rpp/critic_residual_ratio`` are the norm of the residual parameters over that of
    both pathways.
    ``rpp/actor_residual_decay`` and ``rpp/critic_residual_decay`` are the decays of the residual pathways.
    ``rpp/actor_prior_energy`` and ``rpp/critic_prior_energy`` are the negative log Gaussian priors as the loss counts
    them.

    Args:
        log_freq: Environment steps between two records.
        n_states: Replayed states used for a record.
    """

    model: RPPSAC  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, log_freq: int = 1000, n_states: int = 256) -> None:
        super().__init__()
        self.log_freq, self.n_states = log_freq, n_states
        self.rng = np.random.default_rng(0)
        self.last_step = 0

    def _init_callback(self) -> None:
        self.last_step = self.model.num_timesteps

    def _on_step(self) -> bool:
        if self.num_timesteps - self.last_step >= self.log_freq:
            self.last_step = self.num_timesteps
            self._record()
        return True

    def _record(self) -> None:
        agent, policy = self.model, self.model.policy
        for name, module, prior in (
            ("actor", agent.actor, agent.actor_prior),
            ("critic", agent.critic, agent.critic_prior),
        ):
            equiv, residual = pathway_norms(module)
            self.logger.record(f"rpp/{name}_residual_ratio", residual / max(np.hypot(equiv, residual), 1e-12))
            self.logger.record(f"rpp/{name}_residual_decay", policy.residual_decay[name] or 0.0)
            energy = float(prior.energy(module).detach()) / agent.n_prior_data
            self.logger.record(f"rpp/{name}_prior_energy", energy)
        spec = policy.symmetry
        assert agent.replay_buffer is not None
        # A step is stored after the callbacks have seen it, so there are no states yet at the first one.
        if spec is None or agent.replay_buffer.size() == 0:
            return
        obs, actions = self._replayed()
        for g, errors in actor_equivariance_errors(policy, obs, spec).items():
            self.logger.record(f"rpp/actor_mean_error/{g}", errors["mean"])
            self.logger.record(f"rpp/actor_log_std_error/{g}", errors["log_std"])
        for g, error in critic_equivariance_errors(policy, obs, actions, spec).items():
            self.logger.record(f"rpp/critic_error/{g}", error)

    def _replayed(self) -> tuple[np.ndarray, np.ndarray]:
        # The buffer's own sampler draws from NumPy's global stream and would change the training that is watched.
        buffer = self.model.replay_buffer
        assert buffer is not None
        index = self.rng.integers(buffer.size(), size=self.n_states)
        env = self.rng.integers(buffer.n_envs, size=self.n_states)
        return buffer.observations[index, env], buffer.actions[index, env]
