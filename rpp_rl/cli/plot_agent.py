"""``plot-agent``: a picture of how an agent learned, what it earns and how symmetric its gait is."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rpp_rl.cli.arguments import add_agent, add_environment, add_seed, integer
from rpp_rl.cli.errors import command
from rpp_rl.io.border import user_input


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, draw, print the numbers, and return the status for the shell."""
    args = _parser().parse_args(argv)

    import numpy as np
    import torch

    import envs_reps
    from rpp_rl.agents import load_agent
    from rpp_rl.agents.plot import plot_agent
    from rpp_rl.runs.environments import environment_of, make_env

    torch.set_num_threads(1)
    agent = load_agent(args.agent, trust=args.trust, device="cpu")
    path = args.output or Path(f"{Path(args.agent).stem}.png")
    env_id, env_kwargs = environment_of(agent, args.env, args.env_kwargs)
    with closing(make_env(env_id, env_kwargs)) as env, user_input(ValueError, about="cannot plot"):
        spec = None if agent.spec is None else envs_reps.described(agent.spec)
        portrait = plot_agent(agent, env, path, n_episodes=args.episodes, seed=args.seed, spec=spec)
    returns = portrait.returns
    print(f"{path}: return {np.mean(returns):.1f} ± {np.std(returns):.1f} in {len(returns)} episodes")
    for image in portrait.asymmetries:
        print(f"gait and its image under {image.generator}: error {image.error:.2f}, {image.delay} steps later")
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
