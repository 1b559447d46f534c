"""Chunks moved by random elements of the group: what a plain network needs to learn the symmetry from data."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rpp_rl.envs.spec import EnvSpec


class Augmentation(nn.Module):
    """Moves chunks by elements of a finite group, each by one element for all of its states and actions.

    Args:
        spec: How the group acts on states, in the coordinates of a model, and on actions.

    Raises:
        ValueError: If the group is infinite.
    """

    on_states: Tensor
    on_actions: Tensor

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        if not spec.group.is_finite:
            raise ValueError(f"random elements are drawn from finite groups, {spec.group} is infinite; choose another")
        for name, rep in (("on_states", spec.obs_rep), ("on_actions", spec.action_rep)):
            matrices = torch.tensor(rep.element_matrices, dtype=torch.get_default_dtype())
            self.register_buffer(name, matrices.mT.contiguous())

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Int[Tensor, ...]:
        """Random elements, by number."""
        return torch.as_tensor(rng.integers(len(self.on_actions), size=shape), device=self.on_actions.device)

    def forward(
        self,
        g: Int[Tensor, "*batch"],
        states: Float[Tensor, "*batch time_1 state"],
        actions: Float[Tensor, "*batch time action"],
    ) -> tuple[Float[Tensor, "*batch time_1 state"], Float[Tensor, "*batch time action"]]:
        """The images of chunks under the elements with these numbers."""
        return states @ self.on_states[g], actions @ self.on_actions[g]
