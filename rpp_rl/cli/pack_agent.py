"""``pack-agent``: turn the folder of a run into one file that can be passed on, with a card that says what it is."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_seed, integer
from rpp_rl.cli.errors import command
from rpp_rl.io.tensor_file import SUFFIX


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, evaluate, write, and return the status for the shell."""
    args = _parser().parse_args(argv)

    import torch

    from rpp_rl.runs.pack_agent import pack_agent

    torch.set_num_threads(1)
    packed = pack_agent(
        args.run, args.output, env_id=args.env, n_episodes=args.episodes, seed=args.seed, last=args.last
    )
    card = packed.agent.card
    record = card["evaluation"]
    print(
        f"{packed.path}: the {card['choice']} agent, after {packed.agent.n_steps} steps, "
        f"return {record['mean_return']:.1f} ± {record['std_return']:.1f} in {record['episodes']} episodes"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pack-agent",
        description="Write an agent of a run of train-sac as one file without pickled code, with a card beside it: "
        "what it earns in fresh episodes, how it learned, how symmetric it is, and what it was made with.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=f"where (default: {{method}}-{{environment}}{SUFFIX})"
    )
    parser.add_argument("--env", metavar="ID", help="the run's environment again, if it is MODULE:ID")
    parser.add_argument("--last", action="store_true", help="take the agent at the end, not the best one")
    parser.add_argument("--episodes", type=integer(2), default=20, metavar="N", help="episodes to play (default: 20)")
    add_seed(parser, "the episodes")
    return parser
