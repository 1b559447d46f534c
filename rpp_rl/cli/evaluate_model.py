"""``evaluate-model``: how well models of the dynamics predict, and how symmetric their predictions are."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_trust, integer
from rpp_rl.cli.errors import command
from rpp_rl.io.border import UserError
from rpp_rl.io.extras import need


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, evaluate, print, draw, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.runs.environments import check_device
    from rpp_rl.runs.evaluate_model import draw, horizons_of, load_tested, notes, summarise
    from rpp_rl.runs.model_report import as_document, as_lines

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
        print(json.dumps(as_document(summaries, horizons, [*notes(runs)]), indent=2, allow_nan=False))
    else:
        print("\n".join([*(f"note: {note}" for note in notes(runs)), *as_lines(summaries, horizons)]))
    if args.plot:
        draw(runs, summaries, args.plot)
    return 0


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
