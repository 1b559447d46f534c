"""``list-agents``: the pretrained agents that come with the package."""

import argparse
import json
from collections.abc import Sequence

from rpp_rl.agents import registry
from rpp_rl.agents.agent_record import read_record
from rpp_rl.agents.card import to_markdown
from rpp_rl.cli.errors import command
from rpp_rl.cli.text import aligned
from rpp_rl.io.border import UserError
from rpp_rl.settings import nearest

HEADER = ("name", "environment", "method", "group", "steps", "return in 20 episodes", "size")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, print, and return the status for the shell."""
    args = _parser().parse_args(argv)
    known = registry.names()
    if args.name is not None and args.name not in known:
        hint = nearest(args.name, known) if known else "none come with this version"
        raise UserError(f"no pretrained agent {args.name!r}; {hint}")
    agents = {name: read_record(registry.path_of(name)) for name in known if args.name in (None, name)}
    if args.json:
        found = [
            {"name": name, "env_id": env_id, "bytes": _size(name), **card} for name, (env_id, card) in agents.items()
        ]
        print(json.dumps(found, indent=2))
    elif args.name is not None:
        print(to_markdown(args.name, *agents[args.name]))
    elif not agents:
        print("no pretrained agents come with this version; make one with train-sac and pack-agent")
    else:
        rows = [_row(name, env_id, card) for name, (env_id, card) in agents.items()]
        print("\n".join(aligned([HEADER, *rows])[0]))
    return 0


def _row(name: str, env_id: str | None, card: dict) -> tuple[str, ...]:
    record = card["evaluation"]
    return (
        name,
        str(env_id),
        card["method"],
        card["group"] or "none",
        str(card["steps"]),
        f"{record['mean_return']:.1f} ± {record['std_return']:.1f}",
        f"{_size(name) / 1e6:.1f} MB",
    )


def _size(name: str) -> int:
    return registry.path_of(name).stat().st_size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="list-agents", description="List the pretrained agents of the package.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of this agent")
    parser.add_argument("--json", action="store_true", help="print the whole cards as JSON")
    return parser
