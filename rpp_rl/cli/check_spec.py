"""``check-spec``: asks the simulator whether a specification of an environment's symmetry is true."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import envs_reps
from rpp_rl.cli.bare_model import add_model, add_model_options, bare_model, refuse_model_options
from rpp_rl.cli.errors import command
from rpp_rl.cli.text import aligned
from rpp_rl.envs.spec import percent
from rpp_rl.io.border import UserError, user_input

if TYPE_CHECKING:
    from rpp_rl.envs import EnvSpec
    from rpp_rl.envs.check import GeneratorCheck
    from rpp_rl.envs.statistical import StatisticalCheck

HEADER = (
    "generator",
    "1 step",
    "median",
    "{tail:g}th %ile",
    "exact",
    "worst block",
    "{horizon} steps",
    "reward max",
    "terminations",
    "alignment",
    "verdict",
)
TRANSITIONS = 60
"""Transitions for each of the states asked for, where no state can be chosen."""
MAX_PARTS = 4
"""Parts told in full of those that nothing exercised, or of the changes that fit better; ``--json`` tells all."""


def result(check: GeneratorCheck) -> dict[str, Any]:
    """One generator's check as JSON values; null where an error is infinite."""
    values = {**dataclasses.asdict(check), "keeps_reward": check.keeps_reward, "verdict": check.verdict}
    return {key: _finite(value) for key, value in values.items()}


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(spec: EnvSpec, checks: Sequence[GeneratorCheck]) -> str:
    """The checks for people, with what the generators mean and what to know about them."""
    from rpp_rl.envs.check import HORIZON, TAIL

    header = [text.format(tail=TAIL, horizon=HORIZON) for text in HEADER]
    rows = [header, *(_row(check) for check in checks)]
    lines, widths = aligned(rows)
    lines.insert(1, "  ".join("-" * width for width in widths))
    meanings = [
        f"{record.name}: {record.meaning}" + (f" ({record.note})" if record.note else "") for record in spec.generators
    ]
    title = f"{spec.env_id} under {spec.variant}, {checks[0].n_states if checks else 0} random states"
    title += "".join(f" and {check.n_wild} wild ones, {check.n_touching} with contacts" for check in checks[:1])
    return "\n".join([title, "", *lines, "", *meanings, *_told_once(checks)])


def _told_once(checks: Sequence[GeneratorCheck]) -> list[str]:
    """What the numbers do not tell, each line for all generators that it concerns."""
    told: dict[str, list[str]] = {}
    for check in checks:
        for line in _particulars(check):
            told.setdefault(line, []).append(check.generator)
    return [f"{', '.join(names)}: {line}" for line, names in told.items()]


def _particulars(check: GeneratorCheck) -> Iterator[str]:
    if check.refutation:
        yield f"wrong, {check.refutation}"
    if check.unexercised:
        yield f"not exercised, nothing would notice a change of {_shortened(check.unexercised)}"
    if check.n_unstable:
        yield f"{check.n_unstable} states dropped in which the simulation blew up"
    yield from check.remarks


def _shortened(parts: Sequence[str]) -> str:
    more = f"; and {len(parts) - MAX_PARTS} more" if len(parts) > MAX_PARTS else ""
    return "; ".join(parts[:MAX_PARTS]) + more


def _row(check: GeneratorCheck) -> tuple[str, ...]:
    return (
        check.generator,
        percent(check.inc_1),
        percent(check.median_1),
        percent(check.tail_1),
        f"{100 * check.share_exact:.3g} %",
        percent(max(check.blocks_1.values())),
        percent(check.inc_20),
        f"{check.reward_max:.2g}",
        f"{check.termination_mismatches} differ",
        f"{check.alignment:.2f}",
        check.verdict,
    )


STATISTICS = "generator", "error", "on images", "reward", "on images", "images not met", "verdict"


def statistics_table(spec: EnvSpec, checks: Sequence[StatisticalCheck]) -> str:
    """The weaker check for people."""
    rows = [STATISTICS, *(_statistics_row(check) for check in checks)]
    lines, widths = aligned(rows)
    lines.insert(1, "  ".join("-" * width for width in widths))
    n = checks[0].n_transitions if checks else 0
    title = [
        f"{spec.env_id} under {spec.variant}: no state of it can be chosen, so {n} of its transitions were compared",
        "with their images; this is weaker than a check in a simulator and calls nothing exact",
    ]
    told = []
    for check in checks:
        if check.better:
            told.append(f"{check.generator}: a change of {_shortened(check.better)} fits better")
        if check.undecided:
            told.append(f"{check.generator}: the transitions do not decide {_shortened(check.undecided)}")
    return "\n".join([*title, "", *lines, "", *told]).rstrip()


def _statistics_row(check: StatisticalCheck) -> tuple[str, ...]:
    errors = check.error, check.image_error, check.reward_error, check.reward_image_error, check.far_share
    return check.generator, *map(percent, errors), check.verdict


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
    parser.add_argument("--states", type=int, default=100, metavar="N", help="number of random states (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of states and actions (default 0)")
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

    from rpp_rl.derive import check_robot
    from rpp_rl.envs.simulator import is_settable
    from rpp_rl.envs.statistical import check_statistically
    from rpp_rl.runs.environments import make_env

    if args.states < 1:
        raise UserError(f"--states must be positive, got {args.states}")
    refuse_model_options(args)
    with user_input(ValueError):
        spec = _specification(args)
    env = make_env(spec.env_id, {}) if args.mjcf is None else bare_model(args)
    with closing(env), user_input(ValueError):
        if not is_settable(env):
            weaker = check_statistically(spec, env, n_transitions=TRANSITIONS * args.states, seed=args.seed)
            records = [dataclasses.asdict(check) for check in weaker]
            print(json.dumps(records, indent=2) if args.json else statistics_table(spec, weaker))
            return 0
        checks = check_robot(spec, env, n_states=args.states, seed=args.seed)
    print(json.dumps([result(check) for check in checks], indent=2) if args.json else table(spec, checks))
    return 0
