"""``run-study``: the studies of soft equivariance outside reinforcement learning, beside the paper's numbers."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_progress, integer
from rpp_rl.cli.errors import INTERRUPTED, command
from rpp_rl.io.border import user_input
from rpp_rl.io.extras import need
from rpp_rl.studies.registry import TITLES, load_study
from rpp_rl.studies.study import Results, Study, StudySettings, read_settings, selected


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, run what is missing, draw and print; returns the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.studies import report

    need("matplotlib", "plot")
    with user_input(ValueError):
        study = selected(load_study(args.study), args.cases, args.models)
        settings = StudySettings(args.variant, args.trials, args.epochs, args.width, args.seed)
        folder = args.output or Path("studies") / f"{study.name}_{settings.variant}"
        if args.draw:
            settings = read_settings(folder)
        results = Results(folder, study.name, settings)
    if not args.draw and not _is_finished(study, settings, results, args):
        jobs = study.jobs(settings)
        done = f"{len(results.done().intersection(jobs))} of {len(jobs)} jobs are in {folder}"
        print(f"interrupted; {done}: the same command continues", file=sys.stderr)
        return INTERRUPTED
    report.draw(study, results, folder)
    print(report.as_json(study, settings, results) if args.json else report.as_text(study, results, folder))
    return 0


def _is_finished(study: Study, settings: StudySettings, results: Results, args: argparse.Namespace) -> bool:
    """Run the jobs that are missing; whether nobody interrupted."""
    from rpp_rl.studies.running import device_of, finish

    with user_input(RuntimeError):
        device = device_of(args.device)
    with user_input(FloatingPointError):
        return finish(
            study,
            settings,
            results,
            device=device,
            data=args.data,
            workers=args.workers,
            num_threads=args.num_threads,
            progress=args.progress and sys.stderr.isatty(),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run-study",
        description="Compare soft equivariance (RPP) with strict (EMLP) and none (MLP) on the tasks of section 5 of "
        "the paper. Results are kept job by job: the same command continues an interrupted study, or draws a finished "
        "one again.",
        epilog="Studies: " + "; ".join(f"{name}: {title}" for name, title in TITLES.items()) + ".",
    )
    defaults = StudySettings()
    parser.add_argument("study", choices=TITLES, metavar="NAME", help=", ".join(TITLES))
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="train these alone; the results keep the others")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="train these alone; the results keep the others")
    parser.add_argument("--trials", type=integer(1), default=defaults.trials, metavar="N", help="repetitions (10)")
    parser.add_argument("--epochs", type=integer(1), metavar="N", help="passes through the data (the study's own)")
    parser.add_argument("--width", type=integer(1), metavar="N", help="channels of hidden layers (the study's own)")
    parser.add_argument(
        "--variant",
        choices=("paper", "code"),
        default=defaults.variant,
        help="paper: one prior for everything (default); code: what the authors' programs did, panel by panel",
    )
    parser.add_argument("--seed", type=integer(0), default=defaults.seed, metavar="N", help="of all random numbers (0)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the data sets lie that are not made")
    parser.add_argument("--workers", type=integer(1), default=1, metavar="N", help="processes that share the jobs (1)")
    parser.add_argument("--num-threads", type=integer(1), default=1, metavar="N", help="threads of each process (1)")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda, ...")
    parser.add_argument(
        "--draw", action="store_true", help="train nothing: draw and print what the folder holds, with its settings"
    )
    parser.add_argument("--json", action="store_true", help="print rows and claims as JSON")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="results (studies/NAME_VARIANT)")
    add_progress(parser)
    return parser
