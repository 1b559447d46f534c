"""Perturb models that are exactly symmetric: is what matters in simulation named, and nothing else?

    python -m scripts.fuzz_robots --models 10 --cases 300

Random robots with two equal sides, floating or fixed, are written as MJCF. In the compiled model one number of one part
is changed, or the same number of the part and of its image. An oracle that shares no code with the comparison steps
MuJoCo itself from random states and their images. A case fails if the symmetry breaks and no violation names the part
(missed), or if it does not break and something is named (false alarm): the comparison does not know what a robot can
reach, so that a foot that never touches anything differs all the same.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy import ndarray
from tqdm import tqdm

from rpp_rl.derive.robot import HINGE, Robot
from rpp_rl.derive.symmetries import RobotSymmetry, find_symmetries

MIRROR = np.diag([1.0, -1.0, 1.0])
N_STATES = 60
MATTERS = 1e-9
"""Relative error of a step from which on a perturbation matters."""


def model_text(rng: np.random.Generator) -> str:
    """A random robot whose left and right are images of each other, with a spine and one to three pairs of limbs.

    Of spheres and capsules alone: MuJoCo computes contacts of other shapes by steps that are not the same in a mirror.
    """
    floats = rng.uniform() < 0.7
    limbs = "".join(limb for k in range(rng.integers(1, 4)) for limb in _pair(rng, f"limb{k}"))
    actuators = "".join(_actuators(rng, f"limb{k}") for k in range(limbs.count("<!--right")))
    spine = (
        f'<body name="head" pos="{_text(rng.uniform(0.1, 0.3))} 0 .1"><joint name="neck" axis="0 1 0" range="-.5 .9" '
        f'damping=".4"/><geom name="skull" type="sphere" size=".07"/></body>'
    )
    root = "<freejoint/>" if floats else ""
    return f"""<mujoco><compiler angle="radian"/><option timestep=".004" cone="elliptic"/><worldbody>
  <geom name="floor" type="plane" size="5 5 1"/>
  <body name="trunk" pos="0 0 {"0.5" if floats else "1"}">{root}
    <geom name="chest" type="capsule" size=".1" fromto="0 -.1 0 0 .1 0"/>{spine}{limbs}</body></worldbody>
  <actuator><motor name="nod" joint="neck" gear="3" ctrlrange="-1 1"/>{actuators}</actuator></mujoco>"""


def _text(*numbers: float) -> str:
    return " ".join(f"{number:.17g}" for number in np.ravel(numbers))


def _pair(rng: np.random.Generator, name: str) -> Iterator[str]:
    """A limb of two links on the left, and its image."""
    start = np.array([rng.uniform(-0.2, 0.2), 0.13, rng.uniform(-0.05, 0.05)])
    knee, end = (rng.uniform([-0.1, 0.0, -0.3], [0.1, 0.1, -0.1]) for _ in range(2))
    kind = ["hinge", "slide"][int(rng.uniform() < 0.2)]
    axes = [rng.normal(size=3) for _ in range(2)]
    ranges = np.sort(rng.uniform(-1.0, 1.0, size=(2, 2)), axis=1) * (0.2 if kind == "slide" else 1.0)
    turn = rng.normal(size=4)
    foot = ['type="sphere" size=".05"', 'type="capsule" size=".03 .05"'][rng.integers(2)]
    numbers = rng.uniform(0.2, 1.0, size=3)
    signs = rng.choice([-1.0, 1.0], size=2)
    for side, m in (("left", np.eye(3)), ("right", MIRROR)):
        is_right = side == "right"
        own = []
        for axis, bounds, sign, what in zip(axes, ranges, signs, (kind, "hinge"), strict=True):
            image = (np.linalg.det(m) if what == "hinge" else 1.0) * m @ axis
            # The image of an axis may be written the other way round: the coordinate then changes sign.
            turned = sign < 0 and is_right
            own.append((-image if turned else image, -bounds[::-1] if turned else bounds, what))
        quaternion = turn * ([1, -1, 1, -1] if is_right else [1, 1, 1, 1])
        yield f"""<!--{side}--><body name="{side} {name}" pos="{_text(m @ start)}">
  <joint name="{side} {name} hip" type="{own[0][2]}" axis="{_text(own[0][0])}" range="{_text(own[0][1])}"
    limited="true" damping="{_text(numbers[0])}" armature=".01"/>
  <geom name="{side} {name} thigh" type="capsule" size=".04" fromto="0 0 0 {_text(m @ knee)}"/>
  <body name="{side} {name} shin" pos="{_text(m @ knee)}">
    <joint name="{side} {name} knee" axis="{_text(own[1][0])}" range="{_text(own[1][1])}" limited="true"
      damping="{_text(numbers[1])}" stiffness="{_text(numbers[2])}"/>
    <geom name="{side} {name} calf" type="capsule" size=".03" fromto="0 0 0 {_text(m @ end)}"/>
    <geom name="{side} {name} foot" {foot} pos="{_text(m @ end)}" quat="{_text(quaternion)}"/></body></body>"""


def _actuators(rng: np.random.Generator, name: str) -> str:
    """The same kind on both sides; which way round the joint turns, motor and symmetry find out."""
    gear, kp = rng.uniform(2, 9, size=2)
    text = ""
    for joint in ("hip", "knee"):
        kind = rng.choice(["motor", "velocity", "position"])
        gains = {"motor": f'gear="{_text(gear)}"', "velocity": f'kv="{_text(kp)}"', "position": f'kp="{_text(4 * kp)}"'}
        for side in ("left", "right"):
            place = f'joint="{side} {name} {joint}" name="{side} {name} {joint} drive"'
            text += f'<{kind} {place} {gains[kind]} ctrlrange="-1 1"/>'
    return text


@dataclass(frozen=True)
class Change:
    """One number of a model.

    Attributes:
        field: Name of the array.
        part: Kind of part, as in MuJoCo's names of fields.
        changed: The new entries for the old ones.
        is_scalar: Whether the image of the part takes the same entries, so that both can be changed together.
    """

    field: str
    part: str
    changed: Callable[[ndarray, np.random.Generator], ndarray]
    is_scalar: bool = False


def _scaled(values: ndarray, rng: np.random.Generator) -> ndarray:
    return values * (1 + rng.choice([-1, 1]) * rng.uniform(0.02, 0.2))


def _one_scaled(values: ndarray, rng: np.random.Generator) -> ndarray:
    changed, i = values.copy(), int(rng.choice(np.flatnonzero(values)))
    changed[i] = _scaled(values[i], rng)
    return changed


def _grown(values: ndarray, rng: np.random.Generator) -> ndarray:
    """Enough to stick out of the other geoms of the body, within which nothing is felt."""
    changed, i = values.copy(), int(rng.choice(np.flatnonzero(values)))
    changed[i] *= rng.uniform(1.6, 2.0)
    return changed


def _one_shifted(values: ndarray, rng: np.random.Generator) -> ndarray:
    changed = values.copy()
    changed[rng.integers(len(values))] += rng.choice([-1, 1]) * rng.uniform(0.005, 0.02)
    return changed


def _tilted(values: ndarray, rng: np.random.Generator) -> ndarray:
    tilted = values + 0.1 * rng.normal(size=3)
    return tilted / np.linalg.norm(tilted)


CHANGES = (
    Change("body_mass", "body", _scaled, is_scalar=True),
    Change("body_inertia", "body", _one_scaled),
    Change("body_ipos", "body", _one_shifted),
    Change("body_pos", "body", _one_shifted),
    Change("body_gravcomp", "body", lambda values, rng: values + rng.uniform(0.1, 0.5), is_scalar=True),
    Change("jnt_range", "jnt", _one_shifted),
    Change("jnt_axis", "jnt", _tilted),
    Change("jnt_pos", "jnt", _one_shifted),
    Change("jnt_stiffness", "jnt", lambda values, rng: values + rng.uniform(0.5, 2), is_scalar=True),
    Change("dof_damping", "dof", lambda values, rng: values + rng.uniform(0.05, 0.3), is_scalar=True),
    Change("dof_armature", "dof", lambda values, rng: values + rng.uniform(0.005, 0.02), is_scalar=True),
    Change("dof_frictionloss", "dof", lambda values, rng: values + rng.uniform(0.05, 0.3), is_scalar=True),
    Change("geom_size", "geom", _grown),
    Change("geom_pos", "geom", lambda values, rng: 3 * _one_shifted(values, rng) - 2 * values),
    Change("geom_friction", "geom", lambda values, rng: values * [rng.choice([0.4, 1.7]), 1, 1], is_scalar=True),
    Change("geom_solref", "geom", lambda values, rng: values * [rng.uniform(1.3, 2), 1], is_scalar=True),
    Change("geom_rgba", "geom", lambda values, rng: rng.uniform(size=4), is_scalar=True),
    Change("actuator_gear", "actuator", _one_scaled, is_scalar=True),
    Change("actuator_ctrlrange", "actuator", lambda values, rng: values * [rng.uniform(0.3, 0.7), 1.0]),
)
"""What is changed."""


class Original:
    """A model that is exactly symmetric, and its symmetry."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.model = mujoco.MjModel.from_xml_string(model_text(rng))
        robot = Robot(self.model)
        mirrors = [e for e in find_symmetries(robot) if np.array_equal(e.world, MIRROR) and not e.violations]
        self.symmetry: RobotSymmetry = mirrors[0]
        self.rounding = self.error(self.model, rng)

    def image(self, part: str, index: int) -> int:
        """Which part takes the place of another."""
        match = self.symmetry.match
        joints = {m.joint: m.image for m in match.joints}
        if part == "dof":
            joint = joints[int(self.model.dof_jntid[index])]
            return int(self.model.jnt_dofadr[joint]) + index - int(self.model.jnt_dofadr[self.model.dof_jntid[index]])
        pairs = {"body": dict(match.bodies), "jnt": joints, "geom": dict(match.geoms),
                 "actuator": {m.actuator: m.image for m in self.symmetry.actuators}}  # fmt: skip
        return pairs[part].get(index, index)

    def error(self, model: Any, rng: np.random.Generator) -> float:  # noqa: ANN401 (MuJoCo describes no types)
        """The largest relative error of one step of a model under the maps of the original."""
        data, s = mujoco.MjData(model), self.symmetry
        worst = 0.0
        for _ in range(N_STATES):
            qpos, qvel = data.qpos * 0 + model.qpos0, rng.normal(size=model.nv)
            for j in range(model.njnt):
                at = int(model.jnt_qposadr[j])
                if model.jnt_type[j] == 0:
                    qpos[at + 2] = rng.uniform(0.0, 0.5)
                    qpos[at + 3 : at + 7] = rng.normal(size=4)
                    qpos[at + 3 : at + 7] /= np.linalg.norm(qpos[at + 3 : at + 7])
                else:
                    low, high = model.jnt_range[j]
                    qpos[at] = rng.uniform(low - 0.1, high + 0.1)
            control = rng.uniform(-1.2, 1.2, size=model.nu)
            ends = []
            for state in ((qpos, qvel, control), self._moved(qpos, qvel, control)):
                mujoco.mj_resetData(model, data)
                data.qpos[:], data.qvel[:], data.ctrl[:] = state
                mujoco.mj_step(model, data)
                ends.append(data.qvel.copy())
            change = s.velocity @ (ends[0] - qvel)
            off = np.abs(s.velocity @ ends[0] - ends[1]).max()
            worst = max(worst, float(off / max(np.abs(change).max(), 1e-12)))
        return worst

    def _moved(self, qpos: ndarray, qvel: ndarray, control: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        """The image of a state, by hand: p' = M p, q' = (w, -x, y, -z) composed with the mirror of the shape."""
        s, model = self.symmetry, self.model
        moved = qpos.copy()
        for m in s.match.joints:
            at, to = int(model.jnt_qposadr[m.joint]), int(model.jnt_qposadr[m.image])
            if model.jnt_type[m.joint] == 0:
                # The trunk's axes are those of the world at rest, and its shape is mirrored as the world is.
                moved[to : to + 3] = MIRROR @ qpos[at : at + 3]
                moved[to + 3 : to + 7] = qpos[at + 3 : at + 7] * [1, -1, 1, -1]
            else:
                moved[to] = float(m.position[0, 0]) * qpos[at]
        return moved, s.velocity @ qvel, s.control @ control


@dataclass(frozen=True)
class Case:
    """What was changed and what came of it."""

    what: str
    field: str
    matters: float
    named: tuple[str, ...]
    names_the_part: bool

    @property
    def failure(self) -> str | None:
        """``missed``, ``false alarm``, or None."""
        if self.matters > MATTERS:
            return None if self.names_the_part else "missed"
        return "false alarm" if self.named else None


def case(original: Original, change: Change, rng: np.random.Generator) -> Case | None:
    """Change one number, or the same one of both sides, compare and step; None if there is nothing to change."""
    model = copy.copy(original.model)
    array = getattr(model, change.field)
    candidates = [i for i in range(len(array)) if _has(model, change, i)]
    if not candidates:
        return None
    i = int(rng.choice(candidates))
    j = original.image(change.part, i)
    before = np.atleast_1d(array[i]).astype(float)
    values = change.changed(before, rng)
    both = change.is_scalar and rng.uniform() < 0.25
    for index in (i, j) if both else (i,):
        array[index] = values.reshape(array[index].shape)
    if change.field == "geom_size":
        model.geom_rbound[i] *= 2.0
        model.geom_aabb[i, 3:] *= 2.0
    # Short cuts that the compiler took for places that coincide.
    for short_cut in (model.body_simple, model.body_sameframe, model.geom_sameframe, model.dof_simplenum):
        short_cut[:] = 0
    mujoco.mj_setConst(model, mujoco.MjData(model))
    robot = Robot(model)
    element = next(
        (e for e in find_symmetries(robot)
         if np.array_equal(e.world, MIRROR) and _same_maps(e, original.symmetry)), None,
    )  # fmt: skip
    texts = ("no symmetry near",) if element is None else tuple(str(v) for v in element.violations if not v.is_rounding)
    kind = "jnt" if change.part == "dof" else change.part
    owners = [int(model.dof_jntid[k]) if change.part == "dof" else k for k in (i, j)]
    names = [robot.name(kind, owner) for owner in owners]
    what = f"{change.field} of {names[0]}{' and its image' if both else ''} {before} -> {values}"
    hit = element is None or any(name in text for name in names for text in texts)
    return Case(what, change.field, original.error(model, np.random.default_rng(1)), texts, hit)


def _has(model: Any, change: Change, i: int) -> bool:  # noqa: ANN401
    """Whether a part has the property that is changed."""
    if change.part == "body":
        return int(model.body_weldid[i]) != 0 and not (change.field == "body_pos" and model.body_jntnum[i] == 0)
    if change.part == "jnt":
        return model.jnt_type[i] >= 2 and not (change.field == "jnt_pos" and model.jnt_type[i] != HINGE)
    if change.part == "dof":
        return model.jnt_type[model.dof_jntid[i]] >= 2
    if change.part == "geom":
        return int(model.geom_bodyid[i]) != 0
    return True


def _same_maps(element: RobotSymmetry, other: RobotSymmetry) -> bool:
    return (
        element.bodies == other.bodies
        and np.array_equal(element.velocity, other.velocity)
        and np.array_equal(element.control, other.control)
    )


def cases(n_models: int, n_cases: int, seed: int) -> Iterator[Case]:
    """Perturbations of several models, every kind in turn."""
    rng = np.random.default_rng(seed)
    originals: list[Original] = []
    while len(originals) < n_models:
        # Limbs that cross have contacts without a direction of their own; in such a robot nothing small could be seen.
        original = Original(rng)
        originals += [original] if original.rounding < MATTERS else []
    for k in range(n_cases):
        found = case(originals[k % n_models], CHANGES[k % len(CHANGES)], rng)
        if found is not None:
            yield found


def main() -> int:
    """Parse the command line, fuzz, and print the counts; 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = list(tqdm(cases(args.models, args.cases, args.seed), total=args.cases, disable=None))
    counts: Counter[tuple[str, bool, bool]] = Counter((c.field, c.matters > MATTERS, bool(c.named)) for c in found)
    print("| field | matters, named | matters, not named | does not matter, named | neither |")
    print("|---|---|---|---|---|")
    for field in dict.fromkeys(change.field for change in CHANGES):
        numbers = [counts[field, *key] for key in ((True, True), (True, False), (False, True), (False, False))]
        print(f"| {field} | {' | '.join(map(str, numbers))} |")
    failures = [c for c in found if c.failure]
    for c in failures:
        print(f"{c.failure}: {c.what}; error {c.matters:.1e}; named: {'; '.join(c.named[:3]) or 'nothing'}")
    print(f"{len(found)} perturbations of {args.models} models, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
