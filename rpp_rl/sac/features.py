"""What agents see: observations in coordinates on which the group acts linearly."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from rpp_rl.envs.layout import Layout
from rpp_rl.nn import EquivariantNorm
from rpp_rl.nn.coordinates import ObsToRep
from rpp_rl.symmetry import Rep


class RPPFeatures(BaseFeaturesExtractor):
    """Observations in coordinates on which the group acts linearly, optionally normalised equivariantly.

    Args:
        observation_space: The environment's observation space.
        rep: How the coordinates transform.
        layout: How to make the coordinates from an observation; None to take it as it is.
        normalize_obs: Whether to normalise by running statistics that commute with the group.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], rep: Rep, layout: Layout | None, *, normalize_obs: bool = False
    ) -> None:
        super().__init__(observation_space, rep.size)
        self.to_rep = nn.Flatten() if layout is None else ObsToRep(layout)
        self.norm = EquivariantNorm(rep) if normalize_obs else None

    def forward(self, observations: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch rep"]:
        """Transform a batch of observations."""
        return self.normalized(self.to_rep(observations))

    def normalized(self, x: Float[Tensor, "batch rep"]) -> Float[Tensor, "batch rep"]:
        """Normalise coordinates by the running statistics, if there are any."""
        return x if self.norm is None else self.norm(x)

    def update(self, observations: Float[Tensor, "batch obs"]) -> None:
        """Add a batch to the running statistics, if there are any."""
        if self.norm is not None:
            self.norm.update(self.to_rep(observations.float()))
