"""``push-agent``: put an agent on the Hugging Face hub."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_agent
from rpp_rl.cli.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, push, say where the agent is, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.agents import load_agent
    from rpp_rl.agents.find import SCHEME
    from rpp_rl.agents.hub import push_agent

    agent = load_agent(args.agent, trust=args.trust, device="cpu")
    address = push_agent(agent, args.repo, video=args.video, private=args.private)
    print(f"{address}\nload it with rpp_rl.load_agent({SCHEME + args.repo!r})")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="push-agent",
        description="Put an agent with its card on the Hugging Face hub, in the layout of rl-baselines3-zoo and as a "
        "file without pickled code, from which load_agent('hf://ORG/NAME') takes it.",
    )
    add_agent(parser)
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="the repository; made if there is none")
    parser.add_argument("--video", type=Path, metavar="FILE", help="a film of the agent, .mp4, to show on its page")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    return parser
