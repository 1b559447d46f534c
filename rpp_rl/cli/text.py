"""Text tables and errors for people."""

from collections.abc import Sequence


def percent(error: float) -> str:
    """An error relative to a change: in percent, or as it is when it is of the size of rounding."""
    return f"{error:.1e}" if error < 1e-6 else f"{100 * error:.2g} %"


def aligned(rows: Sequence[Sequence[str]]) -> tuple[list[str], list[int]]:
    """One line per row with the columns below one another, and the widths of the columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines, widths
