"""CIFAR-10 in small: a fixed subset at 16 x 16 pixels, in order and with the pixels permuted (after Table 1).

The paper's 12.6 % cannot be reproduced: no code of its network survives, and its dense maps have 768 million weights.
What is tested is its claim, that RPP does as well as the model with the right bias.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn

from rpp_rl.studies.comparison import IMAGE_MODELS, box_figure, error_table, job_seed
from rpp_rl.studies.datasets import cifar10
from rpp_rl.studies.images import (
    PICTURES,
    Architecture,
    Task,
    cross_entropy,
    error_percent,
    order_claims,
    permuted,
    run_task,
)
from rpp_rl.studies.study import Context, Job, Row, Study, StudySettings

N_TRAIN, N_TEST = 500, 200
"""Images of each class."""
POOL = 2
WIDTH, EPOCHS, BATCH_SIZE, LEARNING_RATE = 2, 60, 128, 3e-3
CASES = MappingProxyType({case: f"CIFAR-10 subset, {title}" for case, title in PICTURES.items()})


def architecture(width: int) -> Architecture:
    """The network of the paper's code, "D-conv", with a = ``width``."""
    multiples, strides = (1, 2, 2, 4, 4, 8, 8, 16), (1, 2) * 4
    channels = tuple(width * multiple for multiple in multiples)
    return Architecture((3, 32 // POOL, 32 // POOL), channels, strides, head=(64 * width, 10), batch_norm=True)


def subset(images: Tensor, labels: Tensor, n_each: int, seed: int) -> tuple[Tensor, Tensor]:
    """The same number of images of each class, drawn once for all trials, at half the resolution and standardised."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in range(10):
        places = (labels == label).nonzero().squeeze(1)
        chosen.append(places[torch.randperm(len(places), generator=generator)[:n_each]])
    index = torch.cat(chosen)
    small = nn.functional.avg_pool2d(images[index], POOL)
    return (small - 0.47) / 0.25, labels[index]


def task(case: str, settings: StudySettings, context: Context) -> Task:
    """The same images for all trials."""
    data = cifar10(context.data)
    splits = []
    for (images, labels), n_each, name in ((data.train, N_TRAIN, "train"), (data.test, N_TEST, "test")):
        x, y = subset(images, labels, n_each, job_seed(settings.seed, name))
        x = permuted(x, job_seed(settings.seed, "permutation")) if case == "permuted" else x
        splits.append((x.expand(settings.trials, *x.shape), y.expand(settings.trials, *y.shape)))
    n_epochs = settings.epochs or EPOCHS
    layers = architecture(settings.width or WIDTH)
    return Task(layers, splits[0], splits[1], cross_entropy, error_percent, n_epochs, BATCH_SIZE, LEARNING_RATE)


def run(job: Job, settings: StudySettings, context: Context) -> list[Row]:
    """Train one kind of network on one order of the pixels."""
    return run_task(job, task(job.case, settings, context), settings, context)


def jobs(_settings: StudySettings) -> list[Job]:
    """Three kinds of networks on both orders."""
    return [Job(case, model) for case in CASES for model in IMAGE_MODELS]


STUDY = Study(
    name="cifar10",
    jobs=jobs,
    run=run,
    n_epochs=lambda _job, settings: settings.epochs or EPOCHS,
    figure=lambda rows: box_figure(rows, CASES, {}, "test error [%]"),
    table=lambda rows: error_table(rows, CASES, {}),
    claims=lambda rows: order_claims(rows, CASES),
)
