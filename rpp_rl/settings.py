"""The settings of a run: frozen dataclasses with their defaults, and the YAML files that override them.

Order of authority: default in the dataclass < shipped base of new runs < YAML file < flag of the command. Unknown keys
and values of a wrong type are errors, never guesses, and YAML holds plain values only.
"""

import dataclasses
import difflib
import re
import reprlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from rpp_rl.shipped_configs import shipped

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="Settings")

REQUIRED: Any = dataclasses.MISSING
"""The default of a setting that has none."""

MAX_YAML = 2**17
"""Longest YAML text that is read, in characters, and most values that it may stand for."""

MAX_BRACKETS = 20
"""Most brackets of YAML inside each other."""

MERGE = "tag:yaml.org,2002:merge"
"""What YAML calls the key ``<<``."""

MACHINE_SETTINGS = ("log_folder", "tensorboard_log", "device", "num_threads", "strict_float32", "compile")
"""Settings of a run that say nothing about what it learns, only where it runs."""


def setting(
    default: Any,  # noqa: ANN401
    description: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    flag: str | tuple[str, ...] = (),
    metavar: str = "N",
) -> Any:  # noqa: ANN401
    """A field of settings with all that is known about it; config, flag and documentation come from here.

    Args:
        default: Its value, `REQUIRED` for none.
        description: The sentence that documents it.
        at_least: Least value.
        at_most: Largest value.
        flag: Names of its own flag, if it has one; every setting can be given by ``-params`` and in a file.
        metavar: What stands for its value in the help of the flag.
    """
    metadata = {
        "description": description,
        "at_least": at_least,
        "at_most": at_most,
        "flags": (flag,) if isinstance(flag, str) else flag,
        "metavar": metavar,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What the settings of all runs have in common: their values are checked, and YAML can hold them.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """

    config_folder: ClassVar[str]
    """The folder of `configs/` that holds such settings, if any are shipped."""
    base: ClassVar[str | None] = None
    """The shipped file with which new runs begin; a file of the user's and flags change it."""

    def __post_init__(self) -> None:
        check_values(self)

    @classmethod
    def new(cls, **settings: Any) -> Self:  # noqa: ANN401
        """The settings of a new run, as its command makes them: those of the file `base`, changed by those given.

        The constructor fills in what runs of any age left unsaid.

        Raises:
            ValueError: If a value has the wrong type or lies outside its range.
        """
        return cls(**{**cls.base_settings(), **settings})

    @classmethod
    def base_settings(cls) -> dict[str, object]:
        """What is in the file `base`."""
        return {} if cls.base is None else load_yaml(shipped(cls.config_folder)[cls.base])

    def to_dict(self) -> dict[str, object]:
        """Plain values that YAML can hold and :func:`merged_settings` reads back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def merged_settings(
    kind: type[Kind], flags: Mapping[str, object], path: Path | None = None, *, is_new: bool = False
) -> Kind:
    """Merge the defaults, a YAML file and the flags of a command, the latter having the last word.

    Args:
        kind: Which settings.
        flags: The settings given on the command line.
        path: A YAML file of settings: flat, or keyed by environment id with an optional section ``default``.
        is_new: Whether they are for a new run, which begins with the file `Settings.base`.

    Raises:
        ValueError: If a key is unknown, a value has the wrong type, or the file has no section for the environment.
        OSError: If the file cannot be read.
    """
    check_keys(kind, flags, "the command line")
    in_file = {} if path is None else settings_for(kind, flags.get("env"), load_yaml(path), path)
    merged = {**(kind.base_settings() if is_new else {}), **in_file, **flags}
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


OF_THE_ZOO = "hyperparameter files of rl-baselines3-zoo hold Python code: write net_arch and the like as settings here"


def check_keys(kind: type[Settings], data: Mapping[str, object], where: str) -> None:
    """Refuse keys that are no setting, naming the nearest one that is.

    Raises:
        ValueError: If there is such a key.
    """
    fields = [field.name for field in dataclasses.fields(kind)]
    for key in data:
        if key not in fields:
            hint = OF_THE_ZOO if key in ("policy", "policy_kwargs") else nearest(str(key), fields)
            raise ValueError(f"{where}: unknown setting {key!r}; {hint}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The part of an error message that helps with a misspelt name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"


class PlainLoader(yaml.SafeLoader):
    """YAML's plain values, from text that may come from anybody: what little text can ask for is bounded.

    Each bracket costs time in proportion to those around it, and a merge (``<<``) copies what it names, which may be
    made of merges itself.
    """

    n_merged = 0

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803 (PyYAML's name)
        """Open a bracket."""
        super().fetch_flow_collection_start(TokenClass)
        if self.flow_level > MAX_BRACKETS:
            raise yaml.YAMLError(f"nested too deeply, in more than {MAX_BRACKETS} brackets")

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Copy the keys that a mapping merges."""
        for key, value in node.value:
            if key.tag == MERGE:
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(part, yaml.MappingNode):
                        self.flatten_mapping(part)
                        self.n_merged += 1 + len(part.value)
                    if self.n_merged > MAX_YAML:
                        raise yaml.YAMLError("its merged mappings expand to too many values")
        super().flatten_mapping(node)


class _Loader(PlainLoader):
    """As in YAML 1.2, ``3e-4`` is a number and ``off`` is text."""


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
    return read_yaml(text, _Loader)


def read_yaml(text: str, loader: type[PlainLoader] = PlainLoader) -> object:
    """Read one untrusted YAML value: its size is bounded, and so is what its aliases expand to.

    Args:
        text: The text.
        loader: How values are written.

    Raises:
        ValueError: If the text is no YAML, too large, nested too deeply, or holds anything but plain values.
    """
    if len(text) > MAX_YAML:
        raise ValueError(f"cannot read YAML: expected at most {MAX_YAML} characters, got {len(text)}")
    try:
        data = yaml.load(text, Loader=loader)
        if _n_values(data, {}) > MAX_YAML:
            raise ValueError("cannot read YAML: its aliases expand to too many values")
    except yaml.YAMLError as error:
        raise ValueError(f"cannot read YAML: {' '.join(str(error).split())[:300]}") from error
    except (RecursionError, OverflowError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot read YAML: nested too deeply, or no plain values ({type(error).__name__})") from error
    return data


def _n_values(data: object, known: dict[int, int]) -> int:
    """How many values a tree has in which some parts occur several times."""
    if not isinstance(data, list | tuple | dict | set):  # pairs, as of !!omap, are tuples
        return 1
    if id(data) not in known:
        known[id(data)] = MAX_YAML  # what holds itself is infinite
        parts = [*data.keys(), *data.values()] if isinstance(data, dict) else data
        known[id(data)] = 1 + sum(_n_values(part, known) for part in parts)
    return known[id(data)]


_hints = cache(get_type_hints)


def check_values(config: "DataclassInstance") -> None:
    """Give every field of a configuration the type it declares, 1e6 being an integer and 1 a number.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range.
    """
    hints = _hints(type(config))
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
    elif origin is dict and _fits(value, kind):
        return {key: item if args[1] is object else _checked(name, item, args[1]) for key, item in value.items()}
    elif _fits(value, kind):
        return kind(value) if kind in (int, float) else value
    raise ValueError(f"{name}: expected {_in_words(kind)}, got {reprlib.repr(value)}")


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is dict:
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        with suppress(OverflowError):
            return float(value).is_integer() or kind is float
        return False
    return get_origin(kind) is None and isinstance(value, kind)


_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "text", NoneType: "nothing", list: "a list"}


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
