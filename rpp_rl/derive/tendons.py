"""Fixed tendons: linear combinations of joint coordinates, each of which has to become another one up to sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from rpp_rl.derive.joints import JointMap, signed_range
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.violations import Violation, differing, plain_violations

WRAP_JOINT = 1
"""MuJoCo's mjtWrap for an entry of a fixed tendon."""


@dataclass(frozen=True)
class TendonMap:
    """One tendon takes the place of another: length[image] = sign · length[tendon]."""

    tendon: int
    image: int
    sign: float


def is_fixed(robot: Robot, tendon: int) -> bool:
    """Whether a tendon is a combination of joint coordinates and not a string in space."""
    start = int(robot.model.tendon_adr[tendon])
    return bool((robot.model.wrap_type[start : start + int(robot.model.tendon_num[tendon])] == WRAP_JOINT).all())


def matched_tendons(robot: Robot, joints: Sequence[JointMap]) -> tuple[tuple[TendonMap, ...], tuple[Violation, ...]]:
    """The pairing of the fixed tendons with the least violations, and these."""
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


def tendon_joints(robot: Robot, tendon: int) -> list[int]:
    """The joints of a fixed tendon."""
    start = int(robot.model.tendon_adr[tendon])
    return robot.model.wrap_objid[start : start + int(robot.model.tendon_num[tendon])].tolist()


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
