"""What a survey found and what was derived from it, as text for people."""

from collections.abc import Sequence

from rpp_rl.derive.specification import Derivation
from rpp_rl.derive.surveying import Finding, Survey, relabelling
from rpp_rl.envs.spec import percent
from rpp_rl.io.tables import ruled

HEADER = ("element", "1 step", "median", "exact", "verdict", "reward", "differences", "meaning")
MAX_LEFT_OUT = 8
"""Names that are told of the symmetries that a specification leaves out."""
MAX_VIOLATIONS = 4
"""Differences told in full for one element; ``--json`` tells all."""


def survey_table(found: Survey, *, worlds: bool = False) -> str:
    """The symmetries for people, with what breaks those that are not exact.

    Args:
        found: The symmetries.
        worlds: Whether to tell every motion of the world that goes with a relabelling of the robot, not only the best.
    """
    if not found.findings:
        nothing = "found no symmetry, not even a near one; --all tries every relabelling that the joints admit"
        return "\n".join([nothing, *(f"note: {warning}" for warning in found.warnings)])
    groups = _relabellings(found.findings)
    told = list(found.findings) if worlds else [group[0] for group in groups]
    rows = [HEADER, *map(_row, told)]
    broken: dict[str, str] = {}
    for finding in told:
        texts = [str(violation) for violation in finding.violations]
        texts += [remark for remark in finding.remarks if remark not in found.warnings]
        more = f"; and {len(texts) - MAX_VIOLATIONS} more" if len(texts) > MAX_VIOLATIONS else ""
        if texts:
            text = "; ".join(texts[:MAX_VIOLATIONS]) + more
            broken[text] = f"{broken[text]}, {finding.name}" if text in broken else finding.name
    title = f"{found.env_id}: {len(found.findings)} symmetries and near symmetries besides the identity"
    notes = [f"{names} broken by: {text}" for text, names in broken.items()]
    n_hidden = len(found.findings) - len(told)
    if n_hidden:
        notes.append(
            f"{n_hidden} more do the same to the robot while the world moves in another way; --worlds tells them"
        )
    return "\n".join(
        [title, "", *ruled(rows, prose=True), "", *notes, *(f"note: {warning}" for warning in found.warnings)]
    ).rstrip()


def _relabellings(findings: Sequence[Finding]) -> list[list[Finding]]:
    """The findings by what they do to the robot itself, each group with the most useful one first."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(relabelling(finding) or finding.name, []).append(finding)
    return list(groups.values())


def _row(finding: Finding) -> tuple[str, ...]:
    kept = {None: "-", True: "kept", False: "not kept"}[finding.keeps_reward]
    count = str(len(finding.violations) or "none")
    trial = finding.trial
    numbers = ("-", "-", "-")
    if trial is not None:
        numbers = percent(trial.error_1_step), percent(trial.median), f"{100 * trial.share_exact:.3g} %"
    return finding.name, *numbers, finding.verdict, kept, count, finding.element.meaning


def summary(derivation: Derivation) -> str:
    """The group and its generators, with the simulator's verdict on each."""
    spec = derivation.spec
    lines = [f"{spec}: {spec.observation.size} observations in {len(spec.observation.blocks)} blocks, "
             f"{spec.action.size} actions"]  # fmt: skip
    lines += [f"  {record.name}: {record.meaning}" for record in spec.generators]
    lines += [
        f"  {check.generator}: {check.verdict}, error {percent(check.error_1_step)} after a step, "
        f"{percent(check.error_20_steps)} after 20, in {check.n_states} states"
        for check in derivation.checks
    ]
    return "\n".join(lines)


def left_out_text(findings: Sequence[Finding]) -> str:
    """The names of the symmetries that do not go into a specification."""
    names = ", ".join(finding.name for finding in findings[:MAX_LEFT_OUT])
    more = f" and {len(findings) - MAX_LEFT_OUT} more" if len(findings) > MAX_LEFT_OUT else ""
    return f"left out, take them with --elements: {names}{more} (the world moves, parts differ or do not fit)"
