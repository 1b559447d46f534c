"""Make every figure of the documentation that shows measurements, from the CSV files beside them.

    python scripts/make_figures.py [NAME ...]

A new campaign is one line in `FIGURES`: where ``compare-runs --csv`` wrote its numbers, and the flags that draw them.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.compare_runs import main as compare_runs

MEASUREMENTS = Path(__file__).parents[1] / "docs" / "measurements"
FIGURES = {
    "ant_command.png": ("ant_command.csv", "--baseline plain --at 60000 --panels return equivariance"),
    "ant_command_payload.png": ("ant_command_payload.csv", "--baseline plain --panels return equivariance"),
    "ant_v4_base.png": ("ant_v4_base.csv", "--baseline plain --at 300000 --panels return equivariance"),
    "ant_v4.png": ("ant_v4.csv", "--label sac SAC --label rpp_sac RPP-SAC --baseline SAC --panels return equivariance"),
}
"""The figures in ``docs/measurements``: their CSV file there, and the flags of ``compare-runs``."""


def make(names: Sequence[str], folder: Path) -> None:
    """Draw figures.

    Args:
        names: Keys of `FIGURES`.
        folder: Where they are written.
    """
    for name in names:
        source, flags = FIGURES[name]
        status = compare_runs([str(MEASUREMENTS / source), "-o", str(folder / name), *shlex.split(flags)])
        if status:
            raise SystemExit(status)


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", choices=[*FIGURES, []], metavar="NAME", help=f"default: all; {', '.join(FIGURES)}"
    )
    parser.add_argument("-o", "--output", type=Path, default=MEASUREMENTS, metavar="FOLDER")
    args = parser.parse_args()
    make(args.names or list(FIGURES), args.output)


if __name__ == "__main__":
    main()
