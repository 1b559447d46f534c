"""Tendons: combinations of joint coordinates, which become others up to sign, and strings through space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from rpp_rl.derive.joints import JointMap, signed_range
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.violations import Violation, differing, off_place, plain_violations, tilted

JOINT, PULLEY, SITE, SPHERE, CYLINDER = range(1, 6)
"""What a tendon runs through, MuJoCo's mjtWrap."""


@dataclass(frozen=True)
class TendonMap:
    """One tendon takes the place of another: length[image] = sign · length[tendon]."""

    tendon: int
    image: int
    sign: float


def is_fixed(robot: Robot, tendon: int) -> bool:
    """Whether a tendon is a combination of joint coordinates and not a string in space."""
    start = int(robot.model.tendon_adr[tendon])
    return bool((robot.model.wrap_type[start : start + int(robot.model.tendon_num[tendon])] == JOINT).all())


def matched_tendons(
    robot: Robot,
    joints: Sequence[JointMap],
    bodies: Mapping[int, int],
    trees: Sequence[Float[ndarray, "3 3"]],
) -> tuple[tuple[TendonMap, ...], tuple[Violation, ...]]:
    """The pairing of the tendons with the least violations, and these.

    Args:
        robot: The robot.
        joints: How the joints follow.
        bodies: The image of each body.
        trees: For each body the motion of its tree.
    """
    combinations, strings = _matched_combinations(robot, joints), _matched_strings(robot, bodies, trees)
    return combinations[0] + strings[0], combinations[1] + strings[1]


_Matched = tuple[tuple[TendonMap, ...], tuple[Violation, ...]]


def _matched_combinations(robot: Robot, joints: Sequence[JointMap]) -> _Matched:
    fixed = [t for t in range(robot.model.ntendon) if is_fixed(robot, t)]
    if not fixed:
        return (), ()
    signs = {joint.joint: (joint.image, float(joint.velocity[0, 0])) for joint in joints if joint.velocity.size == 1}
    vectors = [_coefficients(robot, t) for t in fixed]
    images = [_moved(vector, signs) for vector in vectors]
    cosines = np.array([[_cosine(image, vector) for vector in vectors] for image in images])
    maps: list[TendonMap] = []
    violations: list[Violation] = []
    for row, column in zip(*linear_sum_assignment(-np.abs(cosines)), strict=True):
        sign = 1.0 if cosines[row, column] >= 0 else -1.0
        maps.append(TendonMap(fixed[row], fixed[column], sign))
        names = robot.name("tendon", fixed[row]), robot.name("tendon", fixed[column])
        violations += differing(*names, "coefficients", sign * images[row], vectors[column])
        violations += _tendon_violations(robot, maps[-1], names)
    return tuple(maps), tuple(violations)


def _matched_strings(robot: Robot, bodies: Mapping[int, int], trees: Sequence[Float[ndarray, "3 3"]]) -> _Matched:
    """Strings take the places of those that run through the images of their bodies, in either direction."""
    strings = [t for t in range(robot.model.ntendon) if not is_fixed(robot, t)]
    at: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for t in strings:
        at.setdefault(_course(robot, t), []).append(t)
    maps: list[TendonMap] = []
    violations: list[Violation] = []
    free = set(strings)
    for t in strings:
        name = robot.name("tendon", t)
        course = tuple((kind, bodies.get(body, body)) for kind, body in _course(robot, t))
        orders = (1, -1) if all(kind != PULLEY for kind, _ in course) else (1,)
        fits = [
            (tuple(_path_violations(robot, t, u, trees, order)), u)
            for order in orders
            for u in at.get(course[::order], ())
            if u in free
        ]
        if not fits:
            violations.append(Violation(name, name, "counterpart", f"tendon {name} has no counterpart", 1.0))
            continue
        off, u = min(fits, key=lambda fit: sum(violation.size for violation in fit[0]))
        free.remove(u)
        maps.append(TendonMap(t, u, 1.0))
        violations += [*off, *_tendon_violations(robot, maps[-1], (name, robot.name("tendon", u)))]
    return tuple(maps), tuple(violations)


def _course(robot: Robot, tendon: int) -> tuple[tuple[int, int], ...]:
    """The kinds of the things through which a string runs, and their bodies."""
    model = robot.model
    owners = {SITE: model.site_bodyid, SPHERE: model.geom_bodyid, CYLINDER: model.geom_bodyid}
    return tuple(
        (kind, int(owners[kind][thing]) if kind in owners else -1) for kind, thing, _ in _entries(robot, tendon)
    )


