"""``evaluate-model``: how well models of the dynamics predict, and how symmetric their predictions are."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rpp_rl.cli.arguments import add_trust, integer
from rpp_rl.cli.errors import command
from rpp_rl.cli.text import aligned
from rpp_rl.io.border import UserError
from rpp_rl.io.extras import need

if TYPE_CHECKING:
    from rpp_rl.runs.evaluate_model import Summary


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, evaluate, print, draw, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.runs.environments import check_device
    from rpp_rl.runs.evaluate_model import METRICS, draw, horizons_of, load_tested, notes, summarise

    check_device(args.device)
    if args.plot:
        need("matplotlib", "plot")
    runs = [load_tested(path, args.buffer, args.horizons, args.device, trust=args.trust) for path in args.runs]
    horizons = args.horizons or horizons_of(runs)
    envs = sorted({run.model.spec.env_id for run in runs})
    if args.plot and len(envs) > 1:
        raise UserError(f"--plot shows models of one environment, got {' and '.join(envs)}")
    summaries = summarise(runs, horizons)
    if args.json:
        models = [s.to_dict() for s in summaries]
        document = {"metrics": METRICS, "horizons": horizons, "notes": [*notes(runs)], "models": models}
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        for note in notes(runs):
            print(f"note: {note}")
        print("\n".join(report(summaries, horizons)))
    if args.plot:
        draw(runs, summaries, args.plot)
    return 0


def report(summaries: Sequence[Summary], horizons: Sequence[int]) -> Iterator[str]:
    """The lines of the text that is printed."""
    from rpp_rl.dynamics.calibration import COVERAGES
    from rpp_rl.runs.evaluate_model import METRICS

    rows = [["", "parameters", "seeds", *(f"{k} steps" for k in horizons)]]
    for metric, meaning in METRICS.items():
        yield f"Relative error [%] in the {metric} metric ({meaning})"
        body = [
            [f"{s.env}: {s.kind}", str(s.n_parameters), str(len(s.evaluations))]
            + [percentage(*s.statistic(metric, k)) for k in horizons]
            for s in summaries
        ]
        yield from aligned(rows + body)[0]
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
        yield from aligned([["  error at step [%]", *map(str, horizons)], *blocks, *symmetry, *covered, lost])[0]
        if s.evaluations[0].coverage:
            shares = [f"{share:.0%}: {percentage(*s.statistic('coverage', share))} %" for share in COVERAGES]
            yield f"  share of changes of one step inside the predicted intervals of {', '.join(shares)}"


def percentage(mean: float, std: float | None) -> str:
    """An error in percent with its deviation, to three digits."""
    text = f"{100 * mean:.3g}"
    return text if std is None else f"{text} ± {100 * std:.2g}"


def _percent_at(summary: Summary, attribute: str, name: object, step: int) -> str:
    from rpp_rl.dynamics.metrics import FLOOR

    error = float(np.mean([getattr(e, attribute)[name][step - 1] for e in summary.evaluations]))
    return f"{100 * error:.3g}" if error > FLOOR else "0"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate-model",
        description="Roll transition models out along real trajectories and print their errors in two metrics, the "
        "errors of the parts of the state, and how far the rollouts are from equivariant. Models that differ by their "
        "seed only are put together: mean and standard deviation.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="runs of train-model, or files of models")
    parser.add_argument(
        "--buffer",
        metavar="FILE",
        help="other data to test with: a replay buffer, .npz or minari:ID; all of it is used",
    )
    parser.add_argument(
        "--horizons",
        type=integer(1),
        nargs="+",
        metavar="N",
        help="steps at which errors are reported (default: those of 10, 30 and 100 that the data reach)",
    )
    parser.add_argument("--device", default="auto", help="device of the models (default: auto)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, errors of every step too")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw errors over the steps, and trajectories in FILE_trajectories"
    )
    add_trust(parser)
    return parser
