"""Handwritten digits of 8 x 8 pixels, in order and with their pixels permuted: the claim of Table 1 in minutes.

The 1,797 images come with scikit-learn. No figure of the paper is about them.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from rpp_rl.io.extras import need
from rpp_rl.studies.comparison import IMAGE_MODELS, box_figure, error_table, job_seed
from rpp_rl.studies.images import (
    PICTURES,
    Architecture,
    Task,
    cross_entropy,
    error_percent,
    order_claims,
    permuted,
    random_splits,
    run_task,
)
from rpp_rl.studies.study import Context, Job, Row, Study, StudySettings

N_TRAIN, N_TEST = 1437, 360
WIDTH, N_BLOCKS = 16, 3
EPOCHS, BATCH_SIZE, LEARNING_RATE = 30, 100, 3e-3
CASES = MappingProxyType({case: f"digits, {title}" for case, title in PICTURES.items()})


@lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor]:
    """Images ``(1797, 1, 8, 8)`` with values from 0 to 1, and labels."""
    data = need("sklearn.datasets", "studies").load_digits()
    images = torch.as_tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    return images, torch.as_tensor(data.target, dtype=torch.long)


def task(case: str, settings: StudySettings) -> Task:
    """The same splits for both orders of the pixels."""
    images, labels = digits()
    if case == "permuted":
        images = permuted(images, job_seed(settings.seed, "permutation"))
    sizes = (N_TRAIN, N_TEST)
    train, test = random_splits(images, labels, sizes, settings.trials, job_seed(settings.seed, "split"))
    channels = (settings.width or WIDTH,) * N_BLOCKS
    architecture = Architecture((1, 8, 8), channels, strides=(1,) * N_BLOCKS, head=(10,))
    n_epochs = settings.epochs or EPOCHS
    return Task(architecture, train, test, cross_entropy, error_percent, n_epochs, BATCH_SIZE, LEARNING_RATE)


def run(job: Job, settings: StudySettings, context: Context) -> list[Row]:
    """Train one kind of network on one order of the pixels."""
    return run_task(job, task(job.case, settings), settings, context)


def jobs(_settings: StudySettings) -> list[Job]:
    """Three kinds of networks on both orders."""
    return [Job(case, model) for case in CASES for model in IMAGE_MODELS]


STUDY = Study(
    name="digits",
    jobs=jobs,
    run=run,
    n_epochs=lambda _job, settings: settings.epochs or EPOCHS,
    figure=lambda rows: box_figure(rows, CASES, {}, "test error [%]"),
    table=lambda rows: error_table(rows, CASES, {}),
    claims=lambda rows: order_claims(rows, CASES),
)
