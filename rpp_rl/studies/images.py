"""Networks of soft convolutions for images and tables, and the job that all studies of Table 1 share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rpp_rl.nn import Mode, RPPConv2d, RPPLinear
from rpp_rl.studies.comparison import EVIDENCE, job_seed, medians, mode_of, rows_of
from rpp_rl.studies.evidence import EvidencePenalty
from rpp_rl.studies.study import Claim, Context, Job, Row, StudySettings
from rpp_rl.studies.training import Loss, Penalty, Recipe, epochs_of_training, evaluated
from rpp_rl.symmetry import trivial, trivial_group

PENALTY = Penalty(equiv=1e-6, residual=1e-2)
"""One rule for all images and tables: about what the paper's code penalises, on the orthonormal basis."""
CODE_PENALTY = Penalty(equiv=1e-4, residual=1e-2)
"""Of the entries of filters, whatever the size of the image, and for RPP alone."""

CHOICES = (2, 3, 4, 5)
"""After how many sixths of the training the model "evidence" chooses its penalties."""


@dataclass(frozen=True)
class Architecture:
    """Blocks of a convolution, a dense map or their sum with a ReLU, and a dense head that no prior touches.

    Attributes:
        image_shape: Channels, height and width of the input.
        channels: Of the output of each block.
        strides: Of each block.
        head: Widths of the dense layers at the end, the number of outputs last.
        batch_norm: Whether each block normalises before its ReLU.
    """

    image_shape: tuple[int, int, int]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    head: tuple[int, ...]
    batch_norm: bool = False


class ImageNetwork(nn.Module):
    """Networks of an `Architecture` computed together: ``(members, batch, c, h, w)`` to ``(members, batch, outputs)``.

    Args:
        architecture: Its layers.
        mode: Which pathways the blocks have.
        members: Number of independent networks.
        of_code: Whether `Prior` counts entries of filters and the residual pathway starts at the size of the other,
            as in the paper's code.
    """

    def __init__(self, architecture: Architecture, mode: Mode, members: int, *, of_code: bool = False) -> None:
        super().__init__()
        shape = torch.Size(architecture.image_shape)
        layers: list[nn.Module] = []
        for channels, stride in zip(architecture.channels, architecture.strides, strict=True):
            block = RPPConv2d(
                shape[0],
                channels,
                image_size=shape[1:],
                stride=stride,
                mode=mode,
                prior_of_filters=of_code,
                ensemble=members,
            )
            if of_code and mode == "rpp":
                _start_dense(block)
            layers += [block, MemberBatchNorm(members, channels)] if architecture.batch_norm else [block]
            layers.append(nn.ReLU())
            shape = block.out_shape
        self.blocks = nn.Sequential(*layers)
        number = trivial(trivial_group())
        sizes = (shape.numel(), *architecture.head)
        head: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            head += [RPPLinear(size_in * number, size_out * number, mode="mlp", ensemble=members), nn.ReLU()]
        self.head = nn.Sequential(*head[:-1])

    def forward(self, x: Float[Tensor, "members batch c h w"]) -> Float[Tensor, "members batch outputs"]:
        """Apply the blocks and the head."""
        return self.head(self.blocks(x).flatten(-3))


