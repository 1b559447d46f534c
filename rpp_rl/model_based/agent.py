"""Model-based RPP-SAC: soft actor-critic on a mixture of real steps and of short rollouts in a learned model.

Model-based policy optimisation (Janner et al. 2019, arXiv:1906.08253, MBPO), with models that have the symmetry of the
agent. What differs from the paper: models are trained for a number of steps and not until they stop getting better, all
members predict and not the best of them, and the length of rollouts may follow the error of the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import GymEnv, ReplayBufferSamples

from rpp_rl.dynamics.metrics import DIVERGED
from rpp_rl.dynamics.model_env import RewardFunction, TerminationFunction
from rpp_rl.envs.layout import Block, Layout
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.model_based.transitions import Imagined, Transitions, mixed
from rpp_rl.model_based.world import World
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import MODEL_SETTINGS, ModelSettings
from rpp_rl.symmetry import trivial, trivial_group

FIRST_TRAINING = 8
"""How many times as many updates the model makes when it is trained for the first time."""


class ModelBasedRPPSAC(RPPSAC):
    """`RPPSAC` that learns a model of the dynamics, and learns from rollouts in it.

    Every ``model_train_freq`` steps the model is trained on the replay buffer, and the policy is rolled out in it from
    real observations for a few steps. Updates of the agent draw most of their batch from these rollouts. It pays with
    many updates per step (``gradient_steps``).

    Args:
        policy: As for `RPPSAC`.
        env: As for `RPPSAC`.
        reward: The environment's reward from observation, action and next observation, batched; it is learned where
            there is none, or where it disagrees with the environment.
        terminated: Likewise whether an observation ends the task.
        kwargs: Those of `ModelSettings`, which says what they are, and of `RPPSAC`.

    Raises:
        ValueError: If a setting is out of its range, or rewards or observations are normalised by ``VecNormalize``.
    """

    world: World | None = None
    _models: dict[str, Any]

    def __init__(
        self,
        policy: Any = "RPPPolicy",  # noqa: ANN401
        env: GymEnv | str | None = None,
        *,
        reward: RewardFunction | None = None,
        terminated: TerminationFunction | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.models = ModelSettings(**{name: kwargs.pop(name) for name in MODEL_SETTINGS if name in kwargs})
        self.reward, self.terminated = reward, terminated
        self.model_trained_at: int | None = None
        super().__init__(policy, env, **kwargs)

    @property
    def models(self) -> ModelSettings:
        """What its models are, and how they are used."""
        return self._model_settings

    @models.setter
    def models(self, settings: ModelSettings) -> None:
        # Saved agents hold the plain values.
        self._model_settings, self._models = settings, settings.to_dict()

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Train the model and roll it out if it is time to, and update the agent.

        Raises:
            ValueError: If the replay buffer is empty.
            FloatingPointError: If the model has diverged.
        """
        buffer = self.replay_buffer
        assert buffer is not None
        if buffer.size() == 0:
            raise ValueError("updates need transitions, and the replay buffer is empty: step the environment first")
        last = self.model_trained_at
        if last is None or last > self.num_timesteps:
            last = 0  # Learning has begun anew, and with it the count of steps.
        is_trained = self.world is not None and self.world.is_trained
        if not is_trained or self.num_timesteps - last >= self.models.model_train_freq:
            self._train_model(buffer, self.num_timesteps - last, batch_size)
            self.model_trained_at = self.num_timesteps
        super().train(gradient_steps, batch_size)

    def _train_model(self, buffer: ReplayBuffer, n_new: int, batch_size: int) -> None:
        world = self._the_world()
        is_first = not world.is_trained
        errors, covered = (np.full(1, np.nan), np.nan) if is_first else self._validate(world, buffer, n_new)
        if not is_first and not errors[0] <= DIVERGED:
            raise FloatingPointError(
                f"after {self.num_timesteps} steps the models predict the newest step with an error of {errors[0]:.3g} "
                "times the spread of the states: their training has diverged; use a lower model_learning_rate, or look "
                "at the size of observations"
            )
        length = self._length(errors)
        loss = world.learn(buffer, self.models.model_updates * (FIRST_TRAINING if is_first else 1), batch_size)
        rows = np.random.randint(0, buffer.size() * buffer.n_envs, size=self.models.n_rollouts)  # noqa: NPY002
        starts = buffer.observations.reshape(-1, *buffer.observations.shape[2:])[rows].astype(np.float32)
        imagined, lost = world.imagine(self._act, starts, length)
        if len(imagined.rewards):
            self._imagined.add(imagined)
        for name, value in (
            ("loss", loss),
            ("error_one_step", errors[0]),
            ("coverage_80", covered),
            ("rollout_length", length),
            ("imagined", len(self._imagined)),
            ("lost", lost),
            ("imagined_reward", float(imagined.rewards.mean()) if len(imagined.rewards) else np.nan),
        ):
            if not np.isnan(value):
                self.logger.record(f"model/{name}", value)

    def _the_world(self) -> World:
        if self.world is None:
            assert isinstance(self.action_space, Box)
            n_obs, n_actions = self.observation_space.shape, self.action_space.shape
            assert n_obs is not None
            self.world = World(
                self.policy.symmetry or _plain_spec(n_obs[0], n_actions[0]),
                self.action_space,
                mode="mlp" if self.policy.symmetry is None else self.policy.mode,
                widths=self.models.model_net_arch,
                ensemble=self.models.model_ensemble,
                learning_rate=self.models.model_learning_rate,
                reward=self.reward,
                terminated=self.terminated,
                device=self.device,
            )
        return self.world

    def _validate(self, world: World, buffer: ReplayBuffer, n_new: int) -> tuple[np.ndarray, float]:
        """Errors by number of steps, and coverage, on the newest steps, from which the model has not learned yet."""
        n = min(-(-n_new // buffer.n_envs), buffer.size())
        rows = np.arange(buffer.pos - n, buffer.pos) % buffer.buffer_size
        length = min(self.models.max_rollout_length, n)

        def pieces(array: np.ndarray) -> np.ndarray:
            """Those of equal length, of all environments, shape ``(pieces, length, ...)``."""
            cut = array[rows[: n // length * length]].reshape(n // length, length, *array.shape[1:])
            return np.moveaxis(cut, 2, 0).reshape(-1, length, *array.shape[2:])

        dones = pieces(buffer.dones) > 0
        is_running = np.concatenate([np.ones_like(dones[:, :1]), ~np.logical_or.accumulate(dones, axis=1)[:, :-1]], 1)
        obs, actions, next_obs = map(pieces, (buffer.observations, buffer.actions, buffer.next_observations))
        return world.errors(obs, actions, next_obs, is_running)

    def _length(self, errors: np.ndarray) -> int:
        """The number of steps of the next rollouts."""
        length = self.models.rollout_length
        if isinstance(length, int):
            return length
        if isinstance(length, tuple):
            start, end, shortest, longest = length
            return int(np.interp(self.num_timesteps, [start, end], [shortest, longest]))
        is_good = errors <= self.models.rollout_error
        return max(1, int(np.logical_and.accumulate(is_good).sum()))

    @torch.no_grad()
    def _act(self, obs: np.ndarray) -> np.ndarray:
        """Actions that the actor draws, in [-1, 1]."""
        with self._acting():
            return self.actor(torch.as_tensor(obs, device=self.device)).cpu().numpy()

    def _sample(self, batch_size: int) -> ReplayBufferSamples:
        assert self.replay_buffer is not None
        n_real = round(self.models.real_ratio * batch_size) if len(self._imagined) else batch_size
        real = self.replay_buffer.sample(n_real, env=self._vec_normalize_env)
        if n_real < batch_size:
            real = mixed(real, self._imagined.sample(batch_size - n_real, self.device))
        return self.augmented(real)

    def _captured_update(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """None: a captured update draws from the replay buffer alone."""

    def _setup_model(self) -> None:
        # Agents that were saved before held each setting by itself.
        own = {name: vars(self).pop(name) for name in MODEL_SETTINGS if name in vars(self)}
        self.models = ModelSettings(**{**self._models, **own})
        self._imagined = Imagined(self.models.model_retain)
        super()._setup_model()
        if self._vec_normalize_env is not None:
            raise ValueError("imagined steps are not normalised as VecNormalize does: train without it")

    def world_state(self) -> dict[str, Any]:
        """What the model has learned and what was imagined, as a tree of arrays and plain values."""
        return {
            "world": None if self.world is None else self.world.state(),
            "rounds": [dict(part._asdict()) for part in self._imagined.rounds],
        }

    def load_world_state(self, state: dict[str, Any]) -> None:
        """Go on from where `world_state` was taken.

        Raises:
            KeyError, RuntimeError, TypeError: If the state is that of another model, or none.
        """
        if state["world"] is not None:
            self.world = None
            self._the_world().load_state(state["world"])
        if state["rounds"]:
            self._imagined.set_rounds([Transitions(**part) for part in state["rounds"]])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "world", "_imagined", "_model_settings", "reward", "terminated"]


def _plain_spec(n_obs: int, n_actions: int) -> EnvSpec:
    """A specification without symmetry, of an environment that has none."""
    group = trivial_group()

    def layout(name: str, size: int) -> Layout:
        return Layout((Block(name, tuple(range(size)), size * trivial(group)),))

    return EnvSpec("unknown", "1", group, layout("observation", n_obs), layout("action", n_actions), ())
