"""The report of a table of models: a file with all numbers, and tables for people."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from rpp_rl.dynamics.evaluation import HORIZONS
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError
from rpp_rl.runs.table3 import IRRELEVANT, best, choices, require_poolable, results
from rpp_rl.runs.table3_config import KINDS

COLUMNS = (
    "env", "group", "kind", "size", "data", "n_transitions", "n_learnt", "seed", "widths", "n_parameters", "test",
    "metric", "horizon", "value",
)  # fmt: skip
TITLES = {"mlp": "MLP", "augmented": "MLP with augmentation", "emlp": "EMLP", "rpp": "RPP"}
METRICS = {
    "honest": "Honest metric: whole state, predicted steps 1 to k",
    "release": "Metric of the paper's code: positions, t = 0 counted as 1e-7, smoothed",
}
DATA, SIZES = ("raw", "smoothed"), ("parameters", "width")
TESTS = {"own": "held-out episodes of the same agent", "other": "trajectories of another agent"}
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

MEANT = {"mode", "augment", "equal_parameters", "seed", "n_chunks", "batch_size", *IRRELEVANT}
"""Settings in which the models of one table differ by its own will."""
WITHIN = 1.05
"""So many times the better error of MLP and EMLP, and less, counts as no loss."""

Row = Mapping[str, Any]


def write_report(out: Path) -> list[Path]:
    """Write ``table3.csv`` and ``table3.md`` of all models that are there; returns their paths.

    Raises:
        UserError: If there is no model yet, or those that are there cannot be compared or averaged.
        OSError: If they cannot be written.
    """
    known = results(out)
    if not known:
        raise UserError(f"{out}: no model was evaluated yet; give data with --buffer ENV:FILE")
    require_poolable(known)
    rows = [row for result in known for row in result["rows"]]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({**row, "value": f"{row['value']:.6g}"} for row in rows)
    written = []
    for suffix, content in (
        (".csv", text.getvalue()),
        (".md", "\n".join([*_markdown(rows, known), *_choices(out), *_differences(known)]) + "\n"),
    ):
        written.append(out / f"table3{suffix}")
        with replacing(written[-1]) as file:
            file.write(content.encode())
    return written


def _markdown(rows: Sequence[Row], known: Sequence[Row]) -> Iterator[str]:
    commits = sorted({str(result["versions"]["commit"]) for result in known})
    yield "# Errors of rollouts of transition models"
    yield f"\nMade by `table3` at {', '.join(commits)}. Relative error in percent, geometric mean over the rollout;"
    yield "mean and standard deviation over seeds, their number in brackets. Ratios are of means: RPP / MLP is bold"
    yield f"above 1, that to the better of MLP and EMLP above {WITHIN}."
    sections = product(TESTS, METRICS, DATA, sorted({r["n_transitions"] for r in rows}, reverse=True), SIZES)
    for test, metric, data, n, size in sections:
        chosen = _of(rows, test=test, metric=metric, data=data, n_transitions=n)
        chosen = [r for r in chosen if r["size"] == size or r["kind"] in ("mlp", "augmented")]
        if any(r["size"] == size for r in chosen if r["kind"] in ("emlp", "rpp")):
            yield f"\n## {METRICS[metric]}; {TESTS[test]}; trained on {n} {data} transitions, at equal {size}\n"
            yield from _table(chosen, with_paper=(metric, test, data) == ("release", "own", "smoothed"))
    yield from _curves(rows)
    yield from _models(rows)


def _table(rows: Sequence[Row], *, with_paper: bool) -> Iterator[str]:
    """One line for each environment and horizon; the paper's numbers in its metric."""
    heads = ["environment", "steps", *TITLES.values(), "RPP / MLP", "RPP / better of MLP, EMLP"]
    heads += ["paper: MLP", "RPP"] if with_paper else []
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for env, k in product(sorted({r["env"] for r in rows}), HORIZONS):
        values = {kind: [100 * r["value"] for r in _of(rows, env=env, kind=kind, horizon=k)] for kind in KINDS}
        means = {kind: float(np.mean(numbers)) for kind, numbers in values.items() if numbers}
        ratios = [_ratio(means, ["mlp"], 1.0), _ratio(means, ["mlp", "emlp"], WITHIN)]
        paper = PAPER.get(env.partition("-")[0], {}).get(k, ("", ""))
        cells = [env, str(k), *map(_mean_and_deviation, values.values()), *ratios, *(paper if with_paper else ())]
        yield f"| {' | '.join(cells)} |"


def _ratio(means: Mapping[str, float], others: Sequence[str], bound: float) -> str:
    """The error of RPP relative to the least of others, bold above the bound."""
    if not {"rpp", *others} <= means.keys():
        return "–"
    ratio = means["rpp"] / min(means[kind] for kind in others)
    return f"{ratio:.3g}" if ratio <= bound else f"**{ratio:.3g}**"


