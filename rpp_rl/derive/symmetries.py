"""The symmetries of a robot, exact ones and near ones, with the maps of state and control that they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from rpp_rl.derive.actuators import ActuatorMap, ActuatorMatcher
from rpp_rl.derive.contacts import cone_violations, contact_violations
from rpp_rl.derive.equalities import equality_violations
from rpp_rl.derive.forces import Motion
from rpp_rl.derive.matching import Match, Matcher
from rpp_rl.derive.motions import in_words, shape_motions, vertical, world_motions
from rpp_rl.derive.robot import BALL, FREE, Robot
from rpp_rl.derive.tendons import matched_tendons
from rpp_rl.derive.violations import EQUAL, Violation
from rpp_rl.symmetry.matrices import matrix_key, snapped

NEAR, COINCIDENT = 1 / 3, 0.05
"""How far a body may be from its image's place, in units of the robot's size, to be called near a symmetry; and below
which distance two relabellings under one motion are both worth telling."""
NEIGHBOURS = 89.0
"""Motions closer than these degrees are attempts at the same symmetry, of which the best is told."""
MAX_FATAL = 2
"""Fatal differences that a near symmetry may have to be worth telling: a mistake in the model, not another robot."""
TURN, ANY_TURN = 45.0, 37.0
"""Degrees by which the world is turned to see whether contacts are isotropic; the second stands for any angle."""


@dataclass(frozen=True, eq=False)
class RobotSymmetry:
    """A motion of the world together with a relabelling of the robot that brings it back, exactly or nearly.

    Attributes:
        robot: The robot.
        world: The motion g of the world.
        match: Which body takes whose place, how the joints follow, and where parts differ.
        actuators: How the controls follow; incomplete where an actuator has no counterpart.
        violations: Where parts differ, everything included.
        turn: Degrees, if this is only a turn of the world by an angle at which contacts need not be isotropic.
    """

    robot: Robot
    world: Float[ndarray, "3 3"]
    match: Match
    actuators: tuple[ActuatorMap, ...]
    violations: tuple[Violation, ...]
    turn: float | None = None

    @cached_property
    def bodies(self) -> tuple[int, ...]:
        """The image of each body."""
        images = dict(self.match.bodies)
        return tuple(images[b] for b in range(self.robot.model.nbody))

    @property
    def motions(self) -> tuple[Float[ndarray, "3 3"], ...]:
        """The motion of the world, then those of the shapes of floating bodies."""
        return (self.world, *(shape for _, shape in self.match.shapes))

    @property
    def has_maps(self) -> bool:
        """Whether there are linear maps of state and control."""
        return not any(violation.is_fatal for violation in self.violations)

    @cached_property
    def score(self) -> float:
        """The total size of the violations."""
        return sum(violation.size for violation in self.violations)

    @cached_property
    def position(self) -> Float[ndarray, "nx nx"]:
        """The map of the positions, with nine numbers of a rotation matrix in place of every quaternion."""
        starts = position_starts(self.robot)
        return _assembled(starts, ((m.joint, m.image, m.position) for m in self.match.joints))

    @cached_property
    def velocity(self) -> Float[ndarray, "nv nv"]:
        """The map of the velocities."""
        starts = [*self.robot.model.jnt_dofadr.tolist(), self.robot.model.nv]
        return _assembled(starts, ((m.joint, m.image, m.velocity) for m in self.match.joints))

    @cached_property
    def control(self) -> Float[ndarray, "nu nu"]:
        """The map of the controls."""
        maps = ((m.actuator, m.image, np.array([[m.sign]])) for m in self.actuators)
        return _assembled(list(range(self.robot.model.nu + 1)), maps)

    @property
    def meaning(self) -> str:
        """What happens to world and robot, in words."""
        world = "turns by any angle about the vertical" if self.is_any_turn else in_words(self.world)
        shapes = [f"{self.robot.name('body', b)} {in_words(s)}" for b, s in self.match.shapes]
        return "; ".join([f"the world {world}", *shapes, *([", ".join(self._cycles())] if self._cycles() else [])])

    def _cycles(self) -> list[str]:
        """The places that bodies exchange, outermost bodies only: ``"a ↔ b"``, ``"a → b → c → a"``."""
        images, cycles = dict(self.moved_bodies()), []
        while images:
            start = next(iter(images))
            cycle = [start]
            while images[cycle[-1]] != start:
                cycle.append(images[cycle[-1]])
            cycles.append(" ↔ ".join(cycle) if len(cycle) == 2 else " → ".join([*cycle, start]))
            images = {body: image for body, image in images.items() if body not in cycle}
        return cycles

    def moved_bodies(self) -> Iterator[tuple[str, str]]:
        """Names of the outermost bodies that take another one's place, with the other's."""
        for body, image in enumerate(self.bodies):
            parent = int(self.robot.model.body_parentid[body])
            if body != image and self.bodies[parent] == parent:
                yield self.robot.name("body", body), self.robot.name("body", image)

    @property
    def is_any_turn(self) -> bool:
        """Whether this stands for a turn of the world by any angle."""
        return self.turn == ANY_TURN


def find_symmetries(robot: Robot, *, near: bool = True) -> list[RobotSymmetry]:
    """The symmetries of a robot without the identity, those with the least violations first.

    Args:
        robot: The robot.
        near: Leave out those for which a body would have to be far from where it is (see `NEAR`) or for which there
            is a better attempt. Otherwise every relabelling that the tree of joints admits is told, however bad.

    Returns:
        The symmetries; of those with the same maps of state and control the one with the least violations.
    """
    matcher = Matcher(robot, shape_motions(robot), NEAR * robot.size if near else np.inf)
    actuators = ActuatorMatcher(robot)
    found = [_completed(actuators, g, match) for g in world_motions(robot) for match in matcher.matches(g)]
    ordered = sorted(found, key=lambda element: (not element.has_maps, round(element.score, 9)))
    best = _best_attempts(ordered) if near else ordered
    return [*without_repetitions(best), *world_turns(robot, matcher, actuators)]


def identity(robot: Robot) -> RobotSymmetry:
    """The symmetry that leaves everything where it is.

    Raises:
        ValueError: If even this cannot be written down.
    """
    matcher = Matcher(robot, [np.eye(3)], EQUAL * robot.size)
    for match in matcher.matches(np.eye(3)):
        if all(body == image for body, image in match.bodies):
            return _completed(ActuatorMatcher(robot), np.eye(3), match)
    raise ValueError("the model has parts that are not followed, not even by the identity")


def _best_attempts(elements: Iterable[RobotSymmetry]) -> list[RobotSymmetry]:
    """Leave out worse relabellings under the same motions, and worse motions near one with the same relabelling."""
    elements = sorted(elements, key=lambda element: element.score)
    kept: list[RobotSymmetry] = []
    lowest: dict[bytes, float] = {}
    for element in elements:
        n_fatal = sum(violation.is_fatal for violation in element.violations)
        if n_fatal > MAX_FATAL:
            continue
        motions = b"".join(matrix_key(motion) for motion in element.motions)
        least = lowest.setdefault(motions, element.score)
        is_best = element.score <= least + EQUAL
        coincides = element.match.displacement <= COINCIDENT * element.robot.size
        if (is_best or coincides) and not any(_is_better_attempt(other, element) for other in kept):
            kept.append(element)
    return sorted(kept, key=lambda element: not element.has_maps)


def _is_better_attempt(other: RobotSymmetry, element: RobotSymmetry) -> bool:
    if other.score >= element.score - EQUAL or other.bodies != element.bodies:
        return False
    pairs = list(zip(other.motions, element.motions, strict=True))
    if element.match.shapes and not np.allclose(*pairs[0]):
        return False  # A floating robot's shape does not follow the world.
    return all(_angle_between(a, b) < NEIGHBOURS for a, b in pairs)


def _angle_between(a: Float[ndarray, "3 3"], b: Float[ndarray, "3 3"]) -> float:
    """The angle in degrees of the rotation that makes one motion of another; infinite if there is none."""
    if np.linalg.det(a @ b) < 0:
        return np.inf
    return float(np.degrees(np.linalg.norm(Rotation.from_matrix(a.T @ b).as_rotvec())))


def without_repetitions(elements: Iterable[RobotSymmetry]) -> list[RobotSymmetry]:
    """The first of all elements with the same maps, without the identity and without repeated maps."""
    known: set[bytes] = set()
    kept = []
    for element in elements:
        maps = [matrix_key(m) for m in (element.position, element.velocity, element.control)]
        key = b"".join(maps) + bytes(not element.has_maps)
        is_identity = all(np.array_equal(m, np.eye(len(m))) for m in (element.position, element.control))
        if key not in known and not is_identity:
            kept.append(element)
        known.add(key)
    return kept


def world_turns(robot: Robot, matcher: Matcher, actuators: ActuatorMatcher) -> list[RobotSymmetry]:
    """Turns of the world with a floating robot in it by angles that are no quarter turns."""
    turns = []
    for angle in (TURN, ANY_TURN) if robot.free_roots else ():
        g = snapped(Rotation.from_rotvec(np.radians(angle) * vertical(robot)).as_matrix(), 1e-12)
        fits = [m for m in matcher.matches(g) if all(b == c for b, c in m.bodies) and not _reshapes(m)]
        if fits and np.allclose(g @ robot.model.opt.wind, robot.model.opt.wind):
            turns.append(_completed(actuators, g, fits[0], turn=angle))
    return turns


def position_starts(robot: Robot) -> list[int]:
    """Where each joint begins in the positions with rotation matrices in place of quaternions, and their number."""
    sizes = [{FREE: 12, BALL: 9}.get(int(kind), 1) for kind in robot.model.jnt_type]
    return np.cumsum([0, *sizes]).tolist()


def _reshapes(match: Match) -> bool:
    return any(not np.allclose(shape, np.eye(3)) for _, shape in match.shapes)


def _completed(
    actuators: ActuatorMatcher, g: Float[ndarray, "3 3"], match: Match, *, turn: float | None = None
) -> RobotSymmetry:
    """Add what concerns the robot as a whole: controls and contacts."""
    robot = actuators.robot
    shapes = dict(match.shapes)
    trees = [shapes.get(int(root), g) for root in robot.model.body_rootid]
    joints = {joint.joint: joint for joint in match.joints}
    bodies = dict(match.bodies)
    tendons, tendon_violations = matched_tendons(robot, match.joints, bodies, trees)
    motion = Motion(joints, {tendon.tendon: tendon for tendon in tendons}, bodies, trees)
    controls, violations = actuators.matched(motion)
    contacts = (
        *equality_violations(robot, motion),
        *contact_violations(robot, match),
        *cone_violations(robot, g),
    )
    everything = (*match.violations, *tendon_violations, *violations, *contacts)
    distinct = {violation.key: violation for violation in reversed(everything)}
    return RobotSymmetry(robot, g, match, controls, tuple(reversed(distinct.values())), turn)


def _assembled(starts: list[int], maps: Iterable[tuple[int, int, ndarray]]) -> Float[ndarray, "n n"]:
    matrix = np.zeros((starts[-1], starts[-1]))
    for source, image, block in maps:
        rows = slice(starts[image], starts[image] + len(block))
        matrix[rows, starts[source] : starts[source] + len(block)] = block
    return matrix
