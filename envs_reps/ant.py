"""Ant-v4 and Ant-v5: a torso with four equal legs, left/right and every quarter turn of the body.

The body's symmetry group is D4. A generator moves the world by g, the body by s, det g = det s, and renames the legs:

    r: g = 1, s = quarter turn. Leg 2 does what leg 1 did, and so on: the robot's front is elsewhere, the world stays.
    f: g = s = diag(1, -1, 1). Legs 1 and 4, 2 and 3 change places: left becomes right, forward stays forward.

Orientation R' = g R sᵀ, velocity v' = g v (world axes), angular velocity ω' = det(s) s ω (body axes). Hip angles change
sign under f; two of the four ankles count the other way round, which shows under r. Walking in +x is rewarded and
neither r nor f moves that direction, so reward and termination are invariant under the whole of D4.

Indices: the tables of https://gymnasium.farama.org/environments/mujoco/ant/. Legs 1, 2, 3, 4 follow each other around
the body; the actions begin with leg 4.
"""

import numpy as np

from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import Group, Rep, cyclic, dihedral, matrix_rep, sign, signed_permutation, trivial, vector

HIPS, HIP_RATES, HIP_ACTIONS = (5, 7, 9, 11), (19, 21, 23, 25), (2, 4, 6, 0)
ANKLES, ANKLE_RATES, ANKLE_ACTIONS = (6, 8, 10, 12), (20, 22, 24, 26), (3, 5, 7, 1)

LEG_NAMES = ("leg 1", "leg 2", "leg 3", "leg 4")
WRENCH_UNITS = ("Nm", "Nm", "Nm", "N", "N", "N")

TURN, SWAP = (3, 0, 1, 2), (3, 2, 1, 0)
"""From which leg each leg takes its motion under r and under f."""


def _contacts(components: tuple[int, ...]) -> tuple[int, ...]:
    """Where v5 has components of the contact wrench on each leg: for the three links in turn component by leg."""
    return tuple(33 + 18 * leg + 6 * link + c for link in range(3) for c in components for leg in range(4))


Wrench = tuple[tuple[str, tuple[int, ...], Rep], ...]
"""Components of torque (0, 1, 2) and force (3, 4, 5), world axes, that transform alike: name, components, their rep."""


def _contact_blocks(wrench: Wrench, legs: Rep) -> tuple[Block, ...]:
    torso = tuple(
        Block(
            f"contact {name} on the torso, clipped",
            tuple(27 + c for c in components),
            rep,
            kind="contact",
            unit=tuple(WRENCH_UNITS[c] for c in components),
        )
        for name, components, rep in wrench
    )
    links = tuple(
        Block(
            f"contact {name} on the links, clipped",
            _contacts(components),
            3 * (rep * legs),
            kind="contact",
            unit=3 * tuple(WRENCH_UNITS[c] for c in components for _ in LEG_NAMES),
        )
        for name, components, rep in wrench
    )
    return torso + links


def ant_layouts(
    version: int, world: Rep, body: Rep, mirror: Rep, legs: Rep, ankles: Rep, wrench: Wrench
) -> tuple[Layout, Layout]:
    """Observation and action, given how vectors in world and body axes, a pseudoscalar and the legs transform."""
    hips = legs * mirror
    state = (
        Block("torso height", (0,), trivial(world.group), kind="position", unit="m"),
        Block("torso orientation", (1, 2, 3, 4), world * body, "rotation_matrix", kind="orientation", unit="1"),
        Block("torso velocity, world axes", (13, 14, 15), world, kind="velocity", unit="m/s"),
        Block("torso angular velocity, body axes", (16, 17, 18), body * mirror, kind="rate", unit="rad/s"),
        Block("hip angles", HIPS, hips, kind="angle", unit="rad", labels=LEG_NAMES),
        Block("hip rates", HIP_RATES, hips, kind="rate", unit="rad/s", labels=LEG_NAMES),
        Block("ankle angles", ANKLES, ankles, kind="angle", unit="rad", labels=LEG_NAMES),
        Block("ankle rates", ANKLE_RATES, ankles, kind="rate", unit="rad/s", labels=LEG_NAMES),
    )
    observation = Layout(state + _contact_blocks(wrench, legs) if version >= 5 else state)
    return observation, torques(hips, ankles)


def torques(hips: Rep, ankles: Rep) -> Layout:
    """The action, given how the hips' and the ankles' transform."""
    hip_torques = Block("hip torques", HIP_ACTIONS, hips, kind="action", unit="1", labels=LEG_NAMES)
    return Layout(
        (hip_torques, Block("ankle torques", ANKLE_ACTIONS, ankles, kind="action", unit="1", labels=LEG_NAMES))
    )


D4 = dihedral(4)
R, P, V = trivial(D4), sign(D4), vector(D4)
LEGS = signed_permutation(D4, (TURN, SWAP), ((1, 1, 1, 1), (1, 1, 1, 1)), name="legs")
ANKLE_SIGNS = signed_permutation(D4, (TURN, SWAP), ((1, -1, 1, -1), (1, 1, 1, 1)), name="ankles")
WRENCH: Wrench = (
    ("torque about x and z and force along y", (0, 2, 4), 3 * P),
    ("torque about y and force along x and z", (1, 3, 5), 3 * R),
)
LAYOUTS = {version: ant_layouts(version, R + P + R, V + R, P, LEGS, ANKLE_SIGNS, WRENCH) for version in (4, 5)}

