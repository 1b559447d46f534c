"""``derive-spec``: finds the symmetries of a robot in its MuJoCo model and writes a specification for training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpp_rl.cli.arguments import add_env_kwargs, add_states
from rpp_rl.cli.bare_model import add_model, add_model_options, bare_model, refuse_model_options
from rpp_rl.cli.errors import command
from rpp_rl.derive.vocabulary import QUANTITY_NAMES
from rpp_rl.io.border import user_input

if TYPE_CHECKING:
    import gymnasium


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "derive-spec",
        description="Finds the symmetries of a robot: which motion of the world and which relabelling of its parts "
        "leave the model the same, exactly or nearly. Every one is tried in the simulator, with rewards and "
        "terminations if an environment is given. With -o the group of those that hold is written as a "
        "specification for train-sac --spec. They are always tried in the same states, so that a robot has one group; "
        "--states and --seed are those of the check of what is written.",
    )
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--env", metavar="ID", help="environment on gymnasium's MujocoEnv, perhaps MODULE:ID")
    add_model(sources)
    add_env_kwargs(parser)
    add_model_options(parser)
    parser.add_argument(
        "--observation",
        type=Path,
        metavar="FILE",
        help="which numbers of the observation are which quantity (YAML), for observations that do not begin with "
        f"positions and velocities; quantities are {', '.join(QUANTITY_NAMES)}",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the specification (YAML)")
    parser.add_argument(
        "--accept",
        choices=("exact", "approximate"),
        default="approximate",
        help="which symmetries make the group: those without any difference, or also those with an error below 20 "
        "percent (default: approximate)",
    )
    parser.add_argument(
        "--elements", nargs="+", metavar="NAME", help="make the group of these elements of the table instead"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="list every relabelling that the joints admit, the best 256 for each motion of the world",
    )
    parser.add_argument(
        "--worlds",
        action="store_true",
        help="a row for every motion of the world that goes with a relabelling of the robot, not only for the best",
    )
    add_states(parser)
    parser.add_argument("--json", action="store_true", help="print a list with one record for each element")
    return parser


def _environment(args: argparse.Namespace) -> gymnasium.Env[Any, Any]:
    from rpp_rl.runs.environments import make_env

    refuse_model_options(args)
    return make_env(args.env, args.env_kwargs) if args.mjcf is None else bare_model(args)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Survey the robot that the flags name, print what was found, and write a specification if asked to."""
    args = _parser().parse_args(argv)

    from rpp_rl.derive import accepted, chosen, derive, left_out, read_description, survey
    from rpp_rl.derive.report import left_out_text, summary, survey_table
    from rpp_rl.envs import write_spec

    with closing(_environment(args)) as env, user_input(ValueError):
        observation = None if args.observation is None else read_description(args.observation)
        found = survey(env, env_id=args.env, observation=observation, near=not args.all, progress=True)
        records = [finding.to_dict() for finding in found.findings]
        print(json.dumps(records, indent=2) if args.json else survey_table(found, worlds=args.worlds))
        if args.output is None and args.elements is None:
            return 0
        findings = accepted(found, args.accept) if args.elements is None else chosen(found, args.elements)
        derivation = derive(found, findings, n_states=args.states, seed=args.seed)
    if args.output is not None:
        write_spec(args.output, derivation.spec)
    if not args.json:
        others = left_out(found, findings) if args.elements is None else []
        if others:
            print("\n" + left_out_text(others))
        print("\n" + summary(derivation) + (f"\nwritten to {args.output}" if args.output else ""))
    return 0
