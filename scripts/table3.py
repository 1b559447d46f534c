"""Table 3 of arXiv:2112.01388 with this package: errors of the rollouts of MLP, EMLP and RPP models, over seeds.

    python scripts/table3.py --buffer Hopper-v4:hopper.pkl Ant-v4:ant.pkl --out runs/table3 --report table3

Every model is a run of ``train-model`` in a folder of its own under ``--out``. What is there is not made again, and an
interrupted training goes on, so the same command finishes what was stopped; processes with different environments may
share the folder. The report, ``table3.csv`` with every number and ``table3.md``, is made of all that is there; without
``--buffer`` that is all that happens. ``-params n_epochs:20 net_arch:[64,64]`` makes a small table of the same shape.

Models are trained at equal width and at equal number of parameters (both pathways of an RPP model count), and on the
data as they are and smoothed along time as in the paper's code. The first are reported in the honest metric, the second
in the metric of that code; the CSV file has both for all.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import envs_reps
from envs_reps.tasks import STATE_SIZES
from rpp_rl.cli.arguments import KeyValues
from rpp_rl.cli.errors import command
from rpp_rl.dynamics import Episodes, Trajectories, load_model, read_episodes, write_episodes
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.dynamics.evaluation import HORIZONS, evaluate
from rpp_rl.dynamics.metrics import smoothed
from rpp_rl.dynamics.model_file import MODEL_FILE, read_model
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.provenance import versions
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.train_dynamics import DynamicsRun, divide, train_dynamics
from rpp_rl.settings import merged_settings

MODES, SIZES, DATA = ("mlp", "emlp", "rpp"), ("parameters", "width"), ("raw", "smoothed")
COLUMNS = ("env", "group", "mode", "size", "data", "seed", "widths", "n_parameters", "metric", "horizon", "value")
SECTIONS = (
    ("honest", "raw", "Honest metric: whole state, predicted steps 1 to k, data as they are"),
    ("release", "smoothed", "Metric of the paper's code: positions, t = 0 counted as 1e-7, smoothed data"),
)
"""Metric, data that its models were trained on, and title."""
PAPER = {
    "Swimmer": {
        10: ("0.51 ± 0.02", "0.40 ± 0.04"),
        30: ("1.6 ± 0.2", "1.26 ± 0.14"),
        100: ("3.9 ± 1.0", "2.75 ± 0.31"),
    },
    "Hopper": {10: ("1.1 ± 0.1", "0.9 ± 0.1"), 30: ("3.8 ± 0.3", "3.1 ± 0.5"), 100: ("9.8 ± 0.5", "7.0 ± 0.7")},
    "Ant": {10: ("4.2 ± 0.1", "5.2 ± 0.3"), 30: ("11.3 ± 0.2", "13.9 ± 0.7"), 100: ("16.0 ± 0.3", "20.0 ± 1.1")},
}
"""MLP and RPP in the paper, in percent; its data and environments (v2) differ from those here."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One model of the table."""

    env: str
    mode: str
    size: str
    data: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Where its run and its numbers are."""
        return out / self.env / f"{self.mode}_{self.size}_{self.data}_{self.seed}"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train and evaluate what is missing, then write the report."""
    args = _parser().parse_args(argv)
    for env in args.buffer:
        for cell in _cells(env, args):
            with user_input(ValueError):
                _make(cell, args)
    _report(args.out, args.report)
    return 0


def _cells(env: str, args: argparse.Namespace) -> Iterator[Cell]:
    for seed in range(args.seeds):
        for data, mode, size in product(args.data, args.modes, args.sizes):
            # A plain network of equal parameters is the one of equal width.
            if mode != "mlp" or size == args.sizes[0]:
                yield Cell(env, mode, "width" if mode == "mlp" else size, data, seed)


