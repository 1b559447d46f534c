"""The settings of a run: frozen dataclasses with their defaults, and the YAML files that override them.

Order of authority: default in the dataclass < YAML file < flag of the command. Unknown keys and values of a wrong type
are errors, never guesses, and YAML holds plain values only.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="Settings")


def setting(default: Any, description: str, *, at_least: float | None = None, at_most: float | None = None) -> Any:  # noqa: ANN401
    """A field with a default, the sentence that documents it, and the range of its values."""
    metadata = {"description": description, "at_least": at_least, "at_most": at_most}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What the settings of all runs have in common: their values are checked, and YAML can hold them.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    def __post_init__(self) -> None:
        check_values(self)

    def to_dict(self) -> dict[str, object]:
        """Plain values that YAML can hold and :func:`merged_settings` reads back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class SACConfig(Settings):
    """Everything that decides a run of ``train-sac``: an environment, a symmetry, and numbers.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    env: str = dataclasses.field(metadata={"description": "Gymnasium's id of the environment"})
    mode: Literal["mlp", "rpp", "emlp"] = setting(
        "mlp", "plain networks, symmetry as a soft prior, or symmetry as a law"
    )
    policy_only: bool = setting(False, "let the symmetry act on the policy and leave the critic plain")
    group: str | None = setting(None, "symmetry group, one of the variants of the environment's specification")
    spec: str | None = setting(None, "file of a specification, written by derive-spec, for a robot of your own")
    env_kwargs: dict[str, object] = dataclasses.field(
        default_factory=dict, metadata={"description": "arguments of the environment"}
    )

    n_timesteps: int = setting(1_000_000, "environment steps in total", at_least=1)
    seed: int | None = setting(
        None, "seed of every random number; drawn and recorded when absent", at_least=0, at_most=2**32 - 1
    )
    device: str = setting("auto", "device of the networks: auto, cpu, cuda, cuda:1, ...")
    num_threads: int = setting(1, "threads of torch on the CPU; small networks gain nothing from more", at_least=1)
    strict_float32: bool = setting(False, "never choose a faster library for products of matrices by measuring")
    compile: bool = setting(True, "capture the updates as one graph where the networks are on a GPU")
    n_envs: int = setting(1, "environments that are stepped side by side", at_least=1)
    vec_env: Literal["dummy", "subproc"] = setting("subproc", "step several environments here, or in one process each")

    log_folder: str = setting("logs", "folder of all runs; a run gets {algo}/{env}_{number} in it")
    tensorboard_log: str | None = setting(
        None, "folder for TensorBoard, 'off' for none; by default the folder of the run"
    )
    eval_freq: int = setting(10_000, "evaluate every so many steps", at_least=1)
    eval_episodes: int = setting(10, "episodes per evaluation, with the deterministic policy", at_least=1)
    n_eval_envs: int = setting(1, "environments used for an evaluation", at_least=1)
    save_freq: int = setting(25_000, "write a checkpoint every so many steps", at_least=1)
    save_replay_buffer: bool = setting(True, "keep the replay buffer with the newest checkpoint; needed to resume")

    learning_rate: float = setting(3e-4, "step size of all optimisers", at_least=0)
    buffer_size: int = setting(1_000_000, "transitions in the replay buffer", at_least=1)
    learning_starts: int = setting(10_000, "random steps before the first update", at_least=0)
    batch_size: int = setting(256, "transitions per update", at_least=1)
    tau: float = setting(0.005, "speed at which the target critics follow the critics", at_least=0, at_most=1)
    gamma: float = setting(0.99, "discount per step", at_least=0, at_most=1)
    train_freq: int = setting(1, "steps of each environment between two rounds of updates", at_least=1)
    gradient_steps: int = setting(1, "updates per round and environment; -1 for as many as steps", at_least=-1)
    ent_coef: float | str = setting("auto", "entropy coefficient: a number, 'auto', or 'auto_x' to start at x")
    target_entropy: float | Literal["auto"] = setting("auto", "entropy to keep; 'auto' is minus the number of actions")
    max_grad_norm: float | None = setting(None, "largest norm of a loss's gradient; absent for no clipping", at_least=0)
    optimizer_betas: tuple[float, ...] = setting((0.9, 0.999), "decay rates of Adam's averages", at_least=0, at_most=1)

    net_arch: tuple[int, ...] = setting((256, 256), "widths of the hidden layers", at_least=1)
    n_critics: int = setting(2, "critics, of which the lowest value counts", at_least=1)
    activation: Literal["relu", "silu", "tanh"] = setting("relu", "nonlinearity of the hidden layers")
    hidden: str = setting("regular", "hidden representation: regular, uniform, or an expression like 136*R + 30*V")
    bilinear: bool = setting(False, "add the paper's bilinear layer")
    layer_norm: bool = setting(False, "add equivariant layer normalisation")
    normalize_obs: bool = setting(False, "normalise observations by running statistics that commute with the group")
    head_scale: float | None = setting(
        None, "factor on the fresh last layer of the actor; absent for 0.01 with a symmetry and 1 without", at_least=0
    )
    std: Literal["exp", "softplus"] = setting("exp", "how the actor's head becomes a standard deviation")
    actor_equiv_var: float | None = setting(None, "prior variance of the actor's equivariant pathway; null for none")
    actor_residual_var: float | Literal["auto"] | None = setting(
        "auto", "that of its residual pathway; null for none, auto for 1e-5 if the symmetry is exact and 0.1 if not"
    )
    critic_equiv_var: float | None = setting(None, "prior variance of the critics' equivariant pathway; null for none")
    critic_residual_var: float | Literal["auto"] | None = setting("auto", "that of their residual pathway, as above")
    prior_n_data: int | None = setting(
        None, "number of data that divides the prior; absent for the transitions in the replay buffer", at_least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.ent_coef, str) and not re.fullmatch(r"auto(_\d*[1-9]\d*|_\d+\.\d*[1-9]\d*)?", self.ent_coef):
            raise ValueError(f"ent_coef: expected a number, 'auto' or for example 'auto_0.1', got {self.ent_coef!r}")
        if len(self.optimizer_betas) != 2:
            raise ValueError(f"optimizer_betas: expected two numbers, got {list(self.optimizer_betas)}")


def sac_config(flags: Mapping[str, object], path: Path | None = None) -> SACConfig:
    """`merged_settings` of a run of ``train-sac``."""
    return merged_settings(SACConfig, flags, path)


def merged_settings(kind: type[Kind], flags: Mapping[str, object], path: Path | None = None) -> Kind:
    """Merge the defaults, a YAML file and the flags of a command, the latter having the last word.

    Args:
        kind: Which settings.
        flags: The settings given on the command line.
        path: A YAML file of settings: flat, or keyed by environment id with an optional section ``default``.

    Raises:
        ValueError: If a key is unknown, a value has the wrong type, or the file has no section for the environment.
        OSError: If the file cannot be read.
    """
    check_keys(kind, flags, "the command line")
    in_file = {} if path is None else settings_for(kind, flags.get("env"), load_yaml(path), path)
    merged = {**in_file, **flags}
    if "env" not in merged:
        raise ValueError("no environment given: add --env ID, for example --env Ant-v4")
    return kind(**merged)


def settings_for(kind: type[Settings], env_id: object, data: Mapping[str, object], path: Path) -> dict[str, object]:
    """Choose the settings of one environment from a file that may be keyed by environment id.

    Raises:
        ValueError: If a key is unknown or the file has sections but none that applies.
    """
    fields = {field.name for field in dataclasses.fields(kind)}
    if not any(key not in fields and isinstance(value, Mapping) for key, value in data.items()):
        check_keys(kind, data, str(path))
        return dict(data)
    sections: dict[str, dict[str, object]] = {}
    for name, section in data.items():
        if not isinstance(section, Mapping | None):
            raise ValueError(f"{path}: expected settings under {name!r}, got {section!r}")
        check_keys(kind, section or {}, f"{path}, section {name!r}")
        sections[name] = dict(section or {})
    if env_id not in sections and "default" not in sections:
        raise ValueError(f"{path}: no section for {env_id!r} and no section 'default'; it has {', '.join(sections)}")
    return {**sections.get("default", {}), **sections.get(str(env_id), {})}


def check_keys(kind: type[Settings], data: Mapping[str, object], where: str) -> None:
    """Refuse keys that are no setting, naming the nearest one that is.

    Raises:
        ValueError: If there is such a key.
    """
    fields = [field.name for field in dataclasses.fields(kind)]
    for key in data:
        if key not in fields:
            raise ValueError(f"{where}: unknown setting {key!r}; {nearest(str(key), fields)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The part of an error message that helps with a misspelt name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"


class _Loader(yaml.SafeLoader):
    """Plain values only; as in YAML 1.2, ``3e-4`` is a number and ``off`` is text."""


_Loader.yaml_implicit_resolvers = {
    key: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:bool" or key in "tTfF"]
    for key, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_yaml(path: Path) -> dict[str, object]:
    """Read a YAML file that holds a mapping of plain values.

    Raises:
        ValueError: If the file is no YAML, holds anything but plain values, or is no mapping.
        OSError: If the file cannot be read.
    """
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a text file in UTF-8, got other bytes") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ValueError(f"{path}: expected lines of the form 'key: value', got {type(data).__name__}")
    return data


def parse_yaml(text: str) -> object:
    """Read one YAML value.

    Raises:
        ValueError: If the text is no YAML or holds anything but plain values.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"cannot read YAML: {' '.join(str(error).split())}") from error


