"""The vocabulary of observations: what usual quantities of robots are called, and how a symmetry moves them.

A motion g of the world together with a motion s of the robot's shape (in the axes of its base, det g = det s) takes the
base's rotation R to g R sᵀ. A velocity in the base's axes is a vector and goes to s v, an angular velocity is a
pseudovector and goes to det(s) s ω; gravity in the base's axes is a vector, which g does not touch, because g keeps
gravity. Numbers of joints, bodies and actuators change places as these do, with the signs of their axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from rpp_rl.derive.joints import JOINT_FORCE, JOINT_POSITION, JOINT_VELOCITY, joined
from rpp_rl.derive.robot import HINGE, SLIDE, Robot
from rpp_rl.derive.symmetries import RobotSymmetry
from rpp_rl.symmetry.matrices import snapped

COINCIDENT = 1e-6
"""Distance [m] below which two points of a height scan are one."""


class NoLinearMapError(ValueError):
    """A symmetry does not act linearly on a quantity."""


@dataclass(frozen=True)
class Options:
    """What a quantity is about, besides its kind.

    Attributes:
        joints: Names of joints, in the order of the numbers.
        actuators: Names of actuators.
        bodies: Names of bodies.
        geoms: Names of geoms.
        site: The name of the site at which a sensor sits.
        base: The name of the body in whose axes a quantity is given; the robot's floating body if not named.
        x: Where the points of a height scan are, forward of the base [m].
        y: Where they are to its left [m]; the numbers run through all ``y`` for the first ``x``, and so on.
    """

    joints: tuple[str, ...] | None = None
    actuators: tuple[str, ...] | None = None
    bodies: tuple[str, ...] | None = None
    geoms: tuple[str, ...] | None = None
    site: str | None = None
    base: str | None = None
    x: tuple[float, ...] | None = None
    y: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity.

    Attributes:
        meaning: What it is.
        kind: One of `rpp_rl.envs.layout.KINDS`, or a table of kind and unit by the type of joint.
        unit: Its unit, or that of each of its numbers.
        names: The components, or owners, of its numbers, given the robot and the options.
        matrix: How a symmetry moves them.
        needs: Options that have to be given.
        takes: Options that may be given.
        is_rotation: Whether it is a quaternion (w, x, y, z), moved as a rotation matrix.
    """

    meaning: str
    kind: str | Mapping[int, tuple[str, str]]
    unit: str | tuple[str, ...]
    names: Callable[[Robot, Options], Sequence[str]]
    matrix: Callable[[RobotSymmetry, Options], Float[ndarray, "n n"]]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = field(default=("base",))
    is_rotation: bool = False

    def measures(self, robot: Robot, options: Options, count: int) -> list[tuple[str, str]]:
        """Kind and unit of each of its ``count`` numbers."""
        if isinstance(self.kind, Mapping):
            return [self.kind[int(robot.model.jnt_type[j])] for j in joint_indices(robot, options)]
        units = self.unit if isinstance(self.unit, tuple) else (self.unit,) * count
        return [(self.kind, unit) for unit in units]


def shape_of(element: RobotSymmetry, options: Options) -> Float[ndarray, "3 3"]:
    """The motion of the robot's shape in the axes of its base."""
    robot, shapes = element.robot, dict(element.match.shapes)
    root = _base(robot, options)
    if root is None:
        return element.world
    floating = int(robot.model.body_rootid[root])
    motion = shapes.get(floating, element.world)
    if element.bodies[root] != root:
        raise NoLinearMapError(f"{robot.name('body', root)} takes the place of another body")
    # In the axes of the base itself, which is turned against those of its tree's root.
    return snapped(robot.frame[root].T @ motion @ robot.frame[root], 1e-9)


def _base(robot: Robot, options: Options) -> int | None:
    if options.base is not None:
        return robot.index("body", options.base)
    return robot.free_roots[0] if robot.free_roots else None


def _polar(element: RobotSymmetry, options: Options) -> Float[ndarray, "3 3"]:
    return shape_of(element, options)


def _axial(element: RobotSymmetry, options: Options) -> Float[ndarray, "3 3"]:
    s = shape_of(element, options)
    return np.linalg.det(s).round() * s


def _planar(element: RobotSymmetry, options: Options) -> Float[ndarray, "3 3"]:
    """Of a shape that stays upright."""
    s = shape_of(element, options)
    if np.abs(s[2, :2]).max() > 1e-9 or np.abs(s[:2, 2]).max() > 1e-9:
        raise NoLinearMapError("the base does not stay upright")
    return s


def _yaw_sign(element: RobotSymmetry, options: Options) -> Float[ndarray, "1 1"]:
    s = _planar(element, options)
    return np.linalg.det(s).round() * s[2:, 2:]


