"""A model of the dynamics that learns from a replay buffer while the agent acts, and in which steps are imagined."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Bool, Float
from numpy import ndarray
from stable_baselines3.common.buffers import ReplayBuffer
from torch import Tensor, nn

from rpp_rl.dynamics.calibration import coverage
from rpp_rl.dynamics.config import MODEL_DECAY
from rpp_rl.dynamics.metrics import DIVERGED
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.model_env import RewardFunction, TerminationFunction
from rpp_rl.dynamics.training import adam
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.fast import fast_products, shared_weights
from rpp_rl.model_based.task import LearnedTask
from rpp_rl.model_based.transitions import Transitions
from rpp_rl.nn import Mode, residual_decay

N_SCALING = 20_000
"""Transitions from which the normalisation is taken."""
MAX_UNEXPLAINED = 0.2
"""Share of the rewards' variance that a known reward function may leave unexplained."""
MAX_WRONG_ENDS = 0.1
"""Share of the ends, real ones and those it tells of, that a known termination function may have wrong."""
MAX_LOST = 0.5
"""Share of the imagined steps that may leave the region of the data before the model counts as diverged."""
CALIBRATED = 0.8
"""The probability of the intervals whose coverage is logged."""

Policy = Callable[[Float[ndarray, "n obs"]], Float[ndarray, "n action"]]
"""Actions in [-1, 1] for observations."""


