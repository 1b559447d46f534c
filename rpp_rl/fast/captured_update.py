"""The update as one graph of a GPU, without the thousand launches that a gradient step consists of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from stable_baselines3.common.buffers import ReplayBuffer
from torch import Tensor

from rpp_rl.fast import adam_step
from rpp_rl.fast.batches import DeviceReplay
from rpp_rl.fast.sac_update import FastUpdate, Numbers

Step = Callable[[], dict[str, Tensor]]

N_WARM_UPS = 3
"""Steps that are made as ever before one is captured: libraries set themselves up, and optimisers make their state."""


class CapturedUpdate:
    """Gradient steps of `FastUpdate` on batches drawn on the device, captured once and replayed.

    What changes between steps are numbers on the device: the rows of the buffer and `Numbers`. Everything else is fixed
    in the graph, which is captured anew if a setting of the agent changes or tensors of its networks or optimisers are
    replaced, as by ``set_parameters``.

    Args:
        update: The update.
        buffer: The replay buffer.
        batch_size: Transitions per step.
        capture: Turns a step into one that is replayed.

    Attributes:
        has_failed: Whether a step could not be captured; then steps are to be made by ``update`` itself.
    """

    def __init__(
        self,
        update: FastUpdate,
        buffer: ReplayBuffer,
        batch_size: int,
        capture: Callable[[Step], Step] | None = None,
    ) -> None:
        self.update, self.buffer, self.batch_size = update, buffer, batch_size
        self.capture = capture or _cuda_graph
        self.numbers = Numbers(*(torch.zeros((), device=buffer.device) for _ in Numbers._fields))
        self.tensors = [*update.policy.parameters(), *update.policy.buffers()]
        self.replay: DeviceReplay | None = None
        self.fixed: tuple[Any, ...] = ()
        self.n_warm_ups = 0
        self.captured: dict[tuple[bool, bool], Step] = {}
        self.has_failed = False

    def is_for(self, update: FastUpdate, buffer: ReplayBuffer, batch_size: int) -> bool:
        """Whether this is what it was made for."""
        return self.update is update and self.buffer is buffer and self.batch_size == batch_size

    def __call__(self, *, with_actor: bool, follow: bool) -> dict[str, Tensor] | None:
        """One gradient step, and one of the target critics after it; returns the losses, or None if capturing failed.

        Args:
            with_actor: Whether policy and temperature are stepped too.
            follow: Whether the target critics are moved too.
        """
        device = self.buffer.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            try:
                step = self._ready(with_actor=with_actor, follow=follow)
            except RuntimeError as error:
                self._give_up(error)
                return None
            agent = self.update.agent
            self.numbers.n_data.fill_(agent.n_prior_data)
            self.numbers.learning_rate.fill_(agent.actor.optimizer.param_groups[0]["lr"])
            self.numbers.reward_scale.fill_(agent.reward_scale)
            losses = step()
            self.update.forget_weights()
            # The next step overwrites what this one returns.
            return {name: loss.clone() for name, loss in losses.items()}

    def _ready(self, *, with_actor: bool, follow: bool) -> Step:
        """The next step, after the transitions that it draws from have been copied."""
        if self.replay is None:
            self.replay = DeviceReplay(self.buffer)
        self.replay.follow(self.update.agent.num_timesteps)
        if self.fixed != (fixed := self._fixed()):
            self._require_plain_steps()
            self.fixed, self.captured, self.n_warm_ups = fixed, {}, 0
        if self.n_warm_ups < N_WARM_UPS:
            self.n_warm_ups += 1
            return lambda: self._beside(with_actor=with_actor, follow=follow)
        key = (with_actor, follow)
        if key not in self.captured:
            self.captured[key] = self.capture(lambda: self._step(with_actor=with_actor, follow=follow))
        return self.captured[key]

    def _give_up(self, error: RuntimeError) -> None:
        # What was made while capturing was never computed.
        self.update.forget_weights()
        self.has_failed, self.replay, self.captured = True, None, {}
        warnings.warn(
            "the update cannot be captured as a CUDA graph, training continues without one (--no-compile, or "
            f"compile=False, does not try): {str(error).splitlines()[0]}",
            stacklevel=3,
        )

    def _step(self, *, with_actor: bool, follow: bool) -> dict[str, Tensor]:
        assert self.replay is not None
        self.update.numbers = self.numbers
        self.update.forget_weights()
        try:
            batch = self.update.agent.augmented(self.replay.draw(self.batch_size))
            losses = self.update(batch, with_actor=with_actor)
            if follow:
                self.update.follow_critic()
        finally:
            self.update.numbers = None
        return losses

    def _beside(self, *, with_actor: bool, follow: bool) -> dict[str, Tensor]:
        """Make a step on a stream of its own, as the captured ones are."""
        if self.buffer.device.type != "cuda":
            return self._step(with_actor=with_actor, follow=follow)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self._step(with_actor=with_actor, follow=follow)
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _fixed(self) -> tuple[Any, ...]:
        """What is fixed in the graph: settings of the agent, and where everything lies that is read and written."""
        agent = self.update.agent
        settings = (agent.tau, agent.gamma, agent.target_entropy, agent.max_grad_norm, agent.mirror_loss, agent.augment)
        ent_coef = agent.ent_coef_tensor if agent.log_ent_coef is None else agent.log_ent_coef
        places = [(tensor.data_ptr(), tensor.requires_grad) for tensor in (*self.tensors, ent_coef)]
        # Optimisers take another mapping when their state is loaded.
        states = [id(optimizer.state) for optimizer in self._optimizers()]
        return (*settings, agent.actor_prior, agent.critic_prior, places, states)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        agent = self.update.agent
        optimizers = (agent.actor.optimizer, agent.critic.optimizer, agent.ent_coef_optimizer)
        return [optimizer for optimizer in optimizers if optimizer is not None]

    def _require_plain_steps(self) -> None:
        for optimizer in self._optimizers():
            if not adam_step.is_plain(optimizer):
                raise RuntimeError(f"{type(optimizer).__name__} with these options is not made for it")
            if not all(p.requires_grad for group in optimizer.param_groups for p in group["params"]):
                raise RuntimeError("some parameters are frozen")


def _cuda_graph(step: Step) -> Step:
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            losses = step()
    except RuntimeError:
        # A capture that its end finds broken leaves its own stream behind.
        torch.cuda.set_stream(stream)
        raise

    def replay() -> dict[str, Tensor]:
        graph.replay()
        return losses

    return replay
