"""``check-spec``: asks the simulator whether a specification of an environment's symmetry is true."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import envs_reps
from rpp_rl.cli.arguments import add_states
from rpp_rl.cli.bare_model import add_model, add_model_options, bare_model, refuse_model_options
from rpp_rl.cli.errors import command
from rpp_rl.io.border import UserError, user_input

if TYPE_CHECKING:
    from rpp_rl.envs import EnvSpec


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "check-spec",
        description="Puts random states and their images under each generator into the simulator, steps both and "
        "compares. Errors are relative to the change of the state. Verdicts: exact; exact dynamics (the reward is "
        "not kept); untested (no error, but parts of the specification were never exercised); approximate; weak (20 % "
        "and more); wrong (a prediction points the wrong way, or a changed sign fits better). Where the state of an "
        "environment cannot be chosen, because it is not on gymnasium's MujocoEnv, a model of its transitions judges: "
        "consistent, inconsistent, wrong, undecided.",
    )
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument(
        "--env", metavar="ID", help="environment, with --spec any, else one of " + ", ".join(envs_reps.env_ids())
    )
    add_model(sources)
    add_model_options(parser)
    parser.add_argument("--group", metavar="NAME", help="variant of the specification; the default one when not given")
    parser.add_argument("--spec", type=Path, metavar="FILE", help="file of a specification, written by derive-spec")
    add_states(parser)
    parser.add_argument("--json", action="store_true", help="print a list with one record for each generator")
    return parser


def _specification(args: argparse.Namespace) -> EnvSpec:
    if args.mjcf is not None and args.spec is None:
        raise UserError("--mjcf needs the specification of the model, --spec FILE")
    if args.spec is None and args.env is None:
        raise UserError("expected --env ID for a specification of the package, or --spec FILE for one of your own")
    if args.spec is None:
        return envs_reps.load(args.env, args.group)
    if args.group is not None:
        raise UserError("--group chooses among the specifications of the package; the one in a file has one group")
    from rpp_rl.envs import read_spec
    from rpp_rl.runs.environments import require_asked

    spec = read_spec(args.spec)
    if args.env is not None:
        return dataclasses.replace(spec, env_id=args.env)
    if args.mjcf is None and Path(spec.env_id).suffix in (".xml", ".urdf", ".mjb"):
        raise UserError(
            f"{args.spec} is for the model {spec.env_id}: give its file, --mjcf {spec.env_id}, or --env with it"
        )
    require_asked(spec.env_id, None, args.spec)
    return spec


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Check the specification that the flags name, and print what the simulator says."""
    args = _parser().parse_args(argv)

    from rpp_rl.derive import check_environment
    from rpp_rl.runs.environments import make_env

    refuse_model_options(args)
    with user_input(ValueError):
        spec = _specification(args)
    env = make_env(spec.env_id, {}) if args.mjcf is None else bare_model(args)
    with closing(env), user_input(ValueError):
        report = check_environment(spec, env, n_states=args.states, seed=args.seed)
    print(json.dumps(report.records, indent=2) if args.json else report.text)
    return 0
