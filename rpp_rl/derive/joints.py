"""The joints of a body and of the one whose place it takes, and how positions and velocities follow.

With C the map from a body's axes to those of its image: a hinge's angle takes the sign σ of det(s) s a = σ a', a
slide's that of s a = σ a', a ball's rotation goes to C R Cᵀ and its angular velocity to det(C) C ω. A free body's
position goes to g p, its rotation to g R sᵀ, its velocities to g v (world axes) and det(s) s ω (body axes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import block_diag
from scipy.optimize import linear_sum_assignment

from rpp_rl.derive.robot import BALL, FREE, HINGE, SLIDE, Robot
from rpp_rl.derive.violations import Violation, differing, off_place, plain_fields, plain_violations, tilted
from rpp_rl.symmetry.matrices import snapped

JOINT_POSITION = {HINGE: ("angle", "rad"), SLIDE: ("position", "m")}
JOINT_VELOCITY = {HINGE: ("rate", "rad/s"), SLIDE: ("velocity", "m/s")}
JOINT_FORCE = {HINGE: ("torque", "Nm"), SLIDE: ("force", "N")}
"""Kind and unit of what a joint has, by its type."""

CROSSED = 0.7
"""Two axes with a smaller cosine are not parallel up to sign, not even approximately."""


@dataclass(frozen=True, eq=False)
class JointMap:
    """How the coordinates of one joint become those of another.

    Attributes:
        joint: The joint.
        image: The joint that takes over its motion.
        position: Acts on angle or length; of a ball on its rotation matrix, row by row; of a free body on position
            and rotation matrix.
        velocity: Acts on the velocities.
    """

    joint: int
    image: int
    position: Float[ndarray, "m m"]
    velocity: Float[ndarray, "k k"]


def joined(*matrices: Float[ndarray, "_ _"]) -> Float[ndarray, "n n"]:
    """The matrix with the given ones along its diagonal."""
    return np.asarray(block_diag(*matrices))


def free_joint(joint: int, image: int, g: Float[ndarray, "3 3"], s: Float[ndarray, "3 3"]) -> JointMap:
    """The map of a free joint under a motion g of the world and s of the shape, det g = det s."""
    turn = np.linalg.det(s) * s
    return JointMap(joint, image, snapped(joined(g, np.kron(g, s)), 1e-9), snapped(joined(g, turn), 1e-9))


def matched_joints(
    robot: Robot, body: int, image: int, s: Float[ndarray, "3 3"]
) -> tuple[tuple[JointMap, ...], tuple[Violation, ...]] | None:
    """The maps of a body's joints, without a free one, and what they violate; None if the types differ."""
    pairs = _pairs(robot, body, image, s)
    if pairs is None:
        return None
    maps, violations = [], []
    for i, j in pairs:
        if robot.model.jnt_type[i] == FREE:
            continue
        if robot.model.jnt_type[i] == BALL:
            c = robot.frame[image].T @ s @ robot.frame[body]
            turn = snapped(np.linalg.det(c) * c, 1e-9)
            maps.append(JointMap(i, j, snapped(np.kron(c, c), 1e-9), turn))
        else:
            sign = 1.0 if _cosine(robot, i, j, s) >= 0 else -1.0
            maps.append(JointMap(i, j, np.array([[sign]]), np.array([[sign]])))
        violations += joint_violations(robot, maps[-1], s)
    return tuple(maps), tuple(violations)


def _pairs(robot: Robot, body: int, image: int, s: Float[ndarray, "3 3"]) -> list[tuple[int, int]] | None:
    """Joints in order, because rotations do not commute; slides in a row do, and take the best partners."""
    first, second = robot.joints(body), robot.joints(image)
    types = robot.model.jnt_type
    if [int(types[i]) for i in first] != [int(types[j]) for j in second]:
        return None
    pairs: list[tuple[int, int]] = []
    while len(pairs) < len(first):
        start = end = len(pairs)
        while end < len(first) and types[first[end]] == SLIDE:
            end += 1
        if end == start:
            pairs.append((first[start], second[start]))
            continue
        run = np.array([[abs(_cosine(robot, i, j, s)) for j in second[start:end]] for i in first[start:end]])
        rows, columns = linear_sum_assignment(-run)
        pairs += [(first[start + r], second[start + c]) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]
    return pairs


