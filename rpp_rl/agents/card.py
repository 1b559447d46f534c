"""The card of an agent: its returns, how they were measured and how it was made, as plain values and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEVEL = 0.95
"""Probability with which the mean of as many other episodes lies in the interval of a card."""

FEW = 5
"""Episodes below which an interval says nothing."""

LIST_HEADER = ("name", "environment", "method", "group", "steps", "return in 20 episodes", "size")

MAX_ROWS = 15
"""Rows of a table of a curve."""


def evaluation_record(returns: Sequence[float], lengths: Sequence[int], seed: int) -> dict[str, Any]:
    """The entry of a card for episodes played with the deterministic policy.

    ``interval`` is where the mean of as many other episodes is expected: mean ± t s sqrt(2 / n). It is wider than the
    interval for the true mean, because the other episodes differ from it by chance too.
    """
    from scipy.stats import t as student_t

    values, n = np.asarray(returns, dtype=float), len(returns)
    mean = float(values.mean())
    reach = float(student_t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) * np.sqrt(2 / n)) if n > 1 else 0.0
    return {
        "episodes": n,
        "seed": seed,
        "mean_return": mean,
        "std_return": float(values.std()),
        "interval": [mean - reach, mean + reach],
        "returns": [float(value) for value in returns],
        "lengths": [int(length) for length in lengths],
    }


def check_card(card: Mapping[str, Any]) -> None:
    """Reject an untrusted card whose numeric fields are not numbers.

    Raises:
        ValueError: If so.
    """
    record = card.get("evaluation")
    if type(card.get("steps")) is not int or not isinstance(record, Mapping | None):
        raise ValueError("the agent's card is damaged: expected a number of steps and a record of its evaluation")
    if record is not None:
        interval = record.get("interval")
        numbers = [record.get("episodes"), record.get("mean_return"), record.get("std_return")]
        numbers += interval if isinstance(interval, list) and len(interval) == 2 else [None]
        if not all(type(number) in (int, float) for number in numbers):
            raise ValueError(f"the agent's card is damaged: expected numbers in the evaluation, got {numbers}")


def reproduces(record: Mapping[str, Any], mean_return: float) -> bool:
    """Whether a mean return lies in the interval of an `evaluation_record`, up to rounding."""
    low, high = record["interval"]
    slack = 1e-9 * max(abs(low), abs(high))
    return bool(low - slack <= mean_return <= high + slack)


def list_row(name: str, env_id: str | None, card: Mapping[str, Any], n_bytes: int) -> tuple[str, ...]:
    """An agent in a list, below `LIST_HEADER`."""
    record = card["evaluation"]
    returns = f"{record['mean_return']:.1f} ± {record['std_return']:.1f}"
    size = f"{n_bytes / 1e6:.1f} MB"
    return name, str(env_id), card["method"], card["group"] or "none", str(card["steps"]), returns, size


def to_markdown(name: str, env_id: str | None, card: Mapping[str, Any]) -> str:
    """The card as text.

    Args:
        name: The agent's name.
        env_id: Its environment.
        card: As ``pack-agent`` writes it.
    """
    record, group = card["evaluation"], card.get("group")
    symmetry = f"with the group {group} as the symmetry" if group else "without symmetry"
    low, high = record["interval"]
    expected = (
        f"; the mean of as many other episodes lies between {low:.1f} and {high:.1f} with {LEVEL:.0%} probability"
    )
    if record["episodes"] < FEW:
        expected = ", too few to say where the mean of others lies"
    lines = [
        f"# {name}",
        "",
        f"{card['method']} on {env_id}, {symmetry}; the {card['choice']} agent of a run of {card['run_steps']} steps "
        f"with seed {card['seed']}, after {card['steps']} steps.",
        "",
        f"**Return {record['mean_return']:.1f} ± {record['std_return']:.1f}** (mean and standard deviation of "
        f"{record['episodes']} episodes with the deterministic policy, seed {record['seed']}){expected}. Mean length "
        f"{np.mean(record['lengths']):.0f} steps.",
        "",
        *_errors(card["equivariance_error"], card.get("measured_group")),
        "```python",
        "import rpp_rl",
        "",
        f'agent = rpp_rl.load_agent("{name}")',
        "```",
        "",
        "## How it was made",
        "",
        f"```bash\n{card['command']}\n```",
        "",
        "| software | version |\n|---|---|",
        *(f"| {key} | {value} |" for key, value in card["versions"].items()),
        "",
        *_curve("Evaluations during the run", card["learning_curve"], ("mean_return", "std_return"), ".1f"),
        *_curve("Equivariance error of the policy over training", card.get("equivariance_curve"), ("error",), ".3f"),
    ]
    return "\n".join(lines)


def _errors(errors: Mapping[str, Mapping[str, float]], group: str | None) -> list[str]:
    """The errors of the agent itself, on the states of its evaluation."""
    if not errors:
        return []
    values = "; ".join(f"{g}: {error['mean']:.3f} and {error['log_std']:.3f}" for g, error in errors.items())
    return [
        f"Equivariance error of mean and log standard deviation under the generators of {group} "
        f"(0 equivariant, 0.7 unrelated, 1 the opposite): {values}.",
        "",
    ]


def _curve(title: str, curve: Mapping[str, Sequence[float]] | None, columns: Sequence[str], form: str) -> list[str]:
    """A table of at most `MAX_ROWS` rows, always with the first and the last point."""
    if not curve or not curve["steps"]:
        return []
    n = len(curve["steps"])
    picked = np.unique(np.linspace(0, n - 1, min(n, MAX_ROWS)).round().astype(int))
    header = " | ".join(["steps", *(column.replace("_", " ") for column in columns)])
    rows = [" | ".join([f"{curve['steps'][i]}", *(format(curve[c][i], form) for c in columns)]) for i in picked]
    return [f"## {title}", "", f"| {header} |", "|" + "---|" * (len(columns) + 1), *(f"| {row} |" for row in rows), ""]
