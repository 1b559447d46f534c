"""The same robot with its joints measured from another pose.

A mirror turns the angles of the joints round about the pose that is its own mirror image. Where this is not the pose in
which the angles are zero, no linear map does it. An arm, say, may be written down lying, but be its own image when it
stands upright.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from rpp_rl.derive.robot import FREE, HINGE, SLIDE

JOINT, AFFINE, NONE = 0, 1, 0
"""MuJoCo's mjtTrn of a joint, mjtGain and mjtBias of a line, and mjtBias of no bias."""
EQUALITY_OF_JOINTS = 2
"""MuJoCo's mjtEq of two joints."""
MAX_JOINTS = 7
"""Of a chain whose poses are searched."""
STRAIGHT, IN_PLACE = 0.01, 0.005
"""Sine of an angle, and distance in units of the reach, below which an axis lies in a plane."""


def measure_from(model: Any, pose: Sequence[float]) -> None:  # noqa: ANN401 (MuJoCo's types are not described)
    """Let hinges and slides of a compiled model be zero in another pose; nothing else about the robot changes.

    What MuJoCo has computed from the file's pose, such as how soft the limits of joints are, stays as it is too.

    Args:
        model: The model, which is changed.
        pose: For each hinge and slide its coordinate in that pose, in degrees and metres.

    Raises:
        ValueError: If there are more or fewer of them, or a tendon, a coupling, or an actuator whose force is no line
            in its joint's coordinate, depends on a coordinate that would change.
    """
    joints = np.flatnonzero(model.jnt_type >= SLIDE)
    if len(pose) != len(joints):
        raise ValueError(f"expected a pose of {len(joints)} hinges and slides, got {len(pose)} numbers")
    shift = np.zeros(model.njnt)
    shift[joints] = np.where(model.jnt_type[joints] == HINGE, np.radians(pose), pose)
    _require_independence(model, shift)
    data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
    places = model.jnt_qposadr[joints]
    data.qpos[places] = shift[joints]
    mujoco.mj_kinematics(model, data)  # pyright: ignore[reportAttributeAccessIssue]
    frames = data.xmat.reshape(-1, 3, 3)
    for b in range(1, model.nbody):
        parent, start = int(model.body_parentid[b]), int(model.body_jntadr[b])
        if start < 0 or model.jnt_type[start] == FREE:
            continue
        model.body_pos[b] = frames[parent].T @ (data.xpos[b] - data.xpos[parent])
        turn = Rotation.from_matrix(frames[parent].T @ frames[b]).as_quat()
        model.body_quat[b] = turn[[3, 0, 1, 2]]
    for j in joints:
        frame, b = frames[model.jnt_bodyid[j]], model.jnt_bodyid[j]
        model.jnt_axis[j] = frame.T @ data.xaxis[j]
        model.jnt_pos[j] = frame.T @ (data.xanchor[j] - data.xpos[b])
    model.jnt_range[joints] -= shift[joints, None]
    model.qpos_spring[places] -= shift[joints]
    model.qpos0[places] = 0.0
    model.key_qpos[:, places] -= shift[joints]
    for a in np.flatnonzero(model.actuator_trntype == JOINT):
        length = float(model.actuator_gear[a, 0]) * shift[model.actuator_trnid[a, 0]]
        model.actuator_biasprm[a, 0] += model.actuator_biasprm[a, 1] * length
        model.actuator_gainprm[a, 0] += model.actuator_gainprm[a, 1] * length


def _require_independence(model: Any, shift: Float[ndarray, " njnt"]) -> None:  # noqa: ANN401
    in_tendons = [j for kind, j in zip(model.wrap_type, model.wrap_objid, strict=True) if kind == 1]
    coupled = model.eq_type == EQUALITY_OF_JOINTS
    pairs = np.concatenate([model.eq_obj1id[coupled], model.eq_obj2id[coupled]])
    odd = [
        int(model.actuator_trnid[a, 0])
        for a in range(model.nu)
        if model.actuator_trntype[a] <= 1
        and (model.actuator_biastype[a] not in (NONE, AFFINE) or model.actuator_gaintype[a] not in (0, AFFINE))
    ]
    for what, which in (("a tendon", in_tendons), ("a coupling", pairs[pairs >= 0]), ("a muscle or motor", odd)):
        if shift[np.array(which, dtype=int)].any():
            raise ValueError(f"{what} depends on a joint's coordinate, so it cannot be measured from another pose")


def mirrored_pose(model: Any) -> tuple[float, ...] | None:  # noqa: ANN401
    """A pose of an arm in which every joint's axis lies in one upright plane or is perpendicular to it.

    As few quarter turns of joints as possible from the pose of all zeros, and near the middle of their ranges.

    Args:
        model: A chain of 3 to `MAX_JOINTS` hinges, fixed to the world.

    Returns:
        The angles in degrees, or None where there is no such pose, or the model is no such chain.
    """
    n = model.njnt
    if not (3 <= n <= MAX_JOINTS and (model.jnt_type == HINGE).all()):
        return None
    links = model.body_weldid[model.jnt_bodyid]
    below = model.body_weldid[model.body_parentid[links]]
    if below.tolist() != [0, *links[:-1].tolist()]:
        return None
    data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
    quarters = (0.0, 90.0, -90.0, 180.0)
    # The first joint turns everything; the last one must only be right up to a half turn.
    poses = product((0.0,), *([quarters] * (n - 2)), quarters[:2])
    limited = model.jnt_limited != 0
    middles = np.degrees(model.jnt_range.mean(axis=1))

    def plainness(pose: tuple[float, ...]) -> tuple[object, ...]:
        return np.count_nonzero(pose), float(np.abs(np.asarray(pose) - middles)[limited].sum()), tuple(np.abs(pose))

    for pose in sorted(poses, key=plainness):
        data.qpos[:] = np.radians(pose)
        mujoco.mj_kinematics(model, data)  # pyright: ignore[reportAttributeAccessIssue]
        if _is_mirrored(data.xaxis, data.xanchor - data.xanchor[0]):
            return pose
    return None


def _is_mirrored(axes: Float[ndarray, "n 3"], anchors: Float[ndarray, "n 3"]) -> bool:
    """Whether there is a plane through the first axis in which every axis lies, or to which it is normal."""
    across = [axis - (axis @ axes[0]) * axes[0] for axis in axes[1:]]
    reach = float(np.linalg.norm(np.diff(anchors, axis=0), axis=1).sum()) or 1.0
    for side in (a / np.linalg.norm(a) for a in across if np.linalg.norm(a) > STRAIGHT):
        for normal in (side, np.cross(axes[0], side)):
            cosines = np.abs(axes @ normal)
            is_normal = cosines > np.sqrt(1 - STRAIGHT**2)
            off = np.abs(anchors @ normal) / reach
            if (is_normal | ((cosines < STRAIGHT) & (off < IN_PLACE))).all():
                return True
    return False
