"""All symmetries of the robot in an environment, with what comparing the parts and the simulator say of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import gymnasium
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from tqdm import tqdm

from rpp_rl.derive.contacts import PYRAMIDAL, solver_warnings, uncompared
from rpp_rl.derive.describing import Description, control_parts
from rpp_rl.derive.forces import driven_roots
from rpp_rl.derive.joints import joined
from rpp_rl.derive.observation import ObservationParts, observed_parts
from rpp_rl.derive.robot import HFIELD, Robot
from rpp_rl.derive.symmetries import RobotSymmetry, find_symmetries
from rpp_rl.derive.trials import BareModel, Trial, trials
from rpp_rl.derive.violations import WRITTEN, Violation
from rpp_rl.derive.zero import mirrored_pose
from rpp_rl.envs.check import HORIZON, WEAK
from rpp_rl.envs.simulator import Simulator
from rpp_rl.envs.spec import EXACT
from rpp_rl.symmetry.matrices import matrix_key

REWARD_KEPT, TERMINATION_KEPT = 0.2, 0.05
"""Mean difference of rewards, relative to their spread, and share of differing terminations, below which a symmetry is
one of the task too, up to the errors of the dynamics."""

Verdict = Literal["exact", "approximate", "weak", "unusable"]


@dataclass(frozen=True, eq=False)
class Finding:
    """A symmetry and the evidence for it.

    Attributes:
        name: By which it is chosen: ``"e1"``, ``"e2"``, ... in the order of their use.
        element: The symmetry.
        trial: How it did in the simulator; None if there are no linear maps to try.
        has_task: Whether the simulator knows rewards and terminations.
        warnings: What limits the evidence.
    """

    name: str
    element: RobotSymmetry
    trial: Trial | None
    has_task: bool
    warnings: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether no part differs from its image and the simulator confirms it: what is not compared is simulated."""
        return self.has_equal_parts and self.trial is not None and self.trial.is_exact

    @property
    def has_equal_parts(self) -> bool:
        """Whether every part of the robot equals its image."""
        return all(violation.is_static for violation in self.violations)

    @cached_property
    def violations(self) -> tuple[Violation, ...]:
        """Where parts differ by more than the decimals of the file explain, the largest differences first."""
        told = [violation for violation in self.element.violations if not violation.is_rounding]
        return tuple(sorted(told, key=lambda violation: (not violation.is_fatal, -violation.size)))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What limits the evidence, or explains why the simulator does not agree with the comparison."""
        if self.trial is None or not self.trial.n_unstable:
            return self._other_remarks
        blown_up = f"the simulation blew up in {self.trial.n_unstable} of {self.trial.n_states} states: dropped"
        return (blown_up, *self._other_remarks)

    @property
    def _other_remarks(self) -> tuple[str, ...]:
        n_rounded = len(self.element.violations) - len(self.violations)
        if n_rounded and not self.violations:
            text = f"{n_rounded} numbers differ by less than {WRITTEN:g}, as if they had been written with six decimals"
            return (*self.warnings, text)
        if self.violations or self.trial is None or self.is_exact:
            return self.warnings
        return (*self.warnings, f"no part differs from its image, but the simulator does not agree{self._suspicion}")

    @property
    def _suspicion(self) -> str:
        robot = self.element.robot
        if any(robot.model.geom_type[geom] == HFIELD for geoms in robot.felt_geoms for geom in geoms):
            return ": contacts with a height field follow the triangles into which its squares are cut"
        if self.warnings or robot.model.opt.cone != PYRAMIDAL:
            return ""
        return ": a pyramidal friction cone breaks it at contacts that are neither level nor upright"

    @property
    def verdict(self) -> Verdict:
        """How exact a symmetry of the dynamics it is."""
        if self.trial is None:
            return "unusable"
        if self.is_exact:
            return "exact"
        errors = [self.trial.typical, self.trial.error_1_step]
        # Where the parts are equal, or most states are exact, only some contacts are left: the median counts.
        errors += [self.trial.median] if self.has_equal_parts or self.trial.median < EXACT else []
        return "approximate" if min(errors) < WEAK else "weak"

    @property
    def keeps_reward(self) -> bool | None:
        """Whether reward and termination are invariant, up to the errors of the dynamics; None without a task."""
        if not self.has_task or self.trial is None:
            return None
        return self.trial.reward < REWARD_KEPT and self.trial.terminations < TERMINATION_KEPT

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        element = self.element
        return {
            "element": self.name,
            "meaning": element.meaning,
            "world": element.world.tolist(),
            "shapes": {element.robot.name("body", b): s.tolist() for b, s in element.match.shapes},
            "bodies": dict(element.moved_bodies()),
            "exact": self.is_exact,
            "verdict": self.verdict,
            "keeps_reward": self.keeps_reward,
            "error_1_step": None
            if self.trial is None or not np.isfinite(self.trial.error_1_step)
            else self.trial.error_1_step,
            "median": None if self.trial is None else self.trial.median,
            "share_exact": None if self.trial is None else self.trial.share_exact,
            "violations": [str(violation) for violation in self.violations],
            "warnings": list(self.remarks),
        }


@dataclass(frozen=True, eq=False)
class Survey:
    """What was found in one environment.

    Attributes:
        env_id: Its id, or the name of the file of a bare model.
        simulator: The environment.
        robot: Its robot.
        parts: What its observation is made of.
        action_parts: What its action is made of.
        findings: The symmetries in the order of their use: first those of the task that change the robot, exact ones
            before near ones, then motions of the world alone, then those that do not keep the reward.
    """

    env_id: str
    simulator: Simulator
    robot: Robot
    parts: ObservationParts
    action_parts: ObservationParts
    findings: tuple[Finding, ...]

    @property
    def has_task(self) -> bool:
        """Whether there are rewards and terminations."""
        return not isinstance(self.simulator.env, BareModel)

    def matrix(self, finding: Finding) -> Float[ndarray, "n n"]:
        """How a symmetry acts on the coordinates of the observation, followed by the action."""
        return joined(self.parts.matrix(finding.element), self.action_parts.matrix(finding.element))

    @cached_property
    def by_matrix(self) -> dict[bytes, Finding]:
        """The findings by what they do."""
        return {matrix_key(self.matrix(f)): f for f in reversed(self.findings) if f.trial is not None}

    @property
    def warnings(self) -> list[str]:
        """What limits the evidence for every symmetry."""
        floats = bool(self.robot.free_roots) and not self.robot.disables("GRAVITY")
        grounded = any(self.robot.felt_geoms[b] for b in range(self.robot.model.nbody) if self.robot.is_static(b))
        ground = (
            ["there is no ground, nothing stands on anything: --ground adds one"] if floats and not grounded else []
        )
        task = [] if self.has_task else ["reward and termination were not tested: a model has none"]
        return [*uncompared(self.robot), *solver_warnings(self.robot), *ground, *self._pose, *task]

    @cached_property
    def _pose(self) -> list[str]:
        """That a model without an exact symmetry may have one in another pose than that in which joints are zero."""
        if self.has_task or any(finding.is_exact for finding in self.findings):
            return []
        pose = mirrored_pose(self.robot.model)
        if pose is None or not any(pose):
            return []
        angles = " ".join(f"{angle:g}" for angle in pose)
        return [f"the axes of its joints mirror each other in another pose: --zero {angles} measures angles from it"]


def survey(
    env: gymnasium.Env[Any, Any],
    *,
    env_id: str | None = None,
    observation: Description | None = None,
    near: bool = True,
    progress: bool = False,
) -> Survey:
    """Find the symmetries of an environment's robot, and try each of them in the simulator, always in the same states.

    Args:
        env: An environment on gymnasium's MujocoEnv, or a `BareModel`.
        env_id: The id by which others will make it; its own when not given, or the name of the model's file.
        observation: What its observation and action are made of. Not needed where the observation is qpos (without
            some leading numbers), qvel and then arrays that MuJoCo derives from them, and the action is the control.
        near: Whether to leave out relabellings for which bodies would have to be far from where they are.
        progress: Whether to show on a terminal how far it is.

    Raises:
        ValueError: If the observation is made in another way, the action is not the model's control, or actuators
            have several controls.
    """
    simulator = Simulator(env)
    robot = Robot(simulator.env.model)
    if getattr(robot.model, "nactuator", robot.model.nu) != robot.model.nu:
        raise ValueError("the model has actuators with more than one control; their symmetry cannot be derived")
    if observation is None:
        simulator.require_shown_state()
        parts, action_parts = observed_parts(simulator, robot), control_parts(robot)
    else:
        parts, action_parts = observation.observation_parts(robot), observation.action_parts(robot)
    _require_sizes(simulator, parts, action_parts)
    elements = list(_seen_once(find_symmetries(robot, near=near), parts, action_parts))
    has_task = not isinstance(simulator.env, BareModel)
    warnings = (*uncompared(robot), *solver_warnings(robot))
    # What is not compared has to show itself in the simulator, perhaps late.
    usable = [element if _is_usable(element, parts, action_parts) else None for element in elements]
    tried = tqdm(
        trials(simulator, usable, action_parts.matrix, HORIZON if warnings else 1),
        "trying symmetries in the simulator",
        len(usable),
        leave=False,
        disable=None if progress else True,
    )
    found = [Finding("", element, trial, has_task, warnings) for element, trial in zip(elements, tried, strict=True)]
    findings = sorted(_told(found) if near else found, key=_use)
    named = tuple(dataclasses.replace(finding, name=f"e{i}") for i, finding in enumerate(findings, start=1))
    own_id = env.spec.id if env.spec is not None else getattr(simulator.env, "name", type(simulator.env).__name__)
    return Survey(env_id or own_id, simulator, robot, parts, action_parts, named)


def _use(finding: Finding) -> tuple[bool, bool, bool, int, bool]:
    """Sorts by use; what is equally useful stays in the order of its violations."""
    rank = ("exact", "approximate", "weak", "unusable").index(finding.verdict)
    about_the_world = relabelling(finding) is not None and not moves_the_robot(finding)
    return finding.trial is None, finding.keeps_reward is False, about_the_world, rank, not is_plain(finding)


def moves_the_robot(finding: Finding) -> bool:
    """Whether parts of the robot change places or are mirrored, and not only the world around it moves."""
    element = finding.element
    shapes = [shape for _, shape in element.match.shapes]
    return any(b != c for b, c in enumerate(element.bodies)) or any(not np.allclose(s, np.eye(3)) for s in shapes)


def is_plain(finding: Finding) -> bool:
    """Whether the world stays, or is mirrored sideways where the shape is mirrored: these motions make a group."""
    world = finding.element.world
    return np.array_equal(world, np.eye(3)) or np.array_equal(world, np.diag([1.0, -1.0, 1.0]))


def relabelling(finding: Finding) -> tuple[object, ...] | None:
    """What happens to a floating robot itself, however the world moves; None if it is fixed to the world."""
    driven = driven_roots(finding.element.robot)
    shapes = [shape for body, shape in finding.element.match.shapes if body in driven]
    return (finding.element.bodies, *(matrix_key(shape) for shape in shapes)) if shapes else None


def _told(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out that the world may move in other ways too where the symmetry of the robot is but weak."""
    known: set[tuple[object, ...] | None] = set()
    told = []
    for finding in findings:
        what = relabelling(finding)
        if what is None or what not in known or finding.verdict not in ("weak", "unusable"):
            told.append(finding)
        known.add(what)
    return told


def _require_sizes(simulator: Simulator, parts: ObservationParts, action_parts: ObservationParts) -> None:
    for what, described, space in (
        ("observation", parts, simulator.outer.observation_space),
        ("action", action_parts, simulator.outer.action_space),
    ):
        size = sum(len(atom.indices) for atom in described.atoms)
        if space.shape != (size,):
            raise ValueError(f"{simulator.name}: {size} numbers of the {what} are described, it has {space.shape}")


def _is_usable(element: RobotSymmetry, parts: ObservationParts, action_parts: ObservationParts) -> bool:
    return element.has_maps and parts.is_closed_under(element) and action_parts.is_closed_under(element)


def _seen_once(
    elements: Iterable[RobotSymmetry], parts: ObservationParts, action_parts: ObservationParts
) -> Iterable[RobotSymmetry]:
    """Leave out what does nothing to observation and action, or what another element does too."""
    known: set[bytes] = set()
    for element in elements:
        if not _is_usable(element, parts, action_parts):
            yield element
            continue
        matrix = joined(parts.matrix(element), action_parts.matrix(element))
        if matrix_key(matrix) not in known and not np.array_equal(matrix, np.eye(len(matrix))):
            yield element
        known.add(matrix_key(matrix))
