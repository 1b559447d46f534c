"""The verdicts on a specification as text for people and as plain values for programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rpp_rl.envs.check import HORIZON, TAIL, GeneratorCheck
from rpp_rl.envs.spec import EnvSpec, percent
from rpp_rl.envs.statistical import StatisticalCheck
from rpp_rl.io.tables import ruled

HEADER = (
    "generator",
    "1 step",
    "median",
    "{tail:g}th %ile",
    "exact",
    "worst block",
    "{horizon} steps",
    "reward max",
    "terminations",
    "alignment",
    "verdict",
)
MAX_PARTS = 4
"""Parts told in full of those that nothing exercised, or of the changes that fit better; the records tell all."""


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        text: For people.
        records: One for each generator, of plain values; null where an error is infinite.
    """

    text: str
    records: list[dict[str, Any]]

    @staticmethod
    def of_simulator(spec: EnvSpec, checks: Sequence[GeneratorCheck]) -> CheckReport:
        """The simulator's verdicts."""
        return CheckReport(table(spec, checks), [record(check) for check in checks])

    @staticmethod
    def of_transitions(spec: EnvSpec, checks: Sequence[StatisticalCheck]) -> CheckReport:
        """The weaker verdicts of transitions."""
        return CheckReport(statistics_table(spec, checks), [dataclasses.asdict(check) for check in checks])


def record(check: GeneratorCheck) -> dict[str, Any]:
    """One generator's check as JSON values; null where an error is infinite."""
    values = {**dataclasses.asdict(check), "keeps_reward": check.keeps_reward, "verdict": check.verdict}
    return {key: _finite(value) for key, value in values.items()}


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(spec: EnvSpec, checks: Sequence[GeneratorCheck]) -> str:
    """The checks for people, with what the generators mean and what to know about them."""
    header = [text.format(tail=TAIL, horizon=HORIZON) for text in HEADER]
    rows = [header, *(_row(check) for check in checks)]
    meanings = [
        f"{record.name}: {record.meaning}" + (f" ({record.note})" if record.note else "") for record in spec.generators
    ]
    title = f"{spec.env_id} under {spec.variant}, {checks[0].n_states if checks else 0} random states"
    title += "".join(f" and {check.n_wild} wild ones, {check.n_touching} with contacts" for check in checks[:1])
    return "\n".join([title, "", *ruled(rows), "", *meanings, *_told_once(checks)])


def _told_once(checks: Sequence[GeneratorCheck]) -> list[str]:
    """What the numbers do not tell, each line for all generators that it concerns."""
    told: dict[str, list[str]] = {}
    for check in checks:
        for line in _particulars(check):
            told.setdefault(line, []).append(check.generator)
    return [f"{', '.join(names)}: {line}" for line, names in told.items()]


def _particulars(check: GeneratorCheck) -> Iterator[str]:
    if check.refutation:
        yield f"wrong, {check.refutation}"
    if check.unexercised:
        yield f"not exercised, nothing would notice a change of {_shortened(check.unexercised)}"
    if check.n_unstable:
        yield f"{check.n_unstable} states dropped in which the simulation blew up"
    yield from check.remarks


def _shortened(parts: Sequence[str]) -> str:
    more = f"; and {len(parts) - MAX_PARTS} more" if len(parts) > MAX_PARTS else ""
    return "; ".join(parts[:MAX_PARTS]) + more


def _row(check: GeneratorCheck) -> tuple[str, ...]:
    return (
        check.generator,
        percent(check.error_1_step),
        percent(check.median_1),
        percent(check.tail_1),
        f"{100 * check.share_exact:.3g} %",
        percent(max(check.blocks_1.values())),
        percent(check.error_20_steps),
        f"{check.reward_max:.2g}",
        f"{check.termination_mismatches} differ",
        f"{check.alignment:.2f}",
        check.verdict,
    )


STATISTICS = "generator", "error", "on images", "reward", "on images", "images not met", "verdict"


def statistics_table(spec: EnvSpec, checks: Sequence[StatisticalCheck]) -> str:
    """The weaker check for people."""
    rows = [STATISTICS, *(_statistics_row(check) for check in checks)]
    n = checks[0].n_transitions if checks else 0
    title = [
        f"{spec.env_id} under {spec.variant}: no state of it can be chosen, so {n} of its transitions were compared",
        "with their images; this is weaker than a check in a simulator and calls nothing exact",
    ]
    told = []
    for check in checks:
        if check.better:
            told.append(f"{check.generator}: a change of {_shortened(check.better)} fits better")
        if check.undecided:
            told.append(f"{check.generator}: the transitions do not decide {_shortened(check.undecided)}")
    return "\n".join([*title, "", *ruled(rows), "", *told]).rstrip()


def _statistics_row(check: StatisticalCheck) -> tuple[str, ...]:
    errors = check.error, check.image_error, check.reward_error, check.reward_image_error, check.far_share
    return check.generator, *map(percent, errors), check.verdict
