"""From the symmetries of a robot to a specification: the group they generate, its blocks, the simulator's verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from rpp_rl.derive.blocks import blocked
from rpp_rl.derive.checking import check_robot
from rpp_rl.derive.joints import joined
from rpp_rl.derive.motions import vertical
from rpp_rl.derive.named_group import Closure, closed
from rpp_rl.derive.surveying import Finding, Survey, is_plain, moves_the_robot, relabelling
from rpp_rl.derive.symmetries import ANY_TURN
from rpp_rl.derive.violations import Violation
from rpp_rl.envs.check import GeneratorCheck, checks_of
from rpp_rl.envs.spec import EnvSpec, Generator
from rpp_rl.symmetry import Group, special_orthogonal
from rpp_rl.symmetry.matrices import matrix_key, snapped

OTHER = {"mass": 0.5, "inertia": 0.5, "place": 0.25, "range": 0.9}
"""Bodies whose masses differ by more than this share are different things, even if no state shows it. So are a part
farther than this share of the robot's size from its image, and a joint that shares less than a tenth of its range with
its image: how often the eyes of a quadruped touch something depends on the states, where they are does not."""

Level = Literal["exact", "approximate"]


class NoSymmetryError(ValueError):
    """The robot has no symmetry that could be written into a specification."""


@dataclass(frozen=True, eq=False)
class Derivation:
    """A specification with the simulator's verdict on each of its generators."""

    spec: EnvSpec
    checks: tuple[GeneratorCheck, ...]


def accepted(survey: Survey, level: Level = "approximate") -> list[Finding]:
    """The symmetries of the task, or of the dynamics where there is none, of at least some quality, as a whole group.

    Of a floating robot those are taken that move its parts, each with the plainest motion of the world that goes with
    it; turns and mirrors of the world alone say nothing about the robot, and are left to be chosen by name. Whatever
    would make the group larger than the symmetries that were found good is left out, the worst first.
    """
    verdicts = ("exact",) if level == "exact" else ("exact", "approximate")
    good = [
        finding
        for finding in survey.findings
        if finding.verdict in verdicts
        and finding.keeps_reward is not False
        and finding.element.turn is None
        and not any(_are_different(violation) for violation in finding.violations)
    ]
    return _without_strays(survey, _about_the_robot(good))


def _are_different(violation: Violation) -> bool:
    return not violation.is_static and violation.size > OTHER.get(violation.what.partition(" ")[0], np.inf)


def left_out(survey: Survey, taken: Sequence[Finding]) -> list[Finding]:
    """The exact and near symmetries that `accepted` leaves to be chosen by name."""
    good = [f for f in survey.findings if f.verdict in ("exact", "approximate") and f.keeps_reward is not False]
    reached = set() if not taken else {matrix_key(m) for m in _products([survey.matrix(f) for f in taken])}
    return [finding for finding in good if matrix_key(survey.matrix(finding)) not in reached]


def _about_the_robot(findings: Sequence[Finding]) -> list[Finding]:
    """Without motions of the world alone, and of those with the same relabelling of a floating robot the plainest."""
    known: set[tuple[object, ...]] = set()
    kept = []
    for finding in findings:
        what = relabelling(finding)
        if what is None:
            kept.append(finding)
        elif moves_the_robot(finding) and what not in known and is_plain(finding):
            known.add(what)
            kept.append(finding)
    return kept


def _without_strays(survey: Survey, findings: Sequence[Finding]) -> list[Finding]:
    """The findings, best first, as long as all that they generate has been found good itself.

    Those whose parts differ least come first: errors depend on the states in which they are measured, parts do not.
    """
    good = {matrix_key(survey.matrix(finding)) for finding in findings}
    kept: list[Finding] = []
    for finding in sorted(findings, key=_quality):
        matrices = [survey.matrix(f) for f in (*kept, finding)]
        identity = matrix_key(np.eye(len(matrices[0])))
        if all(matrix_key(product) in good | {identity} for product in _products(matrices)):
            kept.append(finding)
    return [finding for finding in findings if finding in kept]


