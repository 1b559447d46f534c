"""``run-study``: the studies of soft equivariance outside reinforcement learning, beside the paper's numbers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

import rpp_rl
from rpp_rl.cli.arguments import integer
from rpp_rl.cli.errors import INTERRUPTED, command
from rpp_rl.cli.text import aligned
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import user_input
from rpp_rl.io.extras import need
from rpp_rl.studies.registry import STUDIES
from rpp_rl.studies.study import Results, Study, StudySettings, read_settings, run_study, selected

FIGURE_FILE = "figure.png"
VERDICTS = {True: "holds", False: "fails", None: "unknown"}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, run what is missing, draw and print; returns the status for the shell."""
    args = _parser().parse_args(argv)
    need("matplotlib", "plot")
    with user_input(ValueError):
        study = selected(STUDIES[args.study], args.cases, args.models)
        settings = StudySettings(args.variant, args.trials, args.epochs, args.width, args.seed)
        folder = args.output or Path("studies") / f"{study.name}_{settings.variant}"
        if args.draw:
            settings = read_settings(folder)
        results = Results(folder, study.name, settings)
    if not args.draw and not _trained(study, settings, results, args):
        jobs = study.jobs(settings)
        done = f"{len(results.done().intersection(jobs))} of {len(jobs)} jobs are in {folder}"
        print(f"interrupted; {done}: the same command continues", file=sys.stderr)
        return INTERRUPTED
    _draw(study, results, folder)
    print(_as_json(study, settings, results) if args.json else _as_text(study, results, folder))
    return 0


def _trained(study: Study, settings: StudySettings, results: Results, args: argparse.Namespace) -> bool:
    """Run the jobs that are missing; whether nobody interrupted."""
    torch.set_num_threads(args.num_threads)
    shown = args.progress and sys.stderr.isatty()
    try:
        with _bar(study, settings, results, shown=shown) as bar, user_input(FloatingPointError):
            run_study(
                study,
                settings,
                results,
                device=_device(args.device),
                data=args.data,
                workers=args.workers,
                tick=bar.update,
            )
    except KeyboardInterrupt:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run-study",
        description="Compare soft equivariance (RPP) with strict (EMLP) and none (MLP) on the tasks of section 5 of "
        "the paper. Results are kept job by job: the same command continues an interrupted study, or draws a finished "
        "one again.",
        epilog="Studies: " + "; ".join(f"{study.name}: {study.title}" for study in STUDIES.values()) + ".",
    )
    defaults = StudySettings()
    parser.add_argument("study", choices=STUDIES, metavar="NAME", help=", ".join(STUDIES))
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
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="show no progress bar")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="results (studies/NAME_VARIANT)")
    parser.add_argument("--version", action="version", version=f"rpp_rl {rpp_rl.__version__}")
    return parser


def _device(name: str) -> torch.device:
    with user_input(RuntimeError):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else torch.device(name)


def _bar(study: Study, settings: StudySettings, results: Results, *, shown: bool) -> tqdm:
    jobs = study.jobs(settings)
    total = sum(study.n_epochs(job, settings) for job in jobs)
    initial = sum(study.n_epochs(job, settings) for job in jobs if job in results.done())
    return tqdm(total=total, initial=initial, unit="epoch", desc=study.name, dynamic_ncols=True, disable=not shown)


def _draw(study: Study, results: Results, folder: Path) -> None:
    figure = study.figure(results.rows)
    with replacing(folder / FIGURE_FILE) as file:
        figure.savefig(file, format="png", dpi=150)


def _as_text(study: Study, results: Results, folder: Path) -> str:
    lines, widths = aligned(study.table(results.rows))
    lines.insert(1, "  ".join("-" * width for width in widths))
    claims = [f"{VERDICTS[claim.holds]:8}{claim.text}: {claim.found}" for claim in study.claims(results.rows)]
    end = f"rows: {results.path}, figure: {folder / FIGURE_FILE}"
    return "\n".join([study.title, "", *lines, "", *claims, "", end])


def _as_json(study: Study, settings: StudySettings, results: Results) -> str:
    content = {
        "study": study.name,
        "settings": dataclasses.asdict(settings),
        "rows": [row._asdict() for row in results.rows],
        "claims": [claim._asdict() for claim in study.claims(results.rows)],
    }
    return json.dumps(content, indent=1)
