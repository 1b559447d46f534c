"""``evaluate-model``: how far the rollouts of transition models are from real trajectories, in two metrics."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rpp_rl.cli.arguments import integer
from rpp_rl.cli.errors import command
from rpp_rl.cli.text import aligned
from rpp_rl.dynamics import Trajectories, TransitionModel, read_episodes
from rpp_rl.dynamics.evaluation import HORIZONS, Evaluation, evaluate, real_and_predicted, require_fit
from rpp_rl.dynamics.metrics import FLOOR, relative_errors
from rpp_rl.dynamics.model_file import TEST_FILE, read_model
from rpp_rl.dynamics.plots import error_figure, trajectory_figure
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.extras import MissingExtraError, need
from rpp_rl.runs.environments import check_device

METRICS = {
    "honest": "whole state, steps 1 to k, data as they are",
    "release": "the paper's code: first half of the state, t = 0 counted as an error of 1e-7, smoothed data",
}
"""The two metrics, and what each of them is."""


@dataclass(frozen=True)
class Run:
    """One trained model and what it is tested with.

    Attributes:
        path: Where it is.
        model: The model.
        test: Trajectories that it has not learnt from.
        n_epochs: How long it was trained, where its file says so.
        checksum: What it was trained on, likewise.
    """

    path: Path
    model: TransitionModel
    test: Trajectories
    n_epochs: int | None
    checksum: str | None

    @property
    def kind(self) -> str:
        """What it has in common with the other seeds of a comparison."""
        model = self.model
        widths = "x".join(map(str, model.widths))
        extras = [f"hidden {model.hidden}"] if model.hidden else []
        extras += [f"ensemble of {model.ensemble}"] if model.ensemble else []
        extras += [model.head] if model.head != "deterministic" else []
        extras += [f"{self.n_epochs} epochs"] if self.n_epochs is not None else []
        return ", ".join([f"{model.mode.upper()} {model.spec.variant}", widths, *extras])


@dataclass(frozen=True)
class Summary:
    """The evaluations of all seeds of one kind of model.

    Attributes:
        env: The environment.
        kind: What the models have in common.
        runs: Where they are.
        n_parameters: Trainable numbers of one model, those of both pathways together.
        evaluations: One for each of them.
    """

    env: str
    kind: str
    runs: list[str]
    n_parameters: int
    evaluations: list[Evaluation]

    def statistic(self, metric: str, horizon: int) -> tuple[float, float | None]:
        """Mean and standard deviation over the seeds (None for one seed) of a metric of `Evaluation` at a horizon."""
        values = [getattr(evaluation, metric)[horizon] for evaluation in self.evaluations]
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values; what is infinite or unknown is None."""
        first = self.evaluations[0]

        def over_seeds(arrays: Sequence[Any]) -> dict[str, Any]:
            with np.errstate(invalid="ignore"):
                spread = np.std(arrays, axis=0, ddof=1) if len(arrays) > 1 else np.full_like(arrays[0], np.nan)
            return {"mean": _plain(np.mean(arrays, axis=0)), "std": _plain(spread)}

        def named(attribute: str) -> dict[str, Any]:
            names = getattr(first, attribute)
            return {str(k): over_seeds([getattr(e, attribute)[k] for e in self.evaluations]) for k in names}

        return {
            "env": self.env,
            "model": self.kind,
            "runs": self.runs,
            "n_parameters": self.n_parameters,
            "n_trajectories": [evaluation.n_trajectories for evaluation in self.evaluations],
            **{name: named(name) for name in ("honest", "release", "diverged")},
            "error_over_time": over_seeds([e.error_over_time for e in self.evaluations]),
            **{name: named(name) for name in ("block_errors", "equivariance_errors")},
            "rms_errors": over_seeds([e.rms_errors for e in self.evaluations]),
            "spread": _plain(first.spread),
        }


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, evaluate, print, draw, and return the status for the shell."""
    args = _parser().parse_args(argv)
    check_device(args.device)
    if args.plot:
        with user_input(MissingExtraError):
            need("matplotlib", "plot")
    time = max(args.horizons)
    runs = [load_run(path, args.buffer, time, args.device) for path in args.runs]
    envs = sorted({run.model.spec.env_id for run in runs})
    if args.plot and len(envs) > 1:
        raise UserError(f"--plot shows models of one environment, got {' and '.join(envs)}")
    summaries = summarise(runs, args.horizons)
    if args.json:
        document = {"metrics": METRICS, "horizons": args.horizons, "models": [s.to_dict() for s in summaries]}
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        print("\n".join(report(summaries, args.horizons)))
    if args.plot:
        draw(runs, summaries, args.plot)
    return 0


def summarise(runs: Sequence[Run], horizons: Sequence[int]) -> list[Summary]:
    """Evaluate all runs; those that differ by their seed only become one summary.

    Raises:
        UserError: If models that are otherwise alike have learnt from different data.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        first, *_ = groups.setdefault((run.model.spec.env_id, run.kind), [])[:1] or [run]
        if first.checksum != run.checksum:
            raise UserError(f"{first.path} and {run.path} have learnt from different data: evaluate them apart")
        groups[run.model.spec.env_id, run.kind].append(run)
    return [
        Summary(
            env,
            kind,
            [str(run.path) for run in members],
            members[0].model.n_parameters,
            [evaluate(run.model, run.test, horizons) for run in members],
        )
        for (env, kind), members in groups.items()
    ]


