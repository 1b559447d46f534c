"""Show the examples in docstrings as code; as text, Markdown would take their ``>>>`` for a quotation."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!\s*$|>>> ).+\n?)*)+", flags=re.MULTILINE)
ROLE = re.compile(r":(?:func|class|meth):(`[^`]+`)")


class FencedDoctests(Extension):
    """Puts fences around doctests, and takes Sphinx's roles away."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401
        """Change the docstring of an object that has just been read."""
        if obj.docstring is not None:
            text = EXAMPLE.sub(lambda match: f"```pycon\n{match[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = ROLE.sub(r"\1", text)
