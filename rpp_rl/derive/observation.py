"""What an environment's observation is made of, and how each symmetry of the robot moves its coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.derive.joints import JOINT_FORCE, JOINT_POSITION, JOINT_VELOCITY, joined
from rpp_rl.derive.robot import BALL, FREE, HINGE, SLIDE, Robot
from rpp_rl.derive.symmetries import RobotSymmetry, position_starts
from rpp_rl.envs.layout import Block, Layout
from rpp_rl.envs.simulator import Simulator, silent
from rpp_rl.symmetry import trivial, trivial_group
from rpp_rl.symmetry.matrices import snapped

N_LOOKS = 40
"""Random steps after which observations are compared with what the simulator knows."""


@dataclass(frozen=True)
class Atom:
    """A number of the observation, or a quaternion, which is moved as a whole.

    Attributes:
        what: What it is, ``"velocity, world axes"``.
        kind: One of `rpp_rl.envs.layout.KINDS`.
        unit: Its unit, ``"m/s"``.
        owner: The joint or body it belongs to, with the component: ``"torso x"``.
        indices: Where it is in the observation.
        is_rotation: Whether it is a quaternion, shown as a rotation matrix of nine numbers.
    """

    what: str
    kind: str
    unit: str
    owner: str
    indices: tuple[int, ...]
    is_rotation: bool = False


@dataclass(frozen=True, eq=False)
class ObservationParts:
    """The atoms of an observation in order, and the map of their coordinates that a symmetry makes.

    Attributes:
        atoms: Its atoms.
        matrix: The map.
        is_closed_under: Whether the map needs no position that the observation leaves out.
    """

    atoms: tuple[Atom, ...]
    matrix: Callable[[RobotSymmetry], Float[ndarray, "n n"]]
    is_closed_under: Callable[[RobotSymmetry], bool]

    @cached_property
    def layout(self) -> Layout:
        """The observation as it is, with rotation matrices in place of quaternions, and no group acting."""
        unit = trivial(trivial_group())
        return Layout(
            tuple(
                Block(a.what, a.indices, 9 * unit, "rotation_matrix", kind=a.kind, unit=a.unit)
                if a.is_rotation
                else Block(a.what, a.indices, unit, kind=a.kind, unit=a.unit)
                for a in self.atoms
            )
        )


@dataclass(frozen=True)
class _Derived:
    """An array of MjData that environments show behind positions and velocities.

    Attributes:
        name: Its name.
        labels: For each number of an entry, what it is, its kind, its unit and its component. Kind and unit of a
            force on a joint are those of the joint's type.
        block: How an entry of a body moves with the world; None for one that moves as the velocities.
    """

    name: str
    labels: tuple[tuple[str, str, str, str], ...]
    block: Callable[[ndarray], ndarray] | None


def _wrench(g: Float[ndarray, "3 3"]) -> Float[ndarray, "6 6"]:
    """A rotational and a translational vector in world axes."""
    return joined(np.linalg.det(g) * g, g)


def _inertia(g: Float[ndarray, "3 3"]) -> Float[ndarray, "10 10"]:
    """(xx yy zz xy xz yz) of an inertia tensor, the first moment, the mass."""
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    unfold = np.zeros((9, 6))
    for k, (i, j) in enumerate(pairs):
        unfold[3 * i + j, k] = unfold[3 * j + i, k] = 1.0
    return joined(np.linalg.pinv(unfold) @ np.kron(g, g) @ unfold, g, np.eye(1))


def _components(what: str, kind: str, unit: str, components: str = "x y z") -> tuple[tuple[str, str, str, str], ...]:
    return tuple((what, kind, unit, f" {component}") for component in components.split())


_INERTIA = (
    *_components("inertia", "inertia", "kg m²", "xx yy zz xy xz yz"),
    *_components("first moment", "inertia", "kg m"),
    ("mass", "inertia", "kg", ""),
)
DERIVED = (
    _Derived("cinert", _INERTIA, _inertia),
    _Derived(
        "cvel",
        _components("rotation", "rate", "rad/s") + _components("velocity about the center", "velocity", "m/s"),
        _wrench,
    ),
    _Derived("qfrc_actuator", (("actuator force", "", "", ""),), None),
    _Derived(
        "cfrc_ext",
        _components("contact torque", "contact", "Nm") + _components("contact force", "contact", "N"),
        _wrench,
    ),
)
"""Bodies' inertias and velocities about the robot's centre of mass, and the forces on joints and on bodies."""


def state_parts(robot: Robot, n_skipped: int, derived: tuple[tuple[str, int], ...] = ()) -> ObservationParts:
    """The parts of an observation made of positions, velocities and arrays derived from them.

    Args:
        robot: The robot.
        n_skipped: Number of leading positions that are left out.
        derived: Names of derived arrays in order, each with the number of its first entries that are left out.
    """
    positions, kept = _position_atoms(robot, n_skipped)
    atoms = [*positions, *_velocity_atoms(robot, positions[-1].indices[-1] + 1 if positions else 0)]
    arrays = [(next(d for d in DERIVED if d.name == name), first) for name, first in derived]
    for array, first in arrays:
        atoms += _derived_atoms(robot, array, first, atoms[-1].indices[-1] + 1)

    dropped = sorted(set(range(position_starts(robot)[-1])) - set(kept))

    def is_closed_under(element: RobotSymmetry) -> bool:
        return bool(np.abs(element.position[np.ix_(kept, dropped)]).max(initial=0.0) < 1e-9)

    def matrix(element: RobotSymmetry) -> Float[ndarray, "n n"]:
        blocks = [element.position[np.ix_(kept, kept)], element.velocity]
        blocks += [_derived_matrix(element, array, first) for array, first in arrays]
        return snapped(joined(*blocks), 1e-9)

    return ObservationParts(tuple(atoms), matrix, is_closed_under)


def observed_parts(simulator: Simulator, robot: Robot) -> ObservationParts:
    """Find out of which arrays of the simulator an environment's observation is made.

    Raises:
        ValueError: If some of its numbers are none of the arrays that are known.
    """
    looks = _looks(simulator)
    at, found = simulator.n_state, []
    while at < simulator.size:
        known = [candidate for d in DERIVED for candidate in _candidates(d, robot)]
        match = next(((name, first, n) for name, first, n in known if _is_at(looks, at, name, first, n)), None)
        if match is None:
            names = ", ".join(d.name for d in DERIVED)
            raise ValueError(
                f"the numbers of the observation from {at} on are none of qpos, qvel, {names} (whole or without the "
                "world): how they transform cannot be derived; leave them out of the observation or write the "
                "specification by hand"
            )
        found.append(match[:2])
        at += match[2]
    return state_parts(robot, simulator.n_skipped, tuple(found))


def _looks(simulator: Simulator) -> list[tuple[ndarray, dict[str, ndarray]]]:
    """Observations on the way from resets, each with the arrays of the simulator at that moment."""
    env, rng = simulator.env, np.random.default_rng(0)
    looks: list[tuple[ndarray, dict[str, ndarray]]] = []
    with silent():
        env.reset(seed=0)
        for _ in range(N_LOOKS):
            obs, _, terminated, _, _ = env.step(simulator.random_actions(1, rng)[0])
            if simulator.is_stable():
                looks.append((np.array(obs), {d.name: np.array(getattr(env.data, d.name)) for d in DERIVED}))
            if terminated or not simulator.is_stable():
                env.reset(seed=int(rng.integers(2**31)))
    return looks


def _candidates(array: _Derived, robot: Robot) -> list[tuple[str, int, int]]:
    """Name, number of leading entries left out (the world, or the free joint), and how many numbers there are."""
    if array.block is None:
        firsts = (0, 6) if robot.is_free(int(robot.model.jnt_bodyid[0])) else (0,)
        return [(array.name, first, robot.model.nv - first) for first in firsts]
    return [(array.name, first, (robot.model.nbody - first) * len(array.labels)) for first in (0, 1)]


def _is_at(looks: list[tuple[ndarray, dict[str, ndarray]]], at: int, name: str, first: int, n: int) -> bool:
    """Whether an array, possibly clipped, stands at a place of all observations."""
    for obs, arrays in looks:
        shown, actual = obs[at : at + n], arrays[name][first:].ravel()
        if len(shown) < n:
            return False
        clipped = np.clip(actual, shown.min(initial=0.0), shown.max(initial=0.0))
        if not (np.allclose(shown, actual) or (shown.any() and np.allclose(shown, clipped))):
            return False
    return True


def _position_atoms(robot: Robot, n_skipped: int) -> tuple[list[Atom], list[int]]:
    """The atoms of the positions, and which coordinates of all positions they hold."""
    atoms, kept, model = [], [], robot.model
    for j, start in enumerate(position_starts(robot)[:-1]):
        at, kind, owner = int(model.jnt_qposadr[j]) - n_skipped, int(model.jnt_type[j]), _owner(robot, j)
        if kind == FREE:
            for i in range(3):
                if at + i >= 0:
                    atoms.append(Atom("position", "position", "m", f"{owner} {'xyz'[i]}", (at + i,)))
                    kept.append(start + i)
            at, start = at + 3, start + 3
        if kind in (FREE, BALL):
            what = "orientation" if kind == FREE else "rotation"
            atoms.append(Atom(what, "orientation", "1", owner, tuple(range(at, at + 4)), is_rotation=True))
            kept += range(start, start + 9)
        elif at >= 0:
            atoms.append(Atom(*_named(JOINT_POSITION[kind]), owner, (at,)))
            kept.append(start)
    return atoms, kept


def _named(measure: tuple[str, str]) -> tuple[str, str, str]:
    """What is called by its kind."""
    kind, unit = measure
    return kind, kind, unit


def _velocity_atoms(robot: Robot, start: int) -> list[Atom]:
    atoms = []
    for j, dof in enumerate(robot.model.jnt_dofadr.tolist()):
        kind, owner, at = int(robot.model.jnt_type[j]), _owner(robot, j), start + dof
        if kind == FREE:
            atoms += [
                Atom("velocity, world axes", "velocity", "m/s", f"{owner} {'xyz'[i]}", (at + i,)) for i in range(3)
            ]
            at += 3
        if kind in (FREE, BALL):
            what = "angular velocity, body axes"
            atoms += [Atom(what, "rate", "rad/s", f"{owner} {'xyz'[i]}", (at + i,)) for i in range(3)]
        else:
            atoms.append(Atom(*_named(JOINT_VELOCITY[kind]), owner, (at,)))
    return atoms


def _owner(robot: Robot, joint: int) -> str:
    """The joint's name, or that of its body for the joint that lets it float."""
    if robot.model.jnt_type[joint] == FREE:
        return robot.name("body", int(robot.model.jnt_bodyid[joint]))
    return robot.name("jnt", joint)


