"""What a study is, and how one is run: job by job, each finished job on the disk before the next begins."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, get_args

import numpy as np

from rpp_rl.io.atomic import replacing

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

RESULTS_FILE, SETTINGS_FILE = "results.csv", "settings.json"

Variant = Literal["paper", "code"]
"""``paper``: one prior for everything, as the text says; ``code``: what the authors' programs really did."""


class Row(NamedTuple):
    """One number of one trial."""

    case: str
    model: str
    trial: int
    epoch: int
    metric: str
    value: float


class Job(NamedTuple):
    """One kind of model on one case; its trials are trained as one ensemble."""

    case: str
    model: str


@dataclass(frozen=True)
class StudySettings:
    """What decides the numbers of a study.

    Attributes:
        variant: See `Variant`.
        trials: Independent repetitions: other data where data are made, other initial weights always.
        epochs: Passes through the data; the study's own number when absent.
        width: Channels of hidden layers; the study's own number when absent.
        seed: Of all random numbers.

    Raises:
        ValueError: If a number is not positive or the variant is unknown.
    """

    variant: Variant = "paper"
    trials: int = 10
    epochs: int | None = None
    width: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, got {self.variant!r}")
        for name in ("trials", "epochs", "width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


class Context(NamedTuple):
    """Where a job runs, and whom it tells how far it is."""

    device: torch.device
    data: Path | None
    tick: Callable[[int], object]


@dataclass(frozen=True)
class Study:
    """A study, its jobs and its pictures.

    Attributes:
        name: On the command line.
        jobs: Which jobs the settings ask for.
        run: Trains one job; returns its rows.
        n_epochs: How many epochs a job trains, for the bar.
        figure: Draws rows.
        table: Rows of text beside the paper's numbers, a header first.
        claims: The paper's claims about it, each with what the rows say.
        extras: More jobs, which are run when their models are asked for by name.
    """

    name: str
    jobs: Callable[[StudySettings], Sequence[Job]]
    run: Callable[[Job, StudySettings, Context], list[Row]]
    n_epochs: Callable[[Job, StudySettings], int]
    figure: Callable[[Sequence[Row]], Figure]
    table: Callable[[Sequence[Row]], list[list[str]]]
    claims: Callable[[Sequence[Row]], list[Claim]]
    extras: Sequence[Job] = ()


def selected(study: Study, cases: Sequence[str] | None, models: Sequence[str] | None) -> Study:
    """The study with the jobs of these cases and models alone; None stands for all but the extras.

    Raises:
        ValueError: If a name is none of the study's.
    """
    known = [*study.jobs(StudySettings()), *study.extras]
    _require_known(study, "cases", cases, {job.case for job in known})
    _require_known(study, "models", models, {job.model for job in known})

    def jobs(settings: StudySettings) -> list[Job]:
        found = study.jobs(settings) if models is None else [*study.jobs(settings), *study.extras]
        found = [job for job in found if models is None or job.model in models]
        return [job for job in found if cases is None or job.case in cases]

    return dataclasses.replace(study, jobs=jobs)


def _require_known(study: Study, what: str, wanted: Sequence[str] | None, known: set[str]) -> None:
    if unknown := sorted(set(wanted or ()) - known):
        raise ValueError(f"{what} of {study.name} are {', '.join(sorted(known))}; got {', '.join(unknown)}")


class Claim(NamedTuple):
    """A claim of the paper, what was found, and whether that agrees; None where there are no rows to tell."""

    text: str
    found: str
    holds: bool | None


class Results:
    """The rows of a study in a folder, with the settings that they belong to.

    Args:
        folder: Made if it does not exist.
        study: Name of the study.
        settings: What decides the numbers.

    Raises:
        ValueError: If the folder holds the results of another study or of other settings.
    """

    def __init__(self, folder: Path, study: str, settings: StudySettings) -> None:
        self.path = folder / RESULTS_FILE
        wanted = {"study": study, **dataclasses.asdict(settings)}
        settings_path = folder / SETTINGS_FILE
        if settings_path.exists():
            found = _read_settings(settings_path)
            differing = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
            if differing:
                texts = [f"{key} {found.get(key)} there and {wanted.get(key)} here" for key in differing]
                raise ValueError(f"{folder} holds other results ({', '.join(texts)}); choose another folder with -o")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(settings_path) as file:
                file.write((json.dumps(wanted, indent=1) + "\n").encode())
        self.rows = read_rows(self.path) if self.path.exists() else []

    def done(self) -> set[Job]:
        """The jobs that are finished."""
        return {Job(row.case, row.model) for row in self.rows}

    def add(self, rows: Sequence[Row]) -> None:
        """Keep the rows of a finished job."""
        self.rows += rows
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows([*row[:-1], f"{row.value:.6g}"] for row in self.rows)
        with replacing(self.path) as file:
            file.write(text.getvalue().encode())


def read_settings(folder: Path) -> StudySettings:
    """The settings of the study whose results a folder holds.

    Raises:
        ValueError: If the file is none that a study has written.
        OSError: If there is none.
    """
    path = folder / SETTINGS_FILE
    found = _read_settings(path)
    try:
        return StudySettings(**{key: value for key, value in found.items() if key != "study"})
    except TypeError as error:
        raise ValueError(f"{path} was not written by run-study of this version: {error}") from error


def _read_settings(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not a settings file of run-study: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a settings file of run-study: expected a mapping")
    return found


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file.

    Raises:
        ValueError: If it is none.
    """
    with path.open(newline="") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != Row._fields:
            raise ValueError(f"{path} is no results file of run-study: expected the columns {', '.join(Row._fields)}")
        try:
            return [Row(c, m, int(trial), int(epoch), metric, float(v)) for c, m, trial, epoch, metric, v in reader]
        except ValueError as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def run_study(
    study: Study,
    settings: StudySettings,
    results: Results,
    *,
    device: torch.device,
    data: Path | None = None,
    workers: int = 1,
    tick: Callable[[int], object] = lambda n: None,
) -> None:
    """Run the jobs that are not finished yet.

    Args:
        study: Which one.
        settings: What decides its numbers.
        results: Takes the rows of each job when it is finished.
        device: Where networks are trained.
        data: The user's folder of data sets, for studies that need one.
        workers: Processes that share the jobs.
        tick: Told the number of epochs made; with several workers, of each finished job.
    """
    missing = [job for job in study.jobs(settings) if job not in results.done()]
    if workers == 1:
        for job in missing:
            results.add(study.run(job, settings, Context(device, data, tick)))
        return
    with ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
        try:
            futures = {pool.submit(study.run, job, settings, Context(device, data, _silent)): job for job in missing}
            for future in as_completed(futures):
                results.add(future.result())
                tick(study.n_epochs(futures[future], settings))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _silent(_n_epochs: int) -> None:
    """What a worker's jobs tell about their progress: nothing."""


@dataclass(frozen=True)
class Spread:
    """Distribution of a metric over trials."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], case: str, model: str, metric: str, epoch: int | None = None) -> Self:
        """The values of the trials of a job, at the last epoch unless said."""
        found = [row for row in rows if (row.case, row.model, row.metric) == (case, model, metric)]
        last = max((row.epoch for row in found), default=0) if epoch is None else epoch
        return cls(tuple(row.value for row in found if row.epoch == last))

    @property
    def median(self) -> float:
        """NaN if there are no trials; diverged trials count as infinite."""
        values = np.nan_to_num(self.values, nan=np.inf)
        return float(np.median(values)) if len(values) else float("nan")

    def __str__(self) -> str:
        if not self.values:
            return "not run"
        values = np.nan_to_num(self.values, nan=np.inf)
        low, high = (float(np.quantile(values, q, method="nearest")) for q in (0.25, 0.75))
        return f"{self.median:.3g} ({low:.3g} to {high:.3g})"


def spreads(rows: Sequence[Row], cases: Mapping[str, str], models: Sequence[str], metric: str) -> Iterator[tuple]:
    """Case, model and spread of every job that the rows hold."""
    for case in cases:
        for model in models:
            spread = Spread.of(rows, case, model, metric)
            if spread.values:
                yield case, model, spread
