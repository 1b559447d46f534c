"""The settings of ``table3``, and the models that they ask for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

from rpp_rl.settings import Settings, setting

KINDS: Mapping[str, Mapping[str, object]] = {
    "mlp": {"mode": "mlp"},
    "augmented": {"mode": "mlp", "augment": True},
    "emlp": {"mode": "emlp"},
    "rpp": {"mode": "rpp"},
}
"""The kinds of models, by the settings that make them; ``augmented`` is a plain network that learns from images too."""
PAPER_TRANSITIONS = 50_000
"""Transitions that the paper's models learn from."""
TUNING_SEED = 1000
"""The seed of the models by which settings are chosen; none of the table has it."""
OWN_SETTINGS = {
    "env", "buffer", "test_buffer", "mode", "augment", "group", "seed", "n_chunks", "test_length",
    "equal_parameters", "log_folder", "tensorboard_log", "device",
}  # fmt: skip
"""Settings of models that the table decides itself."""


@dataclass(frozen=True)
class Table3Config(Settings):
    """Everything that decides a table of ``table3``: data, kinds of models, amounts of data, seeds.

    Raises:
        ValueError: If a value has the wrong type or lies outside its range, or the table itself decides a setting.
    """

    config_folder: ClassVar[str] = "table3"

    out: str = setting("table3", "where everything goes", flag=("-o", "--output"), metavar="FOLDER")
    buffers: dict[str, str] = setting(  # noqa: RUF009
        {},
        "data of each environment, as for train-model; absent to write the report only",
        flag="--buffer",
        metavar="ENV:FILE",
    )
    others: dict[str, str] = setting(  # noqa: RUF009
        {},
        "trajectories of another agent, on which the models are tested as well",
        flag="--test-buffer",
        metavar="ENV:FILE",
    )
    kinds: tuple[Literal["mlp", "augmented", "emlp", "rpp"], ...] = setting(
        tuple(KINDS), "kinds of models: mlp, augmented, emlp, rpp", flag="--kinds", metavar="KIND"
    )
    sizes: tuple[Literal["parameters", "width"], ...] = setting(
        ("parameters", "width"), "what all kinds have in common: parameters, width", flag="--sizes", metavar="SIZE"
    )
    data: tuple[Literal["raw", "smoothed"], ...] = setting(
        ("raw", "smoothed"),
        "what they learn from: raw states and actions, or smoothed ones as in the paper's code",
        flag="--data",
        metavar="DATA",
    )
    n_transitions: tuple[int, ...] = setting(
        (PAPER_TRANSITIONS,),
        "amounts of data to learn from; batch_size is that of 50000, and in proportion for others, so that all make as "
        "many updates in as many epochs",
        at_least=1,
        flag="--transitions",
    )
    n_seeds: int = setting(5, "models of each kind, with consecutive seeds", at_least=1, at_most=1000, flag="--seeds")
    first_seed: int = setting(
        0,
        "the first of these seeds, so that each job can train one",
        at_least=0,
        at_most=TUNING_SEED - 1,
        flag="--first-seed",
    )
    groups: dict[str, str] = setting(  # noqa: RUF009
        {}, "groups other than the largest finite one of the dynamics", flag="--groups", metavar="ENV:GROUP"
    )
    settings: dict[str, object] = setting(  # noqa: RUF009
        {}, "settings of train-model for all kinds", flag=("-params", "--hyperparams"), metavar="KEY:VALUE"
    )
    settings_of: dict[str, dict[str, object]] = setting(  # noqa: RUF009
        {},
        "settings of train-model for one kind, as in 'rpp:{learning_rate: 3e-3}'",
        flag="--params-of",
        metavar="KIND:SETTINGS",
    )
    tune: dict[str, list] = setting(  # noqa: RUF009
        {},
        "values to choose from, by setting, as in learning_rate:[1e-3,1e-2]: every kind trains a model with each "
        "combination, of a seed of its own, and takes the one that predicts the validation chunks best",
        flag="--tune",
        metavar="KEY:VALUES",
    )
    device: str = setting("auto", "device of the models", flag="--device", metavar="DEVICE")

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(self.settings_of.keys() - set(KINDS))
        if unknown:
            raise ValueError(f"settings_of: unknown kinds {', '.join(unknown)}; there are {', '.join(KINDS)}")
        if self.first_seed + self.n_seeds > TUNING_SEED:
            raise ValueError(f"expected seeds below {TUNING_SEED}, got {self.n_seeds} from {self.first_seed} on")
        given = set(self.settings).union(self.tune, *self.settings_of.values()) & OWN_SETTINGS
        if given:
            raise ValueError(f"the table itself decides {', '.join(sorted(given))}, so it cannot be given as a setting")
        if not all(self.tune.values()):
            raise ValueError("tune: expected at least one value to choose from of every setting")
        for env in self.others.keys() - self.buffers.keys():
            raise ValueError(f"test trajectories of {env} were given, but no data to learn from")


@dataclass(frozen=True)
class Cell:
    """One model of the table: environment, kind, what is equal, what it learns from and how much of it, seed."""

    env: str
    kind: str
    size: str
    data: str
    n_transitions: int
    seed: int

    def folder(self, out: Path) -> Path:
        """Where its run and its numbers are."""
        name = f"{self.kind}_{self.size}_{self.data}_{self.n_transitions}_{self.seed}"
        return out / self.env.replace("/", "-") / name


def cells_of(table: Table3Config) -> Iterator[Cell]:
    """All models, those of the first seed first."""
    seeds = range(table.first_seed, table.first_seed + table.n_seeds)
    for seed, env, n, data in product(seeds, table.buffers, table.n_transitions, table.data):
        for kind, size in product(table.kinds, table.sizes):
            # A plain network of equal parameters is the one of equal width.
            is_plain = KINDS[kind]["mode"] == "mlp"
            if not is_plain or size == table.sizes[0]:
                yield Cell(env, kind, "width" if is_plain else size, data, n, seed)
