"""``record-agent``: a film of an agent."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rpp_rl.cli.arguments import add_agent, add_environment, add_seed, integer, number
from rpp_rl.cli.errors import command
from rpp_rl.io.border import user_input


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, film, say what the film shows, and return the status for the shell."""
    args = _parser().parse_args(argv)

    import torch

    from rpp_rl.agents import load_agent
    from rpp_rl.agents.record import RenderError, choose_renderer, record_agent
    from rpp_rl.runs.environments import environment_of, make_env

    torch.set_num_threads(1)
    agent = load_agent(args.agent, trust=args.trust, device="cpu")
    with user_input(RenderError, about="cannot render"):
        choose_renderer()
    env_id, env_kwargs = environment_of(agent, args.env, args.env_kwargs)
    picture = {"width": args.width, "height": args.height}
    env_kwargs |= {"render_mode": "rgb_array"} | {key: value for key, value in picture.items() if value is not None}
    mistakes = user_input(ValueError, RenderError, about="cannot record")
    with closing(make_env(env_id, env_kwargs)) as env, mistakes:
        film = record_agent(agent, env, args.output, seconds=args.seconds, seed=args.seed)
    print(
        f"{args.output}: {film.n_steps} steps of {env_id}, return {film.episode_return:.1f}; "
        f"{film.n_frames} pictures, {film.fps:.3g} per second"
    )
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
