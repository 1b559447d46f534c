"""Equivariance error of deep ensembles during training: what they find out about the data (arXiv:2112.01388, figure 3).

Two ensembles of soft networks start from the same prior. One learns inertia, which O(3) leaves alone, the other
modified inertia, which it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import gaussian_kde, mannwhitneyu

from rpp_rl.studies.comparison import rows_of
from rpp_rl.studies.equivariance import Form, equivariance_error
from rpp_rl.studies.inertia import BATCH_SIZE, LEARNING_RATE, Trainer, reps
from rpp_rl.studies.study import Claim, Context, Job, Row, Spread, Study, StudySettings
from rpp_rl.studies.training import PAPER_PENALTY, Penalty, Recipe
from rpp_rl.symmetry import orthogonal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES = MappingProxyType({"exact": "inertia", "approximate": "modified inertia"})
EPOCHS, EVERY = 50, 5
SHOWN = (5, 15, 30)
"""Epochs of the figure."""
CODE_PENALTY = Penalty(1e-4, 1.0)
N_SAMPLES = 500
METRICS: MappingProxyType[str, Form] = MappingProxyType({"error": "sample", "code_error": "batch"})
"""Eq. 2 of the paper, and what its code computed instead."""
PAPER = MappingProxyType(
    {
        (5, "exact"): 0.052, (5, "approximate"): 0.062,
        (15, "exact"): 0.068, (15, "approximate"): 0.105,
        (30, "exact"): 0.073, (30, "approximate"): 0.121,
    }
)  # fmt: skip
"""Geometric means over 10 networks, in the code's form."""
SIGNIFICANCE = 0.01


def jobs(_settings: StudySettings) -> list[Job]:
    """An ensemble for each task."""
    return [Job(case, "rpp") for case in CASES]


def run(job: Job, settings: StudySettings, context: Context) -> list[Row]:
    """Train an ensemble, with its equivariance error under O(3) on test data after every `EVERY` epochs."""
    is_paper = settings.variant == "paper"
    recipe = Recipe(
        n_epochs=n_epochs(job, settings),
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        prior=(PAPER_PENALTY if is_paper else CODE_PENALTY).prior("rpp"),
        free_biases=not is_paper,
    )
    trainer = Trainer(job.case, "rpp", recipe, settings, context, name=f"posterior/{job.case}")
    rows: list[Row] = []
    x = trainer.test.x[:, :N_SAMPLES]
    for epoch, _ in enumerate(trainer.epochs(), start=1):
        if epoch % EVERY == 0 or epoch == recipe.n_epochs:
            errors = {
                metric: torch.as_tensor(equivariance_error(trainer.net, *reps(orthogonal(3)), x, seed=epoch, form=form))
                for metric, form in METRICS.items()
            }
            rows += rows_of(job, epoch, {**errors, "test": trainer.errors()["test"]})
        context.tick(1)
    return rows


def n_epochs(_job: Job, settings: StudySettings) -> int:
    """Epochs of a job."""
    return settings.epochs or EPOCHS


def figure(rows: Sequence[Row]) -> Figure:
    """Densities of the logarithm of the error over the members, one ridge for each epoch shown."""
    from matplotlib.figure import Figure

    epochs = _shown(rows)
    drawing = Figure(figsize=(6.4, 1.7 * len(epochs) + 0.8), layout="constrained")
    axes = np.ravel(drawing.subplots(len(epochs), 1, sharex=True, squeeze=False))
    for axis, epoch in zip(axes, epochs, strict=True):
        for colour, (case, title) in zip(("tab:blue", "tab:orange"), CASES.items(), strict=True):
            values = np.log10(Spread.of(rows, case, "rpp", "error", epoch).values)
            if len(values) > 2 and np.ptp(values) > 0:
                grid = np.linspace(values.min() - 0.3, values.max() + 0.3, 200)
                axis.fill_between(10**grid, gaussian_kde(values)(grid), color=colour, alpha=0.35, label=title)
            axis.plot(10**values, np.zeros_like(values), "|", color=colour, markersize=12)
        axis.set(yticks=[], ylabel=f"epoch {epoch}", xscale="log")
    axes[0].legend(fontsize="small")
    axes[-1].set_xlabel("equivariance error under O(3), eq. 2")
    return drawing


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Medians of both forms beside the paper's, which are in the form of its code."""
    lines = [["epoch", "task", "eq. 2", "form of the code", "paper", "test MSE"]]
    for epoch in _shown(rows):
        for case, title in CASES.items():
            cells = [str(Spread.of(rows, case, "rpp", metric, epoch)) for metric in (*METRICS, "test")]
            paper = PAPER.get((epoch, case))
            lines.append([str(epoch), title, *cells[:2], "" if paper is None else f"{paper:g}", cells[2]])
    return lines


def claims(rows: Sequence[Row]) -> list[Claim]:
    """That the ensembles know by the last epoch shown which data are symmetric."""
    epoch = _shown(rows)[-1] if rows else SHOWN[-1]
    text = f"the modified task's ensemble breaks the symmetry more by epoch {epoch}"
    samples = [Spread.of(rows, case, "rpp", "error", epoch).values for case in CASES]
    if not all(samples):
        return [Claim(text, "not run", None)]
    p = float(mannwhitneyu(samples[1], samples[0], alternative="greater").pvalue)
    medians = [float(np.median(sample)) for sample in samples]
    found = f"medians {medians[1]:.3g} against {medians[0]:.3g}, Mann-Whitney p = {p:.2g}"
    return [Claim(text, found, p < SIGNIFICANCE)]


def _shown(rows: Sequence[Row]) -> list[int]:
    epochs = {row.epoch for row in rows}
    return [epoch for epoch in SHOWN if epoch in epochs] or [max(epochs, default=SHOWN[-1])]


STUDY = Study(
    name="posterior",
    jobs=jobs,
    run=run,
    n_epochs=n_epochs,
    figure=figure,
    table=table,
    claims=claims,
)
