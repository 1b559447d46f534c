"""The Python examples of the README run as they stand."""

import re
from pathlib import Path

import pytest

from rpp_rl.agents.record import RenderError, choose_renderer
from rpp_rl.io.extras import MissingExtraError

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.mujoco
@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "rgb_array" in code:
        try:
            choose_renderer()
        except RenderError as error:
            pytest.skip(str(error))
    try:
        exec(compile(code, str(README), "exec"), {"__name__": "example"})
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_linked_files_exist():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_there_are_examples():
    assert len(EXAMPLES) >= 2
