"""A comparison as text for people and as plain values for programs."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rpp_rl.experiments import statistics
from rpp_rl.experiments.comparison import Comparison, Estimate, Panel, overall, summary
from rpp_rl.experiments.grouping import differing_settings, learnt_settings
from rpp_rl.io.tables import aligned

TITLES = {"equivariance_error": "equivariance error", "residual_share": "residual share", "x_displacement": "x [m]"}


def table(comparison: Comparison, panel: Panel) -> list[list[str]]:
    """The table of one environment as cells of text; columns about which nothing is known are left out."""
    rows = summary(panel, comparison.question)
    title = statistics.TITLES[comparison.question.aggregate]
    columns: list[tuple[str, list[str]]] = [
        ("arm", [str(row["arm"]) for row in rows]),
        ("seeds", [str(row["n_runs"]) for row in rows]),
        (f"{title} return", [_shown(row["final"]) for row in rows]),
        ("area under curve", [_shown(row["area"]) for row in rows]),
    ]
    if panel.threshold is not None:
        arrivals = [_arrival(row["steps_to_threshold"]) for row in rows]
        columns.append((f"steps to {panel.threshold:.4g}", arrivals))
    if panel.baseline is not None and len(rows) > 1:
        columns.append((f"P(better than {panel.baseline})", [_shown(row["improvement"], 2) for row in rows]))
    columns += [(text, [_shown(row[name], 2) for row in rows]) for name, text in TITLES.items()]
    kept = [(text, cells) for text, cells in columns if any(cell != "–" for cell in cells)]
    return [[text for text, _ in kept], *map(list, zip(*(cells for _, cells in kept), strict=True))]


def overall_table(comparison: Comparison) -> list[list[str]]:
    """The table over all environments as cells of text, empty for a single one."""
    rows = overall(comparison)
    if not rows:
        return []
    baseline = rows[0]["baseline"]
    title = statistics.TITLES[comparison.question.aggregate]
    head = ["arm", "environments", "runs", f"{title} return / {baseline}'s", f"P(better than {baseline})"]
    return [
        head,
        *(
            [
                str(row["arm"]),
                str(row["n_envs"]),
                str(row["n_runs"]),
                _shown(row["score"], 3),
                _shown(row["improvement"], 2),
            ]
            for row in rows
        ),
    ]


def differences(panel: Panel) -> list[str]:
    """For every arm the settings in which it differs from another one of the environment, whatever its label says."""
    settings = {label: learnt_settings(arm.runs[0]) for label, arm in panel.arms.items()}
    names = differing_settings(list(settings.values()))
    if not names:
        return []
    return [f"{label}: " + ", ".join(f"{n}={own[n]}" for n in names if n in own) for label, own in settings.items()]


def as_lines(comparison: Comparison) -> Iterator[str]:
    """The tables of all environments, and what could not be compared."""
    for panel in comparison.panels:
        yield f"{panel.env_id} after {panel.end} steps, 95 % bootstrap intervals over seeds in brackets"
        yield from (f"  {line}" for line in [*aligned(table(comparison, panel)), *differences(panel)])
        yield ""
    rows = overall_table(comparison)
    if rows:
        yield "all environments, returns divided by the baseline's mean"
        yield from (f"  {line}" for line in aligned(rows))
        yield ""
    if comparison.notes:
        yield "left out, or to be known:"
        yield from unreadable(comparison.notes)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Everything as plain values: None for a number that is not known, "never" for a threshold that was not reached."""
    return {
        "aggregate": comparison.question.aggregate,
        "environments": [
            {
                "env": panel.env_id,
                "compared_at": panel.end,
                "baseline": panel.baseline,
                "threshold": panel.threshold,
                "arms": [_row(row, panel) for row in summary(panel, comparison.question)],
            }
            for panel in comparison.panels
        ],
        "overall": [{name: _plain(value) for name, value in row.items()} for row in overall(comparison)],
        "notes": [str(note) for note in comparison.notes],
    }


def _row(row: dict[str, object], panel: Panel) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in row.items() if name not in ("env", "at", "threshold")}
    runs = panel.arms[str(row["arm"])].runs
    return plain | {"seeds": [run.seed for run in runs], "runs": [str(run.path) for run in runs]}


def _plain(value: object) -> object:
    if not isinstance(value, Estimate):
        return value
    return {name: _number(getattr(value, name)) for name in ("value", "low", "high")}


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else "never"


def _shown(estimate: object, digits: int = 4) -> str:
    assert isinstance(estimate, Estimate)
    if math.isnan(estimate.value):
        return "–"
    value, low, high = (f"{number:.{digits}g}" for number in (estimate.value, estimate.low, estimate.high))
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def _arrival(estimate: object) -> str:
    assert isinstance(estimate, Estimate)
    if math.isnan(estimate.value):
        return "–"
    value, low, high = (_steps(number) for number in (estimate.value, estimate.low, estimate.high))
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def _steps(number: float) -> str:
    return f"{number:.0f}" if math.isfinite(number) else "never"


def unreadable(notes: Sequence[object], limit: int = 20) -> list[str]:
    """Notes as lines, not more than so many."""
    lines = [f"  {note}" for note in notes[:limit]]
    return lines + ([f"  and {len(notes) - limit} more"] if len(notes) > limit else [])