def _quality(finding: Finding) -> tuple[bool, float, float]:
    differences = sum(violation.size for violation in finding.violations)
    return finding.verdict != "exact", round(differences, 6), finding.trial.typical if finding.trial else np.inf


def _products(matrices: Sequence[Float[ndarray, "n n"]]) -> list[Float[ndarray, "n n"]]:
    """Everything that some matrices of a finite group generate."""
    found = {matrix_key(np.eye(len(matrices[0]))): np.eye(len(matrices[0]))}
    frontier = list(found.values())
    while frontier:
        new = {matrix_key(m @ x): m @ x for m in matrices for x in frontier}
        frontier = [x for key, x in new.items() if key not in found]
        found |= new
    return list(found.values())


def chosen(survey: Survey, names: Sequence[str]) -> list[Finding]:
    """The symmetries of some names.

    Raises:
        ValueError: If there is no symmetry of a name, or it cannot be written into a specification.
    """
    known = {finding.name: finding for finding in survey.findings}
    for name in names:
        if name not in known:
            raise ValueError(f"unknown element {name!r}; there are {', '.join(known) or 'none'}")
        if known[name].trial is None:
            raise ValueError(
                f"{name} ({known[name].element.meaning}) has no linear map of the observation: {_note(known[name])}"
            )
    return [known[name] for name in dict.fromkeys(names)]


def derive(survey: Survey, findings: Sequence[Finding], *, n_states: int = 100, seed: int = 0) -> Derivation:
    """The specification whose group some symmetries generate, confirmed by the simulator.

    Args:
        survey: What is known about the environment.
        findings: The symmetries.
        n_states: Random states in which the generators are checked.
        seed: Seed of states and actions.

    Raises:
        NoSymmetryError: If there is nothing to generate a group.
        ValueError: If the simulator calls a generator wrong.
    """
    if not findings:
        raise NoSymmetryError(f"{survey.env_id}: found no symmetry that is exact enough and keeps the reward")
    spec = _specification(survey, findings)
    checks = check_robot(spec, survey.simulator.outer, n_states=n_states, seed=seed)
    for check in checks:
        if check.refutation:
            raise ValueError(
                f"the simulator refuses {spec}: under {check.generator} {check.refutation}; choose other elements"
            )
    return Derivation(_with_evidence(survey, spec, checks), checks)


def _specification(survey: Survey, findings: Sequence[Finding]) -> EnvSpec:
    turns = [finding for finding in findings if finding.element.is_any_turn]
    others = [finding for finding in findings if not finding.element.is_any_turn]
    size = len(survey.matrix(findings[0]))
    algebra = _turn_algebra(survey, turns[0]) if turns else np.zeros((0, size, size))
    if turns:
        group, closure = _with_turns(survey, others, algebra)
    else:
        closure = closed([survey.matrix(finding) for finding in others])
        group = closure.group
    words, matrices = (closure.words, closure.matrices) if closure else ((), np.zeros((0, size, size)))
    n_obs = survey.parts.layout.rep.size
    observation = blocked(group, survey.parts.atoms, matrices[:, :n_obs, :n_obs], algebra[:, :n_obs, :n_obs])
    action = blocked(group, survey.action_parts.atoms, matrices[:, n_obs:, n_obs:], algebra[:, n_obs:, n_obs:])
    records = [_record(survey, others, word, matrix) for word, matrix in zip(words, matrices, strict=True)]
    if turns:
        records.append(Generator("yaw", turns[0].element.meaning, bool(turns[0].keeps_reward), note=_note(turns[0])))
    return EnvSpec(survey.env_id, group.name, group, observation, action, tuple(_renamed(records)))


def _turn_algebra(survey: Survey, finding: Finding) -> Float[ndarray, "1 n n"]:
    """The infinitesimal turn of the world about the vertical, on observation and action."""
    return snapped(np.real(logm(survey.matrix(finding)))[None] / np.radians(ANY_TURN), 1e-9)


