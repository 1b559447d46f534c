"""From the environment's vector to the coordinates on which a representation acts linearly, and back.

Besides the order of the numbers two things change: an orientation becomes a rotation matrix, because a group acts on
unit quaternions only up to sign (the 90-degree turn of a four-legged robot has order 8 on them), and the Swimmer's
observation, which describes the first link, becomes one of the middle link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from rpp_rl.envs.layout import Layout

Array = TypeVar("Array", ndarray, Tensor)

# vec(R) = _ROTATION @ vec(q qᵀ) for a unit quaternion q = (w, x, y, z); every entry of R is quadratic in q.
_ROTATION = np.zeros((9, 4, 4))
for _entry, _terms in enumerate(
    (
        {(0, 0): 1, (1, 1): 1, (2, 2): -1, (3, 3): -1},
        {(1, 2): 2, (0, 3): -2},
        {(1, 3): 2, (0, 2): 2},
        {(1, 2): 2, (0, 3): 2},
        {(0, 0): 1, (1, 1): -1, (2, 2): 1, (3, 3): -1},
        {(2, 3): 2, (0, 1): -2},
        {(1, 3): 2, (0, 2): -2},
        {(2, 3): 2, (0, 1): 2},
        {(0, 0): 1, (1, 1): -1, (2, 2): -1, (3, 3): 1},
    )
):
    for (_i, _j), _factor in _terms.items():
        _ROTATION[_entry, _i, _j] = _factor
_ROTATION = _ROTATION.reshape(9, 16)
# The same quadratic form read the other way: q is the eigenvector of the largest eigenvalue of Σ_k R_k form_k.
_FORMS = (_ROTATION.reshape(9, 4, 4) + _ROTATION.reshape(9, 4, 4).transpose(0, 2, 1)) / 2


def to_rep(layout: Layout, obs: Float[ndarray, "*batch size"]) -> Float[ndarray, "*batch rep"]:
    """The coordinates on which ``layout.rep`` acts, in float64."""
    obs = np.asarray(obs, dtype=np.float64)
    pieces = [_to_coordinates(block.transform, obs[..., list(block.indices)], np, _ROTATION) for block in layout.blocks]
    return np.concatenate(pieces, axis=-1)


def from_rep(layout: Layout, x: Float[ndarray, "*batch rep"]) -> Float[ndarray, "*batch size"]:
    """The environment's vector that has the given coordinates: the inverse of `to_rep` up to the quaternion's length.

    A matrix that is no rotation gives the quaternion of the nearest one; of the two unit quaternions the one with
    w >= 0 is returned.
    """
    x = np.asarray(x, dtype=np.float64)
    obs = np.empty((*x.shape[:-1], layout.size))
    for block, where in zip(layout.blocks, layout.slices, strict=True):
        obs[..., list(block.indices)] = _FROM_COORDINATES[block.transform](x[..., where])
    return obs


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
        self.register_buffer("rotation", torch.as_tensor(_ROTATION, dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, obs: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch rep"]:
        """Map observations to the coordinates on which the representation acts."""
        if self.is_ordered:
            return obs
        pieces = [
            _to_coordinates(transform, obs.index_select(-1, getattr(self, name)), torch, self.rotation)
            for transform, name in self.changed
        ]
        extended = torch.cat([obs, *pieces], dim=-1) if pieces else obs
        return extended.index_select(-1, self.order)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.size_in} -> {self.size_out}"


def _to_coordinates(transform: str, x: Array, xp: Any, rotation: Array) -> Array:  # noqa: ANN401
    """Apply a named transform with the functions of NumPy or torch (``xp``)."""
    if transform == "rotation_matrix":
        return _rotation_matrix(x, xp, rotation)
    if transform == "middle_link":
        return _middle_link(x, xp)
    return x


def _rotation_matrix(q: Array, xp: Any, rotation: Array) -> Array:  # noqa: ANN401
    """R row by row of the normalised quaternion; a quaternion of length zero gives zeros and not NaN."""
    if q.shape[-1] > 4:
        several = _rotation_matrix(q.reshape(*q.shape[:-1], -1, 4), xp, rotation)
        return several.reshape(*q.shape[:-1], -1)
    products = (q[..., :, None] * q[..., None, :]).reshape(*q.shape[:-1], 16)
    length2 = (q * q).sum(-1)[..., None]
    return (products @ rotation.T) / xp.where(length2 > 0, length2, 1.0)


def _quaternion(rotation: Float[ndarray, "*batch n9"]) -> Float[ndarray, "*batch n4"]:
    if rotation.shape[-1] > 9:
        return _quaternion(rotation.reshape(*rotation.shape[:-1], -1, 9)).reshape(*rotation.shape[:-1], -1)
    q = np.linalg.eigh(np.tensordot(rotation, _FORMS, axes=1))[1][..., -1]
    leading = np.take_along_axis(q, (np.abs(q) > 1e-12).argmax(-1)[..., None], axis=-1)
    return q * np.where(leading < 0, -1.0, 1.0)


def _middle_link(x: Array, xp: Any) -> Array:  # noqa: ANN401
    """(θ, j1, j2, vx, vy, θ', j1', j2') of the first link -> (φ, -j1, j2, v_mid, φ', -j1', j2') of the middle one.

    The velocity of the middle link's centre is v + ½ θ' n(θ) - ½ φ' n(φ) with n(t) = (-sin t, cos t).
    """
    theta, j1, j2, vx, vy, omega, w1, w2 = (x[..., i] for i in range(8))
    phi, dphi = theta + j1, omega + w1
    shift_x, shift_y = _middle_link_shift(theta, phi, omega, dphi, xp)
    return xp.stack([phi, -j1, j2, vx + shift_x, vy + shift_y, dphi, -w1, w2], -1)


def _first_link(x: Float[ndarray, "*batch 8"]) -> Float[ndarray, "*batch 8"]:
    """The inverse of `_middle_link`."""
    phi, alpha1, alpha2, vx, vy, dphi, dalpha1, dalpha2 = np.moveaxis(x, -1, 0)
    theta, omega = phi + alpha1, dphi + dalpha1
    shift_x, shift_y = _middle_link_shift(theta, phi, omega, dphi, np)
    return np.stack([theta, -alpha1, alpha2, vx - shift_x, vy - shift_y, omega, -dalpha1, dalpha2], -1)


def _middle_link_shift(theta: Array, phi: Array, omega: Array, dphi: Array, xp: Any) -> tuple[Array, Array]:  # noqa: ANN401
    shift_x = 0.5 * dphi * xp.sin(phi) - 0.5 * omega * xp.sin(theta)
    shift_y = 0.5 * omega * xp.cos(theta) - 0.5 * dphi * xp.cos(phi)
    return shift_x, shift_y


_FROM_COORDINATES: dict[str, Callable[[ndarray], ndarray]] = {
    "identity": lambda x: x,
    "rotation_matrix": _quaternion,
    "middle_link": _first_link,
}
