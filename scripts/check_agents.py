"""Play every pretrained agent again and compare with its card; status 1 if a mean return is outside its interval.

    python scripts/check_agents.py
    python scripts/check_agents.py rpp_sac-Ant-v4 sac-Ant-v4 --episodes 20

Also checks that the cards for people are those of the files, and that all of it stays small enough for a package.
"""

from __future__ import annotations

import argparse
import sys

import torch

from rpp_rl.agents import load_agent, registry
from rpp_rl.agents.card import to_markdown
from rpp_rl.runs.evaluate_agent import evaluate

MAX_MEGABYTES = 30.0


def check(name: str, n_episodes: int) -> list[str]:
    """What is wrong with an agent; prints what it earned."""
    agent = load_agent(name, device="cpu")
    record = agent.card["evaluation"]
    assert agent.env_id is not None
    result = evaluate(agent, agent.env_id, agent.env_kwargs, n_episodes=n_episodes, seed=record["seed"])
    low, high = record["interval"]
    print(
        f"{name:28} card {record['mean_return']:8.1f} ± {record['std_return']:6.1f}  now {result.mean_return:8.1f} "
        f"± {result.std_return:6.1f}  interval {low:8.1f} to {high:8.1f}",
        flush=True,
    )
    wrong = (
        [] if result.reproduces_card else [f"{name}: {result.mean_return:.1f} is outside of {low:.1f} to {high:.1f}"]
    )
    card = registry.path_of(name).with_suffix(".md")
    if not card.exists() or card.read_text(encoding="utf-8") != to_markdown(name, agent.env_id, agent.card):
        wrong.append(f"{name}: {card.name} is not the card of the file")
    return wrong


def main() -> int:
    """Check the agents that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=registry.names())
    parser.add_argument("--episodes", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    wrong = [line for name in args.names for line in check(name, args.episodes)]
    megabytes = sum(path.stat().st_size for path in registry.FOLDER.rglob("*") if path.is_file()) / 1e6
    if megabytes > MAX_MEGABYTES:
        wrong.append(f"the registry takes {megabytes:.1f} MB, more than {MAX_MEGABYTES} MB")
    print("\n".join([*wrong, f"{len(args.names)} agents, {megabytes:.1f} MB, {len(wrong)} complaints"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