def _entries(robot: Robot, tendon: int) -> list[tuple[int, int, float]]:
    start = int(robot.model.tendon_adr[tendon])
    which = slice(start, start + int(robot.model.tendon_num[tendon]))
    model = robot.model
    columns = (x[which].tolist() for x in (model.wrap_type, model.wrap_objid, model.wrap_prm))
    return list(zip(*columns, strict=True))


def _path_violations(
    robot: Robot, t: int, u: int, trees: Sequence[Float[ndarray, "3 3"]], order: int
) -> Iterator[Violation]:
    """What the places violate through which two strings run that have the same course."""
    names, model = (robot.name("tendon", t), robot.name("tendon", u)), robot.model
    farthest, cosine = 0.0, 1.0
    for (kind, i, number), (_, j, image) in zip(_entries(robot, t), _entries(robot, u)[::order], strict=True):
        if kind == PULLEY:
            yield from differing(*names, "pulley", number, image)
            continue
        body = int((model.site_bodyid if kind == SITE else model.geom_bodyid)[i])
        where = robot.site_position if kind == SITE else robot.geom_position
        offsets = [trees[body] @ where[i] - where[j]]
        if kind != SITE:
            yield from differing(*names, "radius of what it wraps", model.geom_size[i, 0], model.geom_size[j, 0])
            sides = int(number), int(image)
            if min(sides) >= 0:
                # A site says on which side of the geom the string runs.
                side_tree = trees[int(model.site_bodyid[sides[0]])]
                offsets.append(side_tree @ robot.site_position[sides[0]] - robot.site_position[sides[1]])
            elif max(sides) >= 0:
                yield Violation(*names, "side", f"only one of {names[0]} and {names[1]} has a side", 1.0)
        if kind == CYLINDER:
            axes = trees[body] @ robot.geom_frame[i][:, 2], robot.geom_frame[j][:, 2]
            cosine = min(cosine, abs(float(axes[0] @ axes[1])))
        farthest = max(farthest, *(float(np.linalg.norm(offset)) for offset in offsets))
    yield from off_place(f"the path of {names[0]}", f"the path of {names[1]}", farthest, robot.size)
    yield from tilted(*names, "axis of a cylinder", cosine)


def _tendon_violations(robot: Robot, tendon: TendonMap, names: tuple[str, str]) -> Iterator[Violation]:
    model, i, j = robot.model, tendon.tendon, tendon.image
    note = "" if tendon.sign > 0 else " (reversed)"
    yield from plain_violations(robot, "tendon", i, j, names)
    for field, is_used in (("range", model.tendon_limited), ("actfrcrange", model.tendon_actfrclimited)):
        if is_used[i] and is_used[j]:
            array = getattr(model, f"tendon_{field}")
            yield from differing(*names, f"{field}{note}", signed_range(array[i], tendon.sign), array[j])
    if model.tendon_stiffness[[i, j]].any():
        rest = signed_range(model.tendon_lengthspring[i], tendon.sign)
        yield from differing(*names, f"springlength{note}", rest, model.tendon_lengthspring[j])
    if hasattr(model, "tendon_stiffnesspoly"):
        powers = np.array([tendon.sign if k % 2 == 0 else 1.0 for k in range(model.tendon_stiffnesspoly.shape[1])])
        image = powers * model.tendon_stiffnesspoly[i]
        yield from differing(*names, f"stiffness{note}", image, model.tendon_stiffnesspoly[j])


def tendon_bodies(robot: Robot, tendon: int) -> list[int]:
    """The bodies that a tendon can move."""
    if is_fixed(robot, tendon):
        return [int(robot.model.jnt_bodyid[joint]) for _, joint, _ in _entries(robot, tendon)]
    return [body for _, body in _course(robot, tendon) if body >= 0]


def _coefficients(robot: Robot, tendon: int) -> Float[ndarray, " njnt"]:
    model, start = robot.model, int(robot.model.tendon_adr[tendon])
    vector = np.zeros(model.njnt)
    for k in range(start, start + int(model.tendon_num[tendon])):
        vector[model.wrap_objid[k]] += model.wrap_prm[k]
    return vector


def _moved(vector: Float[ndarray, " njnt"], signs: dict[int, tuple[int, float]]) -> Float[ndarray, " njnt"]:
    image = np.zeros_like(vector)
    for joint, (target, sign) in signs.items():
        image[target] = sign * vector[joint]
    return image


def _cosine(a: ndarray, b: ndarray) -> float:
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-300))
