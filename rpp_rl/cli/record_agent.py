"""``record-agent``: a film of an agent."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_agent, add_environment, add_seed, integer, number
from rpp_rl.cli.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, film, say what the film shows, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.agents import load_agent
    from rpp_rl.runs.show_agent import film

    agent = load_agent(args.agent, trust=args.trust, device="cpu")
    picture = {key: value for key, value in (("width", args.width), ("height", args.height)) if value is not None}
    recording = film(
        agent, args.output, args.env, args.env_kwargs, picture=picture, seconds=args.seconds, seed=args.seed
    )
    print(f"{args.output}: {recording}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="record-agent",
        description="Film the beginning of an episode with the deterministic policy, without a window.",
    )
    add_agent(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the film, .mp4 or .gif")
    parser.add_argument(
        "--seconds", type=number(above=0), default=10.0, metavar="S", help="longest duration (default: 10)"
    )
    add_seed(parser, "the environment")
    parser.add_argument("--width", type=integer(16), metavar="N", help="of the picture (default: the environment's)")
    parser.add_argument("--height", type=integer(16), metavar="N", help="of the picture (default: the environment's)")
    add_environment(parser)
    return parser
