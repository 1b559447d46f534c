"""The numbers of a comparison: for every environment and arm, with intervals over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy import ndarray

from rpp_rl.experiments import statistics
from rpp_rl.experiments.curves import ACTOR_RESIDUAL, DISPLACEMENT, EQUIVARIANCE, RETURN, Curve, Run
from rpp_rl.experiments.grouping import group_runs
from rpp_rl.experiments.reading import Note

BASELINES = ("plain", "sac")
"""Beginnings of labels; the first that is there is the baseline, if none is named."""
DIAGNOSTICS = {"equivariance_error": EQUIVARIANCE, "residual_share": ACTOR_RESIDUAL, "x_displacement": DISPLACEMENT}


@dataclass(frozen=True)
class Question:
    """What a comparison is to find out.

    Attributes:
        aggregate: mean, median or iqm over the runs of an arm.
        at: Compare after so many steps; None for as many as all finished runs have.
        area_from: The area under the curve counts from this step on.
        threshold: Return whose first arrival is counted; None for the final return of the baseline.
        baseline: Label of the arm that the others are compared with; None for the plain one, or the first.
        rename: New labels by old ones.
    """

    aggregate: str = "mean"
    at: int | None = None
    area_from: int = 0
    threshold: float | None = None
    baseline: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; a number that cannot be had is not a number."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Arm:
    """The runs of one arm in one environment, as far as they are compared.

    Attributes:
        label: What it is called.
        runs: One for each seed.
        end: The step up to which all of them have come.
        final: Returns at the step of the comparison, one for each run; None if not all have come so far.
    """

    label: str
    runs: Sequence[Run]
    end: int
    final: ndarray | None

    def curves(self, metric: str) -> tuple[ndarray, ndarray] | None:
        """Common steps ``(n,)`` and values ``(n_runs, n)`` of a metric, None if the runs have none in common."""
        if not all(metric in run.curves for run in self.runs):
            return None
        return common_steps([run.curves[metric] for run in self.runs], self.end)


@dataclass(frozen=True, eq=False)
class Panel:
    """All arms in one environment.

    Attributes:
        env_id: The environment.
        arms: By label.
        end: The step at which they are compared.
        baseline: The label of the arm that the others are compared with; None if that arm is not there.
        threshold: The return whose first arrival is counted; None if it is not known.
    """

    env_id: str
    arms: Mapping[str, Arm]
    end: int
    baseline: str | None
    threshold: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that a table and a figure show.

    Attributes:
        question: What was asked.
        panels: One for each environment.
        labels: All labels, in the order in which they are shown.
        notes: What was left out.
    """

    question: Question
    panels: Sequence[Panel]
    labels: Sequence[str]
    notes: Sequence[Note]


def compare(runs: Sequence[Run], question: Question = Question(), notes: Sequence[Note] = ()) -> Comparison:
    """Group runs and decide up to which step they are compared.

    Args:
        runs: What was read.
        question: What is to be found out.
        notes: What was left out before.

    Raises:
        ValueError: If there is nothing to compare, or a label that is asked for is not there.
    """
    grouped, left_out = group_runs(runs)
    unclear = [Note(run.path or Path(), run.note) for run in runs if run.note]
    notes = [*notes, *unclear, *left_out]
    renamed = {env_id: _renamed(arms, question.rename) for env_id, arms in grouped.items()}
    labels = list(dict.fromkeys(label for arms in renamed.values() for label in sorted(arms)))
    unknown = [old for old in question.rename if not any(old in arms for arms in grouped.values())]
    wanted = [*unknown, *([question.baseline] if question.baseline not in (None, *labels) else [])]
    if wanted:
        known = dict.fromkeys(label for arms in grouped.values() for label in arms)
        raise ValueError(f"no arm is called {wanted[0]!r}; there are {', '.join(map(repr, known)) or 'none'}")
    panels = []
    for env_id, arms in renamed.items():
        panel, left_out = _panel(env_id, arms, question)
        notes += left_out
        if panel is not None:
            panels.append(panel)
    if not panels:
        raise ValueError("there is no run to compare" + "".join(f"\n  {note}" for note in notes))
    baseline = next((panel.baseline for panel in panels if panel.baseline), None)
    ordered = sorted(labels, key=lambda label: label != baseline)
    shown = [label for label in ordered if any(label in panel.arms for panel in panels)]
    return Comparison(question, panels, shown, notes)


