"""Transition models: x' = x + f(x, u) in coordinates on which the group acts linearly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.envs.spec import EnvSpec
from rpp_rl.envs.transform import ObsToRep, from_rep
from rpp_rl.nn import RPPEMLP, Mode, hidden_rep, shared_weights

Head = Literal["deterministic", "gaussian"]
"""``deterministic``: the next state; ``gaussian``: its mean and standard deviations."""


class TransitionModel(nn.Module):
    """x' = x + f(x, u): the state after one step, in the coordinates of ``spec.obs_rep``.

    Args:
        spec: How the group acts on observations and actions.
        mode: ``rpp`` (symmetry as a soft prior), ``emlp`` (as a law) or ``mlp`` (none).
        widths: Sizes of the hidden layers.
        hidden: Hidden representation, see `hidden_rep`; None for ``regular``, or ``uniform`` if the group is infinite.
        activation: One of ``relu``, ``silu``, ``tanh``.
        ensemble: Number of models that are computed together; None for a single one, without the leading axis.
        head: See `Head`.

    Raises:
        ValueError: If an option is unknown or does not fit the group.
    """

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
    ) -> None:
        super().__init__()
        self.spec, self.mode, self.ensemble, self.head = spec, mode, ensemble, head
        kind = hidden or ("regular" if spec.group.is_finite else "uniform")
        self.rep_in, self.rep_out = spec.obs_rep + spec.action_rep, spec.obs_rep
        hidden_reps = [hidden_rep(spec.group, width, kind) for width in widths]
        self.to_rep = ObsToRep(spec.observation)
        self.net = RPPEMLP(self.rep_in, self.rep_out, hidden_reps, mode=mode, activation=activation)

    def encode(self, obs: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch state"]:
        """The coordinates of the model for observations of the environment."""
        return self.to_rep(obs)

    def decode(self, x: Float[Tensor, "*batch state"]) -> Float[Tensor, "*batch obs"]:
        """The environment's observations for coordinates of the model: the inverse of `encode` (without gradient)."""
        obs = from_rep(self.spec.observation, x.detach().cpu().numpy().astype(np.float64))
        return torch.as_tensor(obs, dtype=x.dtype, device=x.device)

    def forward(self, x: Float[Tensor, "*batch state"], u: Float[Tensor, "*batch action"]) -> Tensor:
        """The (mean of the) state after one step, of type ``spec.obs_rep``; (n, *batch, state) for an ensemble."""
        return x + self.net(torch.cat([x, u], dim=-1))

    def rollout(
        self, x0: Float[Tensor, "batch state"], actions: Float[Tensor, "batch time action"]
    ) -> Float[Tensor, "batch time state"]:
        """The states x_1 ... x_time that follow ``x0`` under ``actions``; (n, batch, time, state) for an ensemble.

        The weights are made once for all steps.
        """
        states = []
        x = x0
        with shared_weights(self):
            for u in actions.unbind(-2):
                x = self(x, u)
                states.append(x)
        return torch.stack(states, dim=-2)
