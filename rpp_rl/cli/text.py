"""Text tables and errors for people."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> tuple[list[str], list[int]]:
    """One line per row with the columns below one another, and the widths of the columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines, widths
