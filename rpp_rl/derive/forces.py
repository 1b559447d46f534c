"""Where each actuator pushes, and where its push goes under a symmetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from rpp_rl.derive.joints import CROSSED, JointMap
from rpp_rl.derive.robot import BALL, FREE, Robot
from rpp_rl.derive.tendons import TendonMap, tendon_bodies

JOINT, JOINT_IN_PARENT, TENDON, SITE, BODY = 0, 1, 3, 4, 5
"""Transmissions, MuJoCo's mjtTrn."""


@dataclass(frozen=True, eq=False)
class Force:
    """A generalised force.

    Attributes:
        kind: What it acts on.
        place: Index of the joint, tendon or body.
        vector: One number for a hinge, slide, tendon or adhesion; a torque for a ball; force and torque about the
            tree's origin for a body.
    """

    kind: Literal["joint", "tendon", "body", "adhesion"]
    place: int
    vector: Float[ndarray, " k"]


@dataclass(frozen=True, eq=False)
class Motion:
    """A symmetry as far as forces are concerned.

    Attributes:
        joints: The maps of the joints, by joint.
        tendons: The maps of the tendons, by tendon.
        bodies: The image of each body.
        trees: For each body the motion of its tree.
    """

    joints: Mapping[int, JointMap]
    tendons: Mapping[int, TendonMap]
    bodies: Mapping[int, int]
    trees: Sequence[Float[ndarray, "3 3"]]

    def image(self, force: Force) -> Force | None:
        """Where a force is expected after the symmetry; None where its tendon has no counterpart."""
        if force.kind == "joint":
            joint = self.joints[force.place]
            return Force("joint", joint.image, joint.velocity @ force.vector)
        if force.kind == "tendon":
            tendon = self.tendons.get(force.place)
            return None if tendon is None else Force("tendon", tendon.image, tendon.sign * force.vector)
        if force.kind == "adhesion":
            return Force("adhesion", self.bodies[force.place], force.vector)
        s = self.trees[force.place]
        turned = np.concatenate([s @ force.vector[:3], np.linalg.det(s) * s @ force.vector[3:]])
        return Force("body", self.bodies[force.place], turned)


def unit_force(robot: Robot, actuator: int) -> Force | None:
    """What an actuator does per unit of its control; None if that depends on more than one joint, tendon or body."""
    model = robot.model
    place, reference = (int(i) for i in model.actuator_trnid[actuator])
    kind, gear = int(model.actuator_trntype[actuator]), model.actuator_gear[actuator]
    gain = float(model.actuator_gainprm[actuator, 0]) or 1.0
    if kind == SITE and reference < 0:
        body = int(model.site_bodyid[place])
        frame = robot.frame[body] @ Rotation.from_quat(model.site_quat[place][[1, 2, 3, 0]]).as_matrix()
        point = robot.position[body] + robot.frame[body] @ model.site_pos[place]
        force, torque = frame @ gear[:3], frame @ gear[3:]
        return Force("body", body, gain * np.concatenate([force, torque + np.cross(point, force)]))
    if kind == TENDON:
        return Force("tendon", place, gain * gear[:1])
    if kind == BODY:
        return Force("adhesion", place, gain * gear[:1])
    n_dofs = {FREE: 6, BALL: 3}.get(int(model.jnt_type[place]), 1) if kind in (JOINT, JOINT_IN_PARENT) else 0
    if n_dofs == 0 or (kind == JOINT_IN_PARENT and n_dofs > 1):
        return None
    return Force("joint", place, gain * gear[:n_dofs])


def sign_between(a: Force | None, b: Force | None) -> float:
    """±1 if two forces act at one place in about one direction up to sign, else 0."""
    if a is None or b is None or (a.kind, a.place) != (b.kind, b.place):
        return 0.0
    norms = float(np.linalg.norm(a.vector) * np.linalg.norm(b.vector))
    if norms == 0.0:
        return 1.0
    cosine = float(a.vector @ b.vector) / norms
    return float(np.sign(cosine)) if abs(cosine) > CROSSED else 0.0


def driven_roots(robot: Robot) -> set[int]:
    """The children of the world that have an actuator."""
    roots = robot.model.body_rootid
    driven: set[int] = set()
    for force in (unit_force(robot, a) for a in range(robot.model.nu)):
        if force is None:
            continue
        bodies = [force.place]
        if force.kind == "joint":
            bodies = [int(robot.model.jnt_bodyid[force.place])]
        elif force.kind == "tendon":
            bodies = tendon_bodies(robot, force.place)
        driven |= {int(roots[body]) for body in bodies}
    return driven
