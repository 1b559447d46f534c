"""Finds runs below folders and reads them: ours, those of rl-baselines3-zoo, and CSV files.

What cannot be read is skipped with a note, never with an error: a folder of experiments holds unfinished, damaged and
foreign runs beside the good ones, and the notes say which.
"""

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rpp_rl.experiments.curves import DISPLACEMENT, EQUIVARIANCE, RETURN, Curve, Run, read_csv
from rpp_rl.io.npz_file import read_npz
from rpp_rl.settings import PlainLoader, read_yaml

EVALUATIONS = "evaluations.npz"
JOB = "job.json"
"""Written by run-experiment two folders above a run; names the arm that the run belongs to."""

AVERAGED = {EQUIVARIANCE: f"{EQUIVARIANCE}/", "rpp/critic_error": "rpp/critic_error/"}
"""Metrics that are logged for every generator of the group, and what their names begin with then."""
TAKEN = ("rpp/", "rollout/x_", "eval/x_")
"""What else is taken from TensorBoard, by the beginning of the name."""
IS_NO_RUN = "no run: no */config.yml in it"

UNREADABLE = (ValueError, KeyError, TypeError, IndexError, OverflowError, OSError, EOFError, struct.error)
"""What damaged files raise; which of them depends on where the damage is."""


@dataclass(frozen=True)
class Note:
    """Something that was left out, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_all(paths: Iterable[Path]) -> tuple[list[Run], list[Note]]:
    """Read every run below the paths, in their order; a run that is found twice counts once.

    Args:
        paths: Folders of runs, folders above such folders, and CSV files.

    Raises:
        ValueError: If a CSV file is damaged.
        OSError: If a path does not exist.
    """
    runs: list[Run] = []
    notes: list[Note] = []
    seen: set[Path] = set()
    for path in paths:
        if path.is_file():
            runs.extend(read_csv(path))
            continue
        path.stat()
        folders = list(find_runs(path))
        if not folders:
            notes.append(Note(path, IS_NO_RUN))
        for folder in folders:
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            found = read_run(folder)
            (runs if isinstance(found, Run) else notes).append(found)  # pyright: ignore[reportArgumentType]
    return runs, notes


def find_runs(path: Path) -> Iterator[Path]:
    """The folders of runs at a path or below it, sorted by name with numbers by value."""
    if path.is_symlink() or not path.is_dir():
        return
    children = sorted((child for child in path.iterdir() if child.is_dir()), key=_natural)
    if any((child / "config.yml").is_file() for child in children):
        yield path
        return
    for child in children:
        yield from find_runs(child)


def read_run(folder: Path) -> Run | Note:
    """Read one run, or say why it cannot be compared."""
    try:
        settings = read_settings(folder)
    except UNREADABLE as error:
        return Note(folder, f"its settings cannot be read: {_in_one_line(error)}")
    env_id, seed = settings.get("env"), settings.get("seed")
    if not isinstance(env_id, str) or not isinstance(seed, int):
        return Note(folder, f"its settings name no environment or no seed: env {env_id!r}, seed {seed!r}")
    if not (folder / EVALUATIONS).exists():
        is_model = "buffer" in settings
        reason = "a model of the dynamics, see evaluate-model" if is_model else "no evaluation yet"
        return Note(folder, reason)
    try:
        returns = read_evaluations(folder / EVALUATIONS)
    except UNREADABLE as error:
        return Note(folder, f"{EVALUATIONS} is damaged: {_in_one_line(error)}")
    curves, note = _diagnostics(folder, settings)
    wanted = settings.get("n_timesteps")
    return Run(
        env_id=env_id,
        seed=seed,
        curves=curves | {RETURN: returns},
        settings=settings,
        name=_arm(folder),
        path=folder,
        n_timesteps=wanted if isinstance(wanted, int) else None,
        finished=_is_finished(returns.last, wanted, settings.get("eval_freq")),
        note=note,
    )


def _is_finished(last: int, n_timesteps: object, eval_freq: object) -> bool:
    """Whether no evaluation is to come; a run that does not say how long it was to be is taken as it is."""
    if not isinstance(n_timesteps, int) or not isinstance(eval_freq, int):
        return True
    return last > n_timesteps - eval_freq


def read_evaluations(path: Path) -> Curve:
    """The mean return of every evaluation.

    Raises:
        ValueError: If the arrays do not fit together, are empty or hold no numbers.
        OSError: If the file cannot be read.
    """
    steps, results = read_npz(path, {"timesteps": "iuf", "results": "fiu"}).values()
    if steps.ndim != 1 or results.ndim != 2 or len(steps) != len(results) or not results.size:
        raise ValueError(f"expected steps and as many rows of returns, got shapes {steps.shape} and {results.shape}")
    means = results.mean(axis=1)
    if not np.isfinite(means).all():
        raise ValueError("there are returns that are no finite numbers")
    return Curve.of(dict(zip(map(int, steps), map(float, means), strict=True)))


def read_settings(folder: Path) -> dict[str, object]:
    """The settings of a run; those of the zoo are divided over two files.

    Raises:
        ValueError: If a file is no YAML or holds no mapping.
        OSError: If a file cannot be read.
    """
    configs = sorted(folder.glob("*/config.yml"))
    if len(configs) != 1:
        raise ValueError(f"expected one file */config.yml, got {len(configs)}")
    settings = _load(configs[0])
    if "env" not in settings and (configs[0].parent / "args.yml").exists():
        return _of_the_zoo(settings, _load(configs[0].parent / "args.yml"))
    return settings


def read_scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard files hold, by name and step; a resumed run replaces what it had logged after its checkpoint.

    Raises:
        ValueError: If a file is damaged.
        OSError: If a file cannot be read.
    """
    scalars: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*"), key=_natural):
        first: int | None = None
        for event in _events(path):
            for value in event.summary.value:
                if not value.tag.startswith(TAKEN):
                    continue
                if first is None:
                    first = int(event.step)
                    _forget(scalars, first)
                scalars.setdefault(value.tag, {})[int(event.step)] = float(value.simple_value)
    return scalars


