"""Where a part differs from the one whose place it takes, and the fields that are compared number by number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.derive.robot import Robot

EQUAL = 1e-8
"""Largest relative difference that rounding explains."""
WRITTEN = 3e-6
"""Largest relative difference of numbers that a file gives with six decimals."""
PARALLEL = 1e-14
"""Largest difference from 1 of the cosine of two directions that rounding explains; an angle of 1e-7."""


@dataclass(frozen=True)
class Violation:
    """One property in which a part of the robot differs from the part whose place it takes.

    Attributes:
        part: Name of the part.
        image: Name of the other part, which may be the same.
        what: The property.
        text: A description in words and numbers: ``"right_knee stiffness 0, left_knee 1"``.
        size: The difference relative to the values: 0 for none, 1 for a complete one.
        is_fatal: Whether no linear map of positions, velocities and controls follows the symmetry, so that nothing
            can be learnt from it.
        is_static: Whether it is about the shape of a part of the world, which only contacts can feel.
    """

    part: str
    image: str
    what: str
    text: str
    size: float
    is_fatal: bool = False
    is_static: bool = False

    def __str__(self) -> str:
        return self.text

    @property
    def is_rounding(self) -> bool:
        """Whether numbers that are written with six decimals can differ so."""
        return self.size < WRITTEN and not self.is_fatal

    @property
    def key(self) -> tuple[object, ...]:
        """The same for a violation and for its mirror image."""
        return frozenset((self.part, self.image)), self.what


def differing(part: str, image: str, what: str, a: ndarray | float, b: ndarray | float) -> Iterator[Violation]:
    """The violation that two values make unless they are equal; of arrays only the entries that differ are told."""
    a, b = np.atleast_1d(np.asarray(a, dtype=float)), np.atleast_1d(np.asarray(b, dtype=float))
    off = np.abs(a - b)
    where = off > EQUAL * np.maximum(np.abs(a), np.abs(b))
    if where.any():
        size = float((off / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-300))[where].max())
        text = f"{part} {what} {numbers(a[where])}, {image} {numbers(b[where])}"
        yield Violation(part, image, what, text, min(size, 1.0))


def off_place(part: str, image: str, distance: float, size: float) -> Iterator[Violation]:
    """The violation of two places that should be one; ``size`` is that of the robot."""
    if distance > EQUAL * size:
        text = f"{image} is {distance:.3g} m from {_image_of(part, image)}"
        yield Violation(part, image, "place", text, min(distance / size, 1.0))


def tilted(part: str, image: str, what: str, cosine: float, *, fatal_below: float = 0.0) -> Iterator[Violation]:
    """The violation of two directions that should be parallel up to sign, given the cosine between them."""
    if 1.0 - abs(cosine) > PARALLEL:
        angle = float(np.degrees(np.arccos(min(abs(cosine), 1.0))))
        text = f"{image} {what} is {angle:.3g}° from {_image_of(part, image)}"
        yield Violation(part, image, what, text, min(angle / 90.0, 1.0), abs(cosine) < fatal_below)


def _image_of(part: str, image: str) -> str:
    return "its own image" if part == image else f"the image of {part}"


def numbers(values: ndarray) -> str:
    """Numbers as in an MJCF."""
    return " ".join(f"{value:.6g}" for value in values)


COMPARED_ELSEWHERE = {
    "body": {"parentid", "rootid", "weldid", "jntnum", "jntadr", "dofnum", "dofadr", "treeid", "geomnum", "geomadr",
             "pos", "quat", "ipos", "iquat", "inertia"},
    "jnt": {"type", "bodyid", "qposadr", "dofadr", "axis", "pos", "range", "actfrcrange", "stiffnesspoly"},
    "dof": {"bodyid", "jntid", "parentid", "treeid"},
    "geom": {"bodyid", "type", "size", "pos", "quat", "dataid", "surfacevel", "friction"},
    "tendon": {"adr", "num", "type", "range", "actfrcrange", "lengthspring", "stiffnesspoly"},
    "actuator": {"trntype", "trnid", "gear", "ctrlrange", "forcerange", "gainprm", "biasprm", "ctrladr", "outadr"},
}  # fmt: skip
"""Fields by kind that other functions compare, because they follow the symmetry or describe the tree."""

WITHOUT_EFFECT = {
    "body": {"simple", "sameframe", "bvhadr", "bvhnum", "user", "subtreemass", "invweight0", "margin", "contype",
             "conaffinity"},
    "jnt": {"group", "user", "actuatorid", "plasticadr"},
    "dof": {"M0", "Madr", "simplenum", "invweight0", "length"},
    "geom": {"aabb", "castshadow", "group", "matid", "rbound", "rgba", "sameframe", "user"},
    "tendon": {"actuatorid", "group", "invweight0", "length0", "matid", "plasticadr", "rgba", "treeid", "treenum",
               "user", "width"},
    "actuator": {"acc0", "actadr", "group", "historyadr", "length0", "lengthrange", "user"},
}  # fmt: skip
"""Fields that MuJoCo derives from the others, addresses, and what is only for the eye."""


@lru_cache(maxsize=16)
def plain_fields(robot: Robot, kind: str) -> dict[str, Float[ndarray, "n k"]]:
    """All other fields of bodies, joints, degrees of freedom, geoms, tendons or actuators: those that have to be equal.

    Whatever a future version of MuJoCo adds is among them, so that nothing is left out in silence.
    """
    n = {"body": "nbody", "jnt": "njnt", "dof": "nv", "geom": "ngeom", "tendon": "ntendon", "actuator": "nu"}[kind]
    size, known = getattr(robot.model, n), COMPARED_ELSEWHERE[kind] | WITHOUT_EFFECT[kind]
    fields: dict[str, ndarray] = {}
    for name in dir(robot.model):
        prefix, _, field = name.partition("_")
        if prefix != kind or field in known:
            continue
        array = getattr(robot.model, name)
        if isinstance(array, ndarray) and len(array) == size:
            fields[field] = array.reshape(size, -1).astype(float)
    return fields


@lru_cache(maxsize=16)
def _plain_rows(robot: Robot, kind: str) -> Float[ndarray, "n k"]:
    """All plain fields of a part in one row: most parts are equal, and one look tells."""
    fields = plain_fields(robot, kind)
    return np.concatenate(list(fields.values()), axis=1)


def plain_violations(robot: Robot, kind: str, i: int, j: int, names: tuple[str, str]) -> Iterator[Violation]:
    """What the plain fields of two parts violate."""
    if i == j or np.array_equal(*_plain_rows(robot, kind)[[i, j]]):
        return
    for field, array in plain_fields(robot, kind).items():
        yield from differing(*names, field, array[i], array[j])
