"""Table 3 of arXiv:2112.01388: errors of the rollouts of MLP, EMLP and RPP models, over seeds and amounts of data.

Every model is a run of ``train-model`` in a folder of its own. What is there is not made again, an interrupted training
goes on, and several processes may share the folder.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import envs_reps
from envs_reps.tasks import STATE_SIZES
from rpp_rl.dynamics import Episodes, Evaluation, Trajectories, TransitionModel, evaluate, read_episodes, write_episodes
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.dynamics.evaluation import HORIZONS
from rpp_rl.dynamics.metrics import smoothed
from rpp_rl.dynamics.model_file import MODEL_FILE, read_model
from rpp_rl.dynamics.trajectories import require_disjoint
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.lock import InUseError, locked
from rpp_rl.io.provenance import versions
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.callbacks import report
from rpp_rl.runs.table3_config import KINDS, PAPER_TRANSITIONS, Table3Config
from rpp_rl.runs.train_dynamics import IS_COMPLETE, divide, train_dynamics
from rpp_rl.settings import MACHINE_SETTINGS, merged_settings

RESULT_FILE = "result.json"
IRRELEVANT = {*MACHINE_SETTINGS, "buffer", "save_freq"}
"""Settings that may differ between the models of one table; data are compared by their checksum."""


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
        return (
            out / self.env.replace("/", "-") / f"{self.kind}_{self.size}_{self.data}_{self.n_transitions}_{self.seed}"
        )


def cells_of(table: Table3Config) -> Iterator[Cell]:
    """All models, those of the first seed first."""
    for seed, env, n, data in product(range(table.n_seeds), table.buffers, table.n_transitions, table.data):
        for kind, size in product(table.kinds, table.sizes):
            # A plain network of equal parameters is the one of equal width.
            is_plain = KINDS[kind]["mode"] == "mlp"
            if not is_plain or size == table.sizes[0]:
                yield Cell(env, kind, "width" if is_plain else size, data, n, seed)


def make_table(table: Table3Config, *, progress: bool = False) -> None:
    """Train and evaluate every model that is missing.

    Args:
        table: What is compared.
        progress: Whether to show a bar for every training.

    Raises:
        UserError: If settings or data do not fit, a training diverges, or a model was made with other settings.
        KeyboardInterrupt: If the user asks to stop; the same table then goes on.
        OSError: If a file cannot be read or written.
    """
    out, cells = Path(table.out), list(cells_of(table))
    for number, cell in enumerate(cells, 1):
        folder = cell.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(folder), user_input(ValueError):
                said = _in_words(_made(cell, table, progress=progress))
        except InUseError:
            said = "another process makes it"
        report(f"[{number}/{len(cells)}] {folder.relative_to(out)}: {said}")


def results(out: Path) -> list[dict[str, Any]]:
    """Everything that is known of every model that was evaluated, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(out.glob(f"*/*/{RESULT_FILE}"))]


def _in_words(result: Mapping[str, Any]) -> str:
    honest = [row for row in result["rows"] if (row["metric"], row["test"]) == ("honest", "own")]
    errors = ", ".join(f"{100 * row['value']:.3g} % at {row['horizon']}" for row in honest)
    return f"honest error {errors} steps"


def _made(cell: Cell, table: Table3Config, *, progress: bool) -> dict[str, Any]:
    """The result of a model, which is trained and evaluated as far as that is missing."""
    raw = _episodes(table.buffers[cell.env], cell.env)
    other = _episodes(table.others[cell.env], cell.env) if cell.env in table.others else None
    config = _config(cell, table, raw)
    checksums = {"own": raw.checksum, "other": None if other is None else other.checksum}
    folder = cell.folder(Path(table.out))
    path = folder / RESULT_FILE
    if path.exists():
        result = json.loads(path.read_text())
        _require_same(path, config, result["config"])
        if result["checksums"]["own"] != raw.checksum:
            raise UserError(f"{path} was made of other data; choose another folder")
        if checksums["other"] in (None, result["checksums"]["other"]):
            return result
    run = _trained(folder, config, progress=progress)
    result = _evaluated(cell, config, run, raw, other) | {"checksums": checksums}
    with replacing(path) as file:
        file.write(json.dumps(result).encode())
    return result


