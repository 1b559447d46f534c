"""Check every specification of the package in the simulator and write the table of verdicts as Markdown.

python scripts/symmetry_table.py -o docs/measurements/symmetries.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium
import mujoco
from tqdm import tqdm

import envs_reps
from rpp_rl.derive import check_robot
from rpp_rl.envs.check import HORIZON, GeneratorCheck
from rpp_rl.envs.spec import EnvSpec, percent

PAPER = {
    "Ant": "Z4, exact",
    "HalfCheetah": "Z2, approximate",
    "Hopper": "Z2, approximate",
    "Humanoid": "SO(2), approximate",
    "Swimmer": "Z2 x Z2, exact",
    "Walker2d": "Z2, exact",
}
"""What Table 2 and Table 5 of arXiv:2112.01388 say."""

HEADER = ("environment", "group", "generator", "1 step", f"{HORIZON} steps", "reward", "verdict", "the paper")


def row(spec: EnvSpec, check: GeneratorCheck) -> tuple[str, ...]:
    """One generator's line."""
    uses = {"agents": envs_reps.default_group(spec.env_id), "models": envs_reps.dynamics_group(spec.env_id)}
    used_by = ", ".join(use for use, variant in uses.items() if variant == spec.variant)
    record = next(r for r in spec.generators if check.generator.split(" ")[0] == r.name)
    return (
        spec.env_id,
        f"{spec.variant} ({used_by})" if used_by else spec.variant,
        f"{check.generator}: {record.meaning}",
        percent(check.error_1_step),
        percent(check.error_20_steps),
        "kept" if check.keeps_reward else "broken" if not record.keeps_reward else f"off by {check.reward_mean:.2g}",
        f"**{check.verdict}**" if check.verdict == "wrong" else check.verdict,
        PAPER[spec.env_id.split("-")[0]],
    )


def main() -> None:
    """Parse the command line, check, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--states", type=int, default=100, help="random states per specification")
    args = parser.parse_args()
    names = [(env_id, name) for env_id in sorted(envs_reps.env_ids()) for name in envs_reps.variants(env_id)]
    rows = [HEADER, ("---",) * len(HEADER)]
    for env_id, name in tqdm(names):
        spec = envs_reps.load(env_id, name)
        rows += [row(spec, check) for check in check_robot(spec, n_states=args.states)]
    text = (
        "# What the simulator says about the symmetries\n\n"
        f"Written by `scripts/symmetry_table.py --states {args.states}` with gymnasium {gymnasium.__version__} and "
        f"mujoco {mujoco.__version__}. Errors are those of the state, relative to its change in 1 and {HORIZON} steps. "
        "Groups marked (agents) are the defaults of `train-sac`, those marked (models) suit models of the dynamics; "
        "`paper-...` are the representations published with the paper. Warnings and the README give the errors "
        "that the specifications carry, from 400 states, so they differ a little.\n\n"
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text + "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n")


if __name__ == "__main__":
    main()
