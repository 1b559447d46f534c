"""From the environment's vector to the coordinates on which a representation acts linearly, and back.

Apart from the order of the numbers, two things change: an orientation becomes a rotation matrix, because a group acts
on unit quaternions only up to sign (the 90-degree turn of a four-legged robot has order 8 on them), and the Swimmer's
observation, which describes the first link, becomes one of the middle link.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.envs.layout import Layout

Array = Any
"""An array of NumPy or a tensor of torch; this module imports only the former."""

# vec(R) = ROTATION @ vec(q qᵀ) for a unit quaternion q = (w, x, y, z); every entry of R is quadratic in q.
ROTATION = np.zeros((9, 4, 4))
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
        ROTATION[_entry, _i, _j] = _factor
ROTATION = ROTATION.reshape(9, 16)
# The same quadratic form read the other way: q is the eigenvector of the largest eigenvalue of Σ_k R_k form_k.
_QUADRATIC_FORMS = (ROTATION.reshape(9, 4, 4) + ROTATION.reshape(9, 4, 4).transpose(0, 2, 1)) / 2


def to_rep(layout: Layout, obs: Float[ndarray, "*batch size"]) -> Float[ndarray, "*batch rep"]:
    """The coordinates on which ``layout.rep`` acts, in float64."""
    obs = np.asarray(obs, dtype=np.float64)
    pieces = [to_coordinates(block.transform, obs[..., list(block.indices)], np, ROTATION) for block in layout.blocks]
    return np.concatenate(pieces, axis=-1)


def from_rep(layout: Layout, x: Float[ndarray, "*batch rep"]) -> Float[ndarray, "*batch size"]:
    """The environment's vector that has the given coordinates: the inverse of `to_rep` up to the quaternion's length.

    A matrix that is not a rotation gives the quaternion of the nearest one; of the two unit quaternions, the one with
    w >= 0 is returned.
    """
    x = np.asarray(x, dtype=np.float64)
    obs = np.empty((*x.shape[:-1], layout.size))
    for block, where in zip(layout.blocks, layout.slices, strict=True):
        obs[..., list(block.indices)] = _FROM_COORDINATES[block.transform](x[..., where])
    return obs


def to_coordinates(transform: str, x: Array, xp: ModuleType, rotation: Array) -> Array:
    """Apply a named change of coordinates.

    Args:
        transform: ``"identity"`` or a key of `rpp_rl.envs.layout.TRANSFORM_SIZES`.
        x: Numbers of a block, along the last axis.
        xp: ``numpy`` or ``torch``, whichever ``x`` belongs to.
        rotation: `ROTATION` as an array of that library.
    """
    if transform == "rotation_matrix":
        return _rotation_matrix(x, xp, rotation)
    if transform == "middle_link":
        return _middle_link(x, xp)
    return x


def _rotation_matrix(q: Array, xp: ModuleType, rotation: Array) -> Array:
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
    q = np.linalg.eigh(np.tensordot(rotation, _QUADRATIC_FORMS, axes=1))[1][..., -1]
    leading = np.take_along_axis(q, (np.abs(q) > 1e-12).argmax(-1)[..., None], axis=-1)
    return q * np.where(leading < 0, -1.0, 1.0)


def _middle_link(x: Array, xp: ModuleType) -> Array:
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


def _middle_link_shift(theta: Array, phi: Array, omega: Array, dphi: Array, xp: ModuleType) -> tuple[Array, Array]:
    shift_x = 0.5 * dphi * xp.sin(phi) - 0.5 * omega * xp.sin(theta)
    shift_y = 0.5 * omega * xp.cos(theta) - 0.5 * dphi * xp.cos(phi)
    return shift_x, shift_y


_FROM_COORDINATES: dict[str, Callable[[ndarray], ndarray]] = {
    "identity": lambda x: x,
    "rotation_matrix": _quaternion,
    "middle_link": _first_link,
}
