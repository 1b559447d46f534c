"""The motions to try: of the world, which have to keep gravity and wind, and of the shape of a floating robot."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations, product

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from rpp_rl.derive.robot import Robot
from rpp_rl.symmetry.matrices import matrix_key, snapped

POLYGONS = (8, 10, 12)
"""Regular polygons about the vertical whose rotations and reflections are tried, besides the motions of a cube.

Those with 10 and 12 corners have all the motions of a triangle, a pentagon and a hexagon, however these stand.
"""


def cube_motions() -> list[Float[ndarray, "3 3"]]:
    """The 48 motions of a cube: permutations of the axes with signs, the identity first."""
    motions = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            motion = np.zeros((3, 3))
            motion[range(3), order] = signs
            motions.append(motion)
    return motions


def polygon_motions(axis: Float[ndarray, " 3"], n: int) -> list[Float[ndarray, "3 3"]]:
    """Rotations by multiples of 360/n degrees about an axis, and reflections in planes through it."""
    normal = np.eye(3)[np.abs(axis).argmin()]
    normal = normal - (normal @ axis) * axis
    mirror = np.eye(3) - 2 * np.outer(normal, normal) / (normal @ normal)
    turns = [Rotation.from_rotvec(2 * np.pi * k / n * axis).as_matrix() for k in range(n)]
    return [snapped(turn @ flip, 1e-12) for flip in (np.eye(3), mirror) for turn in turns]


def world_motions(robot: Robot) -> list[Float[ndarray, "3 3"]]:
    """Motions of the world that keep gravity and wind, the plainest first.

    A robot that floats freely does not follow the turns of the world with its shape, so for it quarter turns say all;
    one that is attached to the world does, and may have more corners.
    """
    motions = cube_motions()
    if not robot.free_roots:
        motions += [motion for n in POLYGONS for motion in polygon_motions(vertical(robot), n)]
    fields = (robot.gravity, robot.model.opt.wind)
    return distinct(m for m in motions if all(np.allclose(m @ field, field, atol=1e-9) for field in fields))


def shape_motions(robot: Robot) -> list[Float[ndarray, "3 3"]]:
    """Motions of a floating robot's shape, in the axes of its root.

    They are about the axes of the world at rest, those of the root, and the principal axes of the robot's inertia.
    """
    in_cube = cube_motions()
    motions: list[ndarray] = []
    for root in robot.free_roots:
        in_root = robot.root_frame[root].T
        upright = in_cube + [motion for n in POLYGONS for motion in polygon_motions(vertical(robot), n)]
        motions += [snapped(in_root @ motion @ in_root.T, 1e-12) for motion in upright]
        motions += in_cube
        axes = _principal_axes(robot, root)
        motions += [snapped(axes @ motion @ axes.T, 1e-12) for motion in in_cube]
    return distinct(motions)


def vertical(robot: Robot) -> Float[ndarray, " 3"]:
    """The direction against gravity; without gravity that of the z axis."""
    gravity = robot.gravity
    norm = float(np.linalg.norm(gravity))
    return -gravity / norm if norm > 0 else np.array([0.0, 0.0, 1.0])


def distinct(motions: Iterable[Float[ndarray, "3 3"]]) -> list[Float[ndarray, "3 3"]]:
    """The motions without repetitions, the plainest first: the identity, mirrors, small angles, z before y and x."""
    found: dict[bytes, ndarray] = {}
    for motion in motions:
        found.setdefault(matrix_key(motion), motion)
    return sorted(found.values(), key=_plainness)


def _plainness(motion: Float[ndarray, "3 3"]) -> tuple[object, ...]:
    words = in_words(motion)
    axis, angle = _axis_and_angle(motion)
    kind = ("stays", "mirrors").index(words.split()[0]) if words.split()[0] in ("stays", "mirrors") else 2
    order = np.round(-np.abs(axis[[2, 1, 0]]), 6).tolist()
    return kind, "(" in words, "and" in words, round(abs(angle), 6), angle < 0, *order


def in_words(motion: Float[ndarray, "3 3"]) -> str:
    """What a motion does, in short: ``"stays"``, ``"turns 90° about z"``, ``"mirrors y"``."""
    axis, angle = _axis_and_angle(motion)
    is_proper, about = np.linalg.det(motion) > 0, _axis_name(axis)
    if angle == 0:
        return "stays" if is_proper else "inverts all axes"
    if angle == 180:
        return f"turns 180° about {about}" if is_proper else f"mirrors {about}"
    if is_proper:
        return f"turns {angle:.4g}° about {about}"
    return f"mirrors {about} and turns {angle - np.copysign(180, angle):.4g}° about it"


def _axis_and_angle(motion: Float[ndarray, "3 3"]) -> tuple[Float[ndarray, " 3"], float]:
    """Axis, its largest entry positive, and angle in degrees of a rotation, or of minus a motion that is none."""
    vector = Rotation.from_matrix(motion * np.sign(np.linalg.det(motion))).as_rotvec()
    norm = float(np.linalg.norm(vector))
    if norm < 1e-7:
        return np.array([0.0, 0.0, 1.0]), 0.0
    axis, angle = snapped(vector / norm, 1e-9), round(float(np.degrees(norm)), 6)
    main = next(entry for entry in axis if abs(entry) > np.abs(axis).max() - 1e-9)
    if main < 0:
        return -axis, 180.0 if angle == 180 else -angle
    return axis, angle


def _axis_name(axis: Float[ndarray, " 3"]) -> str:
    main = int(np.abs(axis).argmax())
    if abs(axis[main]) > 1 - 1e-9:
        return "xyz"[main]
    return f"({' '.join(f'{entry:.3g}' for entry in snapped(axis, 1e-9))})"


def _principal_axes(robot: Robot, root: int) -> Float[ndarray, "3 3"]:
    """Of the whole floating robot at rest, as columns in the axes of its root."""
    members = robot.model.body_rootid == root
    mass, com = robot.model.body_mass[members], robot.com[members]
    if mass.sum() == 0:
        return np.eye(3)
    offset = com - np.average(com, axis=0, weights=mass)
    spread = (offset**2).sum(axis=1)[:, None, None] * np.eye(3) - offset[:, :, None] * offset[:, None, :]
    return np.linalg.eigh((robot.inertia[members] + mass[:, None, None] * spread).sum(axis=0))[1]
