"""``derive-spec``: finds the symmetries of a robot in its MuJoCo model and writes a specification for training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpp_rl.cli.arguments import add_env_kwargs
from rpp_rl.cli.errors import command
from rpp_rl.cli.text import aligned, percent
from rpp_rl.io.border import UserError, user_input

if TYPE_CHECKING:
    import gymnasium

    from rpp_rl.derive import Derivation, Finding, Survey

HEADER = ("element", "1 step", "median", "exact", "verdict", "reward", "differences", "meaning")
MAX_ALONE = 8
"""Symmetries that do not keep the reward of which each gets a row."""
MAX_VIOLATIONS = 4
"""Differences told in full for one element; ``--json`` tells all."""


def table(found: Survey) -> str:
    """The symmetries for people, with what breaks those that are not exact."""
    if not found.findings:
        return "found no symmetry, not even a near one; --all tries every relabelling that the joints admit"
    rows = [HEADER, *_rows(found.findings)]
    lines, widths = aligned(rows)
    lines.insert(1, "  ".join("-" * width for width in widths[:-1]) + "  " + "-" * len(HEADER[-1]))
    broken: dict[str, str] = {}
    for finding in found.findings:
        texts = [str(violation) for violation in finding.violations]
        texts += [remark for remark in finding.remarks if remark not in found.warnings]
        more = f"; and {len(texts) - MAX_VIOLATIONS} more" if len(texts) > MAX_VIOLATIONS else ""
        if texts:
            text = "; ".join(texts[:MAX_VIOLATIONS]) + more
            broken[text] = f"{broken[text]}, {finding.name}" if text in broken else finding.name
    title = f"{found.env_id}: {len(found.findings)} symmetries and near symmetries besides the identity"
    notes = [f"{names} broken by: {text}" for text, names in broken.items()]
    return "\n".join([title, "", *lines, "", *notes, *(f"note: {warning}" for warning in found.warnings)]).rstrip()


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[str, ...]]:
    """One row for each element; symmetries of the dynamics alone, when there are many, share one."""
    alone = [f for f in findings if f.keeps_reward is False and f.verdict != "weak" and f.element.turn is None]
    hidden = set(alone) if len(alone) > MAX_ALONE else set()
    for finding in findings:
        kept = {None: "-", True: "kept", False: "not kept"}[finding.keeps_reward]
        error = "-" if finding.trial is None else percent(finding.trial.inc_1)
        count = str(len(finding.violations) or "none")
        if finding not in hidden:
            median = "-" if finding.trial is None else percent(finding.trial.median)
            share = "-" if finding.trial is None else f"{100 * finding.trial.share_exact:.3g} %"
            yield finding.name, error, median, share, finding.verdict, kept, count, finding.element.meaning
        elif finding is alone[0]:
            worst = max(f.trial.inc_1 for f in alone if f.trial is not None)
            meaning = f"{len(alone)} symmetries of the dynamics alone; --json tells each"
            yield f"{finding.name}...", percent(worst), "", "", "", "not kept", "", meaning


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
    sources.add_argument("--mjcf", type=Path, metavar="FILE", help="MuJoCo model; the specification is for qpos, "
                         "without the place on the ground, qvel and ctrl")  # fmt: skip
    add_env_kwargs(parser)
    parser.add_argument("--ground", action="store_true", help="with --mjcf: add a ground at height 0")
    parser.add_argument("--motors", action="store_true", help="with --mjcf: give every joint a motor, as in a URDF")
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
        "--states", type=int, default=100, metavar="N", help="random states for the check (default 100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of states and actions (default 0)")
    parser.add_argument("--json", action="store_true", help="print a list with one record for each element")
    return parser


def _environment(args: argparse.Namespace) -> gymnasium.Env[Any, Any]:
    from rpp_rl.derive import BareModel
    from rpp_rl.runs.environments import make_env

    if args.mjcf is None and (args.ground or args.motors):
        raise UserError("--ground and --motors change a model given by --mjcf, not an environment")
    if args.mjcf is None:
        return make_env(args.env, args.env_kwargs)
    if not args.mjcf.is_file():
        raise UserError(f"{args.mjcf}: expected a MuJoCo model, got no file")
    with user_input(ValueError):
        return BareModel(args.mjcf, ground=args.ground, motors=args.motors)


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
        found = survey(env, env_id=args.env, observation=observation, near=not args.all, seed=args.seed)
        print(json.dumps([finding.to_dict() for finding in found.findings], indent=2) if args.json else table(found))
        if args.output is None and args.elements is None:
            return 0
        findings = accepted(found, args.accept) if args.elements is None else chosen(found, args.elements)
        derivation = derive(found, findings, n_states=args.states, seed=args.seed)
    if args.output is not None:
        write_spec(args.output, derivation.spec)
    if not args.json:
        others = left_out(found, findings) if args.elements is None else []
        if others:
            names = ", ".join(finding.name for finding in others[:MAX_ALONE])
            more = f" and {len(others) - MAX_ALONE} more" if len(others) > MAX_ALONE else ""
            print(
                f"\nleft out, take them with --elements: {names}{more} (the world moves, or they do not fit together)"
            )
        print("\n" + summary(derivation) + (f"\nwritten to {args.output}" if args.output else ""))
    return 0
