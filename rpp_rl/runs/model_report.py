"""The errors of models of the dynamics as text for people and as plain values for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rpp_rl.dynamics.calibration import COVERAGES
from rpp_rl.dynamics.metrics import FLOOR
from rpp_rl.io.tables import aligned
from rpp_rl.runs.evaluate_model import METRICS, Summary


def as_document(summaries: Sequence[Summary], horizons: Sequence[int], notes: Sequence[str]) -> dict[str, Any]:
    """Everything that is known of the models, as plain values."""
    models = [summary.to_dict() for summary in summaries]
    return {"metrics": METRICS, "horizons": list(horizons), "notes": list(notes), "models": models}


def as_lines(summaries: Sequence[Summary], horizons: Sequence[int]) -> Iterator[str]:
    """The errors of models for people."""
    rows = [["", "parameters", "seeds", *(f"{k} steps" for k in horizons)]]
    for metric, meaning in METRICS.items():
        yield f"Relative error [%] in the {metric} metric ({meaning})"
        body = [
            [f"{s.env}: {s.kind}", str(s.n_parameters), str(len(s.evaluations))]
            + [percentage(*s.statistic(metric, k)) for k in horizons]
            for s in summaries
        ]
        yield from aligned(rows + body)
        yield ""
    for s in summaries:
        yield f"{s.env}: {s.kind}, {s.evaluations[0].n_trajectories} test trajectories"
        blocks = [
            [f"  {name}", *(_percent_at(s, "block_errors", name, k) for k in horizons)]
            for name in s.evaluations[0].block_errors
        ]
        symmetry = [
            [f"  equivariance error under {name}", *(_percent_at(s, "equivariance_errors", name, k) for k in horizons)]
            for name in s.evaluations[0].equivariance_errors
        ]
        covered = [
            [f"  inside the interval of {p:.0%}", *(_percent_at(s, "rollout_coverage", p, k) for k in horizons)]
            for p in s.evaluations[0].rollout_coverage
        ]
        lost = ["  share that has diverged", *(percentage(s.statistic("diverged", k)[0], None) for k in horizons)]
        yield from aligned([["  error at step [%]", *map(str, horizons)], *blocks, *symmetry, *covered, lost])
        if s.evaluations[0].coverage:
            shares = [f"{share:.0%}: {percentage(*s.statistic('coverage', share))} %" for share in COVERAGES]
            yield f"  share of changes of one step inside the predicted intervals of {', '.join(shares)}"


def percentage(mean: float, std: float | None) -> str:
    """An error in percent with its deviation, to three digits."""
    text = f"{100 * mean:.3g}"
    return text if std is None else f"{text} ± {100 * std:.2g}"


def _percent_at(summary: Summary, attribute: str, name: object, step: int) -> str:
    error = float(np.mean([getattr(e, attribute)[name][step - 1] for e in summary.evaluations]))
    return f"{100 * error:.3g}" if error > FLOOR else "0"
