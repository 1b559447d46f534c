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

TURN, SWAP = (3, 0, 1, 2), (3, 2, 1, 0)
"""From which leg each leg takes its motion under r and under f."""


def _contacts(components: tuple[int, ...]) -> tuple[int, ...]:
    """Where v5 has components of the contact wrench on each leg: for the three links in turn component by leg."""
    return tuple(33 + 18 * leg + 6 * link + c for link in range(3) for c in components for leg in range(4))


Wrench = tuple[tuple[str, tuple[int, ...], Rep], ...]
"""Components of torque (0, 1, 2) and force (3, 4, 5), world axes, that transform alike: name, components, their rep."""


def _contact_blocks(wrench: Wrench, legs: Rep) -> tuple[Block, ...]:
    torso = tuple(
        Block(f"contact {name} on the torso, clipped", tuple(27 + c for c in components), rep)
        for name, components, rep in wrench
    )
    links = tuple(
        Block(f"contact {name} on the links, clipped", _contacts(components), 3 * (rep * legs))
        for name, components, rep in wrench
    )
    return torso + links


def ant_layouts(
    version: int, world: Rep, body: Rep, mirror: Rep, legs: Rep, ankles: Rep, wrench: Wrench
) -> tuple[Layout, Layout]:
    """Observation and action, given how vectors in world and body axes, a pseudoscalar and the legs transform."""
    hips = legs * mirror
    state = (
        Block("torso height [m]", (0,), trivial(world.group)),
        Block("torso orientation [rotation matrix]", (1, 2, 3, 4), world * body, "rotation_matrix"),
        Block("torso velocity, world axes [m/s]", (13, 14, 15), world),
        Block("torso angular velocity, body axes [rad/s]", (16, 17, 18), body * mirror),
        Block("hip angles [rad]", HIPS, hips),
        Block("hip rates [rad/s]", HIP_RATES, hips),
        Block("ankle angles [rad]", ANKLES, ankles),
        Block("ankle rates [rad/s]", ANKLE_RATES, ankles),
    )
    actions = (Block("hip torques [1]", HIP_ACTIONS, hips), Block("ankle torques [1]", ANKLE_ACTIONS, ankles))
    return Layout(state + _contact_blocks(wrench, legs) if version >= 5 else state), Layout(actions)


D4 = dihedral(4)
R, P, V = trivial(D4), sign(D4), vector(D4)
LEGS = signed_permutation(D4, (TURN, SWAP), ((1, 1, 1, 1), (1, 1, 1, 1)), name="legs")
ANKLE_SIGNS = signed_permutation(D4, (TURN, SWAP), ((1, -1, 1, -1), (1, 1, 1, 1)), name="ankles")
WRENCH: Wrench = (
    ("torque about x and z [Nm] and force along y [N]", (0, 2, 4), 3 * P),
    ("torque about y [Nm] and force along x and z [N]", (1, 3, 5), 3 * R),
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
        ("horizontal torque [Nm]", (0, 1), world_plane * mirror),
        ("vertical torque [Nm]", (2,), mirror),
        ("horizontal force [N]", (3, 4), world_plane),
        ("vertical force [N]", (5,), unmoved),
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
        Block("torso height [m]", (0,), scalar),
        Block("torso orientation [quaternion]", (1, 2, 3, 4), 4 * scalar),
        Block("torso velocity [m/s]", (13, 14, 15), 3 * scalar),
        Block("torso angular velocity [rad/s]", (16, 17, 18), 3 * scalar),
        Block("hip angles [rad]", HIPS, legs),
        Block("hip rates [rad/s]", HIP_RATES, legs),
        Block("ankle angles [rad]", ANKLES, legs),
        Block("ankle rates [rad/s]", ANKLE_RATES, legs),
    )
    actions = (Block("hip torques [1]", HIP_ACTIONS, legs), Block("ankle torques [1]", ANKLE_ACTIONS, legs))
    contacts = _contact_blocks((("torque [Nm] and force [N]", (0, 1, 2, 3, 4, 5), 6 * scalar),), legs)
    return Layout(state + contacts if version >= 5 else state), Layout(actions)


def _specs(version: int) -> tuple[EnvSpec, ...]:
    env_id = f"Ant-v{version}"
    full = EnvSpec(env_id, "D4", D4, *LAYOUTS[version], EVIDENCE)
    turns = full.restrict("Z4", [(0,)], cyclic(4))
    left_right = full.restrict("Z2", [(1,)], cyclic(2))
    turning = EnvSpec(env_id, "D4xyaw", D4_YAW, *_yaw_layouts(version), (*EVIDENCE, YAW_EVIDENCE))
    paper = EnvSpec(env_id, "paper-Z4", PAPER, *_paper_layouts(version), (PAPER_EVIDENCE,))
    return full, turns, left_right, turning, paper


SPECS = (*_specs(4), *_specs(5))
