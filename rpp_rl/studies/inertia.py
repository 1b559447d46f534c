"""Inertia: from the masses and positions of five points to their tensor of inertia (arXiv:2112.01388, section 5.1).

The map is equivariant under O(3). The modified task adds 0.3 (I z) zᵀ, which only O(2) about z leaves alone. SL(3) is
the misspecified group: it leaves no scalar product alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rpp_rl.nn import RPPEMLP, Mode, Subgroup
from rpp_rl.studies.comparison import (
    CHAIN,
    EXTRA_MODELS,
    MIXED,
    MODELS,
    SINGLE,
    SUBSPACE,
    TWINS,
    box_figure,
    error_table,
    job_seed,
    medians,
    mode_of,
    ratio_claim,
    rows_of,
)
from rpp_rl.studies.projection import joined_pathways
from rpp_rl.studies.representations import about_z_in_orthogonal, rotations_in_special_linear, tensor_network
from rpp_rl.studies.study import Claim, Context, Job, Row, Spread, Study, StudySettings
from rpp_rl.studies.subspace import widen
from rpp_rl.studies.training import (
    PAPER_PENALTY,
    Penalty,
    Recipe,
    epochs_of_training,
    evaluated,
    squared_error,
)
from rpp_rl.symmetry import Group, Rep, orthogonal, special_linear, trivial, vector

N_MASSES = 5
MODIFICATION = 0.3
"""By how much the column of the vertical is larger in the modified task; the paper's formula is another, its code's is
this one (see `docs/studies.md`)."""
N_TRAIN = 1000
WIDTH = 384

STRICT_FLOOR = 0.654
"""Mean squared error of the best O(3)-equivariant function, 1.1 I, on the modified task: 0.09 · 2/9 · E tr I² / 9."""


class Sample(NamedTuple):
    """Inputs ``(members, n, 20)`` and targets ``(members, n, 9)``."""

    x: Float[Tensor, "members n in"]
    y: Float[Tensor, "members n out"]


def reps(group: Group) -> tuple[Rep, Rep]:
    """How five masses followed by five positions, and the tensor of inertia row by row, transform."""
    return N_MASSES * trivial(group) + N_MASSES * vector(group), vector(group) * vector(group)


def sample(members: int, n: int, generator: torch.Generator, *, is_modified: bool = False) -> Sample:
    """Draw data: all inputs are standard normal, a mass is the softplus of its input."""
    x = torch.randn(members, n, 4 * N_MASSES, generator=generator)
    return Sample(x, target(x, is_modified=is_modified))


def target(x: Float[Tensor, "*batch 20"], *, is_modified: bool = False) -> Float[Tensor, "*batch 9"]:
    """I = Σ m (|r|² − r rᵀ), row by row; modified: I + 0.3 (I z) zᵀ."""
    masses = torch.nn.functional.softplus(x[..., :N_MASSES])
    r = x[..., N_MASSES:].unflatten(-1, (N_MASSES, 3))
    weighted = masses[..., None] * r
    moment = (weighted.unsqueeze(-1) * r.unsqueeze(-2)).sum(-3)
    trace = moment.diagonal(dim1=-2, dim2=-1).sum(-1)
    inertia = trace[..., None, None] * torch.eye(3, dtype=x.dtype, device=x.device) - moment
    if is_modified:
        inertia = inertia * torch.tensor([1.0, 1.0, 1.0 + MODIFICATION], dtype=x.dtype, device=x.device)
    return inertia.flatten(-2)


def network(group: Group, mode: Mode, *, width: int = WIDTH, **options: Any) -> RPPEMLP:  # noqa: ANN401
    """The network of this task; ``options`` are those of `tensor_network`."""
    return tensor_network(*reps(group), mode, width=width, **options)


CASES = MappingProxyType(
    {
        "exact": "inertia, O(3)",
        "approximate": "modified inertia, O(3)",
        "misspecified": "inertia, SL(3)",
    }
)
"""What figure 2 shows of this task."""
GROUPS = MappingProxyType({"exact": orthogonal(3), "approximate": orthogonal(3), "misspecified": special_linear(3)})
CHAINS = MappingProxyType(
    {
        "exact": about_z_in_orthogonal(),
        "approximate": about_z_in_orthogonal(),
        "misspecified": rotations_in_special_linear(),
    }
)
"""The level between of the model "chain". O(2)_z is what the modified task leaves; SO(3) is in SL(3) what is true."""
EPOCHS = MappingProxyType({"exact": 300, "approximate": 500, "misspecified": 300})
"""Those of the paper's code; its text says 500 for all."""
CODE_PENALTIES = MappingProxyType(
    {"exact": Penalty(1e-3, 100.0), "approximate": Penalty(1e-5, 0.1), "misspecified": Penalty(1e-5, 1e-5)}
)
"""What the code penalised in each panel."""
BATCH_SIZE, LEARNING_RATE = 500, 3e-3

PAPER = MappingProxyType(
    {
        ("exact", "rpp"): 0.28, ("exact", "mlp"): 3.8, ("exact", "emlp"): 0.16,
        ("approximate", "rpp"): 1.02, ("approximate", "mlp"): 4.8, ("approximate", "emlp"): 1.06,
        ("misspecified", "rpp"): 4.0, ("misspecified", "mlp"): 3.7, ("misspecified", "emlp"): 32.5,
    }
)  # fmt: skip
"""Medians over 10 trials, read off figure 2: each panel had penalties of its own."""


