"""Which bodies can take whose place: every permutation of subtrees of one structure, with what it violates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.derive.forces import driven_roots
from rpp_rl.derive.geoms import differing_tensors, matched_geoms
from rpp_rl.derive.joints import JointMap, free_joint, matched_joints
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.violations import Violation, off_place, plain_violations

FAR = 0.02
"""Relative difference from which on something in the world is not where its image should be."""
MAX_MATCHES = 256
"""Matches of two subtrees that are kept, those with the least violations."""


@dataclass(frozen=True, eq=False)
class Match:
    """One way to move a set of bodies to another.

    Attributes:
        bodies: Pairs of a body and its image.
        geoms: Pairs of a geom and its image.
        joints: How the joints' coordinates follow.
        shapes: For each body that floats freely the motion of its shape, in its own axes.
        violations: Where a part and its image differ.
        displacement: The largest distance of a centre of mass from where it should be.
    """

    bodies: tuple[tuple[int, int], ...] = ()
    geoms: tuple[tuple[int, int], ...] = ()
    joints: tuple[JointMap, ...] = ()
    shapes: tuple[tuple[int, ndarray], ...] = ()
    violations: tuple[Violation, ...] = ()
    displacement: float = 0.0

    @cached_property
    def score(self) -> float:
        """The total size of the violations."""
        return sum(violation.size for violation in self.violations)

    def __add__(self, other: Match) -> Match:
        return Match(
            self.bodies + other.bodies,
            self.geoms + other.geoms,
            self.joints + other.joints,
            self.shapes + other.shapes,
            self.violations + other.violations,
            max(self.displacement, other.displacement),
        )


class Matcher:
    """Finds all matches of a robot with itself.

    Args:
        robot: The robot.
        shapes: The motions of a floating body's shape to try, in the body's own axes.
        max_displacement: How far from its image's place a body may be.
    """

    def __init__(self, robot: Robot, shapes: Sequence[Float[ndarray, "3 3"]], max_displacement: float) -> None:
        self.robot = robot
        self.shapes = shapes
        self.max_displacement = max_displacement
        self.driven = driven_roots(robot)
        self._known: dict[tuple[int, int, bytes], list[Match]] = {}
        self._found: dict[tuple[int, int, bytes], list[Match]] = {}

    def matches(self, g: Float[ndarray, "3 3"]) -> list[Match]:
        """All ways to move the whole model under a motion g of the world, best first; none if the world refuses it."""
        geoms, violations = matched_geoms(self.robot, 0, 0, g)
        if _is_far(violations):
            return []
        static = tuple(replace(violation, is_static=True) for violation in violations)
        world = Match(((0, 0),), geoms, (), (), static)
        children = self.robot.children[0].tolist()
        return [world + match for match in self._children(children, children, g)]

    def _children(self, bodies: list[int], images: list[int], s: Float[ndarray, "3 3"]) -> list[Match]:
        """All permutations of some subtrees; too many are cut to the best on the way."""
        if len(bodies) != len(images):
            return []
        partial: list[tuple[frozenset[int], Match]] = [(frozenset(), Match())]
        for body in bodies:
            partial = [
                (taken | {image}, match + more)
                for taken, match in partial
                for image in images
                if image not in taken
                for more in self._subtree(body, image, s)
            ]
            partial = sorted(partial, key=lambda item: item[1].score)[:MAX_MATCHES]
        return [match for _, match in partial]

    def _subtree(self, body: int, image: int, g: Float[ndarray, "3 3"]) -> list[Match]:
        """The matches of two subtrees if the motion ``g`` moves what they hang on; remembered, they are asked often."""
        if self.robot.signatures[body] != self.robot.signatures[image]:
            return []
        key = body, image, np.round(g, 9).tobytes()
        if key not in self._known:
            is_free = self.robot.is_free(body)
            self._known[key] = self._floating(body, image, g) if is_free else self._moved(body, image, g)
        return self._known[key]

    def _floating(self, body: int, image: int, g: Float[ndarray, "3 3"]) -> list[Match]:
        """The matches of two floating trees for every motion of their shape."""
        same_side = [shape for shape in self.shapes if np.linalg.det(shape) * np.linalg.det(g) > 0]
        pairs = [(shape, match) for shape in same_side for match in self._moved(body, image, shape)]
        if body not in self.driven:
            # A loose ball has many symmetries that say nothing about the robot. The best will do, that is to stay as
            # it is or to follow the world rather than anything else.
            plain = (np.eye(3), g)
            pairs = sorted(pairs, key=lambda pair: (pair[1].score, not any(np.allclose(pair[0], p) for p in plain)))[:1]
        i, j = self.robot.joints(body)[0], self.robot.joints(image)[0]
        names = self.robot.name("jnt", i), self.robot.name("jnt", j)
        violations = tuple(plain_violations(self.robot, "jnt", i, j, names))
        return [
            Match(joints=(free_joint(i, j, g, shape),), shapes=((body, shape),), violations=violations) + match
            for shape, match in pairs
        ]

    def _moved(self, body: int, image: int, s: Float[ndarray, "3 3"]) -> list[Match]:
        """The matches of two trees of which ``s`` moves every part; remembered too."""
        key = body, image, np.round(s, 9).tobytes()
        if key not in self._found:
            self._found[key] = self._matched(body, image, s)
        return self._found[key]

    def _matched(self, body: int, image: int, s: Float[ndarray, "3 3"]) -> list[Match]:
        robot = self.robot
        is_heavy = not robot.is_static(body) and robot.model.body_mass[body] > 0
        distance = float(np.linalg.norm(s @ robot.com[body] - robot.com[image])) if is_heavy else 0.0
        if distance > self.max_displacement:
            return []
        joints = matched_joints(robot, body, image, s)
        if joints is None:
            return []
        geoms, geom_violations = matched_geoms(robot, body, image, s)
        if robot.is_static(body) and not robot.carries(body) and _is_far(geom_violations):
            return []
        if robot.is_static(body):
            geom_violations = tuple(replace(violation, is_static=True) for violation in geom_violations)
        violations = (*self._body_violations(body, image, s, distance), *joints[1], *geom_violations)
        own = Match(((body, image),), geoms, joints[0], (), violations, distance)
        bodies, images = (robot.children[b].tolist() for b in (body, image))
        return [own + match for match in self._children(bodies, images, s)]

    def _body_violations(
        self, body: int, image: int, s: Float[ndarray, "3 3"], distance: float
    ) -> tuple[Violation, ...]:
        robot = self.robot
        if robot.is_static(body):
            return ()
        names = robot.name("body", body), robot.name("body", image)
        inertia = s @ robot.inertia[body] @ s.T, robot.inertia[image]
        return (
            *off_place(f"the mass of {names[0]}", f"the mass of {names[1]}", distance, robot.size),
            *plain_violations(robot, "body", body, image, names),
            *(differing_tensors(names, "inertia", *inertia) if robot.feels_inertia(body) else ()),
        )


def _is_far(violations: tuple[Violation, ...]) -> bool:
    """Whether geoms of the world do not stay about where they are: a wall or a slope; a base may differ a little."""
    whats = ("place", "direction", "side", "size", "type", "hull")
    return any(violation.what in whats and violation.size > FAR for violation in violations)
