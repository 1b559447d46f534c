"""``run-experiment``: variants x environments x seeds, on this machine, on a Ray cluster or under Slurm."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import KeyValues, integer
from rpp_rl.cli.errors import INTERRUPTED, command
from rpp_rl.cli.text import aligned
from rpp_rl.experiments import progress
from rpp_rl.experiments.backend import Backend, LocalPool
from rpp_rl.experiments.checking import mistakes_of, unknown_environments
from rpp_rl.experiments.job_folder import State
from rpp_rl.experiments.plan import Plan, PlanError, read_plan, require_writable
from rpp_rl.experiments.ray_cluster import RayCluster
from rpp_rl.experiments.scheduling import Driver, Member, by_state, members_of
from rpp_rl.experiments.slurm import Slurm
from rpp_rl.io.border import UserError, user_input
from rpp_rl.shipped_configs import config_file, shipped

FAILED = 1


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, run what is left of the experiment, and return the status for the shell."""
    args = _parser().parse_args(argv)
    with user_input(ValueError):
        path = config_file(args.conf_file, "experiments")
    mistakes: list[str] = []
    try:
        plan = read_plan(path)
    except PlanError as error:
        plan = error.sound
        mistakes += error.mistakes
        if plan.kind == "sac":
            mistakes += unknown_environments(error.env_ids)
    folder = (args.log_folder / plan.name).resolve()
    if args.status and not mistakes:
        _print_rows(progress.run_rows(members_of(plan, folder)))
        return 0
    # What a mistake of the file has changed is not what the user means.
    mistakes += [] if mistakes else _conflicts(plan, folder)
    of_arms, sizes = mistakes_of(plan, here=not args.ray and args.slurm is None)
    mistakes += of_arms
    try:
        require_writable(folder)
    except OSError as error:
        mistakes.append(f"{error.filename}: {error.strerror}")
    if mistakes:
        raise _all_of(path, list(dict.fromkeys(mistakes)))
    if args.dry_run:
        _print_plan(plan, folder, args.workers, sizes)
        return 0
    return _drive(plan, folder, _backend(args, folder), args.workers)


def _conflicts(plan: Plan, folder: Path) -> list[str]:
    """Arms that were begun with other settings, by the first run of each."""
    found: dict[tuple[str, str], str] = {}
    for member in members_of(plan, folder):
        conflict = member.folder.conflict(member.job)
        if conflict is not None:
            found.setdefault((member.job.variant, member.job.env_id), conflict)
    return list(found.values())


def _all_of(path: Path, mistakes: Sequence[str]) -> UserError:
    """The error for these mistakes; several of them are printed before it, a line for each."""
    if len(mistakes) == 1:
        return UserError(f"{path}: {mistakes[0]}")
    for number, mistake in enumerate(mistakes, 1):
        print(f"({number}) {' '.join(mistake.split())}", file=sys.stderr)
    return UserError(f"{path}: {len(mistakes)} mistakes, listed above; nothing was started")


def _drive(plan: Plan, folder: Path, backend: Backend, n_workers: int) -> int:
    table = progress.LiveTable(n_workers)
    driver = Driver(plan, folder, backend, table.report, table.show)
    driver.prepare()
    try:
        ended = driver.run()
    except KeyboardInterrupt:
        table.report("interrupted, everything is saved; the same command goes on")
        return INTERRUPTED
    finally:
        table.close()
    _print_rows(progress.arm_rows(driver.members))
    print(f"compare with: compare-runs {os.path.relpath(folder)} -o {plan.name}")
    return FAILED if ended[State.FAILED] else 0


def _backend(args: argparse.Namespace, folder: Path) -> Backend:
    if args.ray:
        return RayCluster(args.ray, folder)
    if args.slurm is not None:
        return Slurm(folder, args.slurm, args.workers)
    return LocalPool(args.workers)


def _print_plan(plan: Plan, folder: Path, n_workers: int, sizes: dict[str, int]) -> None:
    members = members_of(plan, folder)
    _print_rows([("environment", "variant", "seeds", "steps"), *_grid(plan)])
    speeds = [p.steps_per_s for p in (member.folder.progress() for member in members) if p.steps_per_s]
    typical = sorted(speeds)[len(speeds) // 2] if speeds else None
    print()
    for line in progress.cost_lines(plan, n_workers, sizes, typical):
        print(line)
    states = {state.value: len(found) for state, found in by_state(members).items() if found}
    print(f"in {folder}: " + ", ".join(f"{number} {state}" for state, number in states.items()))


def _grid(plan: Plan) -> list[Sequence[str]]:
    arms: dict[tuple[str, str], list[Member]] = {}
    for member in members_of(plan, Path()):
        arms.setdefault((member.job.env_id, member.job.variant), []).append(member)
    total = "n_timesteps" if plan.kind == "sac" else "n_epochs"
    return [
        (env_id, variant, " ".join(str(m.job.seed) for m in own), str(getattr(own[0].job.settings, total)))
        for (env_id, variant), own in arms.items()
    ]


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    for line in aligned(rows)[0]:
        print(line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run-experiment",
        description="Train variants x environments x seeds. What is finished is skipped, what was interrupted goes on: "
        "the same command always completes the experiment.",
    )
    parser.add_argument(
        "-conf",
        "--conf-file",
        required=True,
        metavar="NAME",
        help=f"the experiment: one that comes with the package ({', '.join(shipped('experiments'))}), or a YAML file",
    )
    parser.add_argument(
        "-f",
        "--log-folder",
        type=Path,
        default=Path("experiments"),
        metavar="FOLDER",
        help="folder of all experiments; this one gets a folder of its name in it (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=integer(1),
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        metavar="N",
        help="runs side by side (default: the cores, %(default)s)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster: auto, or HOST:PORT")
    where.add_argument(
        "--slurm",
        nargs="*",
        action=KeyValues,
        metavar="KEY:VALUE",
        help="run under Slurm; options of sbatch by submitit's names, for example partition:cpu timeout_min:600",
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the grid and what it will cost")
    parser.add_argument("--status", action="store_true", help="print how far every run has come, and start nothing")
    return parser
