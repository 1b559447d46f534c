"""Which actuator takes over the work of which, with which sign, and what the two violate.

The force of an actuator with gear γ is γ (k u + b₀ + b₁ l + b₂ l'), l = γ q. If its joint's coordinate takes the sign
σ, the control takes the sign of σ γ k γ' k', and the image has to have the same |γ k|, b₁ γ², b₂ γ² and, up to sign,
b₀ γ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from rpp_rl.derive.forces import Force, Motion, sign_between, unit_force
from rpp_rl.derive.joints import signed_range
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.violations import EQUAL, Violation, differing, plain_violations

LINEAR_DYNAMICS, FIXED_GAIN, SIMPLE_BIAS = (0, 1, 2, 3), 0, (0, 1)
"""Types of dynamics, gain and bias whose parameters are understood."""
NO_PARTNER = 1e6
MAX_NAMED = 3
"""Names that are told of many actuators."""


@dataclass(frozen=True)
class ActuatorMap:
    """One control becomes another: u'[image] = sign u[actuator]."""

    actuator: int
    image: int
    sign: float


class ActuatorMatcher:
    """Pairs the actuators of a robot; what a pair violates is remembered, it is asked under many motions.

    Args:
        robot: The robot.
    """

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.forces = [unit_force(robot, a) for a in range(robot.model.nu)]
        self._at: dict[tuple[str, int], list[int]] = {}
        for b, force in enumerate(self.forces):
            if force is not None:
                self._at.setdefault((force.kind, force.place), []).append(b)
        self._known: dict[tuple[int, int, bytes], tuple[float, tuple[Violation, ...]]] = {}

    def matched(self, motion: Motion) -> tuple[tuple[ActuatorMap, ...], tuple[Violation, ...]]:
        """The pairing of the actuators with the least violations, and these.

        Args:
            motion: How everything moves on which an actuator can act.
        """
        n = self.robot.model.nu
        table: dict[tuple[int, int], tuple[float, tuple[Violation, ...]]] = {}
        cost = np.full((n, n), NO_PARTNER)
        for a, force in enumerate(self.forces):
            image = None if force is None else motion.image(force)
            if image is None:
                continue
            for b in self._at.get((image.kind, image.place), ()):
                sign, off = self._pair(a, b, image)
                if sign:
                    table[a, b] = sign, off
                    cost[a, b] = sum(violation.size for violation in off)
        maps: list[ActuatorMap] = []
        violations: list[Violation] = []
        for a, b in zip(*(x.tolist() for x in linear_sum_assignment(cost)), strict=True):
            if (a, b) in table:
                maps.append(ActuatorMap(a, b, table[a, b][0]))
                violations += table[a, b][1]
            else:
                violations.append(self._alone(a))
        return tuple(maps), tuple(violations)

    def _pair(self, a: int, b: int, image: Force) -> tuple[float, tuple[Violation, ...]]:
        """The sign between the image of a force and another one at the same place, and what the two violate."""
        key = a, b, image.vector.tobytes()
        if key not in self._known:
            force = self.forces[b]
            sign = sign_between(image, force)
            off = _violations(self.robot, (a, b), sign, (image, force)) if sign and force is not None else ()
            self._known[key] = sign, tuple(off)
        return self._known[key]

    def _alone(self, actuator: int) -> Violation:
        name = self.robot.name("actuator", actuator)
        reason = (
            "has no counterpart"
            if self.forces[actuator] is not None
            else "acts on no joint, tendon, body or site alone: not comparable"
        )
        return Violation(name, name, "counterpart", f"{name} {reason}", 1.0, is_fatal=True)


