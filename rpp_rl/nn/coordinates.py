"""The way from an environment's observation to the coordinates on which a representation acts, as a torch module."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.envs.coordinates import ROTATION, to_coordinates
from rpp_rl.envs.layout import Layout


class ObsToRep(nn.Module):
    """`to_rep` as a torch module without parameters: one gather, and the changed coordinates where a layout has any.

    Args:
        layout: The layout of the observations.
    """

    rotation: Tensor
    order: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.size_in, self.size_out = layout.size, layout.rep.size
        changed = [block for block in layout.blocks if block.transform != "identity"]
        # The observation is extended by the changed coordinates, then everything is put in order at once.
        self.changed = [(block.transform, f"from_{number}") for number, block in enumerate(changed)]
        for (_, name), block in zip(self.changed, changed, strict=True):
            self.register_buffer(name, torch.tensor(block.indices, dtype=torch.long), persistent=False)
        starts = np.cumsum([layout.size, *(block.rep.size for block in changed)])
        start_of = {id(block): start for block, start in zip(changed, starts, strict=False)}
        order: list[int] = []
        for block in layout.blocks:
            start = start_of.get(id(block))
            order += block.indices if start is None else range(start, start + block.rep.size)
        self.is_ordered = order == list(range(layout.size))
        self.register_buffer("order", torch.tensor(order, dtype=torch.long), persistent=False)
        self.register_buffer("rotation", torch.as_tensor(ROTATION, dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, obs: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch rep"]:
        """Map observations to the coordinates on which the representation acts."""
        if self.is_ordered:
            return obs
        pieces = [
            to_coordinates(transform, obs.index_select(-1, getattr(self, name)), torch, self.rotation)
            for transform, name in self.changed
        ]
        extended = torch.cat([obs, *pieces], dim=-1) if pieces else obs
        return extended.index_select(-1, self.order)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.size_in} -> {self.size_out}"