def _with_turns(
    survey: Survey, findings: Sequence[Finding], algebra: Float[ndarray, "1 n n"]
) -> tuple[Group, Closure | None]:
    """The group of all turns of the world and some other symmetries, whose own turns of the world are taken back."""
    if not findings:
        return special_orthogonal(2), None
    up = vertical(survey.robot)
    mirrors = [finding.element.world for finding in findings if np.linalg.det(finding.element.world) < 0]
    worlds, matrices = [], []
    for finding in findings:
        g = finding.element.world
        kept = g @ mirrors[0].T if np.linalg.det(g) < 0 else g
        turn = float(Rotation.from_matrix(kept).as_rotvec() @ up) if np.allclose(kept @ up, up) else 0.0
        worlds.append(Rotation.from_rotvec(-turn * up).as_matrix() @ g)
        matrices.append(snapped(expm(-turn * algebra[0]) @ survey.matrix(finding), 1e-9))
    closure = closed(matrices)
    moved = [reduce(np.matmul, [worlds[k] for k in word], np.eye(3)) for word in closure.words]
    known = closure.group.generators
    stack = np.array([joined(g, h) for g, h in zip(moved, known, strict=True)]).reshape(
        len(known), -1, 3 + len(known[0])
    )
    turns = joined(np.cross(np.eye(3), -up), np.zeros_like(known[0]))
    return Group(f"{closure.group}xyaw", snapped(stack, 1e-9), snapped(turns[None], 1e-9)), closure


def _record(survey: Survey, findings: Sequence[Finding], word: tuple[int, ...], matrix: ndarray) -> Generator:
    """What a generator does and where the evidence comes from."""
    finding = survey.by_matrix.get(matrix_key(matrix))
    if finding is not None:
        return Generator(_letter(finding), finding.element.meaning, bool(finding.keeps_reward), note=_note(finding))
    factors = [findings[k] for k in word]
    meaning = "; then ".join(f"({factor.element.meaning})" for factor in reversed(factors))
    notes = dict.fromkeys(note for note in map(_note, factors) if note)
    return Generator("h", meaning, all(factor.keeps_reward for factor in factors), note="; ".join(notes))


def _letter(finding: Finding) -> str:
    """``f`` for a reflection, ``r`` for a rotation of the robot, ``t`` for a turn of the world, else ``p``."""
    determinants = [np.linalg.det(motion) for motion in finding.element.motions]
    if min(determinants) < 0:
        return "f"
    shapes = finding.element.motions[1:]
    if any(not np.allclose(shape, np.eye(3)) for shape in shapes):
        return "r"
    return "p" if np.allclose(finding.element.world, np.eye(3)) else "t"


def _note(finding: Finding) -> str:
    return "; ".join([*map(str, finding.violations), *finding.remarks])


def _renamed(records: Sequence[Generator]) -> list[Generator]:
    """Number those with the same name."""
    counts, seen = Counter(record.name for record in records), Counter()
    renamed = []
    for record in records:
        seen[record.name] += 1
        name = record.name if counts[record.name] == 1 else f"{record.name}{seen[record.name]}"
        renamed.append(replace(record, name=name))
    return renamed


def _with_evidence(survey: Survey, spec: EnvSpec, checks: Sequence[GeneratorCheck]) -> EnvSpec:
    """Write what the simulator measured into the records; of an infinitesimal generator the worst of its angles."""
    records = []
    for record in spec.generators:
        worst = max(checks_of(record, checks), key=lambda check: check.error_1_step)
        task = ""
        if not survey.has_task:
            task = "reward and termination were not tested"
        records.append(
            replace(
                record,
                keeps_reward=survey.has_task and (record.keeps_reward or worst.keeps_reward),
                error_1_step=worst.error_1_step,
                error_20_steps=worst.error_20_steps,
                reward_max=worst.reward_max if survey.has_task else None,
                termination_mismatches=worst.termination_mismatches if survey.has_task else None,
                note="; ".join(filter(None, [record.note, task])),
            )
        )
    return replace(spec, generators=tuple(records))
