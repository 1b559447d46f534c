"""``plot-agent``: a picture of how an agent learned, what it earns and how symmetric its gait is."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_agent, add_environment, add_seed, integer
from rpp_rl.cli.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, draw, print the numbers, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.agents import load_agent
    from rpp_rl.runs.show_agent import draw

    agent = load_agent(args.agent, trust=args.trust, device="cpu")
    path = args.output or Path(f"{Path(args.agent).stem}.png")
    portrait = draw(agent, path, args.env, args.env_kwargs, n_episodes=args.episodes, seed=args.seed)
    print(f"{path}: {portrait}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plot-agent",
        description="Draw an agent's learning curve, its return per episode, and the angles of limbs that the symmetry "
        "exchanges, which follow one curve, at a delay, if the gait is symmetric.",
    )
    add_agent(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the picture (default: the agent's name.png)")
    parser.add_argument("--episodes", type=integer(1), default=5, metavar="N", help="episodes to play (default: 5)")
    add_seed(parser, "the environment")
    add_environment(parser)
    return parser
