"""Tables shown to convolutions as tiny images: which network over-fits least? (arXiv:2112.01388, Table 1).

The order of the columns decides which numbers are neighbours, so a convolution is a wrong bias here. A constant and
least squares stand beside the networks: a network that loses to them has learnt nothing but its training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from rpp_rl.studies.comparison import EVIDENCE, IMAGE_MODELS, box_figure, error_table, medians, rows_of
from rpp_rl.studies.datasets import Table, uci_table
from rpp_rl.studies.images import Architecture, Task, order_claims, run_task
from rpp_rl.studies.study import Claim, Context, Job, Row, Study, StudySettings
from rpp_rl.studies.training import squared_error

SETS = MappingProxyType({"energy": (3, 3), "fertility": (3, 3), "pendulum": (3, 3), "wine": (4, 3)})
"""The sets of Table 1, and the size of the image into which their columns are written, zeros at the end."""
N_SPLITS = 10
WIDTH, BATCH_SIZE = 32, 500
N_BLOCKS, EPOCHS, LEARNING_RATE = 3, 1000, 1e-2
CODE_N_BLOCKS, CODE_EPOCHS, CODE_LEARNING_RATE = 4, 3000, 1e-3

CONSTANT, LINEAR = "constant", "linear"
"""Baselines: the mean of the targets, and least squares."""

CASES = MappingProxyType(
    {name: f"{name}, as in the paper" for name in SETS} | {f"{name}-standard": f"{name}, standardised" for name in SETS}
)
PAPER = MappingProxyType(
    {
        ("energy", "mlp"): 0.39, ("energy", "rpp"): 0.73, ("energy", "conv"): 1.34,
        ("fertility", "mlp"): 0.049, ("fertility", "rpp"): 0.060, ("fertility", "conv"): 0.076,
        ("pendulum", "mlp"): 4.65, ("pendulum", "rpp"): 4.25, ("pendulum", "conv"): 4.63,
        ("wine", "mlp"): 0.66, ("wine", "rpp"): 0.69, ("wine", "conv"): 0.79,
    }
)  # fmt: skip
"""Means over 10 trials of Table 1: mean squared errors of the raw target."""


def literal(table: Table, trials: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], float]:
    """The first 80 % of the rows to learn from and the rest to test with, unscaled: trials differ in weights only."""
    n_train = int(0.8 * len(table.x))
    x, y = (np.repeat(array[None], trials, axis=0) for array in (table.x, table.y[:, None]))
    return _tensors(x[:, :n_train], y[:, :n_train]), _tensors(x[:, n_train:], y[:, n_train:]), 1.0


def standardised(table: Table, trials: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], float]:
    """A split of its own for each trial, columns scaled to unit variance over all rows; and the target's variance.

    Splits whose sizes differ by a few rows are cut to the smallest.
    """
    masks = [table.is_test[:, trial % N_SPLITS] for trial in range(trials)]
    x = (table.x - table.x.mean(0)) / np.maximum(table.x.std(0), 1e-12)
    y = (table.y - table.y.mean())[:, None] / table.y.std()
    n_test = min(int(mask.sum()) for mask in masks)
    n_train = min(int((~mask).sum()) for mask in masks)
    train = [(x[~mask][:n_train], y[~mask][:n_train]) for mask in masks]
    test = [(x[mask][:n_test], y[mask][:n_test]) for mask in masks]
    splits = [_tensors(*(np.stack(parts) for parts in zip(*split, strict=True))) for split in (train, test)]
    return splits[0], splits[1], float(table.y.var())


def as_images(x: Float[Tensor, "*batch d"], size: tuple[int, int]) -> Float[Tensor, "*batch 1 h w"]:
    """Columns row by row, zeros at the end."""
    missing = size[0] * size[1] - x.shape[-1]
    return nn.functional.pad(x, (0, missing)).unflatten(-1, (1, *size))


def divided(
    case: str, settings: StudySettings, context: Context
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], float]:
    """See `literal` and `standardised`."""
    name, _, is_standard = case.partition("-")
    return (standardised if is_standard else literal)(uci_table(context.data, name), settings.trials)


def task(case: str, settings: StudySettings, context: Context) -> Task:
    """Data and architecture of a case."""
    size = SETS[case.partition("-")[0]]
    (x, y), (x_test, y_test), variance = divided(case, settings, context)
    is_paper = settings.variant == "paper"
    n_blocks = N_BLOCKS if is_paper else CODE_N_BLOCKS
    architecture = Architecture((1, *size), (settings.width or WIDTH,) * n_blocks, (1,) * n_blocks, head=(1,))
    return Task(
        architecture,
        (as_images(x, size), y),
        (as_images(x_test, size), y_test),
        loss=squared_error,
        metric=lambda net, inputs, targets: variance * squared_error(net, inputs, targets),
        n_epochs=n_epochs(Job(case, ""), settings),
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE if is_paper else CODE_LEARNING_RATE,
    )


def run(job: Job, settings: StudySettings, context: Context) -> list[Row]:
    """Train one kind of network on one set, or fit one baseline."""
    if job.model in (CONSTANT, LINEAR):
        context.tick(n_epochs(job, settings))
        return rows_of(job, 0, baseline_errors(job.model, *divided(job.case, settings, context)))
    return run_task(job, task(job.case, settings, context), settings, context)


def jobs(_settings: StudySettings) -> list[Job]:
    """Three kinds of networks and two baselines on four sets, each as in the paper and standardised."""
    return [Job(case, model) for case in CASES for model in (*IMAGE_MODELS, LINEAR, CONSTANT)]


def baseline_errors(
    model: str, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], variance: float
) -> dict[str, Tensor]:
    """Mean squared error of each trial on both data, of the mean of the targets or of least squares with a constant."""
    errors: dict[str, list[float]] = {"train": [], "test": []}
    for trial in range(len(train[0])):
        splits = [(_columns(x[trial], model), y[trial].double().numpy()) for x, y in (train, test)]
        weights = np.linalg.lstsq(*splits[0], rcond=None)[0]
        for name, (columns, y) in zip(errors, splits, strict=True):
            errors[name].append(variance * float(np.square(columns @ weights - y).mean()))
    return {name: torch.tensor(values) for name, values in errors.items()}


def _columns(x: Float[Tensor, "n d"], model: str) -> Float[ndarray, "n columns"]:
    ones = np.ones((len(x), 1))
    return ones if model == CONSTANT else np.hstack([x.double().numpy(), ones])


def n_epochs(_job: Job, settings: StudySettings) -> int:
    """Epochs of a job."""
    return settings.epochs or (EPOCHS if settings.variant == "paper" else CODE_EPOCHS)


def _tensors(x: ndarray, y: ndarray) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.float32)


def claims(rows: Sequence[Row]) -> list[Claim]:
    """The paper's, and whether the networks have learnt anything that a line has not."""
    return [*order_claims(rows, CASES), *(_sense_claim(title, medians(rows, case)) for case, title in CASES.items())]


def _sense_claim(title: str, found: dict[str, float]) -> Claim:
    """A check of the task, not of the paper: who over-fits least says little where all lose to a line."""
    text = f"{title}: the best network is better than a constant and than least squares"
    if not {*IMAGE_MODELS, LINEAR, CONSTANT} <= found.keys():
        return Claim(text, "not run", None)
    best = min(IMAGE_MODELS, key=lambda model: found[model])
    numbers = f"{best.upper()} {found[best]:.3g}, constant {found[CONSTANT]:.3g}, least squares {found[LINEAR]:.3g}"
    return Claim(text, numbers, found[best] < min(found[CONSTANT], found[LINEAR]))


STUDY = Study(
    name="uci",
    jobs=jobs,
    run=run,
    n_epochs=n_epochs,
    figure=lambda rows: box_figure(rows, CASES, PAPER, "test mean squared error"),
    table=lambda rows: error_table(rows, CASES, PAPER),
    claims=claims,
    extras=[Job(case, EVIDENCE) for case in CASES],
)
