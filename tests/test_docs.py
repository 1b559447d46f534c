"""What README and documentation show is true: Python runs, command lines parse, links and names exist."""

import dataclasses
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpp_rl.agents.record import RenderError, choose_renderer
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.io.extras import MissingExtraError
from rpp_rl.sac.config import SACConfig

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
GENERATED = {DOCS / name for name in ("reference/commands.md", "reference/settings.md")}
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """The blocks of a language, with the page and a number to name them by."""
    for page in PAGES:
        found = re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for number, block in enumerate(found):
            yield f"{page.relative_to(ROOT)}:{number}", block


PYTHON = dict(blocks("python"))  # blocks that include a file of examples/ are fenced otherwise, and tested there
LINES = {
    f"{name}: {line}": line
    for name, block in blocks("bash")
    for line in re.split(r"\n|&&|; ", block)
    if line.split() and line.split()[0] in SCRIPTS
}


@pytest.mark.mujoco
@pytest.mark.parametrize("name", PYTHON)
def test_python_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "rgb_array" in PYTHON[name]:
        try:
            choose_renderer()
        except RenderError as error:
            pytest.skip(str(error))
    try:
        exec(compile(PYTHON[name], name, "exec"), {"__name__": "example"})
    except MissingExtraError as error:
        pytest.skip(str(error))


class _ParsedError(Exception):
    """Raised where a command has read its arguments, so that nothing else happens."""


@pytest.mark.parametrize("line", LINES)
def test_command_line_parses(line, monkeypatch):
    import argparse

    parse = argparse.ArgumentParser.parse_args

    def parsed(*args: object, **kwargs: object) -> None:
        parse(*args, **kwargs)
        raise _ParsedError

    name, *argv = shlex.split(LINES[line].replace("$seed", "0"), comments=True)
    module, _, function = SCRIPTS[name].partition(":")
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr("rpp_rl.cli.arguments.find_agent", lambda source: source)  # examples name runs of their readers
    with pytest.raises(_ParsedError):
        getattr(importlib.import_module(module), function)(argv)


def test_a_wrong_flag_does_not_parse(monkeypatch, capsys):
    """Negative control of the test above."""
    monkeypatch.setitem(LINES, "wrong", "train-sac --env Ant-v4 --rppp")
    with pytest.raises(SystemExit):
        test_command_line_parses("wrong", monkeypatch)
    assert "--rppp" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    targets = {(page.parent / link).resolve() for link in links} - GENERATED
    assert [target for target in targets if not target.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_code_exists(page):
    """Dotted names and paths that stand as code in the text."""
    names = re.findall(r"`((?:rpp_rl|envs_reps)(?:\.\w+)+)`", page.read_text(encoding="utf-8"))
    assert [name for name in names if not _exists(name)] == []
    paths = re.findall(
        r"`((?:rpp_rl|envs_reps|scripts|tests|configs|examples)/[\w./-]+)`", page.read_text(encoding="utf-8")
    )
    is_env = re.compile(r".*-v\d+").fullmatch
    assert [path for path in paths if not is_env(path) and not (ROOT / path).exists()] == []


def _exists(dotted: str) -> bool:
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            if not hasattr(value, attribute):
                return False
            value = getattr(value, attribute)
        return True
    return False


def test_missing_names_are_noticed():
    """Negative control of the test above."""
    assert _exists("rpp_rl.symmetry.Group")
    assert not _exists("rpp_rl.symmetry.Groups")
    assert not _exists("rpp_rl.symetry")


def test_there_are_examples():
    assert len(PYTHON) >= 5
    assert len(LINES) >= 20


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    "line",
    ["pip install -e . && train-sac --env Ant-v4 --rpp -n 20000", 'pip install -e ".[dev]" && pytest'],
)
def test_the_readme_has_the_two_lines_that_do_all_the_setting_up(line):
    assert f"\n{line}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_generated_pages_name_every_command_and_setting(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "hooks"))
    reference = importlib.import_module("reference")
    commands, settings = reference._commands_page(), reference._settings_page()
    assert [name for name in SCRIPTS if f"## {name}\n" not in commands] == []
    fields = [field.name for kind in (SACConfig, ModelConfig) for field in dataclasses.fields(kind)]
    assert [name for name in fields if f"| `{name}` |" not in settings] == []
    assert "`-n, --n-timesteps N`" in commands
