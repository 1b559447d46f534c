"""The collision shapes of a body and of the one whose place it takes, geom by geom."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from rpp_rl.derive.robot import BOX, CAPSULE, CYLINDER, ELLIPSOID, HFIELD, MESH, PLANE, SDF, SPHERE, Robot
from rpp_rl.derive.violations import EQUAL, Violation, differing, off_place, plain_violations, tilted

TYPE_NAMES = ("plane", "height field", "sphere", "capsule", "ellipsoid", "cylinder", "box", "mesh", "sdf")
_SPIRAL = np.arange(120) + 0.5
_HEIGHT, _TURN = 1 - 2 * _SPIRAL / 120, np.pi * (1 + 5**0.5) * _SPIRAL
DIRECTIONS = np.stack([np.sqrt(1 - _HEIGHT**2) * np.cos(_TURN), np.sqrt(1 - _HEIGHT**2) * np.sin(_TURN), _HEIGHT])
"""Evenly spread, as columns, in which the hulls of meshes are compared."""
UNKNOWN_SHAPES = (HFIELD, SDF)
"""Shapes given by data, which are not compared."""


def matched_geoms(
    robot: Robot, body: int, image: int, s: Float[ndarray, "3 3"]
) -> tuple[tuple[tuple[int, int], ...], tuple[Violation, ...]]:
    """The pairing of two bodies' geoms with the least violations, and these.

    Args:
        robot: The robot.
        body: A body.
        image: The body whose place it takes.
        s: The motion of the tree that takes it there.
    """
    first, second = robot.felt_geoms[body], robot.felt_geoms[image]
    names = robot.name("body", body), robot.name("body", image)
    violations: list[Violation] = []
    if len(first) != len(second):
        violations += differing(*names, "number of colliding geoms", len(first), len(second))
    if not first or not second:
        return (), tuple(violations)
    table = [[tuple(_geom_violations(robot, i, j, s)) for j in second] for i in first]
    cost = np.array([[sum(v.size for v in cell) for cell in row] for row in table])
    pairs = []
    for row, column in zip(*linear_sum_assignment(cost), strict=True):
        pairs.append((first[row], second[column]))
        violations += table[row][column]
    return tuple(pairs), tuple(violations)


def _geom_violations(robot: Robot, i: int, j: int, s: Float[ndarray, "3 3"]) -> Iterator[Violation]:
    model = robot.model
    names = robot.name("geom", i), robot.name("geom", j)
    kinds = int(model.geom_type[i]), int(model.geom_type[j])
    if kinds[0] != kinds[1]:
        first, second = (TYPE_NAMES[kind] for kind in kinds)
        yield Violation(*names, "type", f"{names[0]} is a {first}, {names[1]} a {second}", 1.0)
    else:
        yield from _shape_violations(robot, i, j, s)
    yield from plain_violations(robot, "geom", i, j, names)
    friction = list(differing(*names, "friction", model.geom_friction[i], model.geom_friction[j]))
    if friction and any(differing(*names, "friction", _felt_friction(robot, i, j), _felt_friction(robot, j, i))):
        yield from friction


def _felt_friction(robot: Robot, geom: int, other: int) -> Float[ndarray, " 3"]:
    """The least friction with which a geom can touch anything: of two geoms of one priority the larger one counts."""
    model = robot.model
    own = model.geom_friction[geom]
    partners = [k for geoms in robot.felt_geoms for k in geoms if k not in (geom, other)]
    if not partners or (model.geom_priority[partners] != model.geom_priority[geom]).any():
        return own
    return np.maximum(own, model.geom_friction[partners].min(axis=0))


def _shape_violations(robot: Robot, i: int, j: int, s: Float[ndarray, "3 3"]) -> Iterator[Violation]:
    """What type, place and shape violate for two geoms of one type."""
    names = robot.name("geom", i), robot.name("geom", j)
    kind = int(robot.model.geom_type[i])
    offset = s @ robot.geom_position[i] - robot.geom_position[j]
    frame, image = s @ robot.geom_frame[i], robot.geom_frame[j]
    size, image_size = robot.model.geom_size[i], robot.model.geom_size[j]
    if kind == PLANE:
        # A plane collides as an infinite one: only its normal and its height count.
        yield from off_place(*names, abs(float(offset @ image[:, 2])), robot.size)
        normal = float(frame[:, 2] @ image[:, 2])
        yield from tilted(*names, "direction", normal)
        if normal < 0:
            yield Violation(*names, "side", f"{names[1]} faces the other way than the image of {names[0]}", 1.0)
        return
    if kind == MESH:
        # Meshes collide as their convex hulls, whatever frame and triangles they are given in.
        off = np.abs(_support(robot, i, s.T @ DIRECTIONS) - _support(robot, j, DIRECTIONS)).max()
        if off > EQUAL * robot.size:
            other = "its own image" if i == j else f"the image of {names[0]}"
            text = f"the hull of {names[1]} is up to {off:.3g} m from {other}"
            yield Violation(*names, "hull", text, min(float(off) / robot.size, 1.0))
        return
    yield from off_place(*names, float(np.linalg.norm(offset)), robot.size)
    if kind == HFIELD and is_flat(robot, i) and is_flat(robot, j):
        sides = np.abs(image.T @ frame) @ size
        yield from differing(*names, "size", np.sort(sides), np.sort(image_size))
    if kind in (CAPSULE, CYLINDER):
        yield from tilted(*names, "direction", float(frame[:, 2] @ image[:, 2]))
        yield from differing(*names, "size", size[:2], image_size[:2])
    elif kind == SPHERE:
        yield from differing(*names, "size", size[0], image_size[0])
    elif kind == BOX:
        # The box's own symmetries permute its axes up to sign.
        turn = image.T @ frame
        order = np.abs(turn).argmax(axis=0)
        yield from tilted(*names, "direction", float(np.abs(turn).max(axis=0).min()))
        yield from differing(*names, "size", size, image_size[order])
    elif kind == ELLIPSOID:
        tensors = [axes @ np.diag(radii**2) @ axes.T for axes, radii in ((frame, size), (image, image_size))]
        yield from differing_tensors(names, "shape", *tensors)


def is_flat(robot: Robot, geom: int) -> bool:
    """Whether a height field has the same height everywhere."""
    field = int(robot.model.geom_dataid[geom])
    start = int(robot.model.hfield_adr[field])
    count = int(robot.model.hfield_nrow[field] * robot.model.hfield_ncol[field])
    return bool(np.ptp(robot.model.hfield_data[start : start + count]) == 0)


def _support(robot: Robot, geom: int, directions: Float[ndarray, "3 n"]) -> Float[ndarray, " n"]:
    """How far a mesh reaches in some directions, which describes its convex hull."""
    model, mesh = robot.model, int(robot.model.geom_dataid[geom])
    start, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    seen = robot.geom_frame[geom].T @ directions
    reach = (model.mesh_vert[start : start + count] @ seen).max(axis=0)
    return reach + robot.geom_position[geom] @ directions


def differing_tensors(
    names: tuple[str, str], what: str, a: Float[ndarray, "3 3"], b: Float[ndarray, "3 3"]
) -> Iterator[Violation]:
    """The violation that two symmetric tensors make unless they are equal: in principal values or in direction."""
    scale = max(float(np.abs(a).max()), float(np.abs(b).max()))
    off = float(np.abs(a - b).max())
    if off <= 1e-7 * scale:
        return
    principal = [np.linalg.eigvalsh(tensor) for tensor in (a, b)]
    values = list(differing(*names, what, *principal))
    if values and values[0].size > off / scale / 10:
        yield values[0]
    else:
        text = f"{names[1]} {what} differs from the image of that of {names[0]} by {100 * off / scale:.3g} %"
        yield Violation(*names, what, text, min(off / scale, 1.0))