def _events(path: Path) -> Iterator[Any]:
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    try:
        yield from LegacyEventFileLoader(str(path)).Load()
    except (DecodeError, MemoryError) as error:  # memory for a record of the length that the file states
        raise ValueError(f"{path.name} is damaged: {type(error).__name__}") from error


def _diagnostics(folder: Path, settings: Mapping[str, object]) -> tuple[dict[str, Curve], str]:
    """The curves beside the return: from TensorBoard, and from the episodes that the monitors recorded."""
    note = ""
    points: dict[str, dict[int, float]] = {}
    try:
        points = _averaged(read_scalars(_log_folder(folder, settings)))
    except UNREADABLE as error:
        note = f"its TensorBoard files cannot be read: {_in_one_line(error)}"
    curves = {metric: Curve.of(values) for metric, values in points.items() if values}
    if DISPLACEMENT not in curves:
        displacement = _monitored_displacement(folder)
        if displacement is not None:
            curves[DISPLACEMENT] = displacement
    return curves, note


def _averaged(scalars: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """The metrics of a comparison, those that are logged for every generator averaged over the generators."""
    points = {tag: dict(values) for tag, values in scalars.items() if tag.count("/") == 1}
    for metric, prefix in AVERAGED.items():
        parts = [values for tag, values in scalars.items() if tag.startswith(prefix)]
        if parts:
            common = set.intersection(*(set(values) for values in parts))
            points[metric] = {step: float(np.mean([values[step] for values in parts])) for step in common}
    return points


def _monitored_displacement(folder: Path) -> Curve | None:
    """How far each training episode went, if the monitor recorded it, at the step at which it ended."""
    path = folder / "0.monitor.csv"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
    except (OSError, UnicodeDecodeError):
        return None
    header = lines[0].split(",") if lines else []
    columns = [k for k, name in enumerate(header) if name in ("x_displacement", "displacement")]
    if not columns or "l" not in header:
        return None
    points: dict[int, float] = {}
    step = 0
    for line in lines[1:]:
        cells = line.split(",")
        try:
            step += int(cells[header.index("l")])
            points[step] = float(cells[columns[0]])
        except (ValueError, IndexError):
            break  # The line that was being written when the run died.
    return Curve.of(points) if points else None


def _log_folder(folder: Path, settings: Mapping[str, object]) -> Path:
    """Where a run logs for TensorBoard."""
    elsewhere = settings.get("tensorboard_log")
    if isinstance(elsewhere, str) and elsewhere != "off":
        return Path(elsewhere) / folder.parent.name / folder.name
    return folder


def _arm(folder: Path) -> str | None:
    """The name of a run's arm, if it is part of an experiment."""
    try:
        name = json.loads((folder.parent.parent / JOB).read_text(encoding="utf-8"))["variant"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def _forget(scalars: Mapping[str, dict[int, float]], step: int) -> None:
    """Remove what was logged from a step on."""
    for values in scalars.values():
        for later in [at for at in values if at >= step]:
            del values[later]


class _LoaderOfTheZoo(PlainLoader):
    """Plain values; what the zoo wrote as Python objects is read without making any: mappings, lists or text."""


def _plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        items = loader.construct_sequence(node, deep=True)
        # An ordered dictionary is written as a list of one list of pairs.
        return dict(items[0]) if suffix.endswith("OrderedDict") and items else items
    return loader.construct_scalar(node)  # pyright: ignore[reportArgumentType]


_LoaderOfTheZoo.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def _load(path: Path) -> dict[str, object]:
    try:
        data = read_yaml(path.read_text(encoding="utf-8"), _LoaderOfTheZoo)
    except ValueError as error:
        raise ValueError(f"{path.name} is no YAML: {_in_one_line(error)}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path.name}: expected lines of the form 'key: value', got {type(data).__name__}")
    return data


def _of_the_zoo(hyperparameters: Mapping[str, object], args: Mapping[str, object]) -> dict[str, object]:
    """The zoo's hyperparameters and flags as settings of ours, as far as a comparison needs them."""
    settings = {**hyperparameters, "env": args.get("env"), "seed": args.get("seed"), "algo": args.get("algo")}
    for name in ("eval_freq", "eval_episodes"):
        settings[name] = args.get(name)
    given = args.get("n_timesteps")
    steps = given if isinstance(given, int) and given > 0 else hyperparameters.get("n_timesteps")
    settings["n_timesteps"] = int(steps) if isinstance(steps, int | float) and np.isfinite(steps) else None
    return settings


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Sorts ``Ant-v4_10`` behind ``Ant-v4_9``."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", path.name)]


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
