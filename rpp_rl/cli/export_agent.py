"""``export-agent``: an agent as one file for programs that do not know this package."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_agent
from rpp_rl.cli.errors import command
from rpp_rl.io.border import user_input


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, export, say what the file is, and return the status for the shell."""
    args = _parser().parse_args(argv)

    from rpp_rl.agents import load_agent
    from rpp_rl.agents.export import INPUT, OUTPUT, SUFFIXES, export_agent

    agent = load_agent(args.agent, trust=args.trust, device="cpu")
    path = args.output or Path(f"{Path(args.agent).stem}{SUFFIXES[args.format]}")
    with user_input(ValueError):
        error = export_agent(agent, path, args.format)
    n_obs, n_actions = agent.observation_space.shape[0], agent.action_space.shape[0]
    print(
        f"{path}: {INPUT} (batch, {n_obs}) -> {OUTPUT} (batch, {n_actions}), float32; "
        f"actions as the agent's up to {error:.1e} on 256 random observations"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="export-agent",
        description="Write an agent's deterministic policy as one file: weights merged, change of coordinates, "
        "normalisation and rescaling of the actions inside.",
    )
    add_agent(parser)
    parser.add_argument(
        "--format",
        choices=("onnx", "torch"),
        default="onnx",
        help="onnx (default), or torch for an archive that torch.export.load opens",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the file (default: its name with .onnx or .pt2)"
    )
    return parser