def check_values(config: "DataclassInstance") -> None:
    """Give every field of a configuration the type it declares, 1e6 being an integer and 1 a number.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = _checked(field.name, getattr(config, field.name), hints[field.name])
        _check_range(field, value)
        object.__setattr__(config, field.name, value)


def _checked(name: str, value: Any, kind: Any) -> Any:  # noqa: ANN401
    """The value in the type of its field, or a ValueError that says what was expected."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for option in args:
            with suppress(ValueError):
                return _checked(name, value, option)
    elif origin is tuple and isinstance(value, list | tuple):
        return tuple(_checked(name, item, args[0]) for item in value)
    elif _fits(value, kind):
        return kind(value) if kind in (int, float) else value
    raise ValueError(f"{name}: expected {_in_words(kind)}, got {value!r}")


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is dict:
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return kind is float or float(value).is_integer()
    return get_origin(kind) is None and isinstance(value, kind)


_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "text", NoneType: "nothing"}


def _in_words(kind: Any) -> str:  # noqa: ANN401
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin in (Union, UnionType):
        return " or ".join(map(_in_words, args))
    if origin is tuple:
        return f"a list with {_in_words(args[0])} at each place"
    return "a mapping with text keys" if origin is dict else _WORDS[kind]


def _check_range(field: dataclasses.Field, value: object) -> None:
    low, high = field.metadata.get("at_least"), field.metadata.get("at_most")
    for item in value if isinstance(value, tuple) else (value,):
        if not isinstance(item, int | float):
            continue
        if not (low is None or item >= low):
            raise ValueError(f"{field.name}: expected at least {low}, got {item}")
        if not (high is None or item <= high):
            raise ValueError(f"{field.name}: expected at most {high}, got {item}")
