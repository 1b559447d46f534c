"""Which runs are one arm of a comparison, and what it is called.

Runs of one environment are one arm if all their settings agree but those that say where, how long and by which seed an
agent was trained. The label of an arm is made from the settings by which it differs from the others, or is the name
that the experiment gave it. Nothing else joins runs, so two arms never become one curve.
"""

import dataclasses
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from rpp_rl.experiments.curves import Run
from rpp_rl.experiments.reading import Note
from rpp_rl.sac.config import SACConfig

NOT_LEARNT = {
    "env", "seed", "n_timesteps", "log_folder", "tensorboard_log", "device", "num_threads", "strict_float32",
    "compile", "vec_env", "eval_freq", "eval_episodes", "n_eval_envs", "save_freq", "save_replay_buffer",
    "log_interval",
}  # fmt: skip
"""Settings that do not decide what is learnt."""
FIRST = ("algo", "mode", "update", "group")
"""Settings that name an arm best, if they are enough to tell it from the others."""
WORDS: dict[tuple[str, Hashable], str] = {("mode", "mlp"): "plain", ("mode", "rpp"): "rpp", ("mode", "emlp"): "emlp"}

ArmKey = tuple[str | None, Hashable]


def group_runs(runs: Iterable[Run]) -> tuple[dict[str, dict[str, list[Run]]], list[Note]]:
    """Divide runs by environment and then by arm.

    Args:
        runs: What was read.

    Returns:
        For every environment the runs of every arm by its label, sorted by seed; and notes on runs that were left out
        because the arm has another run of the same seed.
    """
    by_env: dict[str, list[Run]] = {}
    for run in runs:
        by_env.setdefault(run.env_id, []).append(run)
    grouped: dict[str, dict[str, list[Run]]] = {}
    notes: list[Note] = []
    for env_id in sorted(by_env):
        arms: dict[ArmKey, list[Run]] = {}
        for run in by_env[env_id]:
            arms.setdefault(_key(run), []).append(run)
        labels = arm_labels(list(arms))
        grouped[env_id] = {}
        for key, members in arms.items():
            grouped[env_id][labels[key]], left_out = _one_per_seed(members)
            notes += left_out
    return grouped, notes


def learnt_settings(run: Run) -> dict[str, object]:
    """The settings that decide what a run learns; one that the run did not know yet has its default."""
    settings = {**_DEFAULTS, **run.settings} if "mode" in run.settings else dict(run.settings)
    return {name: value for name, value in settings.items() if name not in NOT_LEARNT}


def differing_settings(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The names of the settings of which there are several values, in the order in which they name an arm best."""
    names = dict.fromkeys(name for one in settings for name in one)
    several = [name for name in names if len({_text(one.get(name)) for one in settings}) > 1]
    return sorted(several, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def arm_labels(keys: Sequence[ArmKey]) -> dict[ArmKey, str]:
    """A different label for every arm: its name, or the fewest settings that tell it from the others, or both."""
    settings = [dict(json.loads(str(key[1]))) for key in keys]
    labels: dict[ArmKey, str] = {}
    names = [key[0] for key in keys]
    for key in keys:
        rivals = [k for k, name in enumerate(names) if name == key[0]]
        own = keys.index(key)
        needed = _distinguishing([settings[k] for k in rivals])
        chosen = {name: settings[own].get(name) for name in needed}
        label = ", ".join(filter(None, (key[0], _in_words(chosen) or _as_pairs(chosen))))
        labels[key] = (
            label or _in_words({"mode": settings[own].get("mode")}) or str(settings[own].get("algo") or "runs")
        )
    if len(set(labels.values())) < len(labels):
        for key, own in zip(keys, settings, strict=True):
            different = {name: own.get(name) for name in differing_settings(settings)}
            labels[key] = ", ".join(filter(None, (key[0], _as_pairs(different))))
    return labels


def _key(run: Run) -> ArmKey:
    return run.name, _text(learnt_settings(run))


def _distinguishing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """Few settings that tell all of these apart."""
    names = differing_settings(settings)

    def n_told_apart(chosen: Sequence[str]) -> int:
        return len({_text([one.get(name) for name in chosen]) for one in settings})

    chosen: list[str] = []
    for name in names:
        if n_told_apart([*chosen, name]) > n_told_apart(chosen):
            chosen.append(name)
    for name in chosen[::-1]:
        rest = [other for other in chosen if other != name]
        if n_told_apart(rest) == n_told_apart(chosen):
            chosen = rest
    return chosen


def _in_words(settings: Mapping[str, object]) -> str:
    """Settings as a label: modes by their name, switches if they are on, what is not set not at all."""
    parts = []
    for name, value in settings.items():
        word = WORDS.get((name, value)) if isinstance(value, Hashable) else None
        if word or value is True:
            parts.append(word or name)
        elif value is not None and value is not False:
            parts.append(str(value) if name == "algo" else f"{name}={_shown(value)}")
    return ", ".join(parts)


def _as_pairs(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in settings.items())


def _one_per_seed(runs: Sequence[Run]) -> tuple[list[Run], list[Note]]:
    """One run per seed, the longest: two of them would count one experiment twice."""
    kept: dict[int, Run] = {}
    notes = []
    for run in runs:
        other = kept.get(run.seed)
        longer = other is None or run.returns.last > other.returns.last
        if other is not None:
            dropped, winner = (other, run) if longer else (run, other)
            reason = f"left out, because {winner.path} has the same settings and seed and is not shorter"
            notes.append(Note(dropped.path or Path(), reason))
        if longer:
            kept[run.seed] = run
    return [kept[seed] for seed in sorted(kept)], notes


def _text(value: object) -> str:
    """A value as JSON, the same for equal values: 1 and 1.0, lists and tuples, mappings in any order."""
    return json.dumps(_plain(value), sort_keys=True, default=str)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _shown(value: object) -> str:
    """A value in a label, text without its quotes."""
    return value if isinstance(value, str) else _text(value)


_DEFAULTS = {
    field.name: field.default for field in dataclasses.fields(SACConfig) if field.default is not dataclasses.MISSING
}
