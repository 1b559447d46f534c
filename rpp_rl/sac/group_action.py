"""The elements of a finite group acting on batches of observations and actions as the environment gives them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor, nn

from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.envs.layout import Block
from rpp_rl.envs.spec import EnvSpec


class GroupAction(nn.Module):
    """Moves every transition of a batch by an element of its own, drawn uniformly.

    Args:
        spec: How the group acts; on every number of the observation, or a quaternion, linearly up to sign.

    Raises:
        ValueError: If the group is infinite, or its action on an observation depends on the observation.
    """

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        if not spec.group.is_finite:
            raise ValueError(f"random elements are drawn from finite groups, {spec.group} is infinite; choose another")
        self.on_obs = _Matrices(_on_observations(spec))
        self.on_actions = _Matrices(spec.action_rep.element_matrices)
        self.n_elements = len(self.on_actions.matrices)

    def draw(self, n: int) -> Int[Tensor, " n"]:
        """Random elements, by number."""
        return torch.randint(self.n_elements, (n,), device=self.on_obs.matrices.device)

    def move(self, batch: ReplayBufferSamples) -> ReplayBufferSamples:
        """Move observation, action and next observation of every transition by the same random element."""
        g = self.draw(len(batch.actions))
        return batch._replace(
            observations=self.on_obs(g, batch.observations),
            actions=self.on_actions(g, batch.actions),
            next_observations=self.on_obs(g, batch.next_observations),
        )

    def images(self, observations: Float[Tensor, "batch obs"]) -> Images:
        """Observations moved by random elements."""
        g = self.draw(len(observations))
        return Images(self.on_obs(g, observations), g, self)


class Images(NamedTuple):
    """Observations that were moved, and by what.

    Attributes:
        observations: The images.
        g: The elements, by number.
        action: How they act.
    """

    observations: Float[Tensor, "batch obs"]
    g: Int[Tensor, " batch"]
    action: GroupAction

    def of_actions(self, actions: Float[Tensor, "batch action"]) -> Float[Tensor, "batch action"]:
        """The actions moved by the same elements."""
        return self.action.on_actions(self.g, actions)

    def back(self, actions: Float[Tensor, "batch action"]) -> Float[Tensor, "batch action"]:
        """The inverse of `of_actions`, which is its transpose."""
        return self.action.on_actions(self.g, actions, transposed=True)


class _Matrices(nn.Module):
    """x -> M_g x for a stack of matrices; by looking up where all of them are signed permutations."""

    matrices: Tensor
    places: Tensor
    signs: Tensor

    def __init__(self, matrices: Float[ndarray, "elements size size"]) -> None:
        super().__init__()
        rounded = matrices.round()
        self.is_signed_permutation = bool(
            np.allclose(matrices, rounded, atol=1e-9) and (np.abs(rounded).sum(-1) == 1).all()
        )
        for name, array in (
            ("matrices", matrices.astype(np.float32)),
            ("places", np.stack([np.abs(rounded).argmax(-1), np.abs(rounded).argmax(-2)])),
            ("signs", np.stack([rounded.sum(-1), rounded.sum(-2)]).astype(np.float32)),
        ):
            self.register_buffer(name, torch.as_tensor(array), persistent=False)

    def forward(self, g: Tensor, x: Tensor, *, transposed: bool = False) -> Tensor:
        if self.is_signed_permutation:
            side = int(transposed)
            return x.gather(1, self.places[side][g]) * self.signs[side][g].to(x.dtype)
        matrices = self.matrices[g].to(x.dtype)
        return torch.bmm(matrices.mT if transposed else matrices, x.unsqueeze(2)).squeeze(2)


def _on_observations(spec: EnvSpec) -> Float[ndarray, "elements obs obs"]:
    """How every element acts on the environment's own observation."""
    layout = spec.observation
    of_rep = spec.obs_rep.element_matrices
    matrices = np.zeros((len(of_rep), layout.size, layout.size))
    for block, where in zip(layout.blocks, layout.slices, strict=True):
        rows = np.array(block.indices)
        on_block = of_rep[:, where, where]
        if block.transform != "identity":
            on_block = np.array([_lifted(spec, block, matrix) for matrix in on_block])
        matrices[:, rows[:, None], rows] = on_block
    return matrices


def _lifted(spec: EnvSpec, block: Block, matrix: Float[ndarray, "rep rep"]) -> Float[ndarray, "size size"]:
    """The linear map of the numbers of a block that acts on its coordinates by ``matrix``, unique up to its sign."""
    if block.transform != "rotation_matrix" or len(block.indices) != 4:
        raise ValueError(f"{spec}: the action on block {block.name!r} depends on the observation; choose another group")
    single = type(spec.observation)((replace(block, indices=(0, 1, 2, 3)),))
    corners = np.eye(4)
    columns = from_rep(single, to_rep(single, corners) @ matrix.T)
    # Each image is known up to its sign; those of sums of two corners tell which signs go together.
    sums = from_rep(single, to_rep(single, corners[0] + corners[1:]) @ matrix.T) * np.sqrt(2)
    for i in range(1, 4):
        together, apart = (
            min(np.abs(columns[0] + side * columns[i] - sign * sums[i - 1]).max() for sign in (1, -1))
            for side in (1, -1)
        )
        if apart < together:
            columns[i] *= -1
    return columns.T
