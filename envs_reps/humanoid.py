"""Humanoid-v4 and Humanoid-v5: left/right, and turning the world about the vertical (yaw).

    f: g = s = diag(1, -1, 1); right and left limbs change places.
    yaw: g = a rotation about z, s = 1. Orientation gR, velocity gv; joints and the body's angular velocity stay.

Left/right is approximate (the right knee has stiffness 0, the left 1; the right hip_y armature .008, the left .010).
Yaw is exact up to the contact solver at multiples of 90 degrees and approximate between, because the friction cone is a
pyramid; walking in +x is rewarded, so it is a symmetry of the dynamics only.

What the environment derives is in world axes about the robot's centre of mass: inertia tensor I -> g I gᵀ, first moment
g mc, wrenches and velocities (rotational, translational) -> (det(g) g, g). Indices: the tables of
https://gymnasium.farama.org/environments/mujoco/humanoid/; hinges are in the order of qpos, abdomen z, y, x.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import (
    Rep,
    cyclic,
    matrix_rep,
    orthogonal,
    sign,
    signed_permutation,
    special_orthogonal,
    trivial,
    vector,
)

Components = tuple[tuple[str, tuple[int, ...], Rep], ...]
"""Components that transform alike: a name, their places within one body's numbers, the rep of all of them."""

RIGHT_LEFT = ((4, 7), (5, 8), (6, 9), (10, 12), (11, 13))
"""Bodies in pairs: thigh, shin, foot, upper and lower arm; those before, world, torso, waist and pelvis, are single."""
INERTIA_UNITS = ("kg m²",) * 6 + ("kg m",) * 3 + ("kg",)
TWIST_KINDS = ("rate",) * 3 + ("velocity",) * 3


@dataclass(frozen=True)
class Kit:
    """How the parts of a humanoid transform: vectors in world and body axes, a pseudoscalar, pairs (right, left)."""

    world: Rep
    body: Rep
    mirror: Rep
    pair: Rep
    inertia: Components
    wrench: Components


def _bodies(
    kit: Kit, name: str, start: int, version: int, parts: Components, kinds: Sequence[str], units: Sequence[str]
) -> Iterator[Block]:
    """Blocks of an array with one number of each kind for each body, of which v5 leaves out the world's."""
    width = len(kinds)
    first = 1 if version >= 5 else 0
    for label, components, rep in parts:
        single = tuple(start + width * (body - first) + c for body in range(first, 4) for c in components)
        n_single = 4 - first
        kind, unit = (tuple(words[c] for c in components) for words in (kinds, units))
        yield Block(f"{name}, {label}, middle", single, n_single * rep, kind=n_single * kind, unit=n_single * unit)
        pairs = tuple(start + width * (body - first) + c for pair in RIGHT_LEFT for c in components for body in pair)
        kind, unit = (len(RIGHT_LEFT) * tuple(np.repeat(words, 2).tolist()) for words in (kind, unit))
        yield Block(f"{name}, {label}, limbs", pairs, len(RIGHT_LEFT) * (rep * kit.pair), kind=kind, unit=unit)


def _hinges(kit: Kit, name: str, start: int, kind: str, unit: str) -> tuple[Block, ...]:
    """Blocks of an array with one number for each hinge."""
    even, odd = trivial(kit.mirror.group), kit.mirror
    legs = tuple(start + i for i in (3, 7, 4, 8, 5, 9, 6, 10))
    shoulders = tuple(start + i for i in (11, 14, 12, 15))

    def block(joints: str, indices: tuple[int, ...], rep: Rep, labels: tuple[str, ...]) -> Block:
        return Block(f"{joints} {name}", indices, rep, kind=kind, unit=unit, labels=labels)

    return (
        block("abdomen y", (start + 1,), even, ("abdomen y",)),
        block("abdomen z, x", (start, start + 2), 2 * odd, ("abdomen z", "abdomen x")),
        block("shoulders 1, 2", shoulders, 2 * (kit.mirror * kit.pair), _sides("shoulder 1", "shoulder 2")),
        block("elbow", (start + 13, start + 16), kit.pair, _sides("elbow")),
        block("hips x, z, y and knee", legs, 4 * kit.pair, _sides("hip x", "hip z", "hip y", "knee")),
    )


def _sides(*joints: str) -> tuple[str, ...]:
    return tuple(f"{side} {joint}" for joint in joints for side in ("right", "left"))


def _observation(kit: Kit, version: int) -> Layout:
    n_bodies = 13 if version >= 5 else 14
    cvel = 45 + 10 * n_bodies
    qfrc = cvel + 6 * n_bodies
    qfrc_hinges = qfrc if version >= 5 else qfrc + 6
    root_force = (
        ()
        if version >= 5
        else (
            Block("actuator force on the root", tuple(range(qfrc, qfrc + 3)), kit.world, kind="force", unit="N"),
            Block(
                "actuator torque on the root",
                tuple(range(qfrc + 3, qfrc + 6)),
                kit.body * kit.mirror,
                kind="torque",
                unit="Nm",
            ),
        )
    )
    return Layout(
        (
            Block("torso height", (0,), trivial(kit.mirror.group), kind="position", unit="m"),
            Block(
                "torso orientation",
                (1, 2, 3, 4),
                kit.world * kit.body,
                "rotation_matrix",
                kind="orientation",
                unit="1",
            ),
            Block("torso velocity, world axes", (22, 23, 24), kit.world, kind="velocity", unit="m/s"),
            Block("torso angular velocity, body axes", (25, 26, 27), kit.body * kit.mirror, kind="rate", unit="rad/s"),
            *_hinges(kit, "angles", 5, "angle", "rad"),
            *_hinges(kit, "rates", 28, "rate", "rad/s"),
            *_bodies(kit, "inertia", 45, version, kit.inertia, 10 * ("inertia",), INERTIA_UNITS),
            *_bodies(kit, "velocity", cvel, version, kit.wrench, TWIST_KINDS, ("rad/s",) * 3 + ("m/s",) * 3),
            *root_force,
            *_hinges(kit, "actuator torques", qfrc_hinges, "torque", "Nm"),
            *_bodies(
                kit, "contact wrench", qfrc_hinges + 17, version, kit.wrench, 6 * ("contact",), ("Nm",) * 3 + ("N",) * 3
            ),
        )
    )


