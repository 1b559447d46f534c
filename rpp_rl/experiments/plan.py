"""What an experiment consists of: variants x environments x seeds, read from a YAML file and checked as a whole.

    kind: sac                       # or model; sac if absent
    conf: base                      # a name or a file as ``train-sac -conf`` takes it, files beside this one
    seeds: 5                        # 0 to 4, or a list
    settings: {n_timesteps: 300000} # of every run
    environments:                   # a list of ids, or settings by id
      Ant-v4: {}
      Walker2d-v5: {tau: 0.004}
    variants:
      plain: {mode: mlp}
      rpp: {mode: rpp, environments: {Ant-v4: {group: D4}, Walker2d-v5: null}}
      paper: {mode: rpp, conf: faithful}
    end_early: {at: 120000, below: 0.5, of: plain}

Of two settings of one name the later one in this list holds: of the base of new runs, of the file ``conf``, of every
run, of the environment, of the variant's own file ``conf``, of the variant, of the variant in this environment.
The value ``null`` in place of the settings of an environment leaves it out of the variant.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.io.border import UserError
from rpp_rl.sac.config import SACConfig
from rpp_rl.settings import PlainLoader, Settings, load_yaml, nearest, settings_for
from rpp_rl.shipped_configs import config_file

KINDS: dict[str, Any] = {"sac": SACConfig, "model": ModelConfig}
KEYS = ("kind", "conf", "seeds", "settings", "environments", "variants", "end_early")
OF_THE_RUNNER = ("env", "seed", "log_folder")
"""Settings that the experiment itself decides."""
MAX_SEED = 2**32 - 1
MAX_RUNS = 10_000
MAX_HINTS = 50
"""Mistakes after which the nearest name that is known is no longer looked for."""
MAX_SEEDS = 10_000
"""Most seeds of an experiment; more is a slip of the pen, or a file that is to take the memory."""


@dataclass(frozen=True)
class EarlyEnd:
    """When an arm is given up: all its runs, so that none of its seeds is chosen.

    Attributes:
        at: Environment steps after which it is judged.
        below: It ends if its mean return at that step is less than this, or than this share of ``of``'s.
        of: The variant whose mean return at that step is the measure; None for an absolute return.
        seeds: Runs that must have come so far, on either side.
    """

    at: int
    below: float
    of: str | None = None
    seeds: int = 2


@dataclass(frozen=True)
class Job:
    """One run of an experiment.

    Attributes:
        variant: Name of its arm.
        env_id: Its environment.
        seed: Its seed.
        settings: Everything else that was asked for, checked.
    """

    variant: str
    env_id: str
    seed: int
    settings: Settings

    @property
    def folder(self) -> Path:
        """Where it is, below the folder of the experiment."""
        return Path(_as_name(self.variant)) / _as_name(self.env_id) / f"seed_{self.seed}"


@dataclass(frozen=True)
class Plan:
    """An experiment whose settings are all valid.

    Attributes:
        name: The name of its file.
        kind: What its runs train.
        jobs: All runs, one seed of every arm before the next seed.
        end_early: When arms are given up, if ever.
    """

    name: str
    kind: str
    jobs: tuple[Job, ...]
    end_early: EarlyEnd | None = None


class PlanError(UserError):
    """Everything that is wrong with an experiment.

    Attributes:
        mistakes: One or more, each in a line.
        sound: The arms in which there is none, so that they can be checked further.
        env_ids: All environments, also those without a sound arm.
    """

    def __init__(self, path: Path, mistakes: Sequence[str], sound: Plan, env_ids: Sequence[str]) -> None:
        numbered = [f"({k}) {text}" for k, text in enumerate(mistakes, 1)] if len(mistakes) > 1 else mistakes
        super().__init__(f"{path}: {'; '.join(numbered)}")
        self.mistakes, self.sound, self.env_ids = mistakes, sound, env_ids


def read_plan(path: Path) -> Plan:
    """Read an experiment and check every run of it.

    Raises:
        PlanError: If anything in it is wrong; it holds everything that is.
        UserError: If it is no YAML file.
        OSError: If the file cannot be read.
    """
    data = _load(path)
    reader = _Reader(data, path.parent)
    plan = reader.plan(path.stem)
    if reader.mistakes:
        mistakes = dict.fromkeys(map(_abridged, reader.mistakes))
        raise PlanError(path, list(mistakes), plan, reader.env_ids)
    return plan


@dataclass(frozen=True)
class _Variant:
    """What is written under the name of a variant: a file, its own settings, and those for some environments."""

    conf: object
    own: dict[str, object]
    by_env: dict[str, dict[str, object] | None]


class _Reader:
    """Collects the mistakes of an experiment instead of stopping at the first."""

    def __init__(self, data: Mapping[str, object], beside: Path) -> None:
        self.data, self.beside = data, beside
        self.mistakes: list[str] = []
        self.env_ids: list[str] = []
        self.files: dict[Path, dict[str, object]] = {}
        for key in data:
            if key not in KEYS:
                self.mistakes.append(f"unknown key {key!r}{self._hint(key, KEYS)}")
        kind = data.get("kind", "sac")
        if kind not in KINDS:
            self.mistakes.append(f"kind: expected {' or '.join(KINDS)}, got {kind!r}")
        self.kind = str(kind) if kind in KINDS else "sac"
        self.config = KINDS[self.kind]
        self.fields = {field.name for field in dataclasses.fields(self.config)}
        self.base = self.config.base_settings()

    def plan(self, name: str) -> Plan:
        """What is sound of the experiment; all of it if no mistake was collected."""
        seeds = self._seeds() or [0]
        common = self._settings(self.data.get("settings"), "settings")
        environments = self._environments()
        self.env_ids = list(environments)
        variants = self._variants(list(environments))
        n_runs = len(seeds) * len(environments) * len(variants)
        if n_runs > MAX_RUNS:
            self.mistakes.append(f"expected at most {MAX_RUNS} runs, got {n_runs}")
            variants = {}
        arms = [
            (label, env_id, merged)
            for env_id, of_env in environments.items()
            for label, variant in variants.items()
            if (merged := self._merged(common, of_env, variant, env_id)) is not None
        ]
        valid = [(variant, env_id, s) for variant, env_id, s in arms if self._check(variant, env_id, s)]
        end_early = self._end_early(list(variants))
        if not arms and not self.mistakes:
            self.mistakes.append("no variant has an environment")
        jobs = [
            Job(variant, env_id, seed, self.config(**settings, env=env_id, seed=seed))
            for seed in seeds
            for variant, env_id, settings in valid
        ]
        return Plan(name, self.kind, tuple(jobs), end_early)

    def _check(self, variant: str, env_id: str, settings: dict[str, object]) -> bool:
        try:
            self.config(**settings, env=env_id, seed=0)
        except (ValueError, TypeError) as error:
            self.mistakes.append(f"{variant} on {env_id}: {error}")
            return False
        return True

    def _seeds(self) -> list[int]:
        seeds = self.data.get("seeds")
        if isinstance(seeds, int) and not isinstance(seeds, bool) and 0 < seeds <= MAX_SEEDS:
            return list(range(seeds))
        if not isinstance(seeds, list) or not seeds:
            self.mistakes.append(f"seeds: expected their number, at most {MAX_SEEDS}, or a list of them, got {seeds!r}")
            return []
        wrong = [s for s in seeds if isinstance(s, bool) or not isinstance(s, int) or not 0 <= s <= MAX_SEED]
        if wrong:
            self.mistakes.append(f"seeds: expected integers from 0 to {MAX_SEED}, got {wrong[0]!r}")
            return []
        twice = _given_twice(seeds)
        if twice:
            self.mistakes.append(f"seeds: {', '.join(map(str, twice))} given twice")
        return seeds

    def _environments(self) -> dict[str, dict[str, object]]:
        given = self.data.get("environments")
        if isinstance(given, list) and given and all(isinstance(env_id, str) for env_id in given):
            for env_id in _given_twice(given):
                self.mistakes.append(f"environments: {env_id} given twice")
            return {env_id: {} for env_id in given}
        if not isinstance(given, dict) or not given:
            self.mistakes.append(f"environments: expected a list of ids or settings by id, got {given!r}")
            return {}
        return {env_id: self._settings(own, f"environments, {env_id}") for env_id, own in given.items()}

    def _variants(self, env_ids: list[str]) -> dict[str, "_Variant"]:
        given = self.data.get("variants")
        if not isinstance(given, dict) or not given:
            self.mistakes.append(f"variants: expected settings by name, got {given!r}")
            return {}
        variants = {str(name): self._variant(str(name), own, env_ids) for name, own in given.items()}
        names = [_as_name(name) for name in variants]
        for name in _given_twice(names):
            self.mistakes.append(f"variants: two of them would have the folder {name}")
        return variants

    def _variant(self, name: str, given: object, env_ids: list[str]) -> "_Variant":
        where = f"variants, {name}"
        own = dict(given) if isinstance(given, Mapping) else given
        conf, by_env = None, {}
        if isinstance(own, dict):
            conf = own.pop("conf", None)
            by_env = own.pop("environments", None) or {}
        if not isinstance(by_env, dict):
            self.mistakes.append(f"{where}, environments: expected settings by id, got {by_env!r}")
            by_env = {}
        for env_id in by_env:
            if env_id not in env_ids:
                self.mistakes.append(f"{where}: no environment {env_id!r} here{self._hint(env_id, env_ids)}")
        special = {e: None if s is None else self._settings(s, f"{where}, {e}") for e, s in by_env.items()}
        return _Variant(conf, self._settings(own, where), special)

    def _merged(
        self, common: dict[str, object], of_env: dict[str, object], variant: "_Variant", env_id: str
    ) -> dict[str, object] | None:
        """The settings of an arm, None if the variant leaves the environment out."""
        special = variant.by_env.get(env_id, {})
        if special is None:
            return None
        below, between = (self._from_file(conf, env_id) for conf in (self.data.get("conf"), variant.conf))
        return {**self.base, **below, **common, **of_env, **between, **variant.own, **special}

    def _from_file(self, conf: object, env_id: str) -> dict[str, object]:
        """The settings that a file has for an environment."""
        if conf is None:
            return {}
        try:
            path = config_file(str(conf), self.config.config_folder, self.beside)
            if path not in self.files:
                self.files[path] = load_yaml(path)
            return self._settings(settings_for(self.config, env_id, self.files[path], path), str(path))
        except ValueError as error:
            self.mistakes.append(str(error))
        except OSError as error:
            self.mistakes.append(f"conf: {error.filename}: {error.strerror}")
        return {}

    def _settings(self, given: object, where: str) -> dict[str, object]:
        """Settings of one level, without those that are unknown."""
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            self.mistakes.append(f"{where}: expected settings by name, got {given!r}")
            return {}
        for key in given:
            if key in OF_THE_RUNNER:
                self.mistakes.append(f"{where}: {key} is decided by the experiment")
            elif key not in self.fields:
                self.mistakes.append(f"{where}: unknown setting {key!r}{self._hint(key, self.fields)}")
        return {key: value for key, value in given.items() if key in self.fields and key not in OF_THE_RUNNER}

    def _hint(self, name: object, known: Collection[str]) -> str:
        """The nearest name; looking for it takes long where there are many mistakes, of which few are read."""
        return f"; {nearest(str(name), known)}" if len(self.mistakes) < MAX_HINTS else ""

    def _end_early(self, variants: list[str]) -> EarlyEnd | None:
        given = self.data.get("end_early")
        if given is None:
            return None
        names = [field.name for field in dataclasses.fields(EarlyEnd)]
        if not isinstance(given, dict) or not {"at", "below"} <= set(given) <= set(names):
            self.mistakes.append(f"end_early: expected at and below, and perhaps of and seeds, got {given!r}")
            return None
        for name, kind in (("at", int), ("below", int | float), ("seeds", int)):
            value = given.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, kind) or (name != "below" and value < 1):
                self.mistakes.append(f"end_early, {name}: expected a number, got {value!r}")
        if given.get("of") is not None and given["of"] not in variants:
            self.mistakes.append(f"end_early, of: no variant {given['of']!r}; {nearest(str(given['of']), variants)}")
        return None if self.mistakes else EarlyEnd(**given)


def require_writable(folder: Path) -> None:
    """Make a folder and see that files can be made in it.

    Raises:
        OSError: If not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe.{os.getpid()}"
    probe.touch()
    probe.unlink()


def _load(path: Path) -> dict[str, object]:
    """Read the file, in which no key may be given twice: YAML would silently take the last."""
    try:
        data = load_yaml(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    twice = list(_keys_given_twice(yaml.compose(path.read_text(encoding="utf-8"), PlainLoader)))
    if twice:
        raise UserError(f"{path}: given twice: {', '.join(twice)}")
    return data


def _given_twice(names: Sequence[Any]) -> list[Any]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _keys_given_twice(root: yaml.Node | None) -> Iterator[str]:
    """Of every mapping, each looked at once, however many aliases it has."""
    seen: set[int] = set()
    rest = [root]
    while rest:
        node = rest.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _given_twice([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
            rest += [part for pair in reversed(node.value) for part in reversed(pair)]
        else:
            rest += reversed(node.value)


def _abridged(text: str) -> str:
    """A mistake without the middle of what was written, which may be long."""
    return text if len(text) <= 400 else f"{text[:300]} ... {text[-80:]}"


def _as_name(text: str) -> str:
    """A text as the name of a folder."""
    return "".join(c if c.isalnum() or c in "._-+=" else "-" for c in text).strip(".") or "-"
