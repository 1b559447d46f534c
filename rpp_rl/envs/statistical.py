"""Does a specification agree with what an environment shows? For those that cannot be put into a chosen state.

Transitions (o, a) → (o', r) are collected with random actions, and a smooth model of change and reward is fitted to one
part of them. On the rest its errors are compared with those on the images, ρ(g) o and ρ(g) a with ρ(g)(o' - o) and r.
Where the symmetry is true and images are states that the environment meets, the errors are the same. Then every sign of
actions and observations is changed in turn: where that makes the images no worse, the data did not decide this sign.

This is weaker than a check in a simulator (`rpp_rl.envs.check`): it sees what a smooth model of few transitions sees,
so that it can refute a specification, but never call it exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import KDTree

from rpp_rl.envs.coordinates import to_rep
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.symmetry import Element

N_TRANSITIONS = 6000
"""Transitions that are collected by default."""
N_FEATURES = 400
"""Random cosines of the model."""
RIDGE = 1e-3
"""Penalty of the fit, relative to the number of transitions."""
TRAINED_SHARE = 0.7
"""Share of the transitions to which the model is fitted."""
SIGNIFICANT = 4.0
"""Standard errors by which two mean errors have to differ."""
CLEARLY = 1.3
"""And their ratio."""
FAR, FAR_SHARE = 99.0, 0.2
"""Images farther from what was met than this percentile of the rest of the transitions are unknown ground; the share of
them above which nothing is said."""
MAX_TOLD = 3
"""Changes that fit better which are told in words."""
LEARNT = 0.9
"""Error of the model, relative to the spread of what it predicts, above which it knows nothing of it."""

Verdict = Literal["consistent", "inconsistent", "wrong", "undecided"]


@dataclass(frozen=True)
class StatisticalCheck:
    """What transitions say about one generator.

    Attributes:
        generator: Its name.
        n_transitions: Number of transitions.
        error: Error of the model on transitions that it has not seen, relative to their spread.
        image_error: The same on their images.
        reward_error: Error of the predicted rewards, relative to their spread.
        reward_image_error: The same on the images.
        keeps_reward: Whether rewards are predicted on images as well as elsewhere, as far as the model has learnt them.
        far_share: Share of the images that are far from everything that was met.
        undecided: Signs that the transitions do not decide, in words; empty where images are predicted worse.
        better: Signs that fit clearly better when changed, in words.
        verdict: ``consistent``; ``inconsistent`` (images are predicted clearly worse); ``wrong`` (and a changed sign
            fits better); ``undecided`` (the images are not met, or the model has learnt nothing).
    """

    generator: str
    n_transitions: int
    error: float
    image_error: float
    reward_error: float
    reward_image_error: float
    keeps_reward: bool
    far_share: float
    undecided: tuple[str, ...]
    better: tuple[str, ...]
    verdict: Verdict

    @property
    def refutation(self) -> str | None:
        """Why the specification is wrong, in words; None if it is not: a symmetry that is broken may yet be useful."""
        return f"a change of {'; '.join(self.better[:MAX_TOLD])} fits better" if self.verdict == "wrong" else None


def with_estimates(spec: EnvSpec, checks: Sequence[StatisticalCheck]) -> EnvSpec:
    """The specification with the errors on images in place of those it came with.

    An error on images is the model's own together with that of the symmetry, so that little data earns little trust.
    Nothing changes for generators of which the transitions decide nothing.

    Args:
        spec: The specification.
        checks: What `check_statistically` gave for it.
    """
    records = [
        record
        if check.verdict == "undecided"
        else dataclasses.replace(
            record,
            keeps_reward=record.keeps_reward and check.keeps_reward,
            error_1_step=check.image_error,
            error_20_steps=None,
            reward_max=None,
            termination_mismatches=None,
            note="; ".join(filter(None, [record.note, f"estimated from {check.n_transitions} transitions"])),
        )
        for record, check in zip(spec.generators, checks, strict=True)
    ]
    return dataclasses.replace(spec, generators=tuple(records))


def check_statistically(
    spec: EnvSpec, env: gymnasium.Env[Any, Any], *, n_transitions: int = N_TRANSITIONS, seed: int = 0
) -> tuple[StatisticalCheck, ...]:
    """Compare a specification with transitions of any environment.

    Args:
        spec: The specification.
        env: The environment.
        n_transitions: How many transitions to collect with random actions.
        seed: Seed of resets, actions and the model.

    Returns:
        One result for each generator of the group; infinitesimal ones turn by 90 degrees.

    Raises:
        ValueError: If the environment does not fit the specification.
    """
    spec.check_spaces(env.observation_space, env.action_space)
    rng = np.random.default_rng(seed)
    transitions = _collected(spec, env, n_transitions, rng)
    model = _Model(transitions, rng)
    elements = spec.group.generator_elements(np.pi / 2)
    return tuple(
        _checked(spec, record.name, g, transitions, model) for record, g in zip(spec.generators, elements, strict=True)
    )


@dataclass(frozen=True)
class _Transitions:
    """Coordinates and actions before, changes and rewards after."""

    inputs: Float[ndarray, "n in"]
    outputs: Float[ndarray, "n out"]

    @property
    def n_trained(self) -> int:
        return int(TRAINED_SHARE * len(self.inputs))


def _collected(spec: EnvSpec, env: gymnasium.Env[Any, Any], n: int, rng: np.random.Generator) -> _Transitions:
    low, high = (np.nan_to_num(getattr(env.action_space, end), posinf=1.0, neginf=-1.0) for end in ("low", "high"))
    before, after, actions, rewards = [], [], [], []
    obs, _ = env.reset(seed=int(rng.integers(2**31)))
    for _ in range(n):
        action = rng.uniform(low, high).astype(env.action_space.dtype)
        following, reward, terminated, truncated, _ = env.step(action)
        before.append(obs)
        after.append(following)
        actions.append(action)
        rewards.append(float(reward))
        obs = following
        if terminated or truncated:
            obs, _ = env.reset(seed=int(rng.integers(2**31)))
    z, z_after = (to_rep(spec.observation, np.array(x, dtype=float)) for x in (before, after))
    order = rng.permutation(n)
    inputs = np.concatenate([z, np.array(actions, dtype=float)], axis=1)[order]
    return _Transitions(inputs, np.concatenate([z_after - z, np.array(rewards)[:, None]], axis=1)[order])


class _Model:
    """Ridge regression on the inputs and random cosines of them."""

    def __init__(self, transitions: _Transitions, rng: np.random.Generator) -> None:
        n = transitions.n_trained
        x, y = transitions.inputs[:n], transitions.outputs[:n]
        self.center, self.scale = x.mean(axis=0), _positive(x.std(axis=0))
        self.out_center, self.out_scale = y.mean(axis=0), _positive(y.std(axis=0))
        width = np.sqrt(x.shape[1])
        self.directions = rng.normal(size=(x.shape[1], N_FEATURES)) / width
        self.phases = rng.uniform(0, 2 * np.pi, size=N_FEATURES)
        features = self._features(x)
        gram = features.T @ features + RIDGE * n * np.eye(features.shape[1])
        self.weights = np.linalg.solve(gram, features.T @ ((y - self.out_center) / self.out_scale))
        self.tree = KDTree((x - self.center) / self.scale)

    def _features(self, x: Float[ndarray, "n in"]) -> Float[ndarray, "n k"]:
        x = (x - self.center) / self.scale
        return np.concatenate([np.ones((len(x), 1)), x, np.cos(x @ self.directions + self.phases)], axis=1)

    def errors(self, x: Float[ndarray, "n in"], y: Float[ndarray, "n out"]) -> Float[ndarray, "n out"]:
        """Squared errors in units of the variance."""
        return (self._features(x) @ self.weights - (y - self.out_center) / self.out_scale) ** 2

    def distances(self, x: Float[ndarray, "n in"]) -> Float[ndarray, " n"]:
        """To the nearest transition that the model was fitted to."""
        return self.tree.query((x - self.center) / self.scale)[0]


def _positive(scale: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
    return np.where(scale > 1e-9, scale, 1.0)


def _checked(spec: EnvSpec, name: str, g: Element, transitions: _Transitions, model: _Model) -> StatisticalCheck:
    n = transitions.n_trained
    x, y = transitions.inputs[n:], transitions.outputs[n:]
    rho, control = spec.obs_rep.rho(g), spec.action_rep.rho(g)
    n_obs = len(rho)

    def errors(rho: ndarray, control: ndarray) -> Float[ndarray, "n out"]:
        moved = np.concatenate([x[:, :n_obs] @ rho.T, x[:, n_obs:] @ control.T], axis=1)
        return model.errors(moved, np.concatenate([y[:, :n_obs] @ rho.T, y[:, n_obs:]], axis=1))

    own, image = model.errors(x, y), errors(rho, control)
    known = own.mean(axis=0) < LEARNT
    if not known.any():
        known[:] = True
    moved = np.concatenate([x[:, :n_obs] @ rho.T, x[:, n_obs:] @ control.T], axis=1)
    limit = np.percentile(model.distances(x), FAR)
    far_share = float((model.distances(moved) > limit).mean())
    undecided, better = [], []
    for what, changed in _changed_signs(spec, rho, control):
        off = errors(*changed)
        if not _is_worse(off[:, known], image[:, known]):
            undecided.append(what)
        if _is_worse(image[:, known], off[:, known]):
            better.append(what)
    worse = _is_worse(image[:, known], own[:, known])
    verdict: Verdict = "consistent"
    if far_share > FAR_SHARE or own[:, :-1].mean(axis=0).min() > LEARNT:
        verdict = "undecided"
    elif worse:
        verdict = "wrong" if better else "inconsistent"
    return StatisticalCheck(
        name,
        len(transitions.inputs),
        _root(own[:, :-1]),
        _root(image[:, :-1]),
        _root(own[:, -1]),
        _root(image[:, -1]),
        not (known[-1] and _is_worse(image[:, -1:], own[:, -1:])),
        far_share,
        () if worse else tuple(undecided),
        tuple(better) if worse else (),
        verdict,
    )


def _root(squares: ndarray) -> float:
    return float(np.sqrt(squares.mean()))


def _is_worse(errors: Float[ndarray, "n k"], others: Float[ndarray, "n k"]) -> bool:
    """Whether some number is predicted clearly worse, by paired differences."""
    difference = errors - others
    standard = difference.std(axis=0) / np.sqrt(len(difference))
    significant = difference.mean(axis=0) > SIGNIFICANT * standard + 1e-12
    return bool((significant & (errors.mean(axis=0) > CLEARLY * others.mean(axis=0))).any())


def _changed_signs(spec: EnvSpec, rho: ndarray, control: ndarray) -> list[tuple[str, tuple[ndarray, ndarray]]]:
    """Both maps with one sign changed, in words; a rotation matrix has none that could be changed alone."""
    changes = []
    for i in range(len(control)):
        off = control.copy()
        off[i] *= -1
        changes.append((f"the sign of number {i} of the action", (rho, off)))
    for block, place in zip(spec.observation.blocks, spec.observation.slices, strict=True):
        for i in range(place.start, place.stop) if block.transform == "identity" else ():
            off = rho.copy()
            off[i] *= -1
            changes.append((f"the sign of coordinate {i - place.start} of {block.name}", (off, control)))
    return changes