def report(summaries: Sequence[Summary], horizons: Sequence[int]) -> Iterator[str]:
    """The lines of the text that is printed."""
    rows = [["", "parameters", "seeds", *(f"{k} steps" for k in horizons)]]
    for metric, meaning in METRICS.items():
        yield f"Relative error [%] in the {metric} metric ({meaning})"
        body = [
            [f"{s.env}: {s.kind}", str(s.n_parameters), str(len(s.evaluations))]
            + [percentage(*s.statistic(metric, k)) for k in horizons]
            for s in summaries
        ]
        yield from aligned(rows + body)[0]
        yield ""
    for s in summaries:
        yield f"{s.env}: {s.kind}, {s.evaluations[0].n_trajectories} test trajectories"
        blocks = [
            [f"  {name}", *(_percent_at(s, "block_errors", name, k) for k in horizons)]
            for name in s.evaluations[0].block_errors
        ]
        symmetry = [
            [f"  equivariance error under {name}", *(_percent_at(s, "equivariance_errors", name, k) for k in horizons)]
            for name in s.evaluations[0].equivariance_errors
        ]
        lost = ["  share that has diverged", *(percentage(s.statistic("diverged", k)[0], None) for k in horizons)]
        yield from aligned([["  error at step [%]", *map(str, horizons)], *blocks, *symmetry, lost])[0]


def percentage(mean: float, std: float | None) -> str:
    """An error in percent with its deviation, to three digits."""
    text = f"{100 * mean:.3g}"
    return text if std is None else f"{text} ± {100 * std:.2g}"


def draw(runs: Sequence[Run], summaries: Sequence[Summary], path: Path) -> None:
    """Write the picture of the errors to ``path``, that of trajectories beside it with ``_trajectories`` in its name.

    The trajectory is the one in the middle when the first model's errors at the last step are put in order.
    """
    time = len(summaries[0].evaluations[0].error_over_time)
    first = {summary.kind: next(run for run in runs if run.kind == summary.kind) for summary in summaries}
    reference = runs[0]
    states, actions = reference.test.states[:, : time + 1], reference.test.actions[:, :time]
    real, predicted = real_and_predicted(reference.model, states, actions)
    order = relative_errors(predicted[:, -1], real[:, -1]).argsort()
    middle = slice(chosen := int(order[len(order) // 2]), chosen + 1)
    predictions = {
        kind: real_and_predicted(run.model, states[middle], actions[middle])[1][0] for kind, run in first.items()
    }
    env = summaries[0].env
    second = path.with_name(f"{path.stem}_trajectories{path.suffix}")
    for file, figure in (
        (path, error_figure({s.kind: s.evaluations for s in summaries}, env)),
        (
            second,
            trajectory_figure(
                reference.model.spec, real[chosen], predictions, f"{env}, the test trajectory of median error"
            ),
        ),
    ):
        with replacing(file) as opened, user_input(ValueError, about=str(file)):
            figure.savefig(opened, format=file.suffix[1:] or "png", dpi=120)


def _percent_at(summary: Summary, attribute: str, name: str, step: int) -> str:
    error = float(np.mean([getattr(e, attribute)[name][step - 1] for e in summary.evaluations]))
    return f"{100 * error:.3g}" if error > FLOOR else "0"


def _plain(array: Any) -> Any:  # noqa: ANN401
    numbers = np.asarray(array).astype(object)
    numbers[~np.isfinite(array)] = None
    return numbers.tolist()


def load_run(path: Path, buffer: str | None, time: int, device: str) -> Run:
    """A model, and the trajectories to test it with: those its run has held out, or pieces of ``time`` steps of others.

    Raises:
        UserError: If there is no model, or the data do not fit it or are those it has learnt from.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    with user_input(ValueError):
        model, about, state = read_model(path, device)
    held_out = (path if path.is_dir() else path.parent) / TEST_FILE
    if buffer is None and not held_out.exists():
        raise UserError(f"{path}: there are no test trajectories in {held_out}; give some with --buffer FILE")
    source = str(held_out) if buffer is None else buffer
    with user_input(ValueError):
        episodes = read_episodes(source, model.spec.env_id)
    if episodes.checksum == about.get("checksum"):
        raise UserError(f"{source} is what {path} has learnt from; without --buffer its held-out trajectories are used")
    with user_input(ValueError, about=source):
        test = episodes.windows(len(episodes.actions[0]) if buffer is None else time)
        require_fit(model.spec, test, time)
    n_epochs = len(state["history"]) if "history" in state else None
    return Run(path, model, test, n_epochs, about.get("checksum"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate-model",
        description="Roll transition models out along real trajectories and print their errors in two metrics, the "
        "errors of the parts of the state, and how far the rollouts are from equivariant. Models that differ by their "
        "seed only are put together: mean and standard deviation.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="runs of train-model, or files of models")
    parser.add_argument(
        "--buffer",
        metavar="FILE",
        help="other data to test with: a replay buffer, .npz or minari:ID; all of it is used",
    )
    parser.add_argument(
        "--horizons",
        type=integer(1),
        nargs="+",
        default=list(HORIZONS),
        metavar="N",
        help=f"steps at which errors are reported (default: {' '.join(map(str, HORIZONS))})",
    )
    parser.add_argument("--device", default="auto", help="device of the models (default: auto)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, errors of every step too")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw errors over the steps, and trajectories in FILE_trajectories"
    )
    return parser