def common_steps(curves: Sequence[Curve], end: int) -> tuple[ndarray, ndarray] | None:
    """Steps that all curves cover, and their values there ``(n_curves, n)``, interpolated between their own steps.

    None if there is no such step up to the end: what a curve does not cover is never made up.
    """
    first = max(int(curve.steps[0]) for curve in curves)
    last = min(end, *(curve.last for curve in curves))
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    if not len(steps):
        return None
    return steps, np.array([curve.at(steps) for curve in curves])


def summary(panel: Panel, question: Question) -> list[dict[str, object]]:
    """The table of one environment: a row for each arm, estimates as :class:`Estimate`."""
    return [_row(panel, arm, question) for arm in panel.arms.values()]


def overall(comparison: Comparison) -> list[dict[str, object]]:
    """The table over all environments, of the arms that are in each of them; empty for a single environment.

    Returns of different environments are made comparable by dividing them by the mean final return of the baseline,
    which every row names; an environment where that is not positive is left out, and is not among ``n_envs``.
    """
    scored = [(panel, scale) for panel in comparison.panels if (scale := _scale(panel)) is not None]
    if len(scored) < 2 or len({panel.baseline for panel, _ in scored}) != 1:
        return []
    aggregate = statistics.AGGREGATES[comparison.question.aggregate]
    baseline = str(scored[0][0].baseline)
    finals = {
        label: [panel.arms[label].final for panel, _ in scored if label in panel.arms] for label in comparison.labels
    }
    rows = []
    for label, values in finals.items():
        known = [value for value in values if value is not None]
        if len(known) < len(scored):
            continue
        tasks = [value / scale for value, (_, scale) in zip(known, scored, strict=True)]
        theirs = [final for final in finals[baseline] if final is not None]
        low, high = statistics.interval(tasks, aggregate)
        row: dict[str, object] = {
            "arm": label,
            "baseline": baseline,
            "n_envs": len(tasks),
            "n_runs": sum(map(len, tasks)),
        }
        row["score"] = Estimate(float(aggregate(tasks)), float(low), float(high))
        row["improvement"] = UNKNOWN
        if label != baseline:
            value = statistics.probability_of_improvement(known, theirs)
            row["improvement"] = Estimate(value, *statistics.improvement_interval(known, theirs))
        rows.append(row)
    return rows


def _scale(panel: Panel) -> float | None:
    """The mean final return of the baseline, None if it is not known or not positive."""
    final = None if panel.baseline is None else panel.arms[panel.baseline].final
    mean = None if final is None else float(final.mean())
    return mean if mean is not None and mean > 0 else None


def _renamed(arms: Mapping[str, list[Run]], rename: Mapping[str, str]) -> dict[str, list[Run]]:
    renamed: dict[str, list[Run]] = {}
    for label, runs in arms.items():
        new = rename.get(label, label)
        if new in renamed:
            raise ValueError(f"two arms would be called {new!r}; give them different labels")
        renamed[new] = runs
    return renamed


def _panel(env_id: str, arms: Mapping[str, list[Run]], question: Question) -> tuple[Panel | None, list[Note]]:
    """The arms of one environment, without the runs that have not come as far as the comparison."""
    everything = [run for runs in arms.values() for run in runs]
    finished = [run for run in everything if run.finished]
    end = question.at or min(run.returns.last for run in finished or everything)
    kept: dict[str, Arm] = {}
    notes: list[Note] = []
    for label in sorted(arms):
        begun = [run for run in arms[label] if run.returns.steps[0] <= end]
        runs = [run for run in begun if run.finished or run.returns.last >= end]
        for run in arms[label]:
            if run not in begun:
                reason = f"left out, its first evaluation is at {run.returns.steps[0]} steps and others end at {end}"
                notes.append(Note(run.path or Path(), reason))
            elif run not in runs:
                of = "" if run.n_timesteps is None else f" of {run.n_timesteps}"
                reason = f"left out, it has made {run.returns.last}{of} steps and others {end}; --at compares earlier"
                notes.append(Note(run.path or Path(), reason))
        if runs:
            last = min(end, *(run.returns.last for run in runs))
            final = np.array([run.returns.at(np.array(end)) for run in runs]) if last == end else None
            kept[label] = Arm(label, runs, last, final)
    if not kept:
        return None, notes
    baseline = _baseline(kept, question.baseline)
    kept = {label: kept[label] for label in sorted(kept, key=lambda label: (label != baseline, label))}
    return Panel(env_id, kept, end, baseline, _threshold(kept, baseline, question)), notes


