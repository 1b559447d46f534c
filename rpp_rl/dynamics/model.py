"""Transition models: x' = x + f(x, u) in coordinates on which the group acts linearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rpp_rl.dynamics.scaling import EquivariantScaling
from rpp_rl.envs.coordinates import from_rep
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.fast import shared_weights
from rpp_rl.nn import RPPEMLP, Mode, hidden_rep
from rpp_rl.nn.coordinates import ObsToRep
from rpp_rl.nn.levels import subgroup_level
from rpp_rl.symmetry import Rep, direct_sum, trivial

Head = Literal["deterministic", "gaussian"]
"""``deterministic``: the next state; ``gaussian``: its mean and standard deviations."""

LOG_STD_RANGE = (-7.0, 2.0)
"""Bounds of the logarithm of a standard deviation relative to the usual change of a state in one step."""


class TransitionModel(nn.Module):
    """x' = x + f(x, u): the state after one step (arXiv:2112.01388, section 6.2).

    The state is that of ``spec.obs_rep``; f is a network between an equivariant normalisation of states and actions
    and one of the changes of the state.

    Args:
        spec: How the group acts on observations and actions.
        mode: ``rpp`` (symmetry as a soft prior), ``emlp`` (as a law) or ``mlp`` (none).
        widths: Sizes of the hidden layers.
        hidden: Hidden representation, see `hidden_rep`; None for ``regular``, or ``uniform`` if the group is infinite.
        activation: One of ``relu``, ``silu``, ``tanh``.
        ensemble: Number of independent models that are computed together: states then begin with a member axis of this
            length, and arguments without it, of shape ``(batch, ...)``, are shared by the members. None for a single
            model, without that axis.
        head: See `Head`.
        layer_norm: Whether each nonlinearity is preceded by `rpp_rl.nn.EquivariantLayerNorm`.
        inner_residual: Whether maps between hidden layers have a residual pathway too, see `rpp_rl.nn.trunk`.
        subgroup: Names of generators; in ``rpp`` mode maps have a level between both pathways for what these generate,
            see `rpp_rl.nn.ChainLinear`.

    Attributes:
        level: That level; None for two pathways.

    Raises:
        ValueError: If an option is unknown or does not fit the group.
    """

    std_index: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        *,
        mode: Mode = "rpp",
        widths: Sequence[int] = (256, 256),
        hidden: str | None = None,
        activation: str = "silu",
        ensemble: int | None = None,
        head: Head = "deterministic",
        layer_norm: bool = False,
        inner_residual: bool = True,
        subgroup: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if head not in get_args(Head):
            raise ValueError(f"head must be one of {', '.join(get_args(Head))}, got {head!r}")
        self.mode: Mode = mode
        self.spec, self.ensemble, self.head = spec, ensemble, head
        self.widths, self.hidden, self.activation = tuple(widths), hidden, activation
        self.layer_norm, self.inner_residual, self.subgroup = layer_norm, inner_residual, tuple(subgroup)
        self.level = subgroup_level(spec, subgroup) if subgroup and mode == "rpp" else None
        kind = hidden or ("regular" if spec.group.is_finite else "uniform")
        self.rep_in, self.rep_out = spec.obs_rep + spec.action_rep, spec.obs_rep
        self.to_rep = ObsToRep(spec.observation)
        self.inputs, self.changes = (EquivariantScaling(_scaled(rep, mode)) for rep in (self.rep_in, self.rep_out))
        rep_std, std_index = _std_rep(self.rep_out)
        self.register_buffer("std_index", std_index, persistent=False)
        rep_net = self.rep_out + rep_std if head == "gaussian" else self.rep_out
        hidden_reps = [hidden_rep(spec.group, width, kind) for width in widths]
        self.net = RPPEMLP(
            self.rep_in,
            rep_net,
            hidden_reps,
            mode=mode,
            activation=activation,
            layer_norm=layer_norm,
            inner_residual=inner_residual,
            subgroups=() if self.level is None else (self.level.subgroup,),
            ensemble=ensemble,
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """All arguments but the specification, as plain values."""
        names = ("mode", "widths", "hidden", "activation", "ensemble", "head", "layer_norm", "inner_residual")
        lists = {"widths": list(self.widths), "subgroup": list(self.subgroup)}
        return {name: getattr(self, name) for name in names} | lists

    @property
    def n_parameters(self) -> int:
        """Number of trainable numbers in one member, of the equivariant and the residual pathway together."""
        return sum(parameter.numel() for parameter in self.parameters()) // (self.ensemble or 1)

    @property
    def state_scale(self) -> Float[Tensor, " state"]:
        """Standard deviation of each coordinate of the state in the data: one number per orbit."""
        return self.inputs.scale[: self.rep_out.size]

    def fit_scaling(self, states: Float[Tensor, "n time_1 state"], actions: Float[Tensor, "n time action"]) -> None:
        """Take the normalisation of inputs and changes from encoded states and actions."""
        self.inputs.fit(torch.cat([states[:, :-1], actions], dim=-1).flatten(0, 1))
        self.changes.fit(states.diff(dim=1).flatten(0, 1))

    def encode(self, obs: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch state"]:
        """The coordinates of the model for observations of the environment."""
        return self.to_rep(obs)

    def decode(self, x: Float[Tensor, "*batch state"]) -> Float[Tensor, "*batch obs"]:
        """The environment's observations for coordinates of the model: the inverse of `encode` (without gradient)."""
        obs = from_rep(self.spec.observation, x.detach().cpu().numpy().astype(np.float64))
        return torch.as_tensor(obs, dtype=x.dtype, device=x.device)

    def forward(self, x: Float[Tensor, "*batch state"], u: Float[Tensor, "*batch action"]) -> Tensor:
        """The (mean of the) state after one step, of type ``spec.obs_rep``."""
        return x + self.changes.inverse(self._net(x, u)[..., : self.rep_out.size])

    def distribution(
        self, x: Float[Tensor, "*batch state"], u: Float[Tensor, "*batch action"]
    ) -> tuple[Float[Tensor, "*batch state"], Float[Tensor, "*batch state"]]:
        """Mean and standard deviation of the state after one step, of a model with a ``gaussian`` head.

        Raises:
            ValueError: If the head is another one.
        """
        if self.head != "gaussian":
            raise ValueError(f"a {self.head} head has no distribution; make the model with head='gaussian'")
        y = self._net(x, u)
        mean, log_std = y[..., : self.rep_out.size], y[..., self.rep_out.size :]
        std = log_std.clamp(*LOG_STD_RANGE).exp().index_select(-1, self.std_index)
        return x + self.changes.inverse(mean), self.changes.scale * std

    def rollout(
        self, x0: Float[Tensor, "batch state"], actions: Float[Tensor, "batch time action"]
    ) -> Float[Tensor, "batch time state"]:
        """The (mean) states x_1 ... x_time that follow ``x0`` under ``actions``; weights are made once for all."""
        states = []
        x = x0
        with shared_weights(self):
            for u in actions.unbind(-2):
                x = self(x, u)
                states.append(x)
        return torch.stack(states, dim=-2)

    def _net(self, x: Tensor, u: Tensor) -> Tensor:
        if self.ensemble is not None:
            x, u = (tensor.expand(self.ensemble, *tensor.shape[-2:]) for tensor in (x, u))
        return self.net(self.inputs(torch.cat([x, u], dim=-1)))


