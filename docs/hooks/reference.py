"""The pages that are generated while the site is built: all flags of all commands, all settings, and the API."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import pkgutil
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from unittest.mock import patch

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import rpp_rl
from rpp_rl.settings import Settings

ROOT = Path(__file__).parents[2]
API = "reference/api"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the API in the place that ``mkdocs.yml`` keeps for them."""
    pages = [{name: f"{API}/{name}.md"} for name in _packages()]
    config.nav = _replaced(config.nav, f"{API}/", pages)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"reference/commands.md": _commands_page(), "reference/settings.md": _settings_page()}
    pages |= {
        "contributing.md": _text("CONTRIBUTING.md").replace("](docs/", "]("),
        "changelog.md": _text("CHANGELOG.md"),
    }
    pages |= {f"{API}/{name}.md": _api_page(package) for name, package in _packages().items()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _replaced(nav: Any, old: str, new: Sequence[Any]) -> Any:  # noqa: ANN401
    if isinstance(nav, list):
        return [_replaced(item, old, new) for item in nav]
    if isinstance(nav, dict):
        return {key: _replaced(value, old, new) for key, value in nav.items()}
    return list(new) if nav == old else nav


class _Parser(Exception):  # noqa: N818
    """Carries the parser of a command out of its ``main``."""


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command that the package installs."""
    scripts = tomllib.loads(_text("pyproject.toml"))["project"]["scripts"]
    return {name: parser_of(entry_point(target)) for name, target in scripts.items()}


def entry_point(target: str) -> Callable[[list[str]], int]:
    """The function that ``package.module:function`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def parser_of(main: Callable[[list[str]], int]) -> argparse.ArgumentParser:
    """The parser that a command makes, caught at the moment in which it would read its arguments."""

    def caught(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _Parser(parser)

    with patch.object(argparse.ArgumentParser, "parse_known_args", caught):
        try:
            main([])
        except _Parser as found:
            return found.args[0]
    raise AssertionError(f"{main} reads no arguments")


def _commands_page() -> str:
    lines = ["# Commands", "", "Generated from the commands. Each of them explains itself with `--help`.", ""]
    for name, parser in commands().items():
        lines += [f"## {name}", "", _sentence(parser.description), "", *_flags(parser), _sentence(parser.epilog), ""]
    return "\n".join(lines)


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from ("| argument | meaning |", "|---|---|")
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        metavar = action.metavar or (action.dest.upper() if action.nargs != 0 and action.option_strings else "")
        value = "" if action.nargs == 0 or not action.option_strings else f" {metavar}"
        names = ", ".join(action.option_strings) or str(metavar or action.dest)
        yield f"| `{_cell(names + value)}` | {_cell(_sentence(parser._get_formatter()._expand_help(action)))} |"
    yield ""


def _settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "Generated from the settings' dataclasses. Any of them can stand in a YAML file (`-conf FILE`) or follow "
        "`-params` as `name:value`; those with a flag can be given by it. A flag beats the file, the file the default.",
        "",
    ]
    parsers = commands()
    for kind in dict.fromkeys(_settings_classes(Settings)):
        command = next((name for name in parsers if f"``{name}``" in (inspect.getdoc(kind) or "")), kind.__name__)
        flags = defaultdict(list)
        for action in parsers[command]._actions if command in parsers else ():
            flags[action.dest] += action.option_strings
        lines += [f"## {command}", "", "| setting | flag | kind | default | meaning |", "|---|---|---|---|---|"]
        lines += [_setting_row(kind, field, flags[field.name]) for field in dataclasses.fields(kind)]
        lines.append("")
    return "\n".join(lines)


def _settings_classes(kind: type) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        if not subclass.__subclasses__():
            yield subclass
        yield from _settings_classes(subclass)


def _setting_row(kind: type, field: dataclasses.Field, flags: Sequence[str]) -> str:
    kinds = _in_words(get_type_hints(kind)[field.name])
    low, high = field.metadata.get("at_least"), field.metadata.get("at_most")
    bounds = " and ".join(f"at {word} {x}" for word, x in (("least", low), ("most", high)) if x is not None)
    text = field.metadata["description"] + (f"; {bounds}" if bounds else "")
    names = ", ".join(f"`{flag}`" for flag in flags)
    return f"| `{field.name}` | {names} | {kinds} | {_default(field)} | {_cell(_sentence(text))} |"


def _in_words(hint: Any) -> str:  # noqa: ANN401
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(arg) for arg in args)
    if origin is tuple:
        return f"list of {_in_words(args[0])}"
    words = {bool: "true or false", int: "integer", float: "number", str: "text", NoneType: "none", dict: "mapping"}
    return words.get(origin or hint, str(hint))


def _default(field: dataclasses.Field) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()}`"
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None:
        return "none"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _packages() -> dict[str, Any]:
    """The package and those of its parts that say what is public."""
    names = ["rpp_rl", "envs_reps"]
    names += [f"rpp_rl.{module.name}" for module in pkgutil.iter_modules(rpp_rl.__path__) if module.ispkg]
    packages = {name: importlib.import_module(name) for name in names}
    return {name: package for name, package in packages.items() if _public(package)}


def _public(package: Any) -> list[str]:  # noqa: ANN401
    own = [name for name, value in vars(package).items() if getattr(value, "__module__", None) == package.__name__]
    return list(getattr(package, "__all__", [name for name in own if not name.startswith("_")]))


def _api_page(package: Any) -> str:  # noqa: ANN401
    lines = [f"# {package.__name__}", "", inspect.getdoc(package) or "", ""]
    for name in _public(package):
        lines += [f"::: {package.__name__}.{name}", ""]
    return "\n".join(lines)


def _sentence(text: str | None) -> str:
    if not text:
        return ""
    text = " ".join(text.split())
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?`" else ".")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