def _action(kit: Kit) -> Layout:
    even, odd = trivial(kit.mirror.group), kit.mirror
    legs, shoulders = (3, 7, 4, 8, 5, 9, 6, 10), (11, 14, 12, 15)
    return Layout(
        (
            Block("abdomen y torque", (0,), even, kind="action", unit="1"),
            Block("abdomen z, x torques", (1, 2), 2 * odd, kind="action", unit="1"),
            Block("hips x, z, y and knee torques", legs, 4 * kit.pair, kind="action", unit="1"),
            Block("shoulders 1, 2 torques", shoulders, 2 * (kit.mirror * kit.pair), kind="action", unit="1"),
            Block("elbow torques", (13, 16), kit.pair, kind="action", unit="1"),
        )
    )


def _mirror_kit() -> Kit:
    group = cyclic(2)
    even, odd = trivial(group), sign(group)
    vector3 = even + odd + even
    inertia = (("mirrored", (3, 5, 7), 3 * odd), ("other", (0, 1, 2, 4, 6, 8, 9), 7 * even))
    wrench = (("mirrored", (0, 2, 4), 3 * odd), ("other", (1, 3, 5), 3 * even))
    return Kit(vector3, vector3, odd, vector(group), inertia, wrench)


def _symmetric_square(plane: Rep) -> Rep:
    """How (xx, yy, xy) of a symmetric matrix I transforms under I -> g I gᵀ."""
    square = plane * plane
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    entries = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.5, 0.0]])
    generators, algebra = (entries @ m @ matrix for m in (square.generators, square.lie_algebra))
    return matrix_rep(plane.group, generators, algebra, name=f"Sym({plane.name})")


def _turning_kit(plane: Rep, mirror: Rep, body: Rep, pair: Rep) -> Kit:
    """``plane`` is how horizontal vectors of the world transform."""
    even = trivial(plane.group)
    inertia = (
        ("xx, yy, xy", (0, 1, 3), _symmetric_square(plane)),
        ("xz, yz", (4, 5), plane),
        ("horizontal moment", (6, 7), plane),
        ("zz, vertical moment, mass", (2, 8, 9), 3 * even),
    )
    wrench = (
        ("horizontal rotation", (0, 1), plane * mirror),
        ("vertical rotation", (2,), mirror),
        ("horizontal", (3, 4), plane),
        ("vertical", (5,), even),
    )
    return Kit(plane + even, body, mirror, pair, inertia, wrench)


def _o2_kit() -> Kit:
    group = orthogonal(2)
    # O(2) has the reflection diag(-1, 1); left/right of a robot that looks along x is diag(1, -1), a conjugate of it.
    plane = matrix_rep(group, [np.diag([1.0, -1.0])], group.lie_algebra, name="W")
    even, odd = trivial(group), sign(group)
    return _turning_kit(plane, odd, even + odd + even, signed_permutation(group, [[1, 0]], [[1, 1]], name="pair"))


def _paper_kit() -> Kit:
    group = special_orthogonal(2)
    even = trivial(group)
    return _turning_kit(vector(group), even, vector(group) + even, 2 * even)


LEFT_RIGHT = "left and right are exchanged, in the world and in the body"
YAW = "the world turns about the vertical, the robot in it"
LEFT_RIGHT_NOTE = "right knee stiffness 0, left 1; right hip_y armature .008, left .010"
YAW_NOTE = "multiples of 90 degrees are exact up to the contact solver; the reward is for one direction"
PAPER_YAW = "the world turns about the vertical, and with it the body's axes"
PAPER_NOTE = (
    "the representation of arXiv:2112.01388: wrong in the simulator, where the orientation goes to gR and the angular "
    "velocity, in body axes, does not change; use O2 instead"
)
EVIDENCE = {
    4: (
        Generator("f", LEFT_RIGHT, True, 0.0080, 0.11, 1.0, 11, LEFT_RIGHT_NOTE),
        Generator("yaw", YAW, False, 0.017, 0.096, 6.0, 6, YAW_NOTE),
        Generator("yaw", PAPER_YAW, False, 0.29, 0.71, 6.8, 635, PAPER_NOTE),
    ),
    5: (
        Generator("f", LEFT_RIGHT, True, 0.0080, 0.11, 10.0, 11, LEFT_RIGHT_NOTE),
        Generator("yaw", YAW, False, 0.017, 0.096, 12.0, 6, YAW_NOTE),
        Generator("yaw", PAPER_YAW, False, 0.29, 0.71, 17.0, 635, PAPER_NOTE),
    ),
}
KITS = {"Z2": _mirror_kit(), "O2": _o2_kit(), "paper-SO2": _paper_kit()}


def _specs(version: int) -> tuple[EnvSpec, ...]:
    left_right, yaw, paper = EVIDENCE[version]
    records = {"Z2": (left_right,), "O2": (left_right, yaw), "paper-SO2": (paper,)}
    return tuple(
        EnvSpec(
            f"Humanoid-v{version}",
            variant,
            kit.mirror.group,
            _observation(kit, version),
            _action(kit),
            records[variant],
        )
        for variant, kit in KITS.items()
    )


SPECS = (*_specs(4), *_specs(5))
