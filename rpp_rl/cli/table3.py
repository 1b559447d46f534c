"""``table3``: the paper's Table 3 with models of this package, from replay buffers to tables."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rpp_rl.cli.arguments import add_flags, add_progress
from rpp_rl.cli.errors import command
from rpp_rl.io.border import user_input
from rpp_rl.runs.table3_config import Table3Config


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, make what is missing, write the report, and return the status for the shell."""
    flags = vars(_parser().parse_args(argv))
    shown = flags.pop("progress") and sys.stderr.isatty()
    with user_input(ValueError):
        table = Table3Config(**flags)

    from rpp_rl.runs.environments import check_device
    from rpp_rl.runs.table3 import make_table
    from rpp_rl.runs.table3_report import write_report

    check_device(table.device)
    make_table(table, progress=shown)
    print(f"numbers and tables: {' '.join(map(str, write_report(Path(table.out))))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="table3",
        description="Train plain models, plain ones with augmentation, strict and soft ones on the same data, over "
        "seeds, at equal width and at equal numbers of parameters, and compare their rollouts. Finished "
        "models are not trained again, stopped ones continue, and several processes may share the folder.",
    )
    add_flags(parser, Table3Config)
    add_progress(parser)
    return parser