def _config(cell: Cell, table: Table3Config, raw: Episodes) -> ModelConfig:
    folder = cell.folder(Path(table.out))
    config = merged_settings(
        ModelConfig,
        {
            "env": cell.env,
            "buffer": _smoothed(raw, folder.parent) if cell.data == "smoothed" else table.buffers[cell.env],
            **KINDS[cell.kind],
            "group": table.groups.get(cell.env) or envs_reps.dynamics_group(cell.env, is_finite=True),
            "seed": cell.seed,
            "equal_parameters": cell.size == "parameters",
            "log_folder": str(folder),
            "test_length": max(HORIZONS),
            "tensorboard_log": "off",
            "device": table.device,
            **table.settings,
            **table.settings_of.get(cell.kind, {}),
        },
    )
    n_chunks, of_paper = (max(n // config.chunk_length, 1) for n in (cell.n_transitions, PAPER_TRANSITIONS))
    n_batches, n_batches_of_paper = (max(n // config.batch_size, 1) for n in (n_chunks, of_paper))
    n_epochs = -(-config.n_epochs * n_batches_of_paper // n_batches)
    return dataclasses.replace(config, n_chunks=n_chunks, n_epochs=n_epochs)


def _smoothed(raw: Episodes, folder: Path) -> str:
    """A copy of the data in which every episode is smoothed along time; it is divided as the original."""
    path = folder / f"smoothed_{raw.checksum[:16]}.npz"
    with locked(folder, wait=True):
        if not path.exists():
            states, actions = (tuple(smoothed(series) for series in part) for part in (raw.states, raw.actions))
            write_episodes(Episodes(states, actions, raw.env_id), path)
    return str(path)


def _trained(folder: Path, config: ModelConfig, *, progress: bool) -> Path:
    """The run of a model, trained to its end; a training that was stopped goes on."""
    run = None
    for path in sorted(folder.glob("*_model/*")):
        if (path / MODEL_FILE).exists():
            run = RunFolder.open(path)
        else:
            shutil.rmtree(path)  # It was stopped before its first checkpoint.
    if run is not None:
        _require_same(run.path, config, merged_settings(ModelConfig, {}, run.config).to_dict())
        if read_model(run.path)[1].get(IS_COMPLETE):
            return run.path
    trained = train_dynamics(config, run, progress=progress)
    if not trained.is_complete:
        raise KeyboardInterrupt
    return trained.folder.path


def _require_same(path: Path, config: ModelConfig, made: Mapping[str, object]) -> None:
    """Refuse to mix models of different settings in one table."""
    changed = [key for key, value in config.to_dict().items() if key not in IRRELEVANT and value != made.get(key)]
    if changed:
        raise UserError(f"{path} was made with another {' and '.join(changed)}; choose another folder")


@cache
def _episodes(source: str, env: str) -> Episodes:
    return read_episodes(source, env)


def _evaluated(cell: Cell, config: ModelConfig, run: Path, raw: Episodes, other: Episodes | None) -> dict[str, Any]:
    """All numbers of a model, on the data as they are also if it has learnt from smoothed ones."""
    model, _, state = read_model(run)
    division = divide(raw, config)
    tests: dict[str, Trajectories] = {"own": division.test}
    if other is not None:
        require_disjoint(raw, other)
        rng = np.random.default_rng(config.data_seed)
        tests["other"] = other.sample_windows(config.test_length, config.n_test, rng)
    about = dataclasses.asdict(cell) | {
        "group": config.group,
        "widths": "x".join(map(str, model.widths)),
        "n_parameters": model.n_parameters,
        "n_learnt": len(division.train) * division.train.time,
    }
    history = state["history"].numpy()
    return {
        "config": config.to_dict(),
        "versions": versions(),
        "validation": float(np.nanmin(history[:, 1])) if np.isfinite(history[:, 1]).any() else None,
        "rows": [about | row for name, test in tests.items() for row in _rows(name, model, test, cell.env)],
    }


def _rows(name: str, model: TransitionModel, test: Trajectories, env: str) -> Iterator[dict[str, Any]]:
    errors = evaluate(model, test, HORIZONS, state_size=STATE_SIZES.get(env))
    for metric, horizon, value in _numbers(errors):
        yield {"test": name, "metric": metric, "horizon": horizon, "value": value}


def _numbers(errors: Evaluation) -> Iterator[tuple[str, int, float]]:
    """Metric, horizon and value; the equivariance error is that under the worst generator."""
    for metric, k in product(("honest", "release", "diverged"), HORIZONS):
        yield metric, k, getattr(errors, metric)[k]
    worst = np.max(list(errors.equivariance_errors.values()), axis=0)
    for k in (1, *HORIZONS):
        yield "equivariance", k, float(worst[k - 1])
