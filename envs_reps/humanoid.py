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

from collections.abc import Iterator
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


@dataclass(frozen=True)
class Kit:
    """How the parts of a humanoid transform: vectors in world and body axes, a pseudoscalar, pairs (right, left)."""

    world: Rep
    body: Rep
    mirror: Rep
    pair: Rep
    inertia: Components
    wrench: Components


def _bodies(kit: Kit, name: str, start: int, width: int, version: int, parts: Components) -> Iterator[Block]:
    """Blocks of an array with ``width`` numbers for each body, of which v5 leaves out the world's."""
    first = 1 if version >= 5 else 0
    for label, components, rep in parts:
        single = tuple(start + width * (body - first) + c for body in range(first, 4) for c in components)
        yield Block(f"{name}, {label}, middle", single, (4 - first) * rep)
        pairs = tuple(start + width * (body - first) + c for pair in RIGHT_LEFT for c in components for body in pair)
        yield Block(f"{name}, {label}, limbs", pairs, len(RIGHT_LEFT) * (rep * kit.pair))


def _hinges(kit: Kit, name: str, start: int) -> tuple[Block, ...]:
    """Blocks of an array with one number for each hinge."""
    even, odd = trivial(kit.mirror.group), kit.mirror
    legs = tuple(start + i for i in (3, 7, 4, 8, 5, 9, 6, 10))
    shoulders = tuple(start + i for i in (11, 14, 12, 15))
    return (
        Block(f"abdomen y {name}", (start + 1,), even),
        Block(f"abdomen z, x {name}", (start, start + 2), 2 * odd),
        Block(f"shoulders 1, 2 {name}", shoulders, 2 * (kit.mirror * kit.pair)),
        Block(f"elbow {name}", (start + 13, start + 16), kit.pair),
        Block(f"hips x, z, y and knee {name}", legs, 4 * kit.pair),
    )


def _observation(kit: Kit, version: int) -> Layout:
    n_bodies = 13 if version >= 5 else 14
    cvel = 45 + 10 * n_bodies
    qfrc = cvel + 6 * n_bodies
    qfrc_hinges = qfrc if version >= 5 else qfrc + 6
    root_force = (
        ()
        if version >= 5
        else (
            Block("actuator force on the root [N]", tuple(range(qfrc, qfrc + 3)), kit.world),
            Block("actuator torque on the root [Nm]", tuple(range(qfrc + 3, qfrc + 6)), kit.body * kit.mirror),
        )
    )
    return Layout(
        (
            Block("torso height [m]", (0,), trivial(kit.mirror.group)),
            Block("torso orientation [rotation matrix]", (1, 2, 3, 4), kit.world * kit.body, "rotation_matrix"),
            Block("torso velocity, world axes [m/s]", (22, 23, 24), kit.world),
            Block("torso angular velocity, body axes [rad/s]", (25, 26, 27), kit.body * kit.mirror),
            *_hinges(kit, "angles [rad]", 5),
            *_hinges(kit, "rates [rad/s]", 28),
            *_bodies(kit, "inertia [kg m², kg m, kg]", 45, 10, version, kit.inertia),
            *_bodies(kit, "velocity [rad/s, m/s]", cvel, 6, version, kit.wrench),
            *root_force,
            *_hinges(kit, "actuator torques [Nm]", qfrc_hinges),
            *_bodies(kit, "contact wrench [Nm, N]", qfrc_hinges + 17, 6, version, kit.wrench),
        )
    )


def _action(kit: Kit) -> Layout:
    even, odd = trivial(kit.mirror.group), kit.mirror
    return Layout(
        (
            Block("abdomen y torque [1]", (0,), even),
            Block("abdomen z, x torques [1]", (1, 2), 2 * odd),
            Block("hips x, z, y and knee torques [1]", (3, 7, 4, 8, 5, 9, 6, 10), 4 * kit.pair),
            Block("shoulders 1, 2 torques [1]", (11, 14, 12, 15), 2 * (kit.mirror * kit.pair)),
            Block("elbow torques [1]", (13, 16), kit.pair),
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