def run(job: Job, settings: StudySettings, context: Context) -> list[Row]:
    """Train one kind of network on one case, all trials at once; errors on train and test data at the end."""
    trainer = Trainer(
        job.case,
        mode_of(job.model),
        recipe_of(job, settings),
        settings,
        context,
        name=f"{job.case}/{job.model}",
        subgroups=(CHAINS[job.case],) if job.model == CHAIN else (),
        twins=job.model == TWINS,
    )
    if job.model in (SINGLE, MIXED):
        trainer.join_pathways(penalty_of(job.case, settings), CHAINS[job.case] if job.model == MIXED else None)
    if job.model == SUBSPACE:
        widen(trainer.net)
    for _ in trainer.epochs():
        context.tick(1)
    return rows_of(job, trainer.recipe.n_epochs, trainer.errors())


class Trainer:
    """An ensemble of networks with data of their own, and its training.

    Args:
        case: One of `CASES`; decides data and group.
        mode: Of the networks.
        recipe: How they are trained.
        settings: Number of trials, width and seed.
        context: Where.
        name: Decides initial weights and the order of the data; the data themselves depend on case and seed alone.
        subgroups: See `network`.
        twins: See `network`.

    Attributes:
        net: The ensemble.
        train: The data that it learns from.
        test: The data that it is tested with.
    """

    def __init__(
        self,
        case: str,
        mode: Mode,
        recipe: Recipe,
        settings: StudySettings,
        context: Context,
        *,
        name: str,
        subgroups: Sequence[Subgroup] = (),
        twins: bool = False,
    ) -> None:
        self.recipe = recipe
        generator = torch.Generator().manual_seed(job_seed(settings.seed, "data", case))
        data = [sample(settings.trials, N_TRAIN, generator, is_modified=case == "approximate") for _ in range(2)]
        self.train, self.test = (Sample(*(tensor.to(context.device) for tensor in split)) for split in data)
        self.seed = job_seed(settings.seed, "network", name)
        torch.manual_seed(self.seed)
        net = network(
            GROUPS[case],
            mode,
            width=settings.width or WIDTH,
            members=settings.trials,
            subgroups=subgroups,
            twins=twins,
        )
        self.net = net.to(context.device)
        self.add_penalty: Callable[[], None] | None = None

    def join_pathways(self, penalty: Penalty, subgroup: Subgroup | None = None) -> None:
        """Learn one matrix per linear map, with the penalty on its projections for the group, or for both."""
        self.add_penalty = joined_pathways(self.net, penalty, subgroup).add_gradient

    def epochs(self) -> Iterator[Tensor]:
        """See `epochs_of_training`."""
        return epochs_of_training(
            self.net, *self.train, squared_error, self.recipe, seed=self.seed, add_penalty=self.add_penalty
        )

    def errors(self) -> dict[str, Tensor]:
        """Mean squared error of each trial on both data."""
        return {
            "train": evaluated(self.net, *self.train, squared_error),
            "test": evaluated(self.net, *self.test, squared_error),
        }


def recipe_of(job: Job, settings: StudySettings) -> Recipe:
    """How a job is trained."""
    is_paper = settings.variant == "paper"
    penalty = penalty_of(job.case, settings)
    prior = penalty.prior(mode_of(job.model), of_baselines=is_paper)
    return Recipe(
        n_epochs=n_epochs(job, settings),
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        prior=penalty.chain_prior(n_levels=1) if job.model == CHAIN else prior,
        free_biases=not is_paper,
    )


def penalty_of(case: str, settings: StudySettings) -> Penalty:
    """One for all cases in the paper, one for each in its code."""
    return PAPER_PENALTY if settings.variant == "paper" else CODE_PENALTIES[case]


def jobs(_settings: StudySettings) -> list[Job]:
    """Three kinds of networks on three cases."""
    return [Job(case, model) for case in CASES for model in MODELS]


def n_epochs(job: Job, settings: StudySettings) -> int:
    """Epochs of a job."""
    return settings.epochs or EPOCHS[job.case]


def claims(rows: Sequence[Row]) -> list[Claim]:
    """What the paper says about the three cases, and what the medians over trials say."""
    exact, approximate, misspecified = (medians(rows, case) for case in CASES)
    return [
        ratio_claim("exact symmetry: RPP within 2x of EMLP", exact, "rpp", "emlp", at_most=2.0),
        ratio_claim("exact symmetry: RPP at least 10x better than MLP", exact, "rpp", "mlp", at_most=0.1),
        ratio_claim("approximate symmetry: RPP better than EMLP", approximate, "rpp", "emlp", at_most=1.0),
        ratio_claim("approximate symmetry: RPP better than MLP", approximate, "rpp", "mlp", at_most=1.0),
        ratio_claim("misspecified symmetry: RPP within 10 % of MLP", misspecified, "rpp", "mlp", at_most=1.1),
        _floor_claim(rows),
    ]


def _floor_claim(rows: Sequence[Row]) -> Claim:
    """A check of the code, not of the paper: no strict network can pass the floor, but for noise of the test data."""
    errors = Spread.of(rows, "approximate", "emlp", "test").values
    text = f"approximate symmetry: no EMLP below the floor of {STRICT_FLOOR}"
    return (
        Claim(text, f"smallest {min(errors):.3g}", min(errors) > 0.9 * STRICT_FLOOR)
        if errors
        else Claim(text, "not run", None)
    )


STUDY = Study(
    name="inertia",
    jobs=jobs,
    run=run,
    n_epochs=n_epochs,
    figure=lambda rows: box_figure(rows, CASES, PAPER, "test mean squared error"),
    table=lambda rows: error_table(rows, CASES, PAPER),
    claims=claims,
    extras=[Job(case, model) for case in CASES for model in EXTRA_MODELS],
)
