"""Flags of the commands that take a MuJoCo model in place of an environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rpp_rl.io.border import UserError, user_input

if TYPE_CHECKING:
    from rpp_rl.derive import BareModel


def add_model(sources: argparse._MutuallyExclusiveGroup) -> None:
    """The file itself, beside other sources."""
    sources.add_argument("--mjcf", type=Path, metavar="FILE", help="MuJoCo model or URDF; the specification is for "
                         "qpos, without the place on the ground, qvel and ctrl")  # fmt: skip


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """What is done to the model."""
    parser.add_argument("--ground", action="store_true", help="with --mjcf: add a ground at height 0")
    parser.add_argument("--motors", action="store_true", help="with --mjcf: give every joint a motor, as in a URDF")
    parser.add_argument("--keyframe", metavar="NAME", help="with --mjcf: begin at this keyframe, not at the rest pose")
    parser.add_argument(
        "--zero",
        nargs="+",
        type=float,
        metavar="ANGLE",
        help="with --mjcf: measure hinges (degrees) and slides (metres) from this pose, not from that of the file; the "
        "specification is then for positions without it",
    )


def refuse_model_options(args: argparse.Namespace) -> None:
    """Refuse these options without a model.

    Raises:
        UserError: If one is given for an environment.
    """
    if args.mjcf is None and (args.ground or args.motors or args.keyframe or args.zero):
        raise UserError("--ground, --motors, --keyframe and --zero change a model given by --mjcf, not an environment")


def bare_model(args: argparse.Namespace) -> BareModel:
    """The model that the flags name.

    Raises:
        UserError: If there is none in the file, or no keyframe of the name.
    """
    from rpp_rl.derive import BareModel

    if not args.mjcf.is_file():
        raise UserError(f"{args.mjcf}: expected a MuJoCo model, got no file")
    with user_input(ValueError):
        return BareModel(args.mjcf, ground=args.ground, motors=args.motors, keyframe=args.keyframe, zero=args.zero)