def _scaled(rep: Rep, mode: Mode) -> Rep:
    """How vectors transform for their normalisation: a plain network knows of no group."""
    return rep.size * trivial(rep.group) if mode == "mlp" else rep


def _std_rep(rep: Rep) -> tuple[Rep, Int[Tensor, " size"]]:
    """How logarithms of standard deviations transform, and which of them each coordinate of ``rep`` has.

    Signs do not act on them. The coordinates of a part that is no signed permutation are mixed and share one.
    """
    reps: list[Rep] = []
    index: list[int] = []
    for count, part in rep.parts:
        reps.append(count * (part.abs() if part.is_signed_permutation else trivial(rep.group)))
        for _ in range(count):
            first = max(index, default=-1) + 1
            index += range(first, first + part.size) if part.is_signed_permutation else part.size * [first]
    return direct_sum(*reps), torch.tensor(index)


def widths_of_equal_size(
    spec: EnvSpec,
    widths: Sequence[int],
    *,
    mode: Mode,
    hidden: str | None = None,
    head: Head = "deterministic",
    inner_residual: bool = True,
    subgroup: Sequence[str] = (),
) -> tuple[int, ...]:
    """Widths with which a model has as many trainable numbers as a plain network of the given ones, and not more.

    Both pathways and a level between them count: an ``rpp`` model gets narrower than the plain one, an ``emlp`` model
    wider, about by the square root of the number of the group's elements. All layers grow by the same factor, in steps
    of whole regular representations.

    Raises:
        ValueError: If no width is narrow enough, or an option does not fit the group.
    """
    if mode == "mlp":
        return tuple(widths)
    step = spec.group.order if spec.group.is_finite else 1
    target = TransitionModel(spec, mode="mlp", widths=widths, head=head).n_parameters

    def scaled(n_steps: int) -> tuple[int, ...]:
        return tuple(max(round(n_steps * width / max(widths)), 1) * step for width in widths)

    def fits(n_steps: int) -> bool:
        model = TransitionModel(
            spec,
            mode=mode,
            widths=scaled(n_steps),
            hidden=hidden,
            head=head,
            inner_residual=inner_residual,
            subgroup=subgroup,
        )
        return model.n_parameters <= target

    low, high = 0, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if low == 0:
        raise ValueError(f"no {mode} model of {spec.group} is as small as a plain one of widths {list(widths)}")
    return scaled(low)