def _diagonal_axial(element: RobotSymmetry, options: Options) -> Float[ndarray, "2 2"]:
    """Of roll and pitch, which only mirrors and half turns keep apart."""
    turn = _axial(element, options)
    if not np.isin(np.abs(turn), (0.0, 1.0)).all() or np.abs(np.diag(turn)).min() < 1:
        raise NoLinearMapError("roll and pitch are exchanged")
    return turn[:2, :2]


def _sensor_frame(element: RobotSymmetry, options: Options) -> Float[ndarray, "3 3"]:
    """The motion of the shape in the axes of a site."""
    robot = element.robot
    site = robot.index("site", options.site or "")
    body = int(robot.model.site_bodyid[site])
    if element.bodies[body] != body:
        raise NoLinearMapError(f"the body of site {options.site} takes the place of another")
    motion = dict(element.match.shapes).get(int(robot.model.body_rootid[body]), element.world)
    frame = robot.frame[body] @ Rotation.from_quat(robot.model.site_quat[site][[1, 2, 3, 0]]).as_matrix()
    return snapped(frame.T @ motion @ frame, 1e-9)


def _permuted(places: Sequence[int], images: Callable[[int], tuple[int, float]]) -> Float[ndarray, "n n"]:
    """The signed permutation of things, given where each goes and with which sign."""
    where = {place: i for i, place in enumerate(places)}
    matrix = np.zeros((len(places), len(places)))
    for i, place in enumerate(places):
        image, sign = images(place)
        if image not in where:
            raise NoLinearMapError("a named part takes the place of one that is not named")
        matrix[where[image], i] = sign
    return matrix


def joint_indices(robot: Robot, options: Options) -> list[int]:
    """The named joints, or all hinges and slides in the model's order.

    Raises:
        ValueError: If there is no joint of a name, or it has more than one degree of freedom.
    """
    model = robot.model
    if options.joints is None:
        return [j for j in range(model.njnt) if int(model.jnt_type[j]) in (HINGE, SLIDE)]
    joints = [robot.index("jnt", name) for name in options.joints]
    for name, joint in zip(options.joints, joints, strict=True):
        if int(model.jnt_type[joint]) not in (HINGE, SLIDE):
            raise ValueError(f"joint {name!r} is neither a hinge nor a slide")
    return joints


def _joints(element: RobotSymmetry, options: Options) -> Float[ndarray, "n n"]:
    maps = {m.joint: (m.image, float(m.position[0, 0])) for m in element.match.joints if m.position.size == 1}
    return _permuted(joint_indices(element.robot, options), maps.__getitem__)


def _controls(element: RobotSymmetry, options: Options) -> Float[ndarray, "n n"]:
    if options.joints is not None:
        return _joints(element, options)
    robot = element.robot
    names = options.actuators
    actuators = range(robot.model.nu) if names is None else [robot.index("actuator", name) for name in names]
    maps = {m.actuator: (m.image, m.sign) for m in element.actuators}
    return _permuted(list(actuators), maps.__getitem__)


def _parts(element: RobotSymmetry, options: Options) -> Float[ndarray, "n n"]:
    """Bodies or geoms that change places."""
    robot = element.robot
    if options.geoms is not None:
        images = dict(element.match.geoms)
        geoms = [robot.index("geom", name) for name in options.geoms]
        if any(geom not in images for geom in geoms):
            raise NoLinearMapError("a geom that touches nothing is not followed")
        return _permuted(geoms, lambda geom: (images[geom], 1.0))
    bodies = [robot.index("body", name) for name in options.bodies or ()]
    return _permuted(bodies, lambda body: (element.bodies[body], 1.0))


def _scan(element: RobotSymmetry, options: Options) -> Float[ndarray, "n n"]:
    s = _planar(element, options)
    points = np.array([(x, y) for x in options.x or () for y in options.y or ()])
    images = points @ s[:2, :2].T
    distances = np.linalg.norm(images[:, None] - points[None], axis=2)
    nearest = distances.argmin(axis=1)
    if distances[np.arange(len(points)), nearest].max() > COINCIDENT:
        raise NoLinearMapError("the points of the height scan do not fall on points")
    return _permuted(range(len(points)), lambda i: (int(nearest[i]), 1.0))


def _xyz(_: Robot, __: Options) -> Sequence[str]:
    return ("x", "y", "z")


def _joint_names(robot: Robot, options: Options) -> Sequence[str]:
    return [robot.name("jnt", j) for j in joint_indices(robot, options)]


def _control_names(robot: Robot, options: Options) -> Sequence[str]:
    if options.joints is not None:
        return _joint_names(robot, options)
    return options.actuators or [robot.name("actuator", a) for a in range(robot.model.nu)]


def _part_names(_: Robot, options: Options) -> Sequence[str]:
    return options.geoms or options.bodies or ()


