"""Turn run folders of ``train-sac`` into the raw numbers (CSV) and a figure: return and equivariance error over steps.

    python scripts/learning_curves.py logs/sac/Ant-v4_1 logs/rpp_sac/Ant-v4_1 --csv ant.csv --figure ant.png

Runs of one algorithm on one environment are one curve: every run thin, their mean thick. Curves end where the shortest
run of the figure ends, so that nobody is compared with a run that had more time.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import yaml

from rpp_rl.runs.tensorboard import ERROR, equivariance_errors

mpl.use("Agg")
import matplotlib.pyplot as plt

COLUMNS = ("exp_name", "env_name", "seed", "metric", "env_step", "value")
RETURN = "eval/mean_reward"
NAMES = {"sac": "SAC", "rpp_sac": "RPP-SAC", "emlp_sac": "EMLP-SAC"}
COLOURS = {"sac": "tab:gray", "rpp_sac": "tab:blue", "emlp_sac": "tab:orange"}

Row = tuple[str, str, int, str, int, float]


def read_run(folder: Path) -> list[Row]:
    """All evaluations and equivariance errors of one run, in the columns of `COLUMNS`."""
    (config_file,) = folder.glob("*/config.yml")
    config = yaml.safe_load(config_file.read_text())
    key = (folder.parent.name, config["env"], int(config["seed"]))
    evaluations = np.load(folder / "evaluations.npz")
    means = evaluations["results"].mean(axis=1)
    rows: list[Row] = [(*key, RETURN, int(t), float(m)) for t, m in zip(evaluations["timesteps"], means, strict=True)]
    return rows + [(*key, ERROR, step, error) for step, error in equivariance_errors(folder).items()]


def versions(folder: Path) -> str:
    """Commit and versions of a run, as it recorded them."""
    (file,) = folder.glob("*/versions.jsonl")
    record = json.loads(file.read_text().splitlines()[0])
    return ", ".join(f"{name} {value}" for name, value in record.items())


def write_csv(rows: list[Row], path: Path) -> None:
    """Write the raw numbers."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((*row[:-1], f"{row[-1]:.6g}") for row in rows)


def read_csv(path: Path) -> list[Row]:
    """Read what `write_csv` wrote."""
    with path.open(newline="") as file:
        return [(r[0], r[1], int(r[2]), r[3], int(r[4]), float(r[5])) for r in list(csv.reader(file))[1:]]


def draw(rows: list[Row], path: Path) -> None:
    """Draw returns on the left, equivariance errors on the right."""
    last = min(max(r[4] for r in rows if (*r[:3], r[3]) == (*key, RETURN)) for key in {r[:3] for r in rows})
    rows = [row for row in rows if row[4] <= last]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for axis, metric, label in zip(
        axes, (RETURN, ERROR), ("return (10 deterministic episodes)", "equivariance error of the policy"), strict=True
    ):
        for algorithm in sorted({row[0] for row in rows}):
            curves = {
                seed: np.array([row[4:] for row in rows if (row[0], row[2], row[3]) == (algorithm, seed, metric)])
                for seed in sorted({row[2] for row in rows if row[0] == algorithm})
            }
            colour, name = COLOURS[algorithm], f"{NAMES[algorithm]}, {len(curves)} seeds"
            for curve in curves.values():
                axis.plot(*curve.T, color=colour, alpha=0.35, linewidth=1)
            # Runs log at different steps: their mean needs a common grid.
            grid = np.linspace(
                max(curve[0, 0] for curve in curves.values()), min(curve[-1, 0] for curve in curves.values()), 200
            )
            mean = np.mean([np.interp(grid, *curve.T) for curve in curves.values()], axis=0)
            axis.plot(grid, mean, color=colour, linewidth=2.2, label=name)
        axis.set(xlabel="environment steps", ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend()
    axes[1].set_ylim(0, 1)
    figure.suptitle(", ".join(sorted({row[1] for row in rows})))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders; none to redraw the figure from the CSV file")
    parser.add_argument("--csv", type=Path, required=True, help="where the raw numbers go, or come from without runs")
    parser.add_argument("--figure", type=Path, required=True)
    args = parser.parse_args()
    if args.runs:
        write_csv([row for run in args.runs for row in read_run(run)], args.csv)
        for run in args.runs:
            print(f"{run}: {versions(run)}")
    draw(read_csv(args.csv), args.figure)


if __name__ == "__main__":
    main()