def _make(cell: Cell, args: argparse.Namespace) -> None:
    """Train and evaluate a model, or as much of it as is missing."""
    raw = _episodes(args.buffer[cell.env], cell.env)
    config = _config(cell, args, raw)
    result = cell.folder(args.out) / "result.json"
    if result.exists():
        _require_same(result, config, json.loads(result.read_text())["config"])
        return
    model_folder = _train(cell, config)
    group, model = config.group, load_model(model_folder)
    errors = evaluate(model, _held_out(raw, config), HORIZONS, state_size=STATE_SIZES.get(cell.env))
    worst = np.max(list(errors.equivariance_errors.values()), axis=0)
    values = [(name, k, getattr(errors, name)[k]) for name in ("honest", "release", "diverged") for k in HORIZONS]
    values += [("equivariance", k, float(worst[k - 1])) for k in (1, *HORIZONS)]
    about = dataclasses.asdict(cell) | {"group": group, "n_parameters": model.n_parameters}
    about["widths"] = "x".join(map(str, model.widths))
    rows = [about | {"metric": metric, "horizon": k, "value": value} for metric, k, value in values]
    with replacing(result) as file:
        file.write(json.dumps({"config": config.to_dict(), "versions": versions(), "rows": rows}).encode())
    print(f"{result}: " + ", ".join(f"{m} {k}: {100 * v:.3g} %" for m, k, v in values[:6]), flush=True)


def _config(cell: Cell, args: argparse.Namespace, raw: Episodes) -> ModelConfig:
    buffer = args.buffer[cell.env]
    if cell.data == "smoothed":
        buffer = _smoothed(raw, args.out / cell.env / f"smoothed_{raw.checksum[:16]}.npz")
    return merged_settings(
        ModelConfig,
        {
            "env": cell.env,
            "buffer": str(buffer),
            "mode": cell.mode,
            "group": args.groups.get(cell.env) or _largest_finite_group(cell.env),
            "seed": cell.seed,
            "equal_parameters": cell.size == "parameters",
            "log_folder": str(cell.folder(args.out)),
            "tensorboard_log": "off",
            "device": args.device,
            **args.hyperparams,
        },
    )


def _largest_finite_group(env: str) -> str:
    """Infinite groups have no regular hidden representation, so their networks would not be alike."""
    specs = [envs_reps.load(env, name) for name in envs_reps.variants(env) if not name.startswith("paper-")]
    return max((s for s in specs if s.group.is_finite), key=lambda s: s.group.order).variant


def _smoothed(raw: Episodes, path: Path) -> Path:
    """A copy of the data in which every episode is smoothed along time; ``train-model`` divides it as the original."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        states, actions = (tuple(smoothed(series) for series in part) for part in (raw.states, raw.actions))
        write_episodes(Episodes(states, actions, raw.env_id), path)
    return path


def _train(cell: Cell, config: ModelConfig) -> Path:
    """The folder of the trained model; a training that was stopped goes on."""
    folders = sorted(Path(config.log_folder).glob("*_model/*"))
    if folders and not (folders[0] / MODEL_FILE).exists():
        shutil.rmtree(folders[0])  # It was stopped before its first checkpoint.
        folders = []
    if not folders:
        _finish(train_dynamics(config))
        return _train(cell, config)
    folder = RunFolder.open(folders[0])
    _require_same(folder.path, config, merged_settings(ModelConfig, {}, folder.config).to_dict())
    if len(read_model(folder.path)[2]["history"]) < config.n_epochs:
        _finish(train_dynamics(config, folder))
    return folder.path


def _require_same(path: Path, config: ModelConfig, made: Mapping[str, object]) -> None:
    """Refuse to mix models of different settings in one table."""
    changed = [key for key, value in config.to_dict().items() if key != "device" and value != made[key]]
    if changed:
        raise UserError(f"{path} was made with another {' and '.join(changed)}; choose another --out")


@cache
def _episodes(source: str, env: str) -> Episodes:
    return read_episodes(source, env)


def _finish(run: DynamicsRun) -> None:
    if not run.is_complete:
        raise KeyboardInterrupt


def _held_out(raw: Episodes, config: ModelConfig) -> Trajectories:
    """The test trajectories of a run on the data as they are, which those on smoothed data have held out too."""
    return divide(raw, config).test


def _report(out: Path, report: Path) -> None:
    """Write all numbers and the tables."""
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*/*/result.json"))]
    if not results:
        raise UserError(f"{out}: no model was evaluated yet; give data with --buffer ENV:FILE")
    rows = [row for result in results for row in result["rows"]]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(row | {"value": f"{row['value']:.6g}"} for row in rows)
    lines = "\n".join(_markdown(rows, results))
    for suffix, content in (".csv", text.getvalue()), (".md", lines + "\n"):
        with replacing(report.with_name(report.name + suffix)) as file:
            file.write(content.encode())
    print(lines)


def _markdown(rows: Sequence[Row], results: Sequence[Row]) -> Iterator[str]:
    commits = sorted({str(result["versions"]["commit"]) for result in results})
    epochs = sorted({str(result["config"]["n_epochs"]) for result in results})
    yield "# Errors of rollouts of transition models"
    yield f"\nMade by `scripts/table3.py` at {', '.join(commits)}, {' or '.join(epochs)} epochs. Relative error in"
    yield "percent, geometric mean over the rollout; mean and standard deviation over seeds, their number in brackets."
    for metric, data, title in SECTIONS:
        for size in SIZES:
            chosen = [r for r in rows if (r["metric"], r["data"]) == (metric, data)]
            chosen = [r for r in chosen if r["mode"] == "mlp" or r["size"] == size]
            if any(r["size"] == size for r in chosen if r["mode"] != "mlp"):
                yield from _table(f"{title}; trained on {data} data, at equal {size}", chosen)
    yield from _models(rows)


def _table(title: str, rows: Sequence[Row]) -> Iterator[str]:
    """One line for each environment and horizon, and whether the target is met; the paper's numbers in its metric."""
    with_paper = rows[0]["metric"] == "release"
    yield f"\n## {title}\n"
    yield "| environment | steps | MLP | EMLP | RPP | RPP below MLP |" + (" paper: MLP | RPP |" if with_paper else "")
    yield "|---|---|---|---|---|---|" + ("---|---|" if with_paper else "")
    for env, k in product(sorted({r["env"] for r in rows}), HORIZONS):
        values = {
            mode: [100 * r["value"] for r in rows if (r["env"], r["mode"], r["horizon"]) == (env, mode, k)]
            for mode in MODES
        }
        verdict = "?" if not values["rpp"] or not values["mlp"] else "**no**"
        if verdict != "?" and np.mean(values["rpp"]) < np.mean(values["mlp"]):
            verdict = "yes"
        paper = PAPER.get(env.partition("-")[0], {}).get(k, ("", ""))
        cells = [env, str(k), *map(_mean_and_deviation, values.values()), verdict, *(paper if with_paper else ())]
        yield f"| {' | '.join(cells)} |"


