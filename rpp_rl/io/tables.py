"""Tables of text for people."""

from collections.abc import Sequence

Rows = Sequence[Sequence[str]]


def aligned(rows: Rows) -> list[str]:
    """One line per row, the columns below one another."""
    widths = _widths(rows)
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def ruled(rows: Rows, *, prose: bool = False) -> list[str]:
    """The same with a rule below the first row.

    Args:
        rows: The header, then the rows.
        prose: Whether the last column holds sentences; the rule is then no longer than its header.
    """
    widths = _widths(rows)
    if prose:
        widths[-1] = len(rows[0][-1])
    header, *body = aligned(rows)
    return [header, "  ".join("-" * width for width in widths), *body]


def _widths(rows: Rows) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
