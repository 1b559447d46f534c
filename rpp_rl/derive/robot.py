"""A compiled MuJoCo model: its tree of bodies with everything in it seen in one system of axes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray

FREE, BALL, SLIDE, HINGE = range(4)
"""Types of joints, MuJoCo's mjtJoint."""
PLANE, HFIELD, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX, MESH, SDF = range(9)
"""Types of geoms, MuJoCo's mjtGeom."""

_KINDS = {
    "body": "BODY",
    "jnt": "JOINT",
    "geom": "GEOM",
    "tendon": "TENDON",
    "actuator": "ACTUATOR",
    "site": "SITE",
    "key": "KEY",
    "eq": "EQUALITY",
}
_WORDS = {"jnt": "joint", "key": "keyframe", "eq": "equality constraint"}


class Robot:
    """The pose of a model in which the coordinate of every hinge and slide is zero.

    Only this pose is its own image under a linear map of the coordinates, wherever a joint has its reference position
    (``ref``). For a slide whose coordinate is a place in the world, a goal's say, it is the origin.

    A *tree* is a child of the world with everything below it. Positions and directions are given in the axes of the
    tree: those of its root body if that floats freely, so that they describe the shape of the robot alone; those of
    the world, moved to `center`, if it is attached to the world.

    Attributes:
        model: The compiled model.
        frame: Axes of every body as columns.
        position: Origin of every body.
        com: Centre of mass of every body.
        inertia: Inertia tensor of every body about its centre of mass.
        axis: Axis of every hinge and slide.
        anchor: A point on every joint's axis.
        geom_frame: Axes of every geom as columns.
        geom_position: Centre of every geom.
        site_position: Place of every site.
        center: The fixed point of the motions of the world that a robot attached to it can follow.
        size: Largest distance between the centres of mass of bodies and geoms of one tree, at least the largest radius.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 (MuJoCo's types are not described)
        self.model = model
        data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
        data.qpos[model.jnt_qposadr[model.jnt_type >= SLIDE]] = 0.0
        mujoco.mj_kinematics(model, data)  # pyright: ignore[reportAttributeAccessIssue]
        self.children = [np.flatnonzero(model.body_parentid[1:] == b) + 1 for b in range(model.nbody)]
        self.center = self._center(data)
        to_axes, origin = self._tree_axes(data)
        self.root_frame = data.xmat.reshape(-1, 3, 3).copy()

        def seen(body: ndarray, points: ndarray) -> ndarray:
            return np.einsum("nij,nj->ni", to_axes[body], points - origin[body])

        def turned(body: ndarray, frames: ndarray) -> ndarray:
            return to_axes[body] @ frames.reshape(-1, 3, 3)

        bodies, joints, geoms = np.arange(model.nbody), model.jnt_bodyid, model.geom_bodyid
        self.frame = turned(bodies, data.xmat)
        self.position = seen(bodies, data.xpos)
        self.com = seen(bodies, data.xipos)
        principal = turned(bodies, data.ximat)
        self.inertia = principal @ (model.body_inertia[:, :, None] * principal.transpose(0, 2, 1))
        self.axis = np.einsum("nij,nj->ni", to_axes[joints], data.xaxis)
        self.anchor = seen(joints, data.xanchor)
        self.geom_frame = turned(geoms, data.geom_xmat)
        self.geom_position = seen(geoms, data.geom_xpos)
        self.site_position = seen(model.site_bodyid, data.site_xpos)
        self.size = self._size()

    def joints(self, body: int) -> list[int]:
        """The joints between a body and its parent, outermost first."""
        start = int(self.model.body_jntadr[body])
        return list(range(start, start + int(self.model.body_jntnum[body]))) if start >= 0 else []

    def is_free(self, body: int) -> bool:
        """Whether a body floats freely."""
        joints = self.joints(body)
        return bool(joints) and int(self.model.jnt_type[joints[0]]) == FREE

    def is_static(self, body: int) -> bool:
        """Whether a body is a part of the world."""
        return int(self.model.body_weldid[body]) == 0

    def feels_inertia(self, body: int) -> bool:
        """Whether a body ever turns, or moves in a fluid, whose drag MuJoCo takes from the inertia."""
        if body == 0:
            return bool(self.model.opt.density or self.model.opt.viscosity)
        kinds = self.model.jnt_type[self.joints(body)]
        return bool((kinds != SLIDE).any()) or self.feels_inertia(int(self.model.body_parentid[body]))

    def disables(self, *whats: str) -> bool:
        """Whether the model's options switch one of some things off: ``"GRAVITY"``, ``"CONTACT"``, ..."""
        bits = [int(getattr(mujoco.mjtDisableBit, f"mjDSBL_{what}")) for what in whats]  # pyright: ignore[reportAttributeAccessIssue]
        return any(self.model.opt.disableflags & bit for bit in bits)

    @property
    def gravity(self) -> Float[ndarray, " 3"]:
        """Zero where the model switches it off."""
        return np.zeros(3) if self.disables("GRAVITY") else np.array(self.model.opt.gravity)

    def carries(self, body: int) -> bool:
        """Whether something that moves hangs on a body."""
        return any(not self.is_static(c) or self.carries(c) for c in self.children[body].tolist())

    @cached_property
    def free_roots(self) -> list[int]:
        """The bodies that float freely."""
        return [b for b in range(self.model.nbody) if self.is_free(b)]

    @cached_property
    def felt_geoms(self) -> list[list[int]]:
        """For each body the geoms that can touch something or feel a fluid; the others are for the eye."""
        model = self.model
        paired = np.zeros(model.ngeom, dtype=bool)
        paired[np.concatenate([model.pair_geom1, model.pair_geom2]).astype(int)] = True
        in_fluid = (model.geom_fluid[:, 0] != 0) & bool(model.opt.density > 0 or model.opt.viscosity > 0)
        touching = (model.geom_contype != 0) | (model.geom_conaffinity != 0) | paired
        felt = (touching & (not self.disables("CONTACT", "CONSTRAINT"))) | in_fluid
        return [np.flatnonzero(felt & (model.geom_bodyid == b)).tolist() for b in range(model.nbody)]

    @cached_property
    def signatures(self) -> list[str]:
        """For each body the types of the joints in it and below it; only bodies with equal ones can change places."""
        signatures = [""] * self.model.nbody
        for b in reversed(range(self.model.nbody)):
            joints = sorted(int(self.model.jnt_type[j]) for j in self.joints(b))
            signatures[b] = f"({joints}{''.join(sorted(signatures[c] for c in self.children[b]))})"
        return signatures

    def name(self, kind: str, index: int) -> str:
        """The name of a body, joint (``"jnt"``), geom, tendon or actuator, or a description of one without a name."""
        own = self.own_name(kind, index)
        if own:
            return own
        if kind == "geom":
            body = int(self.model.geom_bodyid[index])
            number = index - int(self.model.body_geomadr[body])
            return f"geom {number} of {self.name('body', body)}"
        if kind == "jnt":
            body = int(self.model.jnt_bodyid[index])
            return f"joint {index - int(self.model.body_jntadr[body])} of {self.name('body', body)}"
        if kind == "actuator" and int(self.model.actuator_trntype[index]) == 0:
            return f"actuator of {self.name('jnt', int(self.model.actuator_trnid[index, 0]))}"
        return f"{kind} {index}"

    def index(self, kind: str, name: str) -> int:
        """The body, joint (``"jnt"``), geom, tendon, actuator, site or keyframe of a name.

        Raises:
            ValueError: If there is none.
        """
        kind_id = int(getattr(mujoco.mjtObj, f"mjOBJ_{_KINDS[kind]}"))  # pyright: ignore[reportAttributeAccessIssue]
        index = int(mujoco.mj_name2id(self.model, kind_id, name))  # pyright: ignore[reportAttributeAccessIssue]
        if index < 0:
            counts = {"jnt": "njnt", "actuator": "nu"}
            count = int(getattr(self.model, counts.get(kind, f"n{kind}")))
            known = [own for own in (self.own_name(kind, i) for i in range(count)) if own]
            word = _WORDS.get(kind, kind)
            raise ValueError(f"the model has no {word} {name!r}; there are {', '.join(known) or 'none with a name'}")
        return index

    def own_name(self, kind: str, index: int) -> str | None:
        """The name in the MJCF."""
        kind_id = getattr(mujoco.mjtObj, f"mjOBJ_{_KINDS[kind]}")  # pyright: ignore[reportAttributeAccessIssue]
        return mujoco.mj_id2name(self.model, int(kind_id), index)  # pyright: ignore[reportAttributeAccessIssue]

    def _center(self, data: Any) -> Float[ndarray, " 3"]:  # noqa: ANN401
        moving = sorted({int(self.model.body_rootid[b]) for b in self.model.jnt_bodyid})
        if not moving or any(self.is_free(c) for c in moving):
            return np.zeros(3)
        return data.xpos[moving].mean(axis=0)

    def _tree_axes(self, data: Any) -> tuple[Float[ndarray, "nbody 3 3"], Float[ndarray, "nbody 3"]]:  # noqa: ANN401
        to_axes = np.tile(np.eye(3), (self.model.nbody, 1, 1))
        origin = np.tile(self.center, (self.model.nbody, 1))
        for b in range(self.model.nbody):
            root = int(self.model.body_rootid[b])
            if self.is_free(root):
                to_axes[b], origin[b] = data.xmat[root].reshape(3, 3).T, data.xpos[root]
        return to_axes, origin

    def _size(self) -> float:
        roots = self.model.body_rootid
        moving = self.model.body_weldid != 0
        points = np.concatenate([self.com[moving], self.geom_position[moving[self.model.geom_bodyid]]])
        owners = np.concatenate([roots[moving], roots[self.model.geom_bodyid][moving[self.model.geom_bodyid]]])
        spans = [float(np.ptp(points[owners == root], axis=0).max()) for root in np.unique(owners)]
        radii = self.model.geom_rbound[moving[self.model.geom_bodyid]]
        return max([*spans, *radii.tolist()], default=1.0) or 1.0