def _models(rows: Sequence[Row]) -> Iterator[str]:
    """What was compared: sizes, symmetry, and how many rollouts diverged."""
    yield "\n## The models\n"
    yield "Equivariance errors are those of one step, under the worst generator; the last column is the share of"
    yield f"rollouts that have diverged after {max(HORIZONS)} steps.\n"
    yield "| environment | group | mode | equal | data | widths | parameters | equivariance error | diverged |"
    yield "|---|---|---|---|---|---|---|---|---|"
    keys = ("env", "group", "mode", "size", "data", "widths", "n_parameters")
    for key in sorted({tuple(r[name] for name in keys) for r in rows}, key=str):
        own = [r for r in rows if tuple(r[name] for name in keys) == key]
        one_step = [100 * r["value"] for r in own if (r["metric"], r["horizon"]) == ("equivariance", 1)]
        lost = [100 * r["value"] for r in own if (r["metric"], r["horizon"]) == ("diverged", max(HORIZONS))]
        numbers = [f"{_mean_and_deviation(values)} %" for values in (one_step, lost)]
        yield f"| {' | '.join([*map(str, key), *numbers])} |"


def _mean_and_deviation(values: Sequence[float]) -> str:
    if not values:
        return "–"
    deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{deviation} ({len(values)})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pairs: dict[str, Any] = {"nargs": "+", "action": KeyValues, "default": {}}
    parser.add_argument("--buffer", metavar="ENV:FILE", help="replay buffer or .npz of each environment", **pairs)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the runs are")
    parser.add_argument(
        "--report", type=Path, default=Path("table3"), metavar="NAME", help="name of the .csv and the .md"
    )
    parser.add_argument("--groups", metavar="ENV:GROUP", help="groups other than the largest finite one", **pairs)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of each model (default: 3)")
    for name, choices in (("modes", MODES), ("sizes", SIZES), ("data", DATA)):
        parser.add_argument(f"--{name}", nargs="+", choices=choices, default=list(choices), help="default: all")
    parser.add_argument("--device", default="auto", help="device to train on (default: auto)")
    parser.add_argument("-params", "--hyperparams", metavar="KEY:VALUE", help="settings of train-model", **pairs)
    return parser


if __name__ == "__main__":
    raise SystemExit(main(None))
