"""Curves of runs, and the CSV file that holds them: one line per number, so that figures can be redrawn from it."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy import ndarray

from rpp_rl.io.atomic import replacing

COLUMNS = ("exp_name", "env_name", "seed", "metric", "env_step", "value")

RETURN = "eval/mean_reward"
EQUIVARIANCE = "rpp/actor_mean_error"
ACTOR_RESIDUAL = "rpp/actor_residual_ratio"
CRITIC_RESIDUAL = "rpp/critic_residual_ratio"
DISPLACEMENT = "rollout/x_displacement"


@dataclass(frozen=True, eq=False)
class Curve:
    """Numbers over environment steps.

    Attributes:
        steps: Increasing, shape ``(n,)``.
        values: Shape ``(n,)``.
    """

    steps: ndarray
    values: ndarray

    @classmethod
    def of(cls, points: Mapping[int, float]) -> "Curve":
        """A curve from its points."""
        steps = sorted(points)
        return cls(np.array(steps, int), np.array([points[step] for step in steps], float))

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    def at(self, steps: ndarray) -> ndarray:
        """The values at other steps, by linear interpolation."""
        return np.interp(steps, self.steps, self.values)

    def until(self, step: int) -> "Curve":
        """The part up to a step."""
        kept = self.steps <= step
        return Curve(self.steps[kept], self.values[kept])

    def running_maximum(self) -> "Curve":
        """The best value so far at every step."""
        return Curve(self.steps, np.maximum.accumulate(self.values))


@dataclass(frozen=True, eq=False)
class Run:
    """One run, as far as a comparison needs it.

    Attributes:
        env_id: The environment.
        seed: Its seed.
        curves: By metric.
        settings: What decided it; empty if it was read from a CSV file.
        name: What its experiment called its arm; None for a run that belongs to none.
        path: Where it was read from.
        n_timesteps: Steps that it was to make; None if it is not known.
        finished: Whether it has made them.
        note: What a reader should know about it.
    """

    env_id: str
    seed: int
    curves: Mapping[str, Curve]
    settings: Mapping[str, object] = field(default_factory=dict)
    name: str | None = None
    path: Path | None = None
    n_timesteps: int | None = None
    finished: bool = True
    note: str = ""

    @property
    def returns(self) -> Curve:
        """The returns of its evaluations."""
        return self.curves[RETURN]


def in_short(n_steps: float) -> str:
    """Steps as people write them: 300k or 1.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(n_steps) >= size:
            return f"{n_steps / size:.4g}{unit}"
    return f"{n_steps:.4g}"


def write_csv(runs: Iterable[tuple[str, Run]], path: Path) -> None:
    """Write every number of every run.

    Args:
        runs: Runs and the names of their arms.
        path: The file.

    Raises:
        OSError: If it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for name, run in runs:
        for metric, curve in sorted(run.curves.items()):
            for step, value in zip(curve.steps, curve.values, strict=True):
                writer.writerow((name, run.env_id, run.seed, metric, int(step), repr(float(value))))
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def read_csv(path: Path) -> list[Run]:
    """Read what :func:`write_csv` wrote, or other tools in the same columns.

    Raises:
        ValueError: If the columns or a number are wrong, or a number is there twice.
        OSError: If the file cannot be read.
    """
    points: dict[tuple[str, str, int], dict[str, dict[int, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if tuple(header) != COLUMNS:
                raise ValueError(f"expected the columns {','.join(COLUMNS)}, got {','.join(header) or 'nothing'}")
            for row in reader:
                _add(row, points, reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _require_returns(points, path)
    return [
        Run(env_id, seed, {metric: Curve.of(curve) for metric, curve in curves.items()}, name=name, path=path)
        for (name, env_id, seed), curves in points.items()
    ]


def _require_returns(points: Mapping[tuple[str, str, int], Mapping[str, object]], path: Path) -> None:
    """Refuse a run without the metric by which runs are compared."""
    for (name, env_id, seed), curves in points.items():
        if RETURN not in curves:
            raise ValueError(f"{path}: {name}, {env_id}, seed {seed} has no {RETURN}, only {', '.join(sorted(curves))}")


def _add(row: Sequence[str], points: dict[tuple[str, str, int], dict[str, dict[int, float]]], line: int) -> None:
    """Put one line of a CSV file where it belongs."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"line {line}: expected {len(COLUMNS)} fields, got {len(row)}")
    name, env_id, seed, metric, step, value = row
    try:
        key, at, number = (name, env_id, int(float(seed))), int(float(step)), float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"line {line}: {error}") from error
    if metric == RETURN and not math.isfinite(number):
        raise ValueError(f"line {line}: expected a finite return, got {value}")
    curve = points.setdefault(key, {}).setdefault(metric, {})
    if at in curve:
        raise ValueError(f"line {line}: {name}, {env_id}, seed {seed} has {metric} at step {at} twice")
    curve[at] = number
