"""Kinds of models side by side: seeds, rows, box plots like figure 2, tables and ratios of medians."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import numpy as np
from torch import Tensor

from rpp_rl.nn import Mode
from rpp_rl.studies.study import Claim, Job, Row, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SINGLE = "per"
"""One matrix per map with the penalty of RPP on its projections, see `rpp_rl.studies.projection`."""
MIXED = "mixed"
"""The same with projections for two groups at once: to ``chain`` as ``per`` is to ``rpp``."""
CHAIN, TWINS = "chain", "twins"
"""RPP with a level between for a subgroup; RPP whose gates and products have residual pathways of their own."""
SUBSPACE = "subspace"
"""EMLP whose weights lie in a subspace of nearly equivariant ones, see `rpp_rl.studies.subspace`."""
EVIDENCE = "evidence"
"""RPP whose penalties the data choose, see `rpp_rl.studies.evidence`."""
MODELS = ("rpp", "emlp", "mlp")
EXTRA_MODELS = (SINGLE, MIXED, CHAIN, TWINS, SUBSPACE)
"""Trained where they are asked for."""
IMAGE_MODELS = ("rpp", "conv", "mlp")
COLOURS = MappingProxyType(
    {
        "rpp": "tab:blue",
        SINGLE: "tab:green",
        MIXED: "tab:olive",
        EVIDENCE: "tab:purple",
        CHAIN: "tab:purple",
        TWINS: "tab:cyan",
        SUBSPACE: "tab:red",
        "emlp": "tab:orange",
        "mlp": "tab:gray",
        "conv": "tab:orange",
    }
)
"""Of the kinds of models in all figures; a convolution is the strictly equivariant one."""

Reference = Mapping[tuple[str, str], float]
"""The paper's number for a case and a model."""


def mode_of(model: str) -> Mode:
    """The mode of a model's layers; a convolution is the strict model of images, a single matrix starts as RPP."""
    soft = (SINGLE, MIXED, CHAIN, TWINS, EVIDENCE)
    return cast(Mode, {"conv": "emlp", SUBSPACE: "emlp", **dict.fromkeys(soft, "rpp")}.get(model, model))


def job_seed(seed: int, *names: str) -> int:
    """A seed that belongs to these names alone, whatever else is run and in which order."""
    digest = hashlib.sha256("/".join((str(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def rows_of(job: Job, epoch: int, metrics: Mapping[str, Tensor]) -> list[Row]:
    """The rows of a job: one value of each metric for each trial."""
    return [
        Row(job.case, job.model, trial, epoch, metric, value)
        for metric, values in metrics.items()
        for trial, value in enumerate(values.tolist())
    ]


def medians(rows: Sequence[Row], case: str, metric: str = "test") -> dict[str, float]:
    """The median over trials for each model that was run on a case."""
    models = dict.fromkeys(row.model for row in rows if row.case == case)
    return {model: Spread.of(rows, case, model, metric).median for model in models}


def ratio_claim(text: str, found: Mapping[str, float], model: str, other: str, *, at_most: float) -> Claim:
    """The claim that one median is at most so many times another."""
    if model not in found or other not in found:
        return Claim(text, "not run", None)
    ratio = found[model] / found[other]
    return Claim(text, f"{found[model]:.3g} against {found[other]:.3g}, ratio {ratio:.2g}", ratio <= at_most)


def error_table(
    rows: Sequence[Row], cases: Mapping[str, str], reference: Reference, metric: str = "test"
) -> list[list[str]]:
    """Median and quartiles of each job beside the paper's number."""
    table = [["case", "model", "trials", "median (quartiles)", "paper"]]
    for case, title in cases.items():
        for model in dict.fromkeys(row.model for row in rows if row.case == case):
            spread = Spread.of(rows, case, model, metric)
            paper = reference.get((case, model))
            cells = [title, model.upper(), str(len(spread.values)), str(spread)]
            table.append([*cells, "" if paper is None else f"{paper:.3g}"])
    return table


def box_figure(
    rows: Sequence[Row], cases: Mapping[str, str], reference: Reference, label: str, metric: str = "test"
) -> Figure:
    """A panel for each case with rows: a box and the trials for each model, the paper's median as a diamond."""
    from matplotlib.figure import Figure

    drawn = {row.case for row in rows}
    cases = {case: title for case, title in cases.items() if case in drawn} or cases
    figure = Figure(figsize=(3.6 * len(cases), 3.8), layout="constrained")
    axes = np.ravel(figure.subplots(1, len(cases), squeeze=False))
    for axis, (case, title) in zip(axes, cases.items(), strict=True):
        known = [
            model
            for model in dict.fromkeys(("rpp", *EXTRA_MODELS, *MODELS, *IMAGE_MODELS))
            if Spread.of(rows, case, model, metric).values
        ]
        others = [model for model in dict.fromkeys(row.model for row in rows if row.case == case) if model not in known]
        _boxes(axis, rows, case, known + others, reference, metric)
        axis.set(title=title, yscale="log")
        axis.grid(alpha=0.3, axis="y", which="both")
    axes[0].set_ylabel(label)
    if any(case in cases for case, _ in reference):
        axes[0].plot([], [], "D", color="black", markerfacecolor="none", label="median in the paper")
        axes[0].legend(fontsize="small")
    return figure


def _boxes(
    axis: Axes, rows: Sequence[Row], case: str, models: Sequence[str], reference: Reference, metric: str
) -> None:
    for place, model in enumerate(models):
        values = [value for value in Spread.of(rows, case, model, metric).values if math.isfinite(value)]
        colour = COLOURS.get(model, "tab:green")
        box = axis.boxplot(values, positions=[place], widths=0.6, showfliers=False, patch_artist=True)
        box["boxes"][0].set(facecolor=colour, alpha=0.35)
        box["medians"][0].set(color=colour)
        axis.plot(np.full(len(values), place), values, ".", color=colour, markersize=4)
        if (case, model) in reference:
            axis.plot(place, reference[case, model], "D", color="black", markerfacecolor="none")
    axis.set_xticks(range(len(models)), [model.upper() for model in models])
    if len(models) > 4:
        axis.tick_params("x", rotation=30)
