"""Figures of comparisons: learning curves with bands, diagnostics, final scores and performance profiles.

Arms differ in colour, line and marker, and neighbours in lightness, so a figure can be read in grey; panels stand in
few columns and letters are large, so it can be read on a phone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rpp_rl.experiments import statistics
from rpp_rl.experiments.comparison import Arm, Comparison, Panel
from rpp_rl.experiments.curves import ACTOR_RESIDUAL, CRITIC_RESIDUAL, DISPLACEMENT, EQUIVARIANCE, RETURN, in_short
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError
from rpp_rl.io.extras import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = {
    "return": (RETURN, "return"),
    "best": (RETURN, "best return so far"),
    "equivariance": (EQUIVARIANCE, "equivariance error"),
    "residual": (ACTOR_RESIDUAL, "residual share, actor"),
    "critic_residual": (CRITIC_RESIDUAL, "residual share, critic"),
    "displacement": (DISPLACEMENT, "displacement along x [m]"),
}
SCORES = ("final", "profile")
PANELS = (*CURVES, *SCORES)
"""What a figure can show, for every environment."""
FROM_ZERO = {"equivariance", "residual", "critic_residual"}

# Okabe and Ito's colours, of which neighbours differ in lightness too.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8A8A8A")
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
N_MARKERS = 8
PANEL_SIZE = (4.6, 3.3)
SUFFIXES = (".png", ".svg")


@dataclass(frozen=True)
class Style:
    """How an arm is drawn, the same in all panels."""

    colour: str
    line: Any
    marker: str


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """A style for each label, in the order of the labels."""
    return {
        label: Style(COLOURS[k % len(COLOURS)], LINES[k % len(LINES)], MARKERS[k % len(MARKERS)])
        for k, label in enumerate(labels)
    }


def default_panels(comparison: Comparison) -> list[str]:
    """The return, what else was logged by at least one arm, and the final scores where there are several seeds."""
    metrics = {metric for panel in comparison.panels for arm in panel.arms.values() for metric in arm.runs[0].curves}
    shown = [
        name for name, (metric, _) in CURVES.items() if metric in metrics and name not in ("best", "critic_residual")
    ]
    several = any(len(arm.runs) > 2 for panel in comparison.panels for arm in panel.arms.values())
    return [*shown, *(SCORES if several else ())]


def draw(comparison: Comparison, panels: Sequence[str], n_columns: int = 2) -> Figure:
    """A figure with the panels of every environment.

    Args:
        comparison: What to show.
        panels: Names out of :data:`PANELS`.
        n_columns: Panels side by side.

    Raises:
        UserError: If matplotlib is not installed, or no run has logged what is to be drawn.
    """
    matplotlib = need("matplotlib", "plot")
    from matplotlib.figure import Figure

    cells = [(panel, name) for name in panels for panel in comparison.panels if _has(panel, name)]
    if not cells:
        raise UserError(f"there is nothing to draw: no arm has {' or '.join(panels)} in all of its runs")
    n_columns = min(n_columns, len(cells))
    n_rows = -(-len(cells) // n_columns)
    style = styles(comparison.labels)
    with matplotlib.rc_context({"font.size": 12, "axes.titlesize": 12}):
        figure = Figure(figsize=(PANEL_SIZE[0] * n_columns, PANEL_SIZE[1] * n_rows + 0.5), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes, (panel, name) in zip(grid, cells, strict=False):
            _draw_panel(axes, panel, name, style, comparison.question.aggregate)
        for axes in grid[len(cells) :]:
            axes.set_axis_off()
        _legend(figure, comparison, style, n_columns)
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure: as PNG or SVG by its suffix, as both if it has none of these.

    Returns:
        The files.

    Raises:
        OSError: If a file cannot be written.
    """
    paths = [path] if path.suffix in SUFFIXES else [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    for target in paths:
        data = io.BytesIO()
        # Without a date and random names in it, the same numbers give the same file.
        metadata = {"Date": None} if target.suffix == ".svg" else None
        with need("matplotlib", "plot").rc_context({"svg.hashsalt": "rpp_rl"}):
            figure.savefig(data, format=target.suffix[1:], dpi=150, metadata=metadata)
        with replacing(target) as file:
            file.write(data.getbuffer())
    return paths


def _has(panel: Panel, name: str) -> bool:
    if name in CURVES:
        return any(arm.curves(CURVES[name][0]) is not None for arm in panel.arms.values())
    return any(arm.final is not None for arm in panel.arms.values())


def _draw_panel(axes: Axes, panel: Panel, name: str, style: dict[str, Style], aggregate: str) -> None:
    axes.set_title(panel.env_id)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if name in CURVES:
        _draw_curves(axes, panel, name, style, aggregate)
    elif name == "final":
        _draw_final(axes, panel, style, aggregate)
    else:
        _draw_profile(axes, panel, style)


def _draw_curves(axes: Axes, panel: Panel, name: str, style: dict[str, Style], aggregate: str) -> None:
    metric, text = CURVES[name]
    for k, (label, arm) in enumerate(panel.arms.items()):
        curves = arm.curves(metric)
        if curves is None:
            continue
        steps, values = curves
        if name == "best":
            values = np.maximum.accumulate(values, axis=1)
        if len(steps) > 400:
            # More points than pixels; bins keep what happens between them.
            steps, values = _binned(steps, values, 200)
        middle = statistics.AGGREGATES[aggregate]([values])
        _line(axes, steps, middle, style[label], offset=k)
        if len(values) > 1:
            low, high = statistics.interval([values], statistics.AGGREGATES[aggregate])
            axes.fill_between(steps, low, high, color=style[label].colour, alpha=0.18, linewidth=0)
    axes.set(xlabel="environment steps", ylabel=text)
    _format_steps(axes)
    if name in FROM_ZERO:
        axes.set_ylim(bottom=0)


def _line(axes: Axes, steps: np.ndarray, values: np.ndarray, style: Style, offset: int) -> None:
    every = max(1, len(steps) // N_MARKERS)
    axes.plot(
        steps,
        values,
        color=style.colour,
        linestyle=style.line,
        linewidth=1.8,
        marker=style.marker,
        markersize=5,
        # Markers of different arms do not lie on one another.
        markevery=(offset * every // 3 % every, every),
    )


def _binned(steps: np.ndarray, values: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    parts = np.array_split(np.arange(len(steps)), n_bins)
    return np.array([steps[p].mean() for p in parts]), np.stack([values[:, p].mean(axis=1) for p in parts], axis=1)


def _draw_final(axes: Axes, panel: Panel, style: dict[str, Style], aggregate: str) -> None:
    """Every run as a dot, the aggregate and its interval as a bar."""
    arms = [arm for arm in panel.arms.values() if arm.final is not None]
    for row, arm in enumerate(arms[::-1]):
        assert arm.final is not None
        own = style[arm.label]
        axes.plot(arm.final, np.full(len(arm.final), row), own.marker, color=own.colour, alpha=0.35, markersize=6)
        middle = statistics.AGGREGATES[aggregate]([arm.final])
        low, high = statistics.interval([arm.final], statistics.AGGREGATES[aggregate])
        axes.plot([low, high], [row, row], color=own.colour, linewidth=5, alpha=0.6, solid_capstyle="butt")
        axes.plot([middle], [row], "|", color=own.colour, markersize=18, markeredgewidth=2.5)
    axes.set_yticks(range(len(arms)), [arm.label for arm in arms[::-1]])
    axes.set(xlabel=f"return after {in_short(panel.end)} steps", ylim=(-0.6, len(arms) - 0.4))


def _draw_profile(axes: Axes, panel: Panel, style: dict[str, Style]) -> None:
    arms = [arm for arm in panel.arms.values() if arm.final is not None]
    scores = np.concatenate([arm.final for arm in arms if arm.final is not None])
    margin = 0.05 * (np.ptp(scores) or 1.0)
    thresholds = np.linspace(scores.min() - margin, scores.max() + margin, 200)
    for k, arm in enumerate(arms):
        assert arm.final is not None
        middle, low, high = statistics.performance_profile([arm.final], thresholds)
        _line(axes, thresholds, middle, style[arm.label], offset=k)
        axes.fill_between(thresholds, low, high, color=style[arm.label].colour, alpha=0.12, linewidth=0)
    axes.set(xlabel=f"return after {in_short(panel.end)} steps", ylabel="share of runs above", ylim=(-0.02, 1.02))


def _legend(figure: Figure, comparison: Comparison, style: dict[str, Style], n_columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for label in comparison.labels:
        arms = [panel.arms[label] for panel in comparison.panels if label in panel.arms]
        own = style[label]
        text = f"{label} ({_n_seeds(arms)})"
        handles.append(
            Line2D([], [], color=own.colour, linestyle=own.line, marker=own.marker, linewidth=1.8, label=text)
        )
    longest = max(len(handle.get_label()) for handle in handles)  # pyright: ignore[reportArgumentType]
    fitting = max(1, int(n_columns * 48 / (longest + 9)))
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(fitting, len(handles)),
        frameon=False,
        title=f"{statistics.TITLES[comparison.question.aggregate]} and 95 % bootstrap interval over seeds",
        title_fontsize=10,
    )


def _n_seeds(arms: Sequence[Arm]) -> str:
    numbers = sorted({len(arm.runs) for arm in arms})
    if numbers == [1]:
        return "1 seed"
    return f"{numbers[0]} seeds" if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]} seeds"


def _format_steps(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_short(value)))
