"""Turn the formulas of a page into MathML while the site is built: browsers draw it without scripts from elsewhere."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', flags=re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Replace what `pymdownx.arithmatex` has marked."""
    return FORMULA.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    kind, latex = match.groups()
    return convert(html.unescape(latex).strip(), display="block" if kind == "div" else "inline")
