"""Cut the data of the paper's section 6.2 out of a replay buffer, as files for other programs or for fixed comparisons.

From the buffer of a trained agent, 50 000 transitions in 5000 chunks of 10 steps to learn from, and 50 trajectories
of 100 steps to test with, from episodes that no chunk comes from: the division that ``train-model`` makes by itself.

    python scripts/model_data.py --env Ant-v4 --buffer logs/rpp_sac/Ant-v4_1/replay_buffer.safetensors -o data
    train-model --env Ant-v4 --buffer data/train.npz --test-buffer data/test.npz --rpp
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.errors import command
from rpp_rl.dynamics.readers import read_episodes, write_episodes
from rpp_rl.dynamics.trajectories import split
from rpp_rl.io.border import user_input


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the buffer, divide it, write two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", required=True, metavar="ID", help="the environment")
    parser.add_argument("--buffer", required=True, metavar="FILE", help="as for train-model")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="where train.npz, test.npz go"
    )
    parser.add_argument("--n-chunks", type=int, default=5000)
    parser.add_argument("--chunk-length", type=int, default=10)
    parser.add_argument("--n-test", type=int, default=50)
    parser.add_argument("--test-length", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    with user_input(ValueError):
        parts = split(
            read_episodes(args.buffer, args.env),
            n_chunks=args.n_chunks,
            chunk_length=args.chunk_length,
            n_test=args.n_test,
            test_length=args.test_length,
            seed=args.seed,
        )
    args.output.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", parts.train), ("test", parts.test)):
        write_episodes(part.episodes(), args.output / f"{name}.npz")
        print(f"{args.output / name}.npz: {len(part)} trajectories of {part.time} steps")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(None))
