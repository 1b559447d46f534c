"""``derive-spec``: finds the symmetries of a robot in its MuJoCo model and writes a specification for training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpp_rl.cli.arguments import add_env_kwargs
from rpp_rl.cli.bare_model import add_model, add_model_options, bare_model, refuse_model_options
from rpp_rl.cli.errors import command
from rpp_rl.cli.text import aligned
from rpp_rl.envs.spec import percent
from rpp_rl.io.border import UserError, user_input

if TYPE_CHECKING:
    import gymnasium

    from rpp_rl.derive import Derivation, Finding, Survey

HEADER = ("element", "1 step", "median", "exact", "verdict", "reward", "differences", "meaning")
MAX_LEFT_OUT = 8
"""Names that are told of the symmetries that a specification leaves out."""
MAX_VIOLATIONS = 4
"""Differences told in full for one element; ``--json`` tells all."""


def table(found: Survey, *, worlds: bool = False) -> str:
    """The symmetries for people, with what breaks those that are not exact.

    Args:
        found: The symmetries.
        worlds: Whether to tell every motion of the world that goes with a relabelling of the robot, not only the best.
    """
    if not found.findings:
        return "found no symmetry, not even a near one; --all tries every relabelling that the joints admit"
    groups = _relabellings(found.findings)
    told = list(found.findings) if worlds else [group[0] for group in groups]
    rows = [HEADER, *map(_row, told)]
    lines, widths = aligned(rows)
    lines.insert(1, "  ".join("-" * width for width in widths[:-1]) + "  " + "-" * len(HEADER[-1]))
    broken: dict[str, str] = {}
    for finding in told:
        texts = [str(violation) for violation in finding.violations]
        texts += [remark for remark in finding.remarks if remark not in found.warnings]
        more = f"; and {len(texts) - MAX_VIOLATIONS} more" if len(texts) > MAX_VIOLATIONS else ""
        if texts:
            text = "; ".join(texts[:MAX_VIOLATIONS]) + more
            broken[text] = f"{broken[text]}, {finding.name}" if text in broken else finding.name
    title = f"{found.env_id}: {len(found.findings)} symmetries and near symmetries besides the identity"
    notes = [f"{names} broken by: {text}" for text, names in broken.items()]
    n_hidden = len(found.findings) - len(told)
    if n_hidden:
        notes.append(
            f"{n_hidden} more do the same to the robot while the world moves in another way; --worlds tells them"
        )
    return "\n".join([title, "", *lines, "", *notes, *(f"note: {warning}" for warning in found.warnings)]).rstrip()


def _relabellings(findings: Sequence[Finding]) -> list[list[Finding]]:
    """The findings by what they do to the robot itself, each group with the most useful one first."""
    from rpp_rl.derive import relabelling

    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(relabelling(finding) or finding.name, []).append(finding)
    return list(groups.values())


def _row(finding: Finding) -> tuple[str, ...]:
    kept = {None: "-", True: "kept", False: "not kept"}[finding.keeps_reward]
    count = str(len(finding.violations) or "none")
    trial = finding.trial
    numbers = ("-", "-", "-")
    if trial is not None:
        numbers = percent(trial.inc_1), percent(trial.median), f"{100 * trial.share_exact:.3g} %"
    return finding.name, *numbers, finding.verdict, kept, count, finding.element.meaning


def summary(derivation: Derivation) -> str:
    """The group and its generators, with the simulator's verdict on each."""
    spec = derivation.spec
    lines = [f"{spec}: {spec.observation.size} observations in {len(spec.observation.blocks)} blocks, "
             f"{spec.action.size} actions"]  # fmt: skip
    lines += [f"  {record.name}: {record.meaning}" for record in spec.generators]
    lines += [
        f"  {check.generator}: {check.verdict}, error {percent(check.inc_1)} after a step, "
        f"{percent(check.inc_20)} after 20, in {check.n_states} states"
        for check in derivation.checks
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    from rpp_rl.derive.quantities import QUANTITIES

    parser = argparse.ArgumentParser(
        "derive-spec",
        description="Finds the symmetries of a robot: which motion of the world and which relabelling of its parts "
        "leave the model the same, exactly or nearly. Every one is tried in the simulator, with rewards and "
        "terminations if an environment is given. With -o the group of those that hold is written as a "
        "specification for train-sac --spec.",
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
        f"positions and velocities; quantities are {', '.join(QUANTITIES)}",
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
        help="tell every relabelling that the joints admit, the best 256 for each motion of the world",
    )
    parser.add_argument(
        "--worlds",
        action="store_true",
        help="a row for every motion of the world that goes with a relabelling of the robot, not only for the best",
    )
    parser.add_argument(
        "--states", type=int, default=100, metavar="N", help="random states for the check (default 100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of states and actions (default 0)")
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
    from rpp_rl.envs.spec_file import write_spec

    if args.states < 1:
        raise UserError(f"--states must be positive, got {args.states}")
    with closing(_environment(args)) as env, user_input(ValueError):
        observation = None if args.observation is None else read_description(args.observation)
        found = survey(env, env_id=args.env, observation=observation, near=not args.all, seed=args.seed,
                       progress=True)  # fmt: skip
        records = [finding.to_dict() for finding in found.findings]
        print(json.dumps(records, indent=2) if args.json else table(found, worlds=args.worlds))
        if args.output is None and args.elements is None:
            return 0
        findings = accepted(found, args.accept) if args.elements is None else chosen(found, args.elements)
        derivation = derive(found, findings, n_states=args.states, seed=args.seed)
    if args.output is not None:
        write_spec(args.output, derivation.spec)
    if not args.json:
        others = left_out(found, findings) if args.elements is None else []
        if others:
            names = ", ".join(finding.name for finding in others[:MAX_LEFT_OUT])
            more = f" and {len(others) - MAX_LEFT_OUT} more" if len(others) > MAX_LEFT_OUT else ""
            print(
                f"\nleft out, take them with --elements: {names}{more} (the world moves, or they do not fit together)"
            )
        print("\n" + summary(derivation) + (f"\nwritten to {args.output}" if args.output else ""))
    return 0