class World:
    """An ensemble of Gaussian models, trained step by step, with reward and end of the task.

    Every member learns from batches of its own: the squared error of the change of the state in units of its scale, and
    the likelihood of the change under the predicted standard deviation, with the mean held fixed.

    Reward and end are those of the functions given as long as they agree with what the environment has returned, and
    are learned otherwise.

    Args:
        spec: How the group acts on observations and actions.
        action_space: The environment's actions.
        mode: ``rpp``, ``emlp`` or ``mlp``.
        widths: Sizes of the hidden layers.
        ensemble: Number of models.
        learning_rate: Step size of Adam.
        reward: The environment's reward as a function of observation, action and next observation; None to learn it.
        terminated: Likewise whether an observation ends the task.
        device: Where it computes.

    Attributes:
        model: The ensemble.
        learned_task: Heads for reward and end; None where the functions are used.
    """

    def __init__(
        self,
        spec: EnvSpec,
        action_space: Box,
        *,
        mode: Mode,
        widths: tuple[int, ...],
        ensemble: int,
        learning_rate: float,
        reward: RewardFunction | None = None,
        terminated: TerminationFunction | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device, self.n_members = torch.device(device), ensemble
        self.mode: Mode = mode
        self.low, self.high = (np.asarray(bound, dtype=np.float32) for bound in (action_space.low, action_space.high))
        self.reward, self.terminated = reward, terminated
        self.model = TransitionModel(spec, mode=mode, widths=widths, ensemble=ensemble, head="gaussian").to(self.device)
        decay = residual_decay(spec.error, MODEL_DECAY) if mode == "rpp" else None
        self.optimizer = adam(self.model, decay, learning_rate)
        self.learning_rate = learning_rate
        self.learned_task: LearnedTask | None = None
        self.task_optimizer: torch.optim.AdamW | None = None
        self.largest_norm = 0.0
        self.is_trained = False

    @property
    def max_norm(self) -> float:
        """Norm of an observation above which the model is not believed."""
        return DIVERGED * self.largest_norm

    @fast_products()
    def learn(self, buffer: ReplayBuffer, n_updates: int, batch_size: int) -> float:
        """Descend the losses on batches from a replay buffer; returns their mean, per member.

        Raises:
            ValueError: If the buffer is empty.
            FloatingPointError: If the loss is not finite.
        """
        n = buffer.size() * buffer.n_envs
        if n == 0:
            raise ValueError("a model learns from transitions, and the replay buffer is empty")
        self._prepare(_Rows(buffer, self, _drawn(n, min(n, N_SCALING))))
        losses = []
        for _ in range(n_updates):
            rows = _Rows(buffer, self, _drawn(n, self.n_members * batch_size))
            losses.append(self._step(rows))
        loss = float(torch.stack(losses).mean()) / self.n_members
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the model's loss is {loss}: its training has diverged; use a lower model_learning_rate, or look at "
                "the size of observations"
            )
        self.is_trained = True
        return loss

    def _prepare(self, rows: _Rows) -> None:
        """Take the normalisation from a part of the data, and decide at first whether the task is known."""
        x, u, x_next = rows.encoded(1)
        self.model.fit_scaling(torch.stack([x[0], x_next[0]], dim=1), u[0].unsqueeze(1))
        self.largest_norm = max(self.largest_norm, float(np.linalg.norm(rows.next_obs, axis=-1).max()))
        if not self.is_trained and not self._knows_task(rows):
            self.make_learned_task()
        if self.learned_task is not None:
            self.learned_task.fit_scaling(*rows.tensors()[:4])

    def make_learned_task(self) -> None:
        """Let heads learn reward and end."""
        self.learned_task = LearnedTask(self.model.spec, self.mode).to(self.device)
        self.task_optimizer = adam(self.learned_task, None, self.learning_rate)

    def _knows_task(self, rows: _Rows) -> bool:
        """Whether the functions given agree with what the environment has returned."""
        if self.reward is None or self.terminated is None:
            return False
        rewards = self.reward(rows.obs, rows.actions, rows.next_obs)
        unexplained = np.square(rows.rewards - rewards).mean() / max(float(rows.rewards.var()), 1e-12)
        real, told = rows.dones > 0, self.terminated(rows.next_obs)
        # Ends are rare: relative to all steps, a function that tells of none would hardly ever be wrong.
        wrong = float((real != told).sum() / max(int((real | told).sum()), 1))
        if unexplained <= MAX_UNEXPLAINED and wrong <= MAX_WRONG_ENDS:
            return True
        warnings.warn(
            f"the known reward leaves {unexplained:.0%} of the variance of the environment's rewards unexplained, and "
            f"the known end of the task is wrong in {wrong:.0%} of its ends: both are learned from data instead",
            stacklevel=4,
        )
        return False

    def _step(self, rows: _Rows) -> Float[Tensor, ""]:
        x, u, x_next = rows.encoded(self.n_members)
        self.optimizer.zero_grad()
        loss = one_step_loss(self.model, x, u, x_next)
        loss.backward()
        self.optimizer.step()
        if self.learned_task is not None and self.task_optimizer is not None:
            self.task_optimizer.zero_grad()
            n = x.shape[1]
            task_loss = self.learned_task.loss(*(tensor[:n] for tensor in rows.tensors()))
            task_loss.backward()
            self.task_optimizer.step()
            loss = loss + self.n_members * task_loss
        return loss.detach()

    @torch.no_grad()
    def errors(
        self,
        obs: Float[ndarray, "n time obs"],
        actions: Float[ndarray, "n time action"],
        next_obs: Float[ndarray, "n time obs"],
        is_running: Bool[ndarray, "n time"],
    ) -> tuple[Float[ndarray, " time"], float]:
        """How far rollouts of the model are from real steps that it has not learned from.

        Args:
            obs: Observations before each step.
            actions: Actions in [-1, 1].
            next_obs: Observations after each step.
            is_running: Whether the piece has not ended before a step.

        Returns:
            For each number of steps the median over the pieces of the root mean square error in units of the states'
            spread, NaN where no piece is so long; and the coverage of one step's intervals of probability `CALIBRATED`.
        """
        u = self._in_units(actions)
        start, real = self._tensor(obs[:, 0]), self._tensor(next_obs)
        predicted = self.model.rollout(self.model.encode(start), self._tensor(u)).mean(0)
        off = (predicted - self.model.encode(real)) / self.model.state_scale
        rms = off.square().mean(-1).sqrt().cpu().numpy()
        steps = [rms[is_running[:, t], t] for t in range(rms.shape[1])]
        medians = np.array([np.median(step) if len(step) else np.nan for step in steps])
        pairs = np.stack([obs[is_running], next_obs[is_running]], axis=1).astype(np.float64)
        return medians, coverage(self.model, pairs, u[is_running][:, None])[CALIBRATED]

    @torch.no_grad()
    @fast_products()
    def imagine(self, policy: Policy, obs: Float[ndarray, "n obs"], length: int) -> tuple[Transitions, float]:
        """Roll the policy out from observations for some steps, each of which one member predicts, drawn anew.

        Steps that end the task are the last of their rollout, and so are those that leave the region of the data, which
        are left out.

        Args:
            policy: Who acts.
            obs: Where rollouts begin; all of them, if their number is a multiple of that of the members.
            length: Number of steps.

        Returns:
            All steps; and the share that was left out.

        Raises:
            FloatingPointError: If more than half of the steps leave the region of the data.
        """
        parts, n_made, n_lost = [], 0, 0
        with shared_weights(self.model):
            for _ in range(length):
                obs = obs[: len(obs) // self.n_members * self.n_members]
                if len(obs) == 0:
                    break
                actions = policy(obs)
                u = self._in_units(actions)
                next_obs = self._predict(obs, u)
                is_kept = np.isfinite(next_obs).all(-1)
                with np.errstate(over="ignore"):
                    is_kept &= np.linalg.norm(next_obs, axis=-1) <= self.max_norm
                obs, actions, u, next_obs = (array[is_kept] for array in (obs, actions, u, next_obs))
                rewards, ends = self.judge(obs, u, next_obs)
                parts.append(Transitions(*(np.asarray(a, np.float32) for a in (obs, actions, next_obs, ends, rewards))))
                n_made, n_lost = n_made + len(is_kept), n_lost + int((~is_kept).sum())
                obs = next_obs[~ends]
        share = n_lost / max(n_made, 1)
        if share > MAX_LOST:
            raise FloatingPointError(
                f"{share:.0%} of the steps in the model are not finite or ten times as far from the origin as any real "
                "one: the model has diverged; use a lower model_learning_rate, shorter rollouts (rollout_length), or "
                "let it begin with more data (learning_starts)"
            )
        return Transitions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))), share

    def judge(
        self, obs: Float[ndarray, "n obs"], actions: Float[ndarray, "n action"], next_obs: Float[ndarray, "n obs"]
    ) -> tuple[Float[ndarray, " n"], Bool[ndarray, " n"]]:
        """Rewards of steps, and whether they end the task; actions in the environment's units."""
        if self.learned_task is not None:
            return self.learned_task.judge(obs, actions, next_obs)
        assert self.reward is not None
        assert self.terminated is not None
        return self.reward(obs, actions, next_obs), self.terminated(next_obs)

    def _predict(self, obs: Float[ndarray, "n obs"], actions: Float[ndarray, "n action"]) -> Float[ndarray, "n obs"]:
        """Sampled next observations; equal numbers of them, drawn at random, come from each member."""
        order = torch.randperm(len(obs))
        x, u = self.model.encode(self._tensor(obs)), self._tensor(actions)
        by_member = [tensor[order].unflatten(0, (self.n_members, -1)) for tensor in (x, u)]
        mean, std = self.model.distribution(*by_member)
        drawn = (mean + std * torch.randn_like(mean)).flatten(0, 1)
        next_x = torch.empty_like(drawn)
        next_x[order] = drawn
        is_finite = torch.isfinite(next_x).all(-1, keepdim=True)
        # What is not finite has no place in the environment's coordinates; it is marked after they are taken.
        next_obs = self.model.decode(torch.where(is_finite, next_x, x)).cpu().numpy()
        next_obs[~is_finite[:, 0].cpu().numpy()] = np.nan
        return next_obs

    def _in_units(self, actions: Float[ndarray, "*batch action"]) -> Float[ndarray, "*batch action"]:
        return (self.low + (np.asarray(actions, np.float32) + 1) / 2 * (self.high - self.low)).astype(np.float32)

    def _tensor(self, array: ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(array, dtype=np.float32), device=self.device)

    def state(self) -> dict[str, Any]:
        """Everything that it has learned, as a tree of arrays and plain values."""
        return {
            "model": _arrays(self.model.state_dict()),
            "optimizer": _moments(self.model, self.optimizer),
            "task": None if self.learned_task is None else _arrays(self.learned_task.state_dict()),
            "task_optimizer": {}
            if self.learned_task is None or self.task_optimizer is None
            else _moments(self.learned_task, self.task_optimizer),
            "largest_norm": self.largest_norm,
            "is_trained": self.is_trained,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken.

        Raises:
            KeyError, RuntimeError, TypeError: If the state is that of another model, or none.
        """
        self.model.load_state_dict(_tensors(state["model"]))
        _restore(self.model, self.optimizer, state["optimizer"])
        if state["task"] is not None:
            self.make_learned_task()
            assert self.learned_task is not None
            assert self.task_optimizer is not None
            self.learned_task.load_state_dict(_tensors(state["task"]))
            _restore(self.learned_task, self.task_optimizer, state["task_optimizer"])
        self.largest_norm, self.is_trained = float(state["largest_norm"]), bool(state["is_trained"])


def one_step_loss(
    model: TransitionModel,
    x: Float[Tensor, "members batch state"],
    u: Float[Tensor, "members batch action"],
    x_next: Float[Tensor, "members batch state"],
) -> Float[Tensor, ""]:
    """Squared error and negative log likelihood of the change in one step, in units of its scale; sum over members."""
    mean, std = model.distribution(x, u)
    scale = model.changes.scale
    error, std = (x_next - mean) / scale, std / scale
    likelihood = 0.5 * (error.detach() / std).square() + std.log()
    return (0.5 * error.square() + likelihood).mean((-2, -1)).sum()


class _Rows:
    """Some transitions of a replay buffer, in the units of the environment."""

    def __init__(self, buffer: ReplayBuffer, world: World, rows: ndarray) -> None:
        def take(array: ndarray) -> ndarray:
            return array.reshape(-1, *array.shape[2:]).take(rows, axis=0).astype(np.float32, copy=False)

        self.world = world
        self.obs, self.next_obs = take(buffer.observations), take(buffer.next_observations)
        self.actions, self.rewards = world._in_units(take(buffer.actions)), take(buffer.rewards)
        # Time-outs are no ends of the task.
        self.dones = take(buffer.dones) * (1 - take(buffer.timeouts))

    def encoded(self, n_members: int) -> list[Tensor]:
        """States, actions and next states in the coordinates of the model, divided among its members."""
        encode, tensor = self.world.model.encode, self.world._tensor
        parts = encode(tensor(self.obs)), tensor(self.actions), encode(tensor(self.next_obs))
        return [part.unflatten(0, (n_members, -1)) for part in parts]

    def tensors(self) -> list[Tensor]:
        """Observations, actions, next observations, rewards and ends."""
        arrays = (self.obs, self.actions, self.next_obs, self.rewards, self.dones)
        return [self.world._tensor(array) for array in arrays]


def _drawn(n: int, size: int) -> ndarray:
    """Numbers of rows, by NumPy's global stream as SB3's replay buffer draws them."""
    return np.random.randint(0, n, size=size)  # noqa: NPY002


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def _tensors(arrays: Mapping[str, ndarray]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


def _moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, ndarray]]:
    return {name: _arrays(optimizer.state[parameter]) for name, parameter in module.named_parameters()}


def _restore(module: nn.Module, optimizer: torch.optim.Optimizer, moments: Mapping[str, Mapping[str, ndarray]]) -> None:
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state[parameter].items():
            value.copy_(torch.as_tensor(moments[name][key]))