QUARTER_TURN = "the legs exchange their parts by a quarter turn of the body; the world stays"
LEFT_RIGHT = "left and right are exchanged, in the world and in the body"
EVIDENCE = (
    Generator("r", QUARTER_TURN, True, 5.3e-16, 1.2e-13, 2.8e-12, 0),
    Generator("f", LEFT_RIGHT, True, 3.2e-16, 3.6e-14, 3.6e-12, 0),
)

REFLECTION, ROTATION = np.diag([1.0, -1.0]), np.array([[0.0, -1.0], [1.0, 0.0]])
NOTHING = np.eye(2)


def _block_diagonal(world: np.ndarray, body: np.ndarray) -> np.ndarray:
    return np.block([[world, np.zeros((2, 2))], [np.zeros((2, 2)), body]])


D4_YAW = Group(
    "D4xyaw",
    np.array([_block_diagonal(NOTHING, ROTATION), _block_diagonal(REFLECTION, REFLECTION)]),
    np.array([_block_diagonal(ROTATION, 0 * NOTHING)]),
)


def _yaw_layouts(version: int) -> tuple[Layout, Layout]:
    """The group {(g, s) in O(2) x D4: det g = det s}: the world also turns by any angle, and the robot in it."""
    unmoved, none = trivial(D4_YAW), np.zeros((1, 2, 2))
    mirror = signed_permutation(D4_YAW, ((0,), (0,)), ((1,), (-1,)), name="P")
    world_plane = matrix_rep(D4_YAW, [NOTHING, REFLECTION], [ROTATION], name="W")
    body_plane = matrix_rep(D4_YAW, [ROTATION, REFLECTION], none, name="V")
    legs = signed_permutation(D4_YAW, (TURN, SWAP), ((1, 1, 1, 1), (1, 1, 1, 1)), name="legs")
    ankles = signed_permutation(D4_YAW, (TURN, SWAP), ((1, -1, 1, -1), (1, 1, 1, 1)), name="ankles")
    wrench = (
        ("horizontal torque", (0, 1), world_plane * mirror),
        ("vertical torque", (2,), mirror),
        ("horizontal force", (3, 4), world_plane),
        ("vertical force", (5,), unmoved),
    )
    return ant_layouts(version, world_plane + unmoved, body_plane + unmoved, mirror, legs, ankles, wrench)


YAW_EVIDENCE = Generator(
    "yaw",
    "the world turns about the vertical, the robot in it",
    False,
    0.00009,
    0.0013,
    4.9,
    0,
    note="exact at multiples of 90 degrees, because the friction cone is a pyramid; in v5 contact forces are clipped "
    "axis by axis, which breaks it at other angles too",
)

PAPER = cyclic(4)
PAPER_EVIDENCE = Generator(
    "h",
    "the legs exchange their parts and nothing else changes, neither orientation nor angular velocity",
    False,
    2.5,
    0.38,
    5.9,
    1957,
    note="the representation of arXiv:2112.01388, Table 5: wrong in the simulator, where orientation and angular "
    "velocity turn with the body and two ankles count the other way round; use D4 or Z4 instead",
)


def _paper_layouts(version: int) -> tuple[Layout, Layout]:
    """Eleven scalars and the legs in a circle; the contact forces, not in the paper's environment, follow the legs."""
    scalar, legs = trivial(PAPER), vector(PAPER)
    state = (
        Block("torso height", (0,), scalar, kind="position", unit="m"),
        Block("torso orientation, quaternion", (1, 2, 3, 4), 4 * scalar, kind="orientation", unit="1"),
        Block("torso velocity", (13, 14, 15), 3 * scalar, kind="velocity", unit="m/s"),
        Block("torso angular velocity", (16, 17, 18), 3 * scalar, kind="rate", unit="rad/s"),
        Block("hip angles", HIPS, legs, kind="angle", unit="rad", labels=LEG_NAMES),
        Block("hip rates", HIP_RATES, legs, kind="rate", unit="rad/s", labels=LEG_NAMES),
        Block("ankle angles", ANKLES, legs, kind="angle", unit="rad", labels=LEG_NAMES),
        Block("ankle rates", ANKLE_RATES, legs, kind="rate", unit="rad/s", labels=LEG_NAMES),
    )
    contacts = _contact_blocks((("torque and force", (0, 1, 2, 3, 4, 5), 6 * scalar),), legs)
    return Layout(state + contacts if version >= 5 else state), torques(legs, legs)


def _specs(version: int) -> tuple[EnvSpec, ...]:
    env_id = f"Ant-v{version}"
    full = EnvSpec(env_id, "D4", D4, *LAYOUTS[version], EVIDENCE)
    turns = full.restrict("Z4", [(0,)], cyclic(4))
    left_right = full.restrict("Z2", [(1,)], cyclic(2))
    turning = EnvSpec(env_id, "D4xyaw", D4_YAW, *_yaw_layouts(version), (*EVIDENCE, YAW_EVIDENCE))
    paper = EnvSpec(env_id, "paper-Z4", PAPER, *_paper_layouts(version), (PAPER_EVIDENCE,))
    return full, turns, left_right, turning, paper


SPECS = (*_specs(4), *_specs(5))
