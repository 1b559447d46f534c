"""Training of transition models by the error of their rollouts (arXiv:2112.01388, section 6.2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rpp_rl.dynamics.augmentation import Augmentation
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.trajectories import Trajectories
from rpp_rl.fast import fast_products
from rpp_rl.nn import Prior, parameter_groups, pathways

PAPER_PRIOR = Prior(equiv_var=1e6, residual_var=3.0)
"""The variances of arXiv:2112.01388, appendix C.4."""
BEST = "best."
"""Begins the names of the weights of the best epoch in the state of a training."""


class Trainer:
    """Minimises the l1 norm of the error of rollouts; the residual pathway decays, or a Gaussian prior joins the loss.

    The error is measured in units of `TransitionModel.state_scale`. A Gaussian head adds the negative log likelihood
    of the change in one step under its standard deviation, with the mean held fixed, so that means are the same with
    both heads. The learning rate falls to zero along half a cosine.

    With chunks to validate on, the weights of the epoch with the lowest loss on them are kept, and `finish` puts them
    into the model; training may end before the last epoch for want of a better one.

    What a step does depends on nothing but the state of the trainer, its data and its arguments: on a CPU, training
    that continues from `state` repeats every bit. On a GPU the data lie on the device and a step is one captured graph.

    Args:
        model: The model, on the device to train on; its normalisation is taken from the data.
        train: Chunks; a rollout is as long as they are.
        test: Trajectories of at least that length, which decide nothing.
        validation: Chunks to choose the epoch by; None for the last one.
        batch_size: Chunks in each minibatch; at most all of them.
        learning_rate: Step size of Adam in the first epoch.
        n_epochs: Passes through the data in total.
        patience: Epochs without a better loss on the validation chunks after which training ends; None for never.
        residual_decay: Decoupled decay of the residual pathway, relative to the learning rate, in ``rpp`` mode; None
            for none. See `rpp_rl.nn.parameter_groups`.
        subgroup_decay: That of a level between both pathways, relative to it.
        prior: Gaussian prior in the loss, divided by the number of transitions; its residual variance counts in ``rpp``
            mode only, its other not in ``mlp``.
        augment: Whether every sampled chunk is moved by a random element of the group of the model's specification.
        seed: Decides the order of the data, and the elements.

    Attributes:
        epoch: Number of epochs completed.
        history: For each of them the mean loss on the way, and the losses at its end on the validation chunks (NaN
            without) and on the test trajectories, all without the prior, shape ``(epoch, 3)``.
        best_epoch: The epoch with the lowest loss on the validation chunks, counted from 1; 0 before there is one.
        best: Its weights.

    Raises:
        ValueError: If there is patience but nothing to validate on, or the group to augment with is infinite.
    """

    def __init__(
        self,
        model: TransitionModel,
        train: Trajectories,
        test: Trajectories,
        *,
        validation: Trajectories | None = None,
        batch_size: int = 500,
        learning_rate: float = 1e-2,
        n_epochs: int = 500,
        patience: int | None = None,
        residual_decay: float | None = None,
        subgroup_decay: float = 0.1,
        prior: Prior | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> None:
        if patience is not None and validation is None:
            raise ValueError("patience needs chunks to validate on: set validation above 0")
        if model.level is not None and prior is not None and prior.residual_var is not None:
            raise ValueError("subgroup: levels decay, and have no variance; leave out residual_var")
        self.model, self.n_epochs, self.learning_rate, self.seed = model, n_epochs, learning_rate, seed
        self.device = next(model.parameters()).device
        self.states, self.actions = self._encoded(train)
        self.augmentation = Augmentation(model.spec).to(self.device) if augment else None
        self._fit_scaling()
        self.test_states, self.test_actions = self._encoded(test.episodes().windows(train.time))
        self.validation = None if validation is None else self._encoded(validation)
        self.patience = patience
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.prior = (prior or Prior()).of_mode(model.mode)
        self.pathways, self.n_data = pathways(model), len(train) * train.time
        self.batch_size = min(batch_size, len(train))
        self.epoch, self.history = 0, np.zeros((0, 3))
        self.optimizer = adam(
            model,
            residual_decay,
            torch.zeros((), device=self.device),
            subgroup_decay=subgroup_decay,
            capturable=self.device.type == "cuda",
        )
        # The chunks of a step, and the elements that move them.
        self.drawn = torch.zeros(2, *self._members, self.batch_size, dtype=torch.long, device=self.device)
        self.graph: tuple[torch.cuda.CUDAGraph, Tensor] | None = None
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                self.graph = self._capture()

    def _fit_scaling(self) -> None:
        """Normalise by the data that the model will see."""
        states, actions = self.states, self.actions
        if self.augmentation is not None:
            elements = self.augmentation.draw(np.random.default_rng(self.seed), (len(states),))
            states, actions = self.augmentation(elements, states, actions)
        self.model.fit_scaling(states, actions)

    @property
    def is_complete(self) -> bool:
        """Whether all epochs are made, or no better one has come for too long."""
        return self.epoch >= self.n_epochs or (
            self.patience is not None and self.epoch - self.best_epoch >= self.patience
        )

    def finish(self) -> None:
        """Put the weights of the best epoch into the model; without chunks to validate on those of the last remain."""
        if self.best:
            self.model.load_state_dict(self.best)

    @fast_products()
    def run_epoch(self) -> None:
        """Go through the data once, in a new order.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        learning_rate = self.learning_rate * (1 + math.cos(math.pi * self.epoch / self.n_epochs)) / 2
        for group in self.optimizer.param_groups:
            group["lr"].fill_(learning_rate)
        losses = [self._step(drawn).clone() for drawn in self._draws()]
        validation = math.nan if self.validation is None else self._loss_on(self.validation)
        row = float(torch.stack(losses).mean()), validation, self.test_loss()
        if not math.isfinite(row[0]):
            raise FloatingPointError(
                f"in epoch {self.epoch + 1} the loss is {row[0]}: the training has diverged; use a lower learning_rate"
            )
        self.history = np.concatenate([self.history, [row]])
        self.epoch += 1
        # A loss that is no number is never the best one, and never what others have to beat.
        if validation < np.fmin.reduce(self.history[:-1, 1], initial=math.inf):
            self.best_epoch = self.epoch
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}

    def test_loss(self) -> float:
        """The loss on the test trajectories, cut to the length of the chunks."""
        return self._loss_on((self.test_states, self.test_actions))

    @torch.no_grad()
    @fast_products()
    def _loss_on(self, data: Sequence[Tensor]) -> float:
        """The mean loss of a member on states and actions."""
        expanded = (tensor.expand(*self._members, *tensor.shape) for tensor in data)
        return float(rollout_loss(self.model, *expanded)) / (self.model.ensemble or 1)

    def state(self) -> dict[str, Tensor]:
        """What has to be saved besides the model's own state to continue."""
        named = {f"optimizer.{name}.{key}": value for name, key, value in self._moments()}
        best = {f"{BEST}{name}": value for name, value in self.best.items()}
        return {"history": torch.from_numpy(self.history), **named, **best}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from where `state` was taken; the model's own state is loaded into the model.

        Raises:
            ValueError: If the state is that of another model.
        """
        moments = {f"optimizer.{name}.{key}": value for name, key, value in self._moments()}
        best = {name.removeprefix(BEST): value for name, value in state.items() if name.startswith(BEST)}
        history = _of_three_columns(state["history"].numpy()) if "history" in state else None
        is_own = moments.keys() == {name for name in state if name != "history" and not name.startswith(BEST)}
        if history is None or not is_own or best.keys() != (self.model.state_dict().keys() if best else set()):
            raise ValueError("the checkpoint does not belong to this model")
        for name, value in moments.items():
            value.copy_(state[name])
        self.history, self.epoch = history, len(history)
        self.best = {name: value.to(self.device) for name, value in best.items()}
        self.best_epoch = int(np.nanargmin(history[:, 1])) + 1 if best else 0

    @property
    def _members(self) -> tuple[int, ...]:
        return () if self.model.ensemble is None else (self.model.ensemble,)

    def _moments(self) -> list[tuple[str, str, Tensor]]:
        return [
            (name, key, value)
            for name, parameter in self.model.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        ]

    def _encoded(self, data: Trajectories) -> tuple[Tensor, Tensor]:
        states, actions = (torch.as_tensor(array, device=self.device) for array in (data.states, data.actions))
        dtype = torch.get_default_dtype()
        return self.model.encode(states.to(dtype)), actions.to(dtype)

    def _order(self) -> Int[Tensor, "n_batches *members batch"]:
        """Which chunks make up each minibatch of this epoch, drawn for each member on its own."""
        rng = np.random.default_rng([self.seed, self.epoch])
        n, n_batches = len(self.states), len(self.states) // self.batch_size
        order = rng.permuted(np.tile(np.arange(n), (*self._members, 1)), axis=-1)[..., : n_batches * self.batch_size]
        order = order.reshape(*self._members, n_batches, self.batch_size)
        return torch.as_tensor(np.moveaxis(order, -2, 0).copy(), device=self.device)

    def _draws(self) -> Int[Tensor, "n_batches two *members batch"]:
        """For each minibatch of this epoch its chunks and the elements that move them, by number."""
        order = self._order()
        elements = torch.zeros_like(order)
        if self.augmentation is not None:
            elements = self.augmentation.draw(np.random.default_rng([self.seed, self.epoch, 1]), tuple(order.shape))
        return torch.stack([order, elements], dim=1)

    def _step(self, drawn: Int[Tensor, "two *members batch"]) -> Float[Tensor, ""]:
        """One minibatch; returns its loss per member."""
        self.drawn.copy_(drawn)
        if self.graph is None:
            return self._descend()
        graph, loss = self.graph
        graph.replay()
        return loss

    def _loss(self) -> Float[Tensor, ""]:
        chunks, elements = self.drawn
        states, actions = self.states[chunks], self.actions[chunks]
        if self.augmentation is not None:
            states, actions = self.augmentation(elements, states, actions)
        return rollout_loss(self.model, states, actions)

    def _descend(self) -> Float[Tensor, ""]:
        self.optimizer.zero_grad()
        loss = self._loss()
        loss.backward()
        self.prior.add_gradient(self.pathways, self.n_data)
        self.optimizer.step()
        return loss.detach() / (self.model.ensemble or 1)

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Tensor] | None:
        """The step as one graph of the device, without the thousand launches that it consists of.

        Nothing is changed by it: the passes before, which libraries need to set themselves up, step no parameter.
        """
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._loss().backward()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                loss = self._descend()
        except RuntimeError as error:
            warnings.warn(f"the step cannot be captured as a graph, training is slower: {error}", stacklevel=3)
            return None
        return graph, loss


def rollout_loss(
    model: TransitionModel,
    states: Float[Tensor, "*members batch time_1 state"],
    actions: Float[Tensor, "*members batch time action"],
) -> Float[Tensor, ""]:
    """The l1 norm of the error in units of the state's scale, mean over chunks and steps, sum over members."""
    predicted = model.rollout(states[..., 0, :], actions)
    errors = ((predicted - states[..., 1:, :]) / model.state_scale).abs()
    loss = errors.sum(-1).mean((-2, -1)).sum()
    if model.head == "gaussian":
        mean, std = model.distribution(states[..., :-1, :].flatten(-3, -2), actions.flatten(-3, -2))
        deviation = (states[..., 1:, :].flatten(-3, -2) - mean.detach()) / std
        loss = loss + (0.5 * deviation.square() + std.log()).sum(-1).mean(-1).sum()
    return loss


def _of_three_columns(history: Float[np.ndarray, "epoch columns"]) -> Float[np.ndarray, "epoch 3"]:
    """The history of a training; those of former versions have no column of the validation."""
    return np.insert(history, 1, np.nan, axis=1) if history.shape[1] == 2 else history


def adam(
    module: nn.Module,
    residual_decay: float | None,
    learning_rate: float | Tensor,
    *,
    subgroup_decay: float = 0.1,
    capturable: bool = False,
) -> torch.optim.AdamW:
    """Adam with the decay of the residual pathway, and of a level between relative to it.

    Its state is in place from the start, so that it can be loaded, and because a captured step cannot make it.
    """
    level_decays = [(residual_decay or 0.0) * subgroup_decay for _ in pathways(module).levels]
    optimizer = torch.optim.AdamW(
        parameter_groups(module, residual_decay, level_decays), lr=learning_rate, fused=True, capturable=capturable
    )
    for parameter in module.parameters():
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer
