"""RPP-SAC: soft actor-critic whose networks prefer the symmetry of the robot (arXiv:2112.01388, section 6.1)."""

from __future__ import annotations

import io
import pathlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.save_util import save_to_pkl
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor
from torch.optim import Adam

from rpp_rl.envs.spec import EnvSpec
from rpp_rl.fast.batches import is_plain
from rpp_rl.fast.captured_update import CapturedUpdate
from rpp_rl.fast.sac_update import FastUpdate
from rpp_rl.nn import Mode, Prior
from rpp_rl.sac.arguments import given_once, policy_and_env, symmetry_kwargs
from rpp_rl.sac.config import LEARNING_SETTINGS, LearningSettings
from rpp_rl.sac.loss_means import LossMeans
from rpp_rl.sac.plain_update import PlainSAC
from rpp_rl.sac.policies import RPPSACPolicy
from rpp_rl.sac.replay import filled, with_capacity
from rpp_rl.sac.reward_scale import add_rewards, no_returns

Update = Literal["auto", "plain"]

OVERRIDABLE = ("critic_loss", "actor_loss", "plain_update", "plain_follow_critic")
"""Methods of the plain update; where a subclass has one of its own, the fast update would not be the same."""


class RPPSAC(PlainSAC):
    """SAC with residual pathway priors, for observations and actions that are vectors of numbers.

    What it shares with SB3's ``SAC``, and what it refuses (images, dictionaries, gSDE, own features extractors), is on
    the page "From Stable-Baselines3" of the documentation.

    In ``rpp`` mode the residual pathways decay in every step of the optimisers (see `rpp_rl.nn.parameter_groups`), the
    faster the more exact the symmetry is. The paper's own prior is there too: with variances given, the negative log
    density of Gaussians is part of the losses, divided by the number of transitions in the replay buffer unless
    ``prior_n_data`` fixes that number.

    Args:
        policy: ``"RPPPolicy"``; or the environment, in place of ``env``, as in ``RPPSAC("Ant-v4", spec="D4")``.
        env: The environment, or its id.
        spec: The symmetry: an `EnvSpec`, the name of one of the environment's groups, or the path of a YAML file.
            Absent for ``policy_kwargs["spec"]``, and without that for the environment's default group.
        mode: ``"rpp"``, ``"emlp"`` or ``"mlp"``; absent for that of ``policy_kwargs``.
        update: ``"auto"`` learns by the fast update, which equals the formulas up to rounding, where the losses are
            those of this class, and by the plain one where a subclass overrides `critic_loss` or `actor_loss`;
            ``"plain"`` always learns by the plain one.
        policy_kwargs: Those of `RPPSACPolicy`.
        kwargs: Those of `LearningSettings`, which says what they are, and of ``stable_baselines3.SAC``.

    Raises:
        ValueError: If a setting is out of its range or unknown, a group is needed and missing, the policy is not built
            of RPP layers, or observations are normalised by ``VecNormalize``.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**SAC.policy_aliases, "RPPPolicy": RPPSACPolicy}
    acts_from_start: bool = False
    """Whether the policy acts before the first update too, and not chance; so it should if it is trained already."""

    policy_delay: int
    compile: bool
    update: Update = "auto"
    """How it learns; agents that were saved before there was a choice have this one."""

    def __init__(
        self,
        policy: str | type[RPPSACPolicy] | GymEnv = "RPPPolicy",
        env: GymEnv | str | None = None,
        *,
        spec: EnvSpec | str | Path | None = None,
        mode: Mode | None = None,
        update: Update = "auto",
        policy_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        if update not in get_args(Update):
            raise ValueError(f"update must be one of {', '.join(get_args(Update))}, got {update!r}")
        self.update = update
        own = LearningSettings(**{name: kwargs.pop(name) for name in LEARNING_SETTINGS if name in kwargs}).to_dict()
        policy, env = policy_and_env(policy, env, self.policy_aliases)
        policy_kwargs = dict(policy_kwargs or {})
        for part in ("actor", "critic"):
            decay, is_gaussian = own.pop(f"{part}_residual_decay"), own[f"{part}_residual_var"] is not None
            # One prior is enough: beside a Gaussian, a decay that was left open is none.
            policy_kwargs[f"{part}_residual_decay"] = None if decay == "auto" and is_gaussian else decay
        if _init_setup_model:
            spec = given_once("spec", spec, policy_kwargs.get("spec"))
            mode = given_once("mode", mode, policy_kwargs.get("mode"))
            policy_kwargs |= symmetry_kwargs(env, spec, mode)
        vars(self).update(own)
        self._update: FastUpdate | None = None
        self._captured: CapturedUpdate | None = None
        self._losses = LossMeans()
        self._group_action = None
        super().__init__(policy, env, policy_kwargs=policy_kwargs, _init_setup_model=False, **kwargs)  # pyright: ignore[reportArgumentType]
        self.return_statistics = no_returns(1)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        for equiv_var, residual_var in (
            (self.actor_equiv_var, self.actor_residual_var),
            (self.critic_equiv_var, self.critic_residual_var),
        ):
            Prior(equiv_var, residual_var)  # refuse bad variances before anything is built
        if self.policy_kwargs.get("subgroup") and (self.actor_residual_var or self.critic_residual_var):
            raise ValueError("subgroup: levels decay, and have no variance; leave out actor_ and critic_residual_var")
        if not issubclass(self.policy_class, RPPSACPolicy):
            raise ValueError(f"RPPSAC needs the policy 'RPPPolicy', got {self.policy_class.__name__}; {self._advice()}")
        self._refuse_normalized(self.env)
        if self.target_entropy == "half":
            self.target_entropy = -get_action_dim(self.action_space) / 2
        super()._setup_model()
        if self.ent_coef_optimizer is not None:
            assert self.log_ent_coef is not None
            self.ent_coef_optimizer = Adam([self.log_ent_coef], lr=self.lr_schedule(1), fused=True)
        if self.augment or self.mirror_loss:
            _ = self.group_action  # refuse a missing specification before anything is learned

    def _advice(self) -> str:
        """What to do for a policy that is none of this package's."""
        if not isinstance(self.observation_space, Box) or len(self.observation_space.shape) != 1:
            return "observations that are no vectors (images, dictionaries) are for SB3's own SAC"
        return "for plain networks use 'RPPPolicy' with policy_kwargs={'mode': 'mlp'}"

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> RPPSAC:
        """Learn, see ``OffPolicyAlgorithm.learn``; TensorBoard's folder is named after the class unless given."""
        name = tb_log_name or type(self).__name__
        super().learn(total_timesteps, callback, log_interval, name, reset_num_timesteps, progress_bar)
        return self

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
        for step in range(gradient_steps):
            with_actor = (self._n_updates + step) % self.policy_delay == 0
            follow = step % self.target_update_interval == 0
            self._losses.add(self._step(batch_size, with_actor=with_actor, follow=follow))
        self._n_updates += gradient_steps

    @property
    def learns_fast(self) -> bool:
        """Whether it learns by the fast update, which knows two pathways, and the losses and steps of this class."""
        return (
            self.update == "auto"
            and self.policy.level is None
            and all(getattr(type(self), n) is getattr(PlainSAC, n) for n in OVERRIDABLE)
        )

    def _step(self, batch_size: int, *, with_actor: bool, follow: bool) -> dict[str, Tensor]:
        """One gradient step of the critics, and of policy and target critics if asked for; returns the losses."""
        if not self.learns_fast:
            losses = self.plain_update(self._sample(batch_size), with_actor=with_actor)
            if follow:
                self.plain_follow_critic()
            return losses
        update = self._fast_update
        captured = self._captured_update(update, batch_size)
        losses = None if captured is None else captured(with_actor=with_actor, follow=follow)
        if losses is None:
            losses = update(self._sample(batch_size), with_actor=with_actor)
            if follow:
                update.follow_critic()
        return losses

    def _captured_update(self, update: FastUpdate, batch_size: int) -> CapturedUpdate | None:
        """The update as a graph of the GPU; None where there is no GPU, or it cannot be one."""
        buffer = self.replay_buffer
        assert buffer is not None
        if not self.compile or self.device.type != "cuda" or not is_plain(buffer, self._vec_normalize_env):
            return None
        if self._captured is None or not self._captured.is_for(update, buffer, batch_size):
            self._captured = CapturedUpdate(update, buffer, batch_size)
        return None if self._captured.has_failed else self._captured

    def _sample(self, batch_size: int) -> ReplayBufferSamples:
        assert self.replay_buffer is not None
        return self.augmented(self.replay_buffer.sample(batch_size, env=self._vec_normalize_env))

    @property
    def _fast_update(self) -> FastUpdate:
        """The update of the networks that are there now."""
        if self._update is None or self._update.policy is not self.policy:
            self._update = FastUpdate(self)
        return self._update

    def dump_logs(self) -> None:
        """Write the log: the losses are means over all updates since the last time."""
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for key, value in self._losses.means().items():
            self.logger.record(f"train/{key}", value)
        super().dump_logs()

    def predict(self, *args: Any, **kwargs: Any) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:  # noqa: ANN401
        """Actions for observations, see ``BaseAlgorithm.predict``; the weights of the actor are made once per step."""
        with self._acting():
            return super().predict(*args, **kwargs)

    def _acting(self) -> AbstractContextManager[Any]:
        """Weights of the actor that are ready, where the fast update makes them."""
        return self._fast_update.acting() if self.policy.level is None else nullcontext()

    def __getstate__(self) -> dict[str, Any]:
        # The parts of the update share memory, which copies and pickles of them would not; it is made anew.
        return {**vars(self), "_update": None, "_captured": None, "_group_action": None}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_update", "_captured", "_losses", "_group_action"]

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
        if self.scale_rewards:
            self.return_statistics = add_rewards(self.return_statistics, reward, dones, self.gamma)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
