"""Does a long training take more and more memory, files or handles? Prints what it has at twenty moments.

    python scripts/bench_memory.py --updates 1000000 --evaluations 10000

The networks and the environment are as small as they can be, so that a million updates take minutes and not days; what
could grow with the number of updates, evaluations, episodes and checkpoints is all there. The first fifth is left out
of the verdict: buffers and caches fill then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from rpp_rl.cli.train_sac import main as train_sac
from rpp_rl.runs import train_sac as run

N_MOMENTS = 20
ALLOWED = 2.0
"""MiB by which the memory of the last moments may lie above that after the first fifth."""


class Short(gym.Env[np.ndarray, np.ndarray]):
    """Episodes of five steps."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self) -> None:
        self.n_steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.n_steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Draw an observation."""
        self.n_steps += 1
        obs = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return obs, -float(action[0] ** 2), self.n_steps == 5, False, {}


class Meter(BaseCallback):
    """Notes memory, files and handles at so many moments of a training, at the same place of an interval each time."""

    def __init__(self, every: int, folder: Path) -> None:
        super().__init__()
        self.every, self.folder = every, folder
        self.rows: list[tuple[int, float, int, float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes = [path.stat().st_size for path in self.folder.rglob("*") if path.suffix != ".zip" and path.is_file()]
            memory = pages * resource.getpagesize() / 2**20
            row = (self.num_timesteps, memory, len(os.listdir("/proc/self/fd")), sum(sizes) / 2**20)
            self.rows.append(row)
            text = "{} steps: {:.1f} MiB of memory, {} open files, {:.2f} MiB of logs and buffer"
            print(text.format(*row), file=sys.stderr, flush=True)
        return True


def main() -> int:
    """Train, print, and return 1 if memory or handles grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=1_000_000)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--updates-per-step", type=int, default=10)
    args = parser.parse_args()
    gym.register("Short-v0", entry_point=Short)
    n_steps = args.updates // args.updates_per_step
    with tempfile.TemporaryDirectory() as name:
        meter = Meter(n_steps // N_MOMENTS, Path(name))
        # In the place of the callback that measures symmetry, of which plain networks have none.
        run.SymmetryCallback = lambda: meter  # pyright: ignore[reportAttributeAccessIssue]
        flags = [
            "--env", "Short-v0", "--seed", "0", "-n", str(n_steps), "-f", name, "-tb", "off", "--eval-episodes", "1",
            "--eval-freq", str(max(1, n_steps // args.evaluations)), "--save-freq", str(n_steps // N_MOMENTS),
            "-params", "learning_starts:20", "net_arch:[4]", "batch_size:4", "buffer_size:1000",
            f"gradient_steps:{args.updates_per_step}",
        ]  # fmt: skip
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            status = train_sac(flags)
    _, memory, handles, _ = zip(*meter.rows[N_MOMENTS // 5 :], strict=True)
    growth = float(np.mean(memory[-3:])) - memory[0]
    print(
        f"{args.updates} updates, {n_steps} steps, {args.evaluations} evaluations: memory changed by {growth:+.1f} MiB "
        f"after the first fifth, open files by {handles[-1] - handles[0]:+d}"
    )
    return status or int(growth > ALLOWED or handles[-1] > handles[0])


if __name__ == "__main__":
    sys.exit(main())