def _force(robot: Robot, dof: int) -> tuple[str, str]:
    """Kind and unit of the force on a degree of freedom; a free joint moves before it turns."""
    joint = int(robot.model.dof_jntid[dof])
    kind = int(robot.model.jnt_type[joint])
    is_moving = kind == FREE and dof - int(robot.model.jnt_dofadr[joint]) < 3
    return JOINT_FORCE.get(kind, JOINT_FORCE[SLIDE if is_moving else HINGE])


def _derived_atoms(robot: Robot, array: _Derived, first: int, start: int) -> list[Atom]:
    if array.block is None:
        what = array.labels[0][0]
        return [
            Atom(what, *_force(robot, dof), _owner(robot, int(robot.model.dof_jntid[dof])), (start + dof - first,))
            for dof in range(first, robot.model.nv)
        ]
    owners = [robot.name("body", b) for b in range(first, robot.model.nbody)]
    pairs = [(owner, label) for owner in owners for label in array.labels]
    return [
        Atom(what, kind, unit, f"{owner}{component}", (start + i,))
        for i, (owner, (what, kind, unit, component)) in enumerate(pairs)
    ]


def _derived_matrix(element: RobotSymmetry, array: _Derived, first: int) -> Float[ndarray, "n n"]:
    if array.block is None:
        return element.velocity[first:, first:]
    images = np.array(element.bodies[first:]) - first
    permutation = np.zeros((len(images), len(images)))
    permutation[images, range(len(images))] = 1.0
    return np.kron(permutation, array.block(element.world))
