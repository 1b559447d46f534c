"""``compare-runs``: learning curves and a table of any runs, arm by arm, with intervals over seeds."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import integer
from rpp_rl.cli.errors import command
from rpp_rl.experiments import figures, report
from rpp_rl.experiments.comparison import Question, compare
from rpp_rl.experiments.curves import write_csv
from rpp_rl.experiments.reading import read_all
from rpp_rl.experiments.statistics import AGGREGATES
from rpp_rl.io.border import user_input
from rpp_rl.io.extras import need


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read runs, write what is asked for, and return the status for the shell."""
    args = _parser().parse_args(argv)
    if args.figure:
        need("matplotlib", "plot")
    with user_input(ValueError):
        runs, notes = read_all(args.runs)
        comparison = compare(runs, _question(args), notes)
    if args.csv:
        arms = [arm for panel in comparison.panels for arm in panel.arms.values()]
        write_csv(((arm.label, run) for arm in arms for run in arm.runs), args.csv)
    written = [args.csv] if args.csv else []
    if args.figure:
        panels = args.panels or figures.default_panels(comparison)
        written += figures.save(figures.draw(comparison, panels, args.columns), args.figure)
    if args.json:
        print(json.dumps(report.to_dict(comparison), indent=1))
    else:
        print("\n".join([*report.as_lines(comparison), *(f"wrote {path}" for path in written)]))
    return 0


def _question(args: argparse.Namespace) -> Question:
    return Question(
        aggregate=args.aggregate,
        at=args.at,
        area_from=args.area_from,
        threshold=args.threshold,
        baseline=args.baseline,
        rename=dict(args.label),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compare-runs",
        description="Compare runs of train-sac, run-experiment or rl-baselines3-zoo: one panel for each environment, "
        "one arm for each combination of settings, 95 % stratified bootstrap intervals over seeds.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folders of runs, folders above them, or CSV files written with --csv",
    )
    parser.add_argument(
        "-o", "--figure", type=Path, metavar="FILE", help="draw; .png or .svg, or both if the name has neither suffix"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all numbers, one per line")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument(
        "--label", nargs=2, action="append", default=[], metavar=("OLD", "NEW"), help="rename an arm; repeatable"
    )
    parser.add_argument(
        "--aggregate", choices=AGGREGATES, default="mean", help="over the runs of an arm (default: %(default)s)"
    )
    parser.add_argument("--baseline", metavar="ARM", help="arm the others are compared with (default: the plain one)")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="RETURN",
        help="count steps to this return (default: the baseline's final one)",
    )
    parser.add_argument(
        "--at",
        type=integer(1),
        metavar="STEPS",
        help="compare after this many steps (default: where the shortest finished run ends)",
    )
    parser.add_argument(
        "--area-from", type=integer(0), default=0, metavar="STEPS", help="area under the curve from here on"
    )
    parser.add_argument(
        "--panels", nargs="+", choices=figures.PANELS, metavar="NAME", help=f"what to draw: {', '.join(figures.PANELS)}"
    )
    parser.add_argument(
        "--columns", type=integer(1), default=2, metavar="N", help="panels side by side (default: %(default)s)"
    )
    return parser
