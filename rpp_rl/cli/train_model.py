"""``train-model``: a model of the dynamics with the symmetry of the robot as a soft prior."""

import argparse
import shlex
import sys
from collections.abc import Sequence

from rpp_rl.cli.arguments import add_settings, add_trust, settings_from
from rpp_rl.cli.errors import command
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.io.run_folder import RunFolder

RESUMABLE = {"buffer", "test_buffer", "device", "num_threads", "save_freq"}
"""What may differ when a run goes on: where its data are and where it runs."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, train, and return the status for the shell."""
    args = _parser().parse_args(argv)
    folder = RunFolder.open(args.resume) if args.resume else None
    # A mistake in the settings is found before torch is imported, which takes seconds.
    config = settings_from(args, folder, ModelConfig, RESUMABLE)

    from rpp_rl.runs.train_dynamics import train_dynamics

    run = train_dynamics(
        config,
        folder,
        trust=args.trust,
        command_line=shlex.join(["train-model", *(sys.argv[1:] if argv is None else argv)]),
        progress=args.progress and sys.stderr.isatty(),
    )
    return run.status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train-model",
        description="Train a model of an environment's dynamics on recorded transitions, with the symmetry of the "
        "robot as a soft prior (--rpp), as a law (--emlp), or without it (--mlp).",
        epilog="A setting given as a flag beats the one in the file, which beats the default.",
    )
    add_settings(parser, ModelConfig)
    add_trust(parser)
    return parser