class MemberBatchNorm(nn.Module):
    """Batch normalisation of each channel of each member."""

    def __init__(self, members: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(members * channels)

    def forward(self, x: Float[Tensor, "members batch c h w"]) -> Float[Tensor, "members batch c h w"]:
        """Normalise over batch and pixels."""
        members, _, channels = x.shape[:3]
        y = self.norm(x.transpose(0, 1).flatten(1, 2))
        return y.unflatten(1, (members, channels)).transpose(0, 1)


@torch.no_grad()
def _start_dense(block: RPPConv2d) -> None:
    assert block.residual_weight is not None
    assert block.residual_bias is not None
    bound = block.in_shape.numel() ** -0.5
    nn.init.uniform_(block.residual_weight, -bound, bound)
    nn.init.uniform_(block.residual_bias, -bound, bound)


@dataclass(frozen=True)
class Task:
    """Data of all trials, and how they are learnt.

    Attributes:
        architecture: Of the networks.
        train: Inputs ``(trials, n, c, h, w)`` and targets ``(trials, n, ...)`` to learn from.
        test: Those to test with.
        loss: What is minimised.
        metric: What is reported, of the same form as ``loss``.
        n_epochs: Passes through the data.
        batch_size: Data per step.
        learning_rate: In the first epoch; it falls to zero along half a cosine.
    """

    architecture: Architecture
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    loss: Loss
    metric: Loss
    n_epochs: int
    batch_size: int
    learning_rate: float


def run_task(job: Job, task: Task, settings: StudySettings, context: Context) -> list[Row]:
    """Train one kind of network on a task, all trials at once; the metric on both data at the end."""
    is_paper = settings.variant == "paper"
    mode = mode_of(job.model)
    seed = job_seed(settings.seed, "network", *job)
    torch.manual_seed(seed)
    net = ImageNetwork(task.architecture, mode, settings.trials, of_code=not is_paper).to(context.device)
    penalty = PENALTY if is_paper else CODE_PENALTY
    recipe = Recipe(
        n_epochs=task.n_epochs,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        prior=penalty.prior(mode, of_baselines=is_paper),
        schedule="cosine",
    )
    train, test = ([tensor.to(context.device) for tensor in data] for data in (task.train, task.test))
    x, y = train
    chooser = EvidencePenalty(net, penalty, settings.trials) if job.model == EVIDENCE else None
    add_penalty = None if chooser is None else chooser.add_gradient
    epochs = epochs_of_training(net, x, y, task.loss, recipe, seed=seed, penalised=net.blocks, add_penalty=add_penalty)
    chosen_after = {task.n_epochs * sixths // 6 for sixths in CHOICES}
    for n_done, _ in enumerate(epochs, 1):
        context.tick(1)
        if chooser is not None and n_done in chosen_after:
            chooser.update(x, y)
    net.eval()
    metrics = {
        name: evaluated(net, inputs, labels, task.metric)
        for name, (inputs, labels) in (("train", train), ("test", test))
    }
    return rows_of(job, task.n_epochs, metrics)


def cross_entropy(net: nn.Module, x: Tensor, labels: Int[Tensor, "members batch"]) -> Float[Tensor, " members"]:
    """Mean cross entropy of each member."""
    losses = nn.functional.cross_entropy(net(x).flatten(0, 1), labels.flatten(), reduction="none")
    return losses.unflatten(0, labels.shape).mean(1)


def error_percent(net: nn.Module, x: Tensor, labels: Int[Tensor, "members batch"]) -> Float[Tensor, " members"]:
    """Share of wrong classes of each member, in percent."""
    return 100 * (net(x).argmax(-1) != labels).float().mean(1)


def permuted(images: Float[Tensor, "*batch c h w"], seed: int) -> Float[Tensor, "*batch c h w"]:
    """The same images with their pixels in one fixed random order, which leaves nothing to convolutions."""
    n_pixels = images.shape[-2:].numel()
    order = torch.randperm(n_pixels, generator=torch.Generator().manual_seed(seed))
    return images.flatten(-2)[..., order].unflatten(-1, images.shape[-2:])


def random_splits(
    inputs: Tensor, labels: Tensor, sizes: tuple[int, int], trials: int, seed: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """For each trial data to learn from and others to test with."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(len(inputs), generator=generator) for _ in range(trials)])
    first, second = order[:, : sizes[0]], order[:, sizes[0] : sum(sizes)]
    return (inputs[first], labels[first]), (inputs[second], labels[second])


PICTURES = {"ordered": "pixels in order", "permuted": "pixels permuted"}
"""The two orders in which images are shown."""


def order_claims(rows: Sequence[Row], cases: Mapping[str, str]) -> list[Claim]:
    """That RPP performs like the model with the right bias, whichever that is."""
    claims = []
    for case, title in cases.items():
        found = medians(rows, case)
        text = f"{title}: RPP within 25 % of the better of convolution and MLP"
        if not {"rpp", "conv", "mlp"} <= found.keys():
            claims.append(Claim(text, "not run", None))
            continue
        best = min(("conv", "mlp"), key=lambda model: found[model])
        ratio = found["rpp"] / found[best] if found[best] > 0 else float("inf")
        text_found = f"RPP {found['rpp']:.3g}, convolution {found['conv']:.3g}, MLP {found['mlp']:.3g}"
        claims.append(Claim(text, f"{text_found}: {ratio:.2f} times {best.upper()}", ratio <= 1.25))
    return claims
