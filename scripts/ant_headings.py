"""How an Ant runs: does it keep a heading, does it turn while it runs, and how do its episodes end?

    python scripts/ant_headings.py sac-Ant-v4 rpp_sac-Ant-v4        # pretrained agents, or run folders

Heading is the angle of the torso about the vertical. Its concentration is the length of the mean of (cos, sin) over an
episode: 1 for one heading, 0 for all alike. Steps count until the Ant lies on its back, where Ant-v4 does not end.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from rpp_rl import load_agent
from scripts.measuring import print_table


class Run(NamedTuple):
    """One episode.

    Attributes:
        total: The return.
        n_steps: Steps before it lay on its back or the episode ended.
        turns: Whole turns of the torso in these steps, either way.
        concentration: Of its heading.
        speed: Mean velocity in +x in these steps, m/s.
        end: "back" if it lay on its back, "jump" if it left the healthy heights, "time" otherwise.
    """

    total: float
    n_steps: int
    turns: float
    concentration: float
    speed: float
    end: str


def run(agent: Any, env: gym.Env, seed: int) -> Run:  # noqa: ANN401
    """One episode with the deterministic policy."""
    obs, _ = env.reset(seed=seed)
    orientations, speeds, total, terminated, truncated = [], [], 0.0, False, False
    while not (terminated or truncated):
        action, _ = agent.predict(obs, deterministic=True)
        obs, reward, terminated, truncated, info = env.step(action)
        total += float(reward)
        orientations.append(obs[1:5])
        speeds.append(info["x_velocity"])
    rotations = Rotation.from_quat(np.array(orientations), scalar_first=True)
    on_back = rotations.as_matrix()[:, 2, 2] < 0
    n = int(on_back.argmax()) if on_back.any() else len(on_back)
    turns, concentration = headings(rotations.as_matrix()[:n])
    end = "back" if on_back.any() else "jump" if terminated else "time"
    return Run(total, n, turns, concentration, float(np.mean(speeds[:n])) if n else 0.0, end)


def headings(rotations: Float[ndarray, "steps 3 3"]) -> tuple[float, float]:
    """Whole turns about the vertical, and the concentration of the heading."""
    if not len(rotations):
        return 0.0, 1.0
    angles = np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0])
    unwrapped = np.unwrap(angles)
    return abs(unwrapped[-1] - unwrapped[0]) / (2 * np.pi), float(abs(np.exp(1j * angles).mean()))


def main() -> None:
    """Parse the command line, run, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="+", help="names of pretrained agents, files or run folders")
    parser.add_argument("--episodes", type=int, default=20)
    args = parser.parse_args()
    env, rows = gym.make("Ant-v4"), []
    for name in args.agents:
        agent = load_agent(name)
        runs = [run(agent, env, 1000 + episode) for episode in range(args.episodes)]
        steps = sum(r.n_steps for r in runs)
        rows.append([
            name,
            float(np.mean([r.total for r in runs])),
            1000 * sum(r.turns for r in runs) / steps,
            float(np.mean([r.concentration for r in runs])),
            sum(r.speed * r.n_steps for r in runs) / steps,
            *(sum(r.end == end for r in runs) for end in ("time", "back", "jump")),
        ])  # fmt: skip
    print_table(["agent", "return", "turns / 1000 steps", "concentration", "m/s", "to the end", "back", "jump"], rows)


if __name__ == "__main__":
    main()
