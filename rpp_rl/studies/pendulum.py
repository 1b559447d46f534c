"""The double spring pendulum: learning a Hamiltonian from short pieces of trajectories (arXiv:2112.01388, section 5.1).

Two masses hang from springs in three dimensions. Gravity leaves O(2) about the vertical; a wind from the side breaks
that a little; SO(3) is the misspecified group.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn import RPPEMLP, Mode
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
from rpp_rl.studies.hamiltonian import hamiltonian_field, rollout
from rpp_rl.studies.projection import joined_pathways
from rpp_rl.studies.representations import about_z_in_rotations, mirror_about_z, orthogonal_about_z, tensor_network
from rpp_rl.studies.study import Claim, Context, Job, Row, Spread, Study, StudySettings
from rpp_rl.studies.subspace import widen
from rpp_rl.studies.training import PAPER_PENALTY, Penalty, Recipe, epochs_of_training, evaluated
from rpp_rl.symmetry import Group, Rep, special_orthogonal, trivial, vector

WIND = (-8.0, -5.0, 0.0)
WIND_STRENGTH = 0.01
"""The force on each mass is this times the wind: (-0.08, -0.05, 0)."""
STIFFNESS = (1.0, 2.0)
"""Of the two springs: the paper's formula has 1 for both, its code this."""

DT, N_POINTS = 0.2, 5
"""A piece is five states 0.2 apart."""
TRAJECTORY_POINTS = 150
N_FINE = 5
"""Runge-Kutta steps between two states of the data: the energy drifts by less than 1e-5 over a trajectory."""
N_TRAJECTORIES = 5000
N_TRAIN = 500
WIDTH = 128

STRICT_FLOOR = 3.8e-4
"""Mean squared error of the windless dynamics on windy data: about the best that O(2)-equivariant models can do."""


def energy(z: Float[Tensor, "*batch 12"], wind: float = 0.0) -> Float[Tensor, "*batch"]:
    """H of z = (x1, x2, p1, p2): kinetic energy, springs of unit length, gravity, and −wind · (x1 + x2).

    Masses, rest lengths and gravity are 1; ``wind`` is the factor of `WIND`.
    """
    x1, x2, p1, p2 = z.split(3, dim=-1)
    kinetic = (p1.square().sum(-1) + p2.square().sum(-1)) / 2
    stretches = x1.norm(dim=-1) - 1, (x1 - x2).norm(dim=-1) - 1
    springs = sum(k / 2 * stretch.square() for k, stretch in zip(STIFFNESS, stretches, strict=True))
    blown = ((x1 + x2) * z.new_tensor(WIND)).sum(-1)
    return kinetic + springs + x1[..., 2] + x2[..., 2] - wind * blown


def initial_states(n: int, generator: torch.Generator) -> Float[Tensor, "n 12"]:
    """Hanging nearly straight, at rest up to noise; in float64."""
    noise = torch.randn(n, 12, generator=generator, dtype=torch.float64)
    mean = torch.zeros(12, dtype=torch.float64)
    mean[2], mean[5] = -1.5, -3.0
    return mean + torch.cat([0.2 * noise[:, :6], 0.4 * noise[:, 6:]], dim=1)