def _scan_names(_: Robot, options: Options) -> Sequence[str]:
    return [f"at {x:g}, {y:g}" for x in options.x or () for y in options.y or ()]


def _one(name: str) -> Callable[[Robot, Options], Sequence[str]]:
    return lambda _, __: (name,)


def _trivial(_: RobotSymmetry, __: Options) -> Float[ndarray, "1 1"]:
    return np.eye(1)


def _vectors(of: Callable[[RobotSymmetry, Options], ndarray]) -> Callable[[RobotSymmetry, Options], ndarray]:
    """A vector for each body or geom."""
    return lambda element, options: np.kron(_parts(element, options), of(element, options))


def _part_vectors(robot: Robot, options: Options) -> Sequence[str]:
    return [f"{part} {component}" for part in _part_names(robot, options) for component in "xyz"]


def _world(element: RobotSymmetry, _: Options) -> Float[ndarray, "3 3"]:
    return element.world


def _handedness(element: RobotSymmetry, options: Options) -> Float[ndarray, "1 1"]:
    return np.array([[np.linalg.det(shape_of(element, options)).round()]])


PARTS = ("bodies", "geoms")
QUANTITIES: Mapping[str, Quantity] = {
    "base_lin_vel": Quantity("velocity, base axes", "velocity", "m/s", _xyz, _polar),
    "base_ang_vel": Quantity("angular velocity, base axes", "rate", "rad/s", _xyz, _axial),
    "projected_gravity": Quantity("gravity, base axes", "direction", "1", _xyz, _polar),
    "base_height": Quantity("height", "position", "m", _one("base"), _trivial),
    "base_pos": Quantity("position, world axes", "position", "m", _xyz, _world),
    "base_quat": Quantity("orientation", "orientation", "1", _one("base"),
                          lambda e, o: np.kron(e.world, shape_of(e, o)), is_rotation=True),
    "base_rotation": Quantity("rotation matrix", "orientation", "1",
                              lambda _, __: [f"{a}{b}" for a in "xyz" for b in "xyz"],
                              lambda e, o: np.kron(e.world, shape_of(e, o))),
    "roll_pitch": Quantity("roll and pitch", "angle", "rad", lambda _, __: ("roll", "pitch"), _diagonal_axial),
    "world_lin_vel": Quantity("velocity, world axes", "velocity", "m/s", _xyz, _world),
    "world_ang_vel": Quantity("angular velocity, world axes", "rate", "rad/s", _xyz,
                              lambda e, _: np.linalg.det(e.world).round() * e.world),
    "command_velocity": Quantity("commanded velocity", "command", ("m/s", "m/s", "rad/s"),
                                 lambda _, __: ("forward", "left", "yaw rate"),
                                 lambda e, o: joined(_planar(e, o)[:2, :2], _yaw_sign(e, o))),
    "command_lin_vel": Quantity("commanded velocity", "command", "m/s", lambda _, __: ("forward", "left"),
                                lambda e, o: _planar(e, o)[:2, :2]),
    "command_yaw_rate": Quantity("commanded yaw rate", "command", "rad/s", _one("yaw"), _yaw_sign),
    "command_heading": Quantity("heading to go", "command", "rad", _one("heading"), _yaw_sign),
    "joint_pos": Quantity("joint position", JOINT_POSITION, "", _joint_names, _joints, takes=("joints",)),
    "joint_vel": Quantity("joint velocity", JOINT_VELOCITY, "", _joint_names, _joints, takes=("joints",)),
    "joint_torque": Quantity("joint torque", JOINT_FORCE, "", _joint_names, _joints, takes=("joints",)),
    "last_action": Quantity("last action", "action", "1", _control_names, _controls, takes=("joints", "actuators")),
    "contact": Quantity("contact", "contact", "1", _part_names, _parts, takes=PARTS),
    "contact_force": Quantity("contact force, world axes", "force", "N", _part_vectors, _vectors(_world), takes=PARTS),
    "body_pos": Quantity("position, base axes", "position", "m", _part_vectors, _vectors(_polar),
                         takes=(*PARTS, "base")),
    "imu_acc": Quantity("acceleration, sensor axes", "acceleration", "m/s²", _xyz, _sensor_frame, ("site",), ()),
    "imu_gyro": Quantity("angular velocity, sensor axes", "rate", "rad/s", _xyz,
                         lambda e, o: np.linalg.det(_sensor_frame(e, o)).round() * _sensor_frame(e, o), ("site",), ()),
    "height_scan": Quantity("height of the ground", "position", "m", _scan_names, _scan, ("x", "y")),
    "scalar": Quantity("scalar", "other", "1", _one(""), _trivial, takes=()),
    "pseudoscalar": Quantity("pseudoscalar", "other", "1", _one(""), _handedness),
}  # fmt: skip
"""All kinds by name."""
