"""The flags of ``train-sac``, and what those of all trainings have in common.

They are made from the settings that they override; the names follow rl-baselines3-zoo.
"""

import argparse
import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rpp_rl._version import __version__
from rpp_rl.agents.find import find_agent, is_on_hub
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.sac.config import SACConfig
from rpp_rl.settings import Kind, Settings, merged_settings, parse_yaml
from rpp_rl.shipped_configs import config_file, shipped

RESUMABLE = {
    "n_timesteps", "device", "compile", "num_threads", "eval_freq", "save_freq", "save_replay_buffer", "log_interval",
}  # fmt: skip
"""What may differ when a run goes on: how far, where and how it is watched, but not what is learnt."""


class KeyValues(argparse.Action):
    """Collects ``key:value`` into a mapping; the values are YAML."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: ANN001, types of argparse.Action
        """Read the values that follow the flag."""
        pairs = dict(getattr(namespace, self.dest, None) or {})
        for text in values or ():
            key, colon, value = text.partition(":")
            if not colon:
                raise argparse.ArgumentError(self, f"expected key:value, got {text!r}")
            try:
                pairs[key] = parse_yaml(value)
            except ValueError as error:
                raise argparse.ArgumentError(self, f"{key}: {error}") from error
        setattr(namespace, self.dest, pairs)


class ExistingAgent(argparse.Action):
    """The name or path of an agent; one that does not exist is noticed before torch is imported."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: ANN001, types of argparse.Action
        """Look the agent up; the hub is asked later."""
        if not is_on_hub(source := str(values)):
            find_agent(source)
        setattr(namespace, self.dest, source)


def yaml_value(text: str) -> object:
    """The value of a flag, read as in a YAML file, so that ``1e6`` is a number in both.

    Raises:
        argparse.ArgumentTypeError: If it is no YAML.
    """
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def integer(at_least: int, at_most: int | None = None) -> Callable[[str], int]:
    """The type of a flag that takes an integer of at least, and at most, so much."""

    def integer(text: str) -> int:
        number = int(text)
        if number < at_least:
            raise argparse.ArgumentTypeError(f"expected at least {at_least}, got {number}")
        if at_most is not None and number > at_most:
            raise argparse.ArgumentTypeError(f"expected at most {at_most}, got {number}")
        return number

    return integer


def number(above: float) -> Callable[[str], float]:
    """The type of a flag that takes a finite number above so much."""

    def number(text: str) -> float:
        value = float(text)
        if not above < value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected a number above {above}, got {value}")
        return value

    return number


def train_sac_parser() -> argparse.ArgumentParser:
    """The parser; a flag for a setting that is not given leaves no trace in the namespace."""
    parser = argparse.ArgumentParser(
        prog="train-sac",
        description="Train soft actor-critic with the symmetry of the robot as a soft prior (--rpp), as a law "
        "(--emlp), or without it (--mlp).",
        epilog="A setting given as a flag beats the one in the file, which beats that of '-conf base'.",
    )
    add_settings(parser, SACConfig)
    parser.add_argument(
        "--resume-agent",
        action=ExistingAgent,
        metavar="AGENT",
        help="train this agent further, in a new run with a fresh replay buffer: a pretrained agent's name, or a file",
    )
    parser.add_argument(
        "--force-spec",
        action="store_true",
        help="train with a specification from a file even if its check refutes it",
    )
    parser.add_argument("--verbose", type=int, default=0, metavar="LEVEL", help="1 prints the log as a table too")
    return parser


def add_settings(parser: argparse.ArgumentParser, kind: type[Settings]) -> None:
    """Let a training take settings: some by flags of their own, all by ``-params`` and from a file; or a run to resume.

    Args:
        parser: The command's.
        kind: Which settings.
    """
    modes = parser.add_mutually_exclusive_group()
    for mode, text in (
        ("rpp", "symmetry as a soft prior"),
        ("emlp", "symmetry as a law"),
        ("mlp", "plain networks (default)"),
    ):
        modes.add_argument(
            f"--{mode}", dest="mode", action="store_const", const=mode, default=argparse.SUPPRESS, help=text
        )
    add_flags(parser, kind)
    names = ", ".join(shipped(kind.config_folder))
    help_text = f"settings that come with the package ({names}), or a YAML file" if names else "YAML file of settings"
    parser.add_argument("-conf", "--conf-file", metavar="NAME", help=help_text)
    parser.add_argument(
        "-params",
        "--hyperparams",
        nargs="+",
        action=KeyValues,
        default={},
        metavar="KEY:VALUE",
        help="any setting, for example learning_rate:1e-3 net_arch:[64,64]",
    )
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue the run in this folder")
    add_progress(parser)