@lru_cache(maxsize=8)
def pieces(wind: float, n_trajectories: int, seed: int) -> Float[Tensor, "n_trajectories points 12"]:
    """One random piece of each trajectory of 30 time units; a cache keyed by all that decides them.

    The wind is one of the keys: the paper's code left its counterpart out and reused windless data.
    """
    generator = torch.Generator().manual_seed(seed)
    start = initial_states(n_trajectories, generator)
    chosen = torch.randint(TRAJECTORY_POINTS // N_POINTS, (n_trajectories,), generator=generator) * N_POINTS
    field = hamiltonian_field(lambda z: energy(z, wind))
    with torch.no_grad():
        states = rollout(field, start, n_steps=TRAJECTORY_POINTS - 1, dt=DT, n_substeps=N_FINE)
    index = chosen[:, None] + torch.arange(N_POINTS)
    return states[torch.arange(n_trajectories)[:, None], index].float()


def reps(group: Group) -> tuple[Rep, Rep]:
    """How the state, four vectors, and the energy transform."""
    return 4 * vector(group), trivial(group)


def network(group: Group, mode: Mode, *, width: int = WIDTH, **options: Any) -> RPPEMLP:  # noqa: ANN401
    """The Hamiltonian; ``options`` are those of `tensor_network`."""
    return tensor_network(*reps(group), mode, width=width, **options)


def rollout_error(
    net: nn.Module, start: Float[Tensor, "members n 12"], states: Float[Tensor, "members n points 12"]
) -> Float[Tensor, " members"]:
    """Mean squared error over the five states of a piece, the first of which is given."""
    predicted = rollout(hamiltonian_field(net), start, n_steps=N_POINTS - 1, dt=DT)
    return (predicted - states).square().flatten(1).mean(1)


CASES = MappingProxyType(
    {"exact": "pendulum, O(2)", "approximate": "windy pendulum, O(2)", "misspecified": "pendulum, SO(3)"}
)
GROUPS = MappingProxyType(
    {"exact": orthogonal_about_z(), "approximate": orthogonal_about_z(), "misspecified": special_orthogonal(3)}
)
CHAINS = MappingProxyType(
    {"exact": mirror_about_z(WIND), "approximate": mirror_about_z(WIND), "misspecified": about_z_in_rotations()}
)
"""The level between of the model "chain": what the wind leaves, and of SO(3) what is true."""
EPOCHS = 1000
CODE_PENALTIES = MappingProxyType(
    {"exact": Penalty(1e-4, 1.0), "approximate": Penalty(1e-5, 0.1), "misspecified": Penalty(1e-5, 1e-5)}
)
LEARNING_RATE = 3e-3
CODE_LEARNING_RATES = MappingProxyType({"exact": 3e-3, "approximate": 3e-3, "misspecified": 2e-3})

PAPER = MappingProxyType(
    {
        ("exact", "rpp"): 9.9e-4, ("exact", "mlp"): 2.2e-3, ("exact", "emlp"): 9.6e-4,
        ("approximate", "rpp"): 5.1e-4, ("approximate", "mlp"): 9.4e-4, ("approximate", "emlp"): 5.7e-4,
        ("misspecified", "rpp"): 2.4e-4, ("misspecified", "mlp"): 2.1e-3, ("misspecified", "emlp"): 0.074,
    }
)  # fmt: skip
"""Medians over 10 trials, read off figure 2: each panel had penalties of its own."""


def run(job: Job, settings: StudySettings, context: Context) -> list[Row]:
    """Train one kind of Hamiltonian network on one case; trials share trajectories and split them differently."""
    n_pieces = min(N_TRAJECTORIES, 10 * N_TRAIN)
    train, test = split(job, settings, n_pieces)
    seed = job_seed(settings.seed, "network", *job)
    torch.manual_seed(seed)
    net = network(
        GROUPS[job.case],
        mode_of(job.model),
        width=settings.width or WIDTH,
        members=settings.trials,
        subgroups=(CHAINS[job.case],) if job.model == CHAIN else (),
        twins=job.model == TWINS,
    ).to(context.device)
    train, test = train.to(context.device), test.to(context.device)
    recipe = recipe_of(job, settings)
    add_penalty = None
    if job.model in (SINGLE, MIXED):
        subgroup = CHAINS[job.case] if job.model == MIXED else None
        add_penalty = joined_pathways(net, penalty_of(job.case, settings), subgroup).add_gradient
    if job.model == SUBSPACE:
        widen(net)
    start = train[..., 0, :]
    for _ in epochs_of_training(net, start, train, rollout_error, recipe, seed=seed, add_penalty=add_penalty):
        context.tick(1)
    errors = {
        name: evaluated(net, data[..., 0, :], data, rollout_error) for name, data in (("train", train), ("test", test))
    }
    return rows_of(job, recipe.n_epochs, errors)


def split(job: Job, settings: StudySettings, n_pieces: int) -> tuple[Tensor, Tensor]:
    """Pieces to learn from and others to test with, ``(trials, 500, points, 12)`` each, of every trial."""
    wind = WIND_STRENGTH if job.case == "approximate" else 0.0
    data = pieces(wind, n_pieces, job_seed(settings.seed, "trajectories"))
    generator = torch.Generator().manual_seed(job_seed(settings.seed, "split", job.case))
    order = torch.stack([torch.randperm(len(data), generator=generator) for _ in range(settings.trials)])
    return data[order[:, :N_TRAIN]], data[order[:, N_TRAIN : 2 * N_TRAIN]]


def recipe_of(job: Job, settings: StudySettings) -> Recipe:
    """How a job is trained: one step per epoch, on all pieces."""
    is_paper = settings.variant == "paper"
    penalty = penalty_of(job.case, settings)
    is_windy = job.case == "approximate"
    # The code's windless runs penalise everything in all models, its windy ones the weights of RPP alone.
    prior = penalty.prior(mode_of(job.model), of_baselines=is_paper or not is_windy)
    return Recipe(
        n_epochs=n_epochs(job, settings),
        batch_size=N_TRAIN,
        learning_rate=LEARNING_RATE if is_paper else CODE_LEARNING_RATES[job.case],
        prior=penalty.chain_prior(n_levels=1) if job.model == CHAIN else prior,
        free_biases=not is_paper and is_windy,
    )


def penalty_of(case: str, settings: StudySettings) -> Penalty:
    """One for all cases in the paper, one for each in its code."""
    return PAPER_PENALTY if settings.variant == "paper" else CODE_PENALTIES[case]


def jobs(_settings: StudySettings) -> list[Job]:
    """Three kinds of networks on three cases."""
    return [Job(case, model) for case in CASES for model in MODELS]


def n_epochs(_job: Job, settings: StudySettings) -> int:
    """Epochs of a job."""
    return settings.epochs or EPOCHS


def claims(rows: Sequence[Row]) -> list[Claim]:
    """What the paper says about the three cases, and what the medians over trials say."""
    exact, approximate, misspecified = (medians(rows, case) for case in CASES)
    return [
        ratio_claim("exact symmetry: RPP within 2x of EMLP", exact, "rpp", "emlp", at_most=2.0),
        ratio_claim("exact symmetry: RPP better than MLP", exact, "rpp", "mlp", at_most=1.0),
        ratio_claim("approximate symmetry: RPP better than EMLP", approximate, "rpp", "emlp", at_most=1.0),
        ratio_claim("approximate symmetry: RPP better than MLP", approximate, "rpp", "mlp", at_most=1.0),
        ratio_claim("misspecified symmetry: RPP within 10 % of MLP", misspecified, "rpp", "mlp", at_most=1.1),
        _motionless_claim(rows),
    ]


def _motionless_claim(rows: Sequence[Row]) -> Claim:
    """A check: SO(3) knows no vertical, so the best that is left is about to predict no motion."""
    errors = Spread.of(rows, "misspecified", "emlp", "test")
    text = "misspecified symmetry: EMLP no better than predicting no motion, 0.073"
    return Claim(text, str(errors), errors.median > 0.05) if errors.values else Claim(text, "not run", None)


STUDY = Study(
    name="pendulum",
    jobs=jobs,
    run=run,
    n_epochs=n_epochs,
    figure=lambda rows: box_figure(rows, CASES, PAPER, "test mean squared error"),
    table=lambda rows: error_table(rows, CASES, PAPER),
    claims=claims,
    extras=[Job(case, model) for case in CASES for model in EXTRA_MODELS],
)
