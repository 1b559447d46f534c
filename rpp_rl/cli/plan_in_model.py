"""``plan-in-model``: control a robot by planning in a model of it."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rpp_rl.cli.arguments import add_seed, integer
from rpp_rl.cli.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, play, print, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.runs.environments import check_device
    from rpp_rl.runs.plan_in_model import plan_in_model

    check_device(args.device)
    played = plan_in_model(
        args.run,
        method=args.method,
        n_steps=args.steps,
        n_episodes=args.episodes,
        horizon=args.horizon,
        n_plans=args.plans,
        n_iterations=args.iterations,
        n_particles=args.particles,
        seed=args.seed,
        device=args.device,
        progress=sys.stderr.isatty(),
    )
    print(json.dumps(asdict(played)) if args.json else played)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plan-in-model",
        description="Act in the real environment by planning in the model of a run, and compare what is earned with "
        "random actions. The planner replans at every step from the rest of its last plan on.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run of train-model")
    parser.add_argument(
        "--method",
        choices=("cem", "mppi"),
        default="cem",
        help="cross-entropy method (with --iterations 1 random shooting) or MPPI (default: cem)",
    )
    for name, default, text in (
        ("steps", 200, "most steps of an episode"),
        ("episodes", 1, "episodes to play"),
        ("horizon", 20, "steps of a plan"),
        ("plans", 300, "plans tried in an iteration"),
        ("iterations", 4, "iterations of the method"),
        ("particles", 1, "how often each plan is tried, for ensembles and Gaussian models"),
    ):
        help_text = f"{text} (default: {default})"
        parser.add_argument(f"--{name}", type=integer(1), default=default, metavar="N", help=help_text)
    add_seed(parser, "everything")
    parser.add_argument("--device", default="cpu", help="device of the model (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print the returns as JSON")
    return parser