def add_progress(parser: argparse.ArgumentParser) -> None:
    """Let a command that takes long hide its bar, and say its version."""
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="show no progress bar")
    parser.add_argument("--version", action="version", version=f"rpp_rl {__version__}")


def add_flags(parser: argparse.ArgumentParser, kind: type[Settings]) -> None:
    """Let a command take the settings that have flags of their own; one that is not given leaves no trace."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.metadata["flags"]:
            _add_flag(parser, field, hints[field.name])


def _add_flag(parser: argparse.ArgumentParser, field: dataclasses.Field, kind: Any) -> None:  # noqa: ANN401
    """A flag that takes what a setting of this type takes."""
    text = field.metadata["description"].replace("%", "%%")
    if field.default not in (dataclasses.MISSING, None):
        default = field.default if not isinstance(field.default, tuple) else " ".join(map(str, field.default))
        text += f" (default: {default})"
    options: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS, "help": text}
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif get_origin(kind) is dict:
        options |= {"action": KeyValues, "nargs": "+", "metavar": field.metadata["metavar"]}
    elif get_origin(kind) is tuple:
        options |= {"type": yaml_value, "nargs": "+", "metavar": field.metadata["metavar"]}
    else:
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        options |= {"metavar": f"{{{','.join(choices)}}}" if choices else field.metadata["metavar"]}
        options["type"] = str if choices or kind in (str, str | None) else yaml_value
    parser.add_argument(*field.metadata["flags"], **options)


def flags_from(args: argparse.Namespace, kind: type[Settings]) -> dict[str, object]:
    """The settings that were given on the command line."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {key: value for key, value in vars(args).items() if key in names} | args.hyperparams


def settings_from(
    args: argparse.Namespace, folder: RunFolder | None, kind: type[Kind], resumable: Collection[str]
) -> Kind:
    """The settings that the flags ask for, on top of those of a file or of the run to continue.

    Args:
        args: What the parser found.
        folder: The run to continue.
        kind: Which settings.
        resumable: Those of them that may differ when a run goes on.

    Raises:
        UserError: If a setting is unknown, of a wrong type, or cannot change in the middle of a run.
        OSError: If the file cannot be read.
    """
    flags = flags_from(args, kind)
    if folder is not None:
        fixed = sorted(flags.keys() - set(resumable)) + (["conf_file"] if args.conf_file else [])
        if fixed:
            raise UserError(
                f"--resume keeps the settings of the run, so {', '.join(fixed)} cannot be given with it; "
                f"only {', '.join(sorted(resumable))} can"
            )
    with user_input(ValueError):
        if folder is not None:
            return merged_settings(kind, flags, folder.config)
        path = config_file(args.conf_file, kind.config_folder) if args.conf_file else None
        return merged_settings(kind, flags, path, is_new=True)


def add_env_kwargs(parser: argparse.ArgumentParser) -> None:
    """Let a command take arguments of the environment, as ``train-sac`` does."""
    parser.add_argument(
        "--env-kwargs",
        nargs="+",
        action=KeyValues,
        default={},
        metavar="KEY:VALUE",
        help="arguments of the environment",
    )


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Let a command play an agent elsewhere than where it was trained."""
    parser.add_argument("--env", metavar="ID", help="environment, if not the one the agent was trained in")
    add_env_kwargs(parser)


def add_seed(parser: argparse.ArgumentParser, of: str) -> None:
    """Let a command take a seed, as large as Gymnasium takes it."""
    parser.add_argument(
        "--seed", type=integer(0, at_most=2**32 - 1), default=0, metavar="N", help=f"seed of {of} (default: 0)"
    )


def add_states(parser: argparse.ArgumentParser) -> None:
    """Let a command take a number of states to try."""
    parser.add_argument("--states", type=integer(1), default=100, metavar="N", help="random states (default: 100)")
    add_seed(parser, "states and actions")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Let a command run the pickle that a replay buffer of a class of one's own is."""
    parser.add_argument("--trust", action="store_true", help="run the code in a pickled replay buffer of another class")


def add_agent(parser: argparse.ArgumentParser) -> None:
    """Let a command take an agent: where it is, and whether a zip file from elsewhere is trusted."""
    parser.add_argument(
        "agent",
        action=ExistingAgent,
        metavar="AGENT",
        help="a pretrained agent's name (see list-agents), hf://ORG/NAME on the Hugging Face hub, a file, or a "
        "run's folder (takes its best agent)",
    )
    parser.add_argument("--trust", action="store_true", help="run the pickled code in a zip file from elsewhere")
