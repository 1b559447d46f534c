"""``run-experiment``: variants x environments x seeds, on this machine, on a Ray cluster or under Slurm."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import KeyValues, integer
from rpp_rl.cli.errors import INTERRUPTED, command
from rpp_rl.experiments import progress
from rpp_rl.experiments.backend import Backend, LocalPool
from rpp_rl.experiments.job_folder import State
from rpp_rl.experiments.plan import Plan
from rpp_rl.experiments.ray_cluster import RayCluster
from rpp_rl.experiments.scheduling import Driver, members_of
from rpp_rl.experiments.slurm import Slurm
from rpp_rl.io.border import user_input
from rpp_rl.io.tables import aligned
from rpp_rl.shipped_configs import config_file, shipped

FAILED = 1


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, run what is left of the experiment, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.experiments.checking import check_start, plan_and_mistakes, refuse

    with user_input(ValueError):
        path = config_file(args.conf_file, "experiments")
    plan, mistakes = plan_and_mistakes(path)
    folder = (args.log_folder / plan.name).resolve()
    if args.status and not mistakes:
        print("\n".join(aligned(progress.run_rows(members_of(plan, folder)))))
        return 0
    of_start, sizes = check_start(plan, folder, here=not args.ray and args.slurm is None, is_meant=not mistakes)
    refuse(path, mistakes + of_start)
    if args.dry_run:
        print("\n".join(progress.plan_lines(plan, folder, args.workers, sizes)))
        return 0
    return _drive(plan, folder, _backend(args, folder), args.workers)


def _drive(plan: Plan, folder: Path, backend: Backend, n_workers: int) -> int:
    table = progress.LiveTable(n_workers)
    driver = Driver(plan, folder, backend, table.report, table.show)
    driver.prepare()
    try:
        ended = driver.run()
    except KeyboardInterrupt:
        table.report("interrupted, everything is saved; the same command continues")
        return INTERRUPTED
    finally:
        table.close()
    print("\n".join(aligned(progress.arm_rows(driver.members))))
    print(f"compare with: compare-runs {os.path.relpath(folder)} -o {plan.name}")
    return FAILED if ended[State.FAILED] else 0


def _backend(args: argparse.Namespace, folder: Path) -> Backend:
    if args.ray:
        return RayCluster(args.ray, folder)
    if args.slurm is not None:
        return Slurm(folder, args.slurm, args.workers)
    return LocalPool(args.workers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run-experiment",
        description="Train variants x environments x seeds. Finished runs are skipped, interrupted ones continue: "
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
