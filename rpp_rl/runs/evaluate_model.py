"""How well models of the dynamics predict: several seeds and kinds of models, on trajectories they have not seen."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs_reps.tasks import STATE_SIZES
from rpp_rl.dynamics import Trajectories, TransitionModel, read_episodes
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.dynamics.evaluation import HORIZONS, Evaluation, evaluate, real_and_predicted, require_fit
from rpp_rl.dynamics.metrics import relative_errors
from rpp_rl.dynamics.model_file import TEST_FILE, read_model
from rpp_rl.dynamics.plots import error_figure, trajectory_figure
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.train_dynamics import IS_COMPLETE
from rpp_rl.settings import MACHINE_SETTINGS, merged_settings

NAMED = {
    "env", "mode", "group", "seed", "net_arch", "equal_parameters", "hidden", "ensemble", "head", "n_epochs", "buffer",
    "test_buffer", "save_freq", *MACHINE_SETTINGS,
}  # fmt: skip
"""Settings that a kind of model is always named after, that its checksum stands for, or that teach it nothing."""
METRICS = {
    "honest": "whole state, steps 1 to k, data as they are",
    "release": "the paper's code: first half of the state, t = 0 counted as an error of 1e-7, smoothed data",
}
"""The two metrics, and what each of them is."""


@dataclass(frozen=True)
class TestedModel:
    """One trained model and what it is tested with.

    Attributes:
        path: Where it is.
        model: The model.
        test: Trajectories that it has not learnt from.
        n_epochs: How long it was trained, where its file says so.
        checksum: What it was trained on, likewise.
        settings: All other settings that decide what it has learnt; None for a file without the folder of its run.
    """

    path: Path
    model: TransitionModel
    test: Trajectories
    n_epochs: int | None
    checksum: str | None
    settings: Mapping[str, object] | None = None

    @property
    def name(self) -> str:
        """What its architecture and the length of its training are; more of its settings may set it apart."""
        model = self.model
        widths = "x".join(map(str, model.widths))
        extras = [f"hidden {model.hidden}"] if model.hidden else []
        extras += [f"ensemble of {model.ensemble}"] if model.ensemble else []
        extras += [model.head] if model.head != "deterministic" else []
        extras += [f"{self.n_epochs} epochs"] if self.n_epochs is not None else []
        is_augmented = bool((self.settings or {}).get("augment"))
        extras = ["augmented", *extras] if is_augmented else extras
        symmetry = "" if model.mode == "mlp" and not is_augmented else f" {model.spec.variant}"
        return ", ".join([f"{model.mode.upper()}{symmetry}", widths, *extras])


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

    def statistic(self, metric: str, key: float) -> tuple[float, float | None]:
        """Mean and standard deviation over the seeds (None for one seed) of a part of `Evaluation`."""
        values = [getattr(evaluation, metric)[key] for evaluation in self.evaluations]
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
            **{name: named(name) for name in ("honest", "release", "diverged", "coverage")},
            "error_over_time": over_seeds([e.error_over_time for e in self.evaluations]),
            **{name: named(name) for name in ("block_errors", "equivariance_errors", "rollout_coverage")},
            "rms_errors": over_seeds([e.rms_errors for e in self.evaluations]),
            "spread": _plain(first.spread),
        }


def horizons_of(runs: Sequence[TestedModel]) -> list[int]:
    """Those of `HORIZONS` that all test trajectories reach; the end of the shortest if they reach none."""
    shortest = min(run.test.time for run in runs)
    return [k for k in HORIZONS if k <= shortest] or [shortest]


def summarise(runs: Sequence[TestedModel], horizons: Sequence[int]) -> list[Summary]:
    """Evaluate all models; those of one environment that differ in nothing but their seed are put together.

    A kind is named after the settings in which models of the same name differ, if there are any.

    Raises:
        UserError: If models that are otherwise alike have learnt from, or are tested with, different data.
    """
    groups: dict[tuple[str, str, str], list[TestedModel]] = {}
    for run in runs:
        key = run.model.spec.env_id, run.name, json.dumps(run.settings, sort_keys=True)
        members = groups.setdefault(key, [])
        first = members[0] if members else run
        if first.checksum != run.checksum:
            raise UserError(f"{first.path} and {run.path} learned from different data: evaluate them separately")
        if _checksum(first.test) != _checksum(run.test):
            raise UserError(f"{first.path} and {run.path} hold out different data: evaluate them separately")
        members.append(run)
    kinds = {key: _kind(members[0], [k[0] for k in groups.values()]) for key, members in groups.items()}
    return [
        Summary(
            key[0],
            kinds[key],
            [str(run.path) for run in members],
            members[0].model.n_parameters,
            [evaluate(run.model, run.test, horizons, state_size=STATE_SIZES.get(key[0])) for run in members],
        )
        for key, members in groups.items()
    ]


def _kind(run: TestedModel, others: Sequence[TestedModel]) -> str:
    """The name of a model and the settings that tell it from others of that name."""
    rivals = [o for o in others if (o.model.spec.env_id, o.name) == (run.model.spec.env_id, run.name)]
    known = [rival.settings for rival in rivals if rival.settings is not None]
    differing = [key for key in (known[0] if known else {}) if len({json.dumps(s.get(key)) for s in known}) > 1]
    if run.settings is None:
        return run.name if len(rivals) == 1 else f"{run.name}, other settings unknown"
    return ", ".join([run.name, *(f"{key} {_in_words(run.settings[key])}" for key in differing)])


def _in_words(value: object) -> str:
    return "none" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)


def notes(runs: Sequence[TestedModel]) -> Iterator[str]:
    """What a reader of the figures has to know: models of one environment that learnt from, or meet, different data."""
    for env in sorted({run.model.spec.env_id for run in runs}):
        own = [run for run in runs if run.model.spec.env_id == env]
        for what, data in (
            ("learned from", {run.checksum or "unknown" for run in own}),
            ("are tested with", {_checksum(run.test) for run in own}),
        ):
            if len(data) > 1:
                yield f"the models of {env} {what} {len(data)} different sets of data, so their errors do not compare"


def _checksum(test: Trajectories) -> str:
    return test.episodes().checksum


def draw(runs: Sequence[TestedModel], summaries: Sequence[Summary], path: Path) -> None:
    """Write the picture of the errors to ``path``, that of trajectories beside it with ``_trajectories`` in its name.

    The trajectory is the one in the middle when the first model's errors at the last step are put in order.
    """
    time = len(summaries[0].evaluations[0].error_over_time)
    by_path = {str(run.path): run for run in runs}
    first = {summary.kind: by_path[summary.runs[0]] for summary in summaries}
    reference = runs[0]
    states, actions = reference.test.states[:, : time + 1], reference.test.actions[:, :time]
    real, predicted = real_and_predicted(reference.model, states, actions)
    order = relative_errors(predicted[:, -1], real[:, -1]).argsort()
    chosen = int(order[len(order) // 2])
    middle = slice(chosen, chosen + 1)
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


def _plain(array: Any) -> Any:  # noqa: ANN401
    numbers = np.asarray(array).astype(object)
    numbers[~np.isfinite(array)] = None
    return numbers.tolist()


def load_tested(
    path: Path, buffer: str | None, horizons: Sequence[int] | None, device: str, *, trust: bool = False
) -> TestedModel:
    """A model, and the trajectories to test it with: those its run has held out, or pieces of others.

    Args:
        path: A run of ``train-model``, or the file of a model.
        buffer: Other data to test with.
        horizons: Steps at which errors are wanted; None for as many of `HORIZONS` as the data allow.
        device: Device of the model.
        trust: Whether a pickled buffer may run, see `rpp_rl.dynamics.read_episodes`.

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
        episodes = read_episodes(source, model.spec.env_id, trust=trust)
    if episodes.checksum == about.get("checksum"):
        raise UserError(f"{source} is what {path} learned from; without --buffer its held-out trajectories are used")
    time = max(horizons or HORIZONS)
    if horizons is None:
        time = min(time, max(len(actions) for actions in episodes.actions))
    with user_input(ValueError, about=source):
        test = episodes.windows(len(episodes.actions[0]) if buffer is None else time)
        require_fit(model.spec, test, time)
    config = _settings(path if path.is_dir() else path.parent)
    n_epochs = len(state["history"]) if "history" in state else None
    if config is not None and about.get(IS_COMPLETE):
        n_epochs = config.n_epochs  # one that ended early for want of a better epoch is no other kind
    settings = None
    if config is not None:
        settings = {key: value for key, value in config.to_dict().items() if key not in NAMED}
    return TestedModel(path, model, test, n_epochs, about.get("checksum"), settings)


def _settings(folder: Path) -> ModelConfig | None:
    """The settings of the run in a folder, if it is one."""
    if not RunFolder.exists(folder):
        return None
    with user_input(ValueError):
        return merged_settings(ModelConfig, {}, RunFolder.open(folder).config)
