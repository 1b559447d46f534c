"""``list-agents``: the pretrained agents that come with the package."""

import argparse
import json
from collections.abc import Sequence

from rpp_rl.agents import registry
from rpp_rl.agents.agent_record import read_record
from rpp_rl.agents.card import LIST_HEADER, list_row, to_markdown
from rpp_rl.cli.errors import command
from rpp_rl.io.border import UserError
from rpp_rl.io.tables import aligned
from rpp_rl.settings import nearest


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
        rows = [list_row(name, env_id, card, _size(name)) for name, (env_id, card) in agents.items()]
        print("\n".join(aligned([LIST_HEADER, *rows])))
    return 0


def _size(name: str) -> int:
    return registry.path_of(name).stat().st_size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="list-agents", description="List the pretrained agents of the package.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of this agent")
    parser.add_argument("--json", action="store_true", help="print the whole cards as JSON")
    return parser