def _curves(rows: Sequence[Row]) -> Iterator[str]:
    """How errors fall with the amount of data, in the honest metric, on raw data."""
    amounts = sorted({row["n_transitions"] for row in rows})
    own = _of(rows, test="own", metric="honest", data="raw")
    for size in SIZES:
        chosen = [r for r in own if r["size"] == size or r["kind"] in ("mlp", "augmented")]
        if len(amounts) < 2 or all(r["size"] != size for r in chosen if r["kind"] in ("emlp", "rpp")):
            continue
        yield f"\n## Honest errors by the number of transitions, at equal {size}\n"
        yield f"| environment | steps | | {' | '.join(map(str, amounts))} |"
        yield "|---" * (3 + len(amounts)) + "|"
        for env, k in product(sorted({r["env"] for r in chosen}), HORIZONS):
            values = {
                kind: [
                    [100 * r["value"] for r in _of(chosen, env=env, kind=kind, horizon=k, n_transitions=n)]
                    for n in amounts
                ]
                for kind in KINDS
            }
            for kind, title in TITLES.items():
                if any(values[kind]):
                    yield f"| {env} | {k} | {title} | {' | '.join(map(_mean_and_deviation, values[kind]))} |"
            means = [
                {kind: float(np.mean(values[kind][i])) for kind in KINDS if values[kind][i]}
                for i in range(len(amounts))
            ]
            yield f"| {env} | {k} | RPP / MLP | {' | '.join(_ratio(mean, ['mlp'], 1.0) for mean in means)} |"


def _models(rows: Sequence[Row]) -> Iterator[str]:
    """What was compared: sizes, symmetry, and how many rollouts diverged."""
    yield "\n## The models\n"
    yield "Equivariance errors are those of one step, under the worst generator; the last column is the share of"
    yield f"rollouts that have diverged after {max(HORIZONS)} steps; both on held-out episodes.\n"
    keys = ("env", "group", "kind", "size", "data", "n_learnt", "widths", "n_parameters")
    heads = ["environment", "group", "kind", "equal", "data", "transitions", "widths", "parameters"]
    yield f"| {' | '.join([*heads, 'equivariance error', 'diverged'])} |"
    yield "|---" * (len(heads) + 2) + "|"
    own = _of(rows, test="own")
    for key in sorted({tuple(r[name] for name in keys) for r in own}, key=str):
        of_key = _of(own, **dict(zip(keys, key, strict=True)))
        one_step = [100 * r["value"] for r in _of(of_key, metric="equivariance", horizon=1)]
        lost = [100 * r["value"] for r in _of(of_key, metric="diverged", horizon=max(HORIZONS))]
        numbers = [f"{_mean_and_deviation(values)} %" for values in (one_step, lost)]
        yield f"| {' | '.join([*map(str, key), *numbers])} |"


def _choices(out: Path) -> Iterator[str]:
    """Which settings the sorts of models have chosen."""
    chosen = choices(out)
    if not chosen:
        return
    yield "\n## Settings that were chosen\n"
    yield "By the loss on the validation chunks (in brackets) of one model each, with a seed that the table has not.\n"
    yield "| environment | kind | equal | data | transitions | chosen | tried |"
    yield "|---|---|---|---|---|---|---|"
    for choice in chosen:
        tried = choice["tried"]
        about = [str(tried[0][key]) for key in ("env", "kind", "size", "data", "n_transitions")]
        texts, winner = [_candidate(row) for row in tried], best(tried)
        yield f"| {' | '.join([*about, 'none' if winner is None else _candidate(winner), '; '.join(texts)])} |"


def _differences(known: Sequence[Row]) -> Iterator[str]:
    """In which settings the models of an environment differ, besides those that make them what they are."""
    lines = []
    for env in sorted({result["rows"][0]["env"] for result in known}):
        of_env = [result for result in known if result["rows"][0]["env"] == env]
        for key in sorted(of_env[0]["config"].keys() - MEANT):
            kinds: dict[str, set[str]] = {}
            for result in of_env:
                kinds.setdefault(str(result["config"].get(key)), set()).add(TITLES[result["rows"][0]["kind"]])
            texts = [f"{value} ({', '.join(sorted(names))})" for value, names in sorted(kinds.items())]
            lines += [f"- {env}, `{key}`: {'; '.join(texts)}"] if len(texts) > 1 else []
    if lines:
        yield "\n## Settings that differ\n"
        yield from lines


def _candidate(row: Row) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in row["settings"].items())
    loss = "diverged" if row["validation"] is None else f"{row['validation']:.4g}"
    return f"{settings} ({loss})"


def _of(rows: Sequence[Row], **wanted: object) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if wanted.items() <= row.items()]


def _mean_and_deviation(values: Sequence[float]) -> str:
    if not values:
        return "–"
    deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{deviation} ({len(values)})"