def _cosine(robot: Robot, i: int, j: int, s: Float[ndarray, "3 3"]) -> float:
    """Between the image of a hinge's (axial) or slide's (polar) axis and the axis of another."""
    factor = np.linalg.det(s) if robot.model.jnt_type[i] == HINGE else 1.0
    return float(factor * (s @ robot.axis[i]) @ robot.axis[j])


def joint_violations(robot: Robot, joint: JointMap, s: Float[ndarray, "3 3"]) -> Iterator[Violation]:
    """What a hinge, slide or ball violates."""
    i, j, model = joint.joint, joint.image, robot.model
    names = robot.name("jnt", i), robot.name("jnt", j)
    kind = int(model.jnt_type[i])
    if kind != SLIDE:
        offset = s @ robot.anchor[i] - robot.anchor[j]
        if kind == HINGE:
            offset = offset - (offset @ robot.axis[j]) * robot.axis[j]
        yield from off_place(*names, float(np.linalg.norm(offset)), robot.size)
    if kind != BALL:
        yield from _axis_violations(robot, joint, s)
    yield from plain_violations(robot, "jnt", i, j, names)
    yield from _dof_violations(robot, i, j, names)
    yield from _signed_violations(robot, joint, names)


def _axis_violations(robot: Robot, joint: JointMap, s: Float[ndarray, "3 3"]) -> Iterator[Violation]:
    names = robot.name("jnt", joint.joint), robot.name("jnt", joint.image)
    cosine = _cosine(robot, joint.joint, joint.image, s)
    yield from tilted(*names, "axis", cosine, fatal_below=CROSSED)


def _dof_violations(robot: Robot, i: int, j: int, names: tuple[str, str]) -> Iterator[Violation]:
    if i == j:
        return
    first, second = (int(robot.model.jnt_dofadr[k]) for k in (i, j))
    n_dofs = 3 if robot.model.jnt_type[i] == BALL else 1
    for field, array in plain_fields(robot, "dof").items():
        for k in range(n_dofs):
            violations = list(differing(*names, field, array[first + k], array[second + k]))
            yield from violations
            if violations:
                break


def _signed_violations(robot: Robot, joint: JointMap, names: tuple[str, str]) -> Iterator[Violation]:
    """Fields that follow the sign of the coordinate: ranges turn round, even powers of a spring change sign."""
    model, i, j = robot.model, joint.joint, joint.image
    if model.jnt_type[i] == BALL:
        yield from differing(*names, "range", model.jnt_range[i, 1:], model.jnt_range[j, 1:])
        return
    sign = float(joint.position[0, 0])
    for field, is_used in (("range", model.jnt_limited), ("actfrcrange", model.jnt_actfrclimited)):
        if is_used[i] and is_used[j]:
            array = getattr(model, f"jnt_{field}")
            ranges = signed_range(array[i], sign), array[j]
            for violation in differing(*names, f"{field}{_note(sign)}", *ranges):
                yield replace(violation, size=_apart(*ranges))
    if model.jnt_stiffness[i] or model.jnt_stiffness[j]:
        springs = [float(model.qpos_spring[model.jnt_qposadr[k]]) for k in (i, j)]
        yield from differing(*names, f"springref{_note(sign)}", sign * springs[0], springs[1])
    if hasattr(model, "jnt_stiffnesspoly"):  # In MuJoCo from 3.7 on: k0 x + k1 x² + k2 x³.
        powers = np.array([sign if k % 2 == 0 else 1.0 for k in range(model.jnt_stiffnesspoly.shape[1])])
        image = powers * model.jnt_stiffnesspoly[i]
        yield from differing(*names, f"stiffness{_note(sign)}", image, model.jnt_stiffnesspoly[j])


def signed_range(bounds: Float[ndarray, " 2"], sign: float) -> Float[ndarray, " 2"]:
    """The range of a coordinate that is multiplied by ±1."""
    return bounds if sign > 0 else -bounds[::-1]


def _apart(a: Float[ndarray, " 2"], b: Float[ndarray, " 2"]) -> float:
    """The share of two ranges that only one of them has: 0 if they are equal, 1 if they are apart."""
    common = min(a[1], b[1]) - max(a[0], b[0])
    both = max(a[1], b[1]) - min(a[0], b[0])
    return float(1.0 - max(common, 0.0) / both) if both > 0.0 else 1.0


def _note(sign: float) -> str:
    return "" if sign > 0 else " (reversed)"