def _baseline(arms: Mapping[str, Arm], asked: str | None) -> str | None:
    if asked is not None:
        return asked if asked in arms else None
    # A label may go on with settings, as in "plain, tau=0.01".
    plain = [label for name in BASELINES for label in arms if label.lower().split(",")[0] == name]
    return plain[0] if plain else next(iter(arms))


def _threshold(arms: Mapping[str, Arm], baseline: str | None, question: Question) -> float | None:
    if question.threshold is not None or baseline is None:
        return question.threshold
    final = arms[baseline].final
    return None if final is None else float(statistics.AGGREGATES[question.aggregate]([final]))


def _row(panel: Panel, arm: Arm, question: Question) -> dict[str, object]:
    aggregate = statistics.AGGREGATES[question.aggregate]
    row: dict[str, object] = {"env": panel.env_id, "arm": arm.label, "n_runs": len(arm.runs), "at": panel.end}
    row["final"] = UNKNOWN if arm.final is None else _estimate(arm.final, aggregate)
    row["area"] = _area(arm, panel.end, question)
    row["threshold"] = panel.threshold
    row["steps_to_threshold"] = _arrival(arm, panel)
    row["improvement"] = _improvement(arm, panel)
    for name, metric in DIAGNOSTICS.items():
        row[name] = UNKNOWN
        if all(metric in run.curves and run.curves[metric].steps[0] <= panel.end for run in arm.runs):
            last = np.array([_late_mean(run.curves[metric].until(panel.end)) for run in arm.runs])
            row[name] = _estimate(last, aggregate)
    return row


def _estimate(values: ndarray, aggregate: statistics.Aggregate) -> Estimate:
    value = float(aggregate([values]))
    if len(values) == 1:
        return Estimate(value, math.nan, math.nan)
    low, high = statistics.interval([values], aggregate)
    return Estimate(value, float(low), float(high))


def _area(arm: Arm, end: int, question: Question) -> Estimate:
    curves = arm.curves(RETURN)
    if curves is None or arm.end < end:
        return UNKNOWN
    steps, values = curves
    counted = steps >= question.area_from
    if not counted.any():
        return UNKNOWN
    areas = statistics.area_under_curve(steps[counted], values[:, counted])
    return _estimate(areas, statistics.AGGREGATES[question.aggregate])


def _arrival(arm: Arm, panel: Panel) -> Estimate:
    """The median over the runs of the first step at the threshold: it exists although some runs never arrive."""
    if panel.threshold is None or any(run.returns.steps[0] > arm.end for run in arm.runs):
        return UNKNOWN
    arrivals = [
        statistics.steps_to(panel.threshold, curve.steps, curve.values[None])[0]
        for curve in (run.returns.until(arm.end) for run in arm.runs)
    ]
    return _estimate(np.sort(arrivals), _middle)


def _middle(tasks: statistics.Tasks, axis: int = 0) -> ndarray:
    """The upper median, which is a step at which a run has arrived and no mean of a step and infinity."""
    return np.quantile(tasks[0], 0.5, axis=axis, method="higher")


def _improvement(arm: Arm, panel: Panel) -> Estimate:
    baseline = None if panel.baseline in (None, arm.label) else panel.arms[panel.baseline].final
    if baseline is None or arm.final is None:
        return UNKNOWN
    value = statistics.probability_of_improvement([arm.final], [baseline])
    if len(arm.final) == len(baseline) == 1:
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, *statistics.improvement_interval([arm.final], [baseline]))


def _late_mean(curve: Curve) -> float:
    """The mean over the last tenth of a curve: single records are noisy."""
    late = curve.values[curve.steps >= curve.steps[-1] - 0.1 * (curve.steps[-1] - curve.steps[0])]
    return float(late.mean())
