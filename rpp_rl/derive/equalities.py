"""Equality constraints: couplings of joints or tendons, pins and welds of two bodies have to go to such constraints.

A coupling says q₁ = a₀ + a₁ q₂ + ... + a₄ q₂⁴, in distances from the reference positions. If the coordinates take the
signs σ₁ and σ₂, the image has the coefficients σ₁ σ₂ᵏ aₖ. Points and rotations of a pin or a weld are given in the axes
of the two bodies; these follow with C = Fᵀ s F, the motion of the tree between the axes of a body and of its image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from rpp_rl.derive.forces import Motion
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.violations import Violation, differing, off_place

CONNECT, WELD, JOINT, TENDON = range(4)
"""MuJoCo's mjtEq."""
BODIES = 1
"""MuJoCo's mjtObj of a body."""
POWERS = np.arange(5)


def n_uncompared(robot: Robot) -> int:
    """How many constraints are of kinds that are not compared: between sites, of flexes, ..."""
    return sum(not _is_known(robot, k) for k in range(robot.model.neq))


def equality_violations(robot: Robot, motion: Motion) -> Iterator[Violation]:
    """Where a constraint has no counterpart, or one that differs."""
    free = {k for k in range(robot.model.neq) if _is_known(robot, k)}
    for k in sorted(free):
        fits = [
            (tuple(violations), other)
            for other in sorted(free)
            if (violations := _between(robot, motion, k, other)) is not None
        ]
        if not fits:
            name = _name(robot, k)
            yield Violation(name, name, "counterpart", f"{name} has no counterpart", 1.0)
            continue
        best, other = min(fits, key=lambda fit: sum(violation.size for violation in fit[0]))
        yield from best
        if other != k:
            fields = ("solref", "solimp", "active0")
            for field in fields:
                values = getattr(robot.model, f"eq_{field}")
                yield from differing(_name(robot, k), _name(robot, other), field, values[k], values[other])


def _is_known(robot: Robot, k: int) -> bool:
    kind = int(robot.model.eq_type[k])
    return kind in (JOINT, TENDON) or (kind in (CONNECT, WELD) and int(robot.model.eq_objtype[k]) == BODIES)


def _between(robot: Robot, motion: Motion, k: int, other: int) -> list[Violation] | None:
    """What a constraint and a possible image of it violate; None if it is about other things."""
    model = robot.model
    kind = int(model.eq_type[k])
    if int(model.eq_type[other]) != kind:
        return None
    first, second = int(model.eq_obj1id[k]), int(model.eq_obj2id[k])
    image = int(model.eq_obj1id[other]), int(model.eq_obj2id[other])
    names = _name(robot, k), _name(robot, other)
    if kind in (JOINT, TENDON):
        pairs = [_followed(motion, kind, thing) for thing in (first, second)]
        if any(pair is None for pair in pairs) or tuple(pair[0] for pair in pairs if pair) != image:
            return None
        signs = [pair[1] for pair in pairs if pair]
        expected = signs[0] * signs[1] ** POWERS * model.eq_data[k, :5]
        off = list(differing(*names, "polycoef", expected, model.eq_data[other, :5]))
        if kind == JOINT:
            rests = [[_reference(robot, thing) for thing in things] for things in ((first, second), image)]
            off += differing(*names, "ref", np.array(signs) * rests[0], np.array(rests[1]))
        return off
    ends = (motion.bodies[first], motion.bodies[second])
    if ends == image:
        return list(_pinned(robot, motion, k, other, names))
    if ends == image[::-1] and kind == CONNECT:
        return list(_pinned(robot, motion, k, other, names, is_turned=True))
    return None


def _followed(motion: Motion, kind: int, thing: int) -> tuple[int, float] | None:
    """The image of a joint or tendon and the sign of its coordinate; of none, none."""
    if thing < 0:
        return -1, 1.0
    if kind == TENDON:
        tendon = motion.tendons.get(thing)
        return None if tendon is None else (tendon.image, tendon.sign)
    joint = motion.joints[thing]
    return joint.image, float(joint.position[0, 0])


def _reference(robot: Robot, joint: int) -> float:
    return float(robot.model.qpos0[robot.model.jnt_qposadr[joint]]) if joint >= 0 else 0.0


def _pinned(
    robot: Robot, motion: Motion, k: int, other: int, names: tuple[str, str], *, is_turned: bool = False
) -> Iterator[Violation]:
    """Points, and for a weld the relative pose."""
    model, data = robot.model, robot.model.eq_data
    first, second = (_axes_map(robot, motion, int(x[k])) for x in (model.eq_obj1id, model.eq_obj2id))
    if int(model.eq_type[k]) == CONNECT:
        expected = np.concatenate([first @ data[k, :3], second @ data[k, 3:6]])
        actual = np.concatenate([data[other, 3:6], data[other, :3]]) if is_turned else data[other, :6]
        yield from off_place(*names, float(np.abs(expected - actual).max()), robot.size)
        return
    expected = np.concatenate([second @ data[k, :3], first @ data[k, 3:6]])
    yield from off_place(*names, float(np.abs(expected - data[other, :6]).max()), robot.size)
    turns = [Rotation.from_quat(data[i, [7, 8, 9, 6]]).as_matrix() for i in (k, other)]
    yield from differing(*names, "relative rotation", _zeroed(first @ turns[0] @ second.T), _zeroed(turns[1]))
    yield from differing(*names, "torquescale", data[k, 10], data[other, 10])


def _axes_map(robot: Robot, motion: Motion, body: int) -> Float[ndarray, "3 3"]:
    """From the axes of a body to those of its image."""
    return robot.frame[motion.bodies[body]].T @ motion.trees[body] @ robot.frame[body]


def _zeroed(matrix: Float[ndarray, "3 3"]) -> Float[ndarray, "3 3"]:
    """Without what rounding leaves where a rotation has zeros."""
    return np.where(np.abs(matrix) < 1e-9, 0.0, matrix)


def _name(robot: Robot, k: int) -> str:
    own = robot.own_name("eq", k)
    if own:
        return own
    model, kind = robot.model, int(robot.model.eq_type[k])
    word, things = {JOINT: ("coupling", "jnt"), TENDON: ("coupling", "tendon"), WELD: ("weld", "body")}.get(
        kind, ("pin", "body")
    )
    ends = [int(model.eq_obj1id[k]), int(model.eq_obj2id[k])]
    return f"{word} of {' and '.join(robot.name(things, end) for end in ends if end >= 0)}"
