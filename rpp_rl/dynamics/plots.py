"""Pictures of evaluations; they need matplotlib, the extra ``plot``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.dynamics.evaluation import Evaluation
from rpp_rl.envs.layout import Block
from rpp_rl.envs.spec import EnvSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODE_COLOURS = MappingProxyType({"RPP": "tab:blue", "EMLP": "tab:orange", "MLP": "tab:gray"})
"""Colours of the kinds of models, by the mode that their names begin with."""
MORE_COLOURS = ("tab:green", "tab:purple", "tab:red", "tab:brown", "tab:cyan", "tab:olive", "tab:pink")
"""Colours of further kinds of the same mode."""
SMALLEST = 1e-4
"""Equivariance errors below this are drawn at the rim: those of strict models are rounding."""
MAX_PANELS = 9
TITLE = 48
"""Letters of a line above a panel."""
CHARACTERS = 55
"""Letters of a legend that fit below a panel."""


def error_figure(evaluations: Mapping[str, Sequence[Evaluation]], title: str) -> Figure:
    """Relative error of the state on the left, equivariance error on the right, over the steps of the rollout.

    Args:
        evaluations: For each kind of model the evaluations of its seeds: thin lines, and thick their geometric mean.
        title: Written above both.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (kind, seeds), colour in zip(evaluations.items(), _colours(evaluations), strict=True):
        name = f"{kind}, {len(seeds)} seeds" if len(seeds) > 1 else kind
        _curves(left, [100 * seed.error_over_time for seed in seeds], colour, name)
        # The worst generator: a model is as equivariant as under the one that it respects least.
        worst = [np.max(list(seed.equivariance_errors.values()), axis=0) for seed in seeds if seed.equivariance_errors]
        if worst:
            _curves(right, np.maximum(worst, SMALLEST), colour, name)
    left.set(xlabel="steps", ylabel="relative error of the state [%]")
    left.set_ylim(bottom=0)
    bottom = min(
        (curve.min() for line in right.get_lines() if (curve := np.asarray(line.get_ydata())).size), default=0.1
    )
    # Whole decades, as far as there are curves.
    bottom = 10.0 ** np.floor(np.log10(bottom)) / 1.5
    right.set(xlabel="steps", ylabel="equivariance error of the change", yscale="log", ylim=(bottom, 1.5))
    for axis in (left, right):
        axis.grid(alpha=0.3, which="both")
    left.legend(fontsize="small")
    figure.suptitle(title)
    return figure


def trajectory_figure(
    spec: EnvSpec,
    real: Float[ndarray, "time_1 obs"],
    predicted: Mapping[str, Float[ndarray, "time_1 obs"]],
    title: str,
) -> Figure:
    """A real trajectory and predictions of it: of each block of the observation the number that varies most.

    Args:
        spec: Names the blocks; only the first `MAX_PANELS` are drawn.
        real: Observations.
        predicted: For each kind of model the prediction from the first of them on.
        title: Written above.
    """
    from matplotlib.figure import Figure

    blocks = spec.observation.blocks[:MAX_PANELS]
    # Environments of few blocks show several numbers of each.
    n_each = max(1, 4 // len(blocks))
    panels = [
        (_panel_title(block, index), index)
        for block in blocks
        for index in sorted(block.indices, key=lambda i: -float(real[:, i].std()))[:n_each]
    ]
    n_columns = min(3, len(panels)) if len(panels) != 4 else 2
    figure = Figure(figsize=(4.2 * n_columns, 2.5 * -(-len(panels) // n_columns) + 0.8), layout="constrained")
    axes = np.ravel(figure.subplots(-(-len(panels) // n_columns), n_columns, squeeze=False))
    for axis, (name, index) in zip(axes, panels, strict=False):
        axis.plot(real[:, index], color="black", linewidth=1.8, label="real")
        low, high = axis.get_ylim()
        for (kind, states), colour in zip(predicted.items(), _colours(predicted), strict=True):
            axis.plot(states[:, index], color=colour, linewidth=1.2, label=kind)
        # A prediction that leaves for infinity must not flatten the others.
        margin = 0.5 * (high - low)
        bottom, top = axis.get_ylim()
        axis.set_ylim(max(bottom, low - margin), min(top, high + margin))
        axis.set_title(name, fontsize="small")
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(panels) - n_columns) : len(panels)]:
        axis.set_xlabel("steps")
    handles, labels = axes[0].get_legend_handles_labels()
    n_legend = max(1, int(n_columns * CHARACTERS / (10 + max(map(len, labels)))))
    figure.legend(handles, labels, loc="outside lower center", ncols=n_legend, fontsize="small")
    figure.suptitle(title)
    return figure


def _panel_title(block: Block, index: int) -> str:
    """What a number of a block is: its own label and unit, or else the block's name and which of its numbers it is."""
    place = block.indices.index(index)
    if block.labels and block.transform == "identity":
        unit = block.units[place]
        return f"{block.labels[place]} [{unit}]" if unit not in ("", "1") else block.labels[place]
    which = f", number {place + 1} of {len(block.indices)}" if len(block.indices) > 1 else ""
    return "\n".join(textwrap.wrap(f"{block.title}{which}", TITLE))


def _colours(kinds: Iterable[str]) -> list[str]:
    """One colour for each kind: that of its mode, where it is the first of that mode."""
    free, colours = cycle(MORE_COLOURS), []
    for kind in kinds:
        colour = MODE_COLOURS.get(re.split(r"\W", kind)[0])
        colours.append(next(free) if colour is None or colour in colours else colour)
    return colours


def _curves(axis: Axes, curves: Sequence[ndarray] | ndarray, colour: str, name: str) -> None:
    steps = np.arange(1, len(curves[0]) + 1)
    for curve in curves if len(curves) > 1 else ():
        axis.plot(steps, curve, color=colour, alpha=0.35, linewidth=1)
    axis.plot(steps, np.exp(np.log(curves).mean(axis=0)), color=colour, linewidth=2.2, label=name)