def uncompared_actuators(robot: Robot) -> Iterator[str]:
    """What about the actuators the comparison cannot judge, in words."""
    model = robot.model
    odd = [robot.name("actuator", a) for a in range(model.nu) if not _is_understood(robot, a)]
    if odd:
        some = ", ".join(odd[:MAX_NAMED]) + (f" and {len(odd) - MAX_NAMED} more" if len(odd) > MAX_NAMED else "")
        yield (
            f"actuators {some} have a gain, bias or dynamics of their own, whose parameters are only "
            "compared for equality"
        )
    if model.na:
        yield "the activations of the actuators are a part of the state that positions and velocities do not show"
    if hasattr(model, "actuator_delay") and model.actuator_delay.any():
        yield "delayed controls are a part of the state that positions and velocities do not show"


def _is_understood(robot: Robot, actuator: int) -> bool:
    """Whether force depends on control, length and velocity in a way that is compared in full."""
    model = robot.model
    return (
        int(model.actuator_dyntype[actuator]) in LINEAR_DYNAMICS
        and int(model.actuator_gaintype[actuator]) == FIXED_GAIN
        and int(model.actuator_biastype[actuator]) in SIMPLE_BIAS
    )


def _violations(robot: Robot, pair: tuple[int, int], sign: float, forces: tuple[Force, Force]) -> Iterator[Violation]:
    """What a pair of actuators violates, given the image of the first one's force and the second one's."""
    a, b = pair
    image, force = forces
    names = robot.name("actuator", a), robot.name("actuator", b)
    if np.abs(image.vector - sign * force.vector).max() > EQUAL * np.abs(force.vector).max():
        gains = robot.model.actuator_gainprm[list(pair), 0]
        what, unit = ("gear", gains[0] or 1.0) if gains[0] == gains[1] else ("gear times gain", 1.0)
        # The sign shows what is meant to be equal, but a gear is read as it stands in the MJCF.
        expected, actual = image.vector / unit, sign * force.vector / unit
        turn = np.sign(actual[0]) or 1.0 if len(actual) == 1 else 1.0
        yield from differing(*names, what, turn * expected, turn * actual)
    yield from _bias_violations(robot, pair, forces, names)
    yield from _range_violations(robot, pair, sign, names)
    yield from plain_violations(robot, "actuator", a, b, names)


def _range_violations(robot: Robot, pair: tuple[int, int], sign: float, names: tuple[str, str]) -> Iterator[Violation]:
    model, (a, b) = robot.model, pair
    gains = model.actuator_gainprm[list(pair), 0]
    force_sign = sign * (float(np.sign(gains[0] * gains[1])) or 1.0)
    for field, is_used, turn in (
        ("ctrlrange", model.actuator_ctrllimited, sign),
        ("forcerange", model.actuator_forcelimited, force_sign),
    ):
        if is_used[a] and is_used[b]:
            array = getattr(model, f"actuator_{field}")
            note = "" if turn > 0 else " (reversed)"
            yield from differing(*names, f"{field}{note}", signed_range(array[a], turn), array[b])


def _bias_violations(
    robot: Robot, pair: tuple[int, int], forces: tuple[Force, Force], names: tuple[str, str]
) -> Iterator[Violation]:
    """Constant, position and velocity terms, the latter two in units of the joint's coordinate."""
    model, (a, b) = robot.model, pair
    if len(forces[0].vector) > 1 or not (_is_understood(robot, a) and _is_understood(robot, b)):
        yield from differing(*names, "gainprm", model.actuator_gainprm[a], model.actuator_gainprm[b])
        yield from differing(*names, "biasprm", model.actuator_biasprm[a], model.actuator_biasprm[b])
        yield from differing(*names, "lengthrange", model.actuator_lengthrange[a], model.actuator_lengthrange[b])
        return
    gears = model.actuator_gear[list(pair), 0]
    powers = np.array([1.0, 2.0, 2.0])
    terms = [model.actuator_biasprm[k, :3] * np.abs(gear) ** powers for k, gear in zip(pair, gears, strict=True)]
    own = unit_force(robot, a)
    sigma = 1.0 if own is None else float(np.sign(forces[0].vector[0] * own.vector[0]))
    turn = sigma * float(np.sign(gears[0] * gears[1]))
    yield from differing(*names, "bias", terms[0] * np.array([turn, 1.0, 1.0]), terms[1])
