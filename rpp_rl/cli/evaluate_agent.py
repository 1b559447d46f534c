"""``evaluate-agent``: what a saved agent earns, and how symmetric it is on the states it visits."""

import argparse
import dataclasses
import json
from collections.abc import Sequence

from rpp_rl.cli.arguments import add_agent, add_environment, add_seed, integer
from rpp_rl.cli.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, evaluate, print, and return the status for the shell."""
    args = _parser().parse_args(argv)

    import torch

    from rpp_rl.agents import load_agent
    from rpp_rl.runs.environments import check_device
    from rpp_rl.runs.evaluate_agent import evaluate

    check_device(args.device)
    torch.set_num_threads(1)
    agent = load_agent(args.agent, trust=args.trust, device=args.device)
    result = evaluate(
        agent,
        args.env,
        args.env_kwargs,
        n_episodes=args.episodes,
        seed=args.seed,
        deterministic=args.deterministic,
    )
    print(json.dumps(dataclasses.asdict(result), indent=2) if args.json else result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate-agent",
        description="Play episodes with a saved agent; print its returns and how far its policy is from equivariant.",
    )
    add_agent(parser)
    parser.add_argument("--episodes", type=integer(1), default=10, metavar="N", help="episodes to play (default: 10)")
    add_seed(parser, "the environment and of the policy")
    add_environment(parser)
    parser.add_argument("--device", default="auto", help="device of the networks (default: auto)")
    policies = parser.add_mutually_exclusive_group()
    policies.add_argument("--deterministic", action="store_true", default=True, help="take the mean action (default)")
    policies.add_argument("--stochastic", dest="deterministic", action="store_false", help="draw actions at random")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser
