"""Table 3 of arXiv:2112.01388: errors of the rollouts of MLP, EMLP and RPP models, over seeds and amounts of data.

Every model is a run of ``train-model`` in a folder of its own. What is there is not made again, an interrupted training
goes on, and several processes may share the folder.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
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
from rpp_rl.runs.table3_config import KINDS, PAPER_TRANSITIONS, TUNING_SEED, Cell, Table3Config, cells_of
from rpp_rl.runs.train_dynamics import IS_COMPLETE, divide, train_dynamics
from rpp_rl.settings import MACHINE_SETTINGS, merged_settings

RESULT_FILE, CHOICE_FILE = "result.json", "choice.json"
IRRELEVANT = {*MACHINE_SETTINGS, "buffer", "save_freq"}
"""Settings that may differ between the models of one table; data are compared by their checksum."""
SORT = ("env", "kind", "size", "data", "n_transitions")
"""What models have in common that differ by their seed only."""
RESIDUAL_SETTINGS = {"residual_decay", "residual_var", "inner_residual", "subgroup", "subgroup_decay"}
"""Settings that only models with a residual pathway have."""


def make_table(table: Table3Config, *, progress: bool = False) -> None:
    """Train and evaluate every model that is missing; one whose training diverges has no result.

    Args:
        table: What is compared.
        progress: Whether to show a bar for every training.

    Raises:
        UserError: If settings or data do not fit, or a model was made with other settings.
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
        except UserError as error:
            if not _is_divergence(error):
                raise
            said = str(error)
        report(f"[{number}/{len(cells)}] {folder.relative_to(out)}: {said}")


def results(out: Path, folder: str = "*/*") -> list[dict[str, Any]]:
    """Everything that is known of the models that were evaluated, in the order of their names.

    Args:
        out: The folder of the table.
        folder: Pattern of the folders of models in it.
    """
    return [json.loads(path.read_text()) for path in sorted(out.glob(f"{folder}/{RESULT_FILE}"))]


def require_poolable(known: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to compare what is not comparable, and to average what is not alike.

    Raises:
        UserError: If models of one environment learnt from different data, or those of one sort had other settings.
    """
    by_env: dict[str, Mapping[str, Any]] = {}
    by_sort: dict[str, Mapping[str, Any]] = {}
    for result in known:
        about = result["rows"][0]
        env, sort = about["env"], " ".join(str(about[key]) for key in SORT)
        if by_env.setdefault(env, result)["checksums"]["own"] != result["checksums"]["own"]:
            raise UserError(f"the models of {env} learned from different data; choose another folder")
        changed = _changed(by_sort.setdefault(sort, result)["config"], result["config"], {*IRRELEVANT, "seed"})
        if changed:
            raise UserError(f"{sort}: its seeds differ by their {' and '.join(changed)}, so they cannot be averaged")


def choices(out: Path) -> list[dict[str, Any]]:
    """What was tried for every sort of model that has chosen its settings, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(out.glob(f"*/*/{CHOICE_FILE}"))]


class AllDivergedError(UserError):
    """None of the settings to choose from can be trained with."""


def _is_divergence(error: UserError) -> bool:
    return isinstance(error, AllDivergedError) or isinstance(error.__cause__, FloatingPointError)


def _in_words(result: Mapping[str, Any]) -> str:
    honest = [row for row in result["rows"] if (row["metric"], row["test"]) == ("honest", "own")]
    errors = ", ".join(f"{100 * row['value']:.3g} % at {row['horizon']}" for row in honest)
    return f"honest error {errors} steps"


def _made(cell: Cell, table: Table3Config, *, progress: bool) -> dict[str, Any]:
    """The result of a model, which is trained and evaluated as far as that is missing."""
    folder = cell.folder(Path(table.out))
    raw = _episodes(table.buffers[cell.env], cell.env)
    other = None
    if cell.env in table.others:
        other = _other_agent(table.others[cell.env], table.buffers[cell.env], cell.env)
    config = _config(cell, table, raw, folder, _chosen(cell, table, raw, progress=progress))
    checksums = {"own": raw.checksum, "other": None if other is None else other.checksum}
    path = folder / RESULT_FILE
    if path.exists():
        result = json.loads(path.read_text())
        _require_same(path, config, result["config"])
        if result["checksums"]["own"] != raw.checksum:
            raise UserError(f"{path} was made of other data; choose another folder")
        if checksums["other"] in (None, result["checksums"]["other"]):
            return result
    new = {"rows": [dataclasses.asdict(cell)], "config": config.to_dict(), "checksums": checksums}
    require_poolable([*results(folder.parent, "*"), new])
    run = _trained(folder, config, progress=progress)
    result = _evaluated(cell, config, run, raw, other) | {"checksums": checksums}
    with replacing(path) as file:
        file.write(json.dumps(result).encode())
    return result


def _chosen(cell: Cell, table: Table3Config, raw: Episodes, *, progress: bool) -> Mapping[str, Any]:
    """The settings to choose from whose model predicts the validation chunks best, with a record of all."""
    if not table.tune:
        return {}
    sort = dataclasses.replace(cell, seed=TUNING_SEED)
    folder = sort.folder(Path(table.out))
    folder.mkdir(exist_ok=True)
    path = folder / CHOICE_FILE
    candidates = [dict(zip(table.tune, values, strict=True)) for values in product(*table.tune.values())]
    configs = [_config(sort, table, raw, folder / str(n), candidate) for n, candidate in enumerate(candidates)]
    with locked(folder, wait=True):
        if not path.exists():
            losses = _validation_losses(configs, progress=progress)
            about = dataclasses.asdict(sort)
            tried = [about | {"settings": c, "validation": v} for c, v in zip(candidates, losses, strict=True)]
            record = {"tried": tried, "config": configs[0].to_dict(), "checksum": raw.checksum}
            with replacing(path) as file:
                file.write(json.dumps(record).encode())
        record = json.loads(path.read_text())
    if [row["settings"] for row in record["tried"]] != candidates or record["checksum"] != raw.checksum:
        raise UserError(f"{path} was chosen from other values or by other data; choose another folder")
    _require_same(path, configs[0], record["config"])
    chosen = best(record["tried"])
    if chosen is None:
        raise AllDivergedError(f"all trainings with {candidates} diverged; try other values")
    return chosen["settings"]


def best(tried: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What has the lowest loss on the validation chunks; None if all have diverged."""
    sound = [row for row in tried if row["validation"] is not None]
    return min(sound, key=lambda row: row["validation"], default=None)


def _validation_losses(configs: Sequence[ModelConfig], *, progress: bool) -> list[float | None]:
    """The loss of every candidate; those that differ by settings of a pathway that they have not are one model."""
    known: dict[str, float | None] = {}
    keys = [_what_it_learns(config) for config in configs]
    for key, config in zip(keys, configs, strict=True):
        if key not in known:
            known[key] = _validation_loss(config, progress=progress)
    return [known[key] for key in keys]


def _what_it_learns(config: ModelConfig) -> str:
    idle = IRRELEVANT | (RESIDUAL_SETTINGS if config.mode != "rpp" else set())
    return json.dumps({key: value for key, value in config.to_dict().items() if key not in idle}, sort_keys=True)


def _validation_loss(config: ModelConfig, *, progress: bool) -> float | None:
    """The lowest loss on the validation chunks of a training; None if it diverges."""
    if not config.validation:
        raise UserError("settings are chosen by the loss on the validation chunks: set validation above 0")
    try:
        run = _trained(Path(config.log_folder), config, progress=progress)
    except UserError as error:
        if _is_divergence(error):
            return None
        raise
    return _lowest_validation(read_model(run)[2])


def _lowest_validation(state: Mapping[str, Any]) -> float | None:
    """The lowest loss on the validation chunks of a training; None if there was none."""
    losses = state["history"].numpy()[:, 1]
    return float(np.nanmin(losses)) if np.isfinite(losses).any() else None


def _config(cell: Cell, table: Table3Config, raw: Episodes, folder: Path, chosen: Mapping[str, object]) -> ModelConfig:
    config = merged_settings(
        ModelConfig,
        {
            "env": cell.env,
            "buffer": _smoothed(raw, cell.folder(Path(table.out)).parent)
            if cell.data == "smoothed"
            else table.buffers[cell.env],
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
            **chosen,
        },
    )
    n_chunks, of_paper = (max(n // config.chunk_length, 1) for n in (cell.n_transitions, PAPER_TRANSITIONS))
    batch_size = max(round(config.batch_size * n_chunks / of_paper), 1)
    return dataclasses.replace(config, n_chunks=n_chunks, batch_size=batch_size)


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
    changed = _changed(made, config.to_dict(), IRRELEVANT)
    if changed:
        raise UserError(f"{path} was made with another {' and '.join(changed)}; choose another folder")


def _changed(made: Mapping[str, object], wanted: Mapping[str, object], ignored: Set[str]) -> list[str]:
    """The settings that differ; what was made before a setting existed had its default."""
    known = {**merged_settings(ModelConfig, {"env": wanted["env"]}).to_dict(), **made}
    return [key for key, value in wanted.items() if key not in ignored and value != known[key]]


@cache
def _episodes(source: str, env: str) -> Episodes:
    return read_episodes(source, env)


@cache
def _other_agent(source: str, own: str, env: str) -> Episodes:
    """The episodes of another agent; those of one with the same seed may begin alike, and are refused."""
    episodes = read_episodes(source, env)
    require_disjoint(_episodes(own, env), episodes)
    return episodes


def _evaluated(cell: Cell, config: ModelConfig, run: Path, raw: Episodes, other: Episodes | None) -> dict[str, Any]:
    """All numbers of a model, on the data as they are also if it has learnt from smoothed ones."""
    model, _, state = read_model(run)
    division = divide(raw, config)
    tests: dict[str, Trajectories] = {"own": division.test}
    if other is not None:
        rng = np.random.default_rng(config.data_seed)
        tests["other"] = other.sample_windows(config.test_length, config.n_test, rng)
    about = dataclasses.asdict(cell) | {
        "group": config.group,
        "widths": "x".join(map(str, model.widths)),
        "n_parameters": model.n_parameters,
        "n_learnt": len(division.train) * division.train.time,
    }
    return {
        "config": config.to_dict(),
        "versions": versions(),
        "validation": _lowest_validation(state),
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
