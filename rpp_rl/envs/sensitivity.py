"""Would a check notice a mistake? Every sign is changed and numbers of one kind are exchanged, one mistake at a time.

A changed sign is tried as the specification itself is: where it concerns positions, velocities or actions, the image of
the state or action changes and is stepped anew; numbers that the environment derives from the state are compared with
what was seen. A mistake is noticed when some coordinate, the reward or the end of episodes is predicted clearly worse
than by the specification. Where it is not, that part was not exercised: an action that does nothing, a force that never
acts, two numbers that are always equal.

A mistake that predicts clearly *better* refutes the specification. Where numbers are predicted badly, those of other
blocks are put in their place, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from rpp_rl.envs.coordinates import to_rep
from rpp_rl.envs.layout import Layout
from rpp_rl.envs.mistakes import Mistake, Place, all_mistakes, exchange, spread
from rpp_rl.envs.simulator import Rollout, Simulator, States
from rpp_rl.envs.spec import EXACT, EnvSpec
from rpp_rl.envs.state_map import StateMap
from rpp_rl.symmetry import Element

STAGES = (2, 10)
"""States of each kind in which a mistake is tried: first few, more if it went unnoticed."""
CLEARLY = 3.0
"""How much larger an error has to be, besides `NOTICED`, to be seen beside that of the specification."""
NOTICED = 1e-8
"""Smallest relative error by which a mistake counts as noticed; above what rounding makes of an exact symmetry."""
MIN_VALUES = 5
"""Values of a derived number that have to fit better, and be the most: a rare contact alone proves nothing."""
WRONG_WAY, RIGHT_WAY = 1.2, 0.6
"""Relative errors of a coordinate's change in free flight: above the first a prediction is worse than none, below the
second it is a good one. A mistake that turns the one into the other fits better."""
GOOD = 0.3
"""Relative error of a coordinate's change in free flight up to which nothing is tried in its place."""
BADLY = 0.1
"""Relative error of a derived number from which on it is tried what fits it better."""
BETTER = 1.0
"""By how much a mistake that fits better lowers the sum of the coordinates' relative errors in free flight, each
counted as 2 at most: numbers that changed places are not predicted wrongly but not at all. Measured with
`envs_reps`: a mistake raises the sum of a true specification, however weak, by .7 or more; undoing an exchange lowers
it by 1.8 or more."""


class Experiment(NamedTuple):
    """States, actions for some steps from each, and how these run.

    Attributes:
        start: The states.
        actions: For each step an action for each state.
        is_free: Whether in free flight, without contacts and limits.
        is_brief: Whether a step is only one of the simulator's, in which what is pressed together stays so.
        touching: The only bodies that touch anything; all if none is named.
    """

    start: States
    actions: Float[ndarray, "T n action"]
    is_free: bool = False
    is_brief: bool = False
    touching: tuple[int, ...] = ()

    def run(self, simulator: Simulator) -> Rollout:
        """What happens."""
        with ExitStack() as stack:
            if self.is_free:
                stack.enter_context(simulator.without_constraints())
            if self.touching:
                stack.enter_context(simulator.touching_only(self.touching))
            if self.is_brief:
                stack.enter_context(simulator.in_brief_steps())
            return simulator.rollout(self.start, self.actions)

    def moved(self, state_map: StateMap, control: Float[ndarray, "action action"]) -> Experiment:
        """The image."""
        return self._replace(start=state_map.image(self.start), actions=self.actions @ control.T)

    def first(self, n: int) -> Experiment:
        """One step from the first states."""
        return self._replace(start=self.start.take(slice(n)), actions=self.actions[:1, :n])


@dataclass(frozen=True)
class Sensitivity:
    """What a check would not notice, and what fits better than the specification, in words."""

    unexercised: tuple[str, ...]
    better: tuple[str, ...]


class SensitivityTrial:
    """The errors of the specification of one element of the group, remembered, to compare those of mistakes with.

    Args:
        spec: The specification.
        simulator: The environment.
        state_map: How the element moves the state.
        g: The element.
        experiments: States met on the way, wild ones, and states in free flight.
        rollouts: What happened in them.
        images: What happened in the images of the first two kinds.
        is_state: Which coordinates of the observation are positions and velocities.
    """

    def __init__(
        self,
        spec: EnvSpec,
        simulator: Simulator,
        state_map: StateMap,
        g: Element,
        experiments: Sequence[Experiment],
        rollouts: Sequence[Rollout],
        images: Sequence[Rollout],
        is_state: Bool[ndarray, " rep"],
    ) -> None:
        self.spec, self.simulator, self.state_map = spec, simulator, state_map
        self.experiments, self.rollouts = experiments, rollouts
        self.is_state, self.derived = is_state, ~is_state
        self.rho, self.control = spec.obs_rep.rho(g), spec.action_rep.rho(g)
        self.known = {n: [self._errors(k, n, self.state_map, self.control) for k in range(3)] for n in STAGES}
        self.off = np.zeros(len(state_map.counted))
        self.off[state_map.counted] = self.known[STAGES[-1]][2]
        self.shown = [self.derived_numbers(*pair) for pair in zip(rollouts, images, strict=False)]
        self.is_exact = all(errors.max(initial=0.0) < EXACT for errors in self.known[STAGES[-1]])

    def sensitivity(self, hidden: Sequence[tuple[Rollout, Rollout]] = ()) -> Sensitivity:
        """Try all mistakes.

        Args:
            hidden: More rollouts and images, in which derived numbers show that are hidden otherwise.
        """
        self.shown += [self.derived_numbers(*pair) for pair in hidden]
        better = list(self.better())
        told = {mistake for mistake, _ in better}
        unexercised = [
            (mistake, which)
            for mistake, which in all_mistakes(self.spec, self.simulator, self.state_map, self.is_state)
            if mistake not in told and not self.notices(mistake)
        ]
        return Sensitivity(_in_words(unexercised), _in_words(better))

    def better(self) -> Iterator[tuple[Mistake, str]]:
        """The mistakes that fit better, with what they concern."""
        if not self.is_exact:
            yield from self._better_derived()
        found = False
        for mistake, which in all_mistakes(self.spec, self.simulator, self.state_map, self.is_state):
            if self.prefers(mistake):
                found = True
                yield mistake, which
        for mistake, which in () if found else self._badly_predicted_pairs():
            if self.prefers(mistake):
                yield mistake, which

    def notices(self, mistake: Mistake) -> bool:
        """Whether some error becomes clearly larger."""
        if mistake.where == "derived":
            return self._notices_derived(mistake)
        state_map, control = self._mistaken(mistake)
        for n in STAGES:
            for k in (2, 0, 1):
                errors = self._errors(k, n, state_map, control)
                if (errors > CLEARLY * self.known[n][k] + NOTICED).any():
                    return True
        return False

    def prefers(self, mistake: Mistake) -> bool:
        """Whether a coordinate points the right way in free flight that did not before, or all fit clearly better.

        Where two indices of a specification are in each other's place, rows and columns of its maps are, and so both
        are put back.
        """
        known = self.known[STAGES[-1]][2]
        if mistake.where == "derived" or not ((known > WRONG_WAY).any() or _total(known) > BETTER):
            return False
        if mistake.where == "state" and not (self.off[list(mistake.rows)] > GOOD).any():
            return False
        for in_columns in (False, True) if mistake.rows != mistake.sources else (False,):
            errors = self._errors(2, STAGES[-1], *self._mistaken(mistake, in_columns=in_columns))
            turned = (known > WRONG_WAY) & (errors < RIGHT_WAY)
            gain = _total(known) - _total(errors)
            if gain > BETTER or (gain > 0.0 and turned.any()):
                return True
        return False

    def _mistaken(self, mistake: Mistake, *, in_columns: bool = False) -> tuple[StateMap, ndarray]:
        if mistake.where == "action":
            return self.state_map, mistake.applied(self.control, in_columns=in_columns)
        m = self.state_map
        return StateMap(m.layout, mistake.applied(m.matrix, in_columns=in_columns), m.task, m.counted), self.control

    def _badly_predicted_pairs(self) -> Iterator[tuple[Mistake, str]]:
        """Exchanges of positions and velocities of different blocks."""
        if not self.simulator.shows_state:
            return
        m = self.state_map
        bad = [place for place in _places(m.layout, m.counted) if self.off[place[1]] > RIGHT_WAY]
        yield from map(exchange, spread([("state", a, b) for a, b in combinations(bad, 2) if a[0] != b[0]]))

    def _better_derived(self) -> Iterator[tuple[Mistake, str]]:
        """Signs and exchanges by which a badly predicted derived number fits clearly better, and the other no worse."""
        places = _places(self.spec.observation, self.derived)
        at = (np.cumsum(self.derived) - 1)[[row for _, row, _ in places]]
        shown = [(predicted[:, at], actual[:, at]) for predicted, actual in self.shown]
        known = [_relative(*pair) for pair in shown]
        for i in np.flatnonzero((np.array(known) > BADLY).any(axis=0)):
            fits, is_worse = np.zeros((2, len(at)), dtype=bool)
            for (predicted, actual), before in zip(shown, known, strict=True):
                instead, seen = predicted.copy(), actual[:, [i]]
                instead[:, i] *= -1
                errors, others = _relative(instead, seen), _relative(predicted[:, [i]], actual)
                others[i] = errors[i]
                gains = np.abs(predicted[:, [i]] - seen) - np.abs(instead - seen)
                wins, losses = (gains > 0).sum(axis=0), (gains < 0).sum(axis=0)
                fits |= (CLEARLY * errors + NOTICED < before[i]) & (wins >= MIN_VALUES) & (wins > losses)
                is_worse |= (errors > CLEARLY * before[i] + NOTICED) | (others > CLEARLY * before + NOTICED)
            for j in np.flatnonzero(fits & ~is_worse):
                if i == j:
                    part, row, start = places[i]
                    yield Mistake("the sign of coordinate", part, "derived", (row,), (row,), -1.0), f"{row - start}"
                else:
                    yield exchange(("derived", places[i], places[j]))

    def _errors(self, k: int, n: int, state_map: StateMap, control: ndarray) -> Float[ndarray, " e"]:
        """Relative errors of the changes of all coordinates, of derived numbers, the reward and terminations."""
        rollout = self.rollouts[k].first(n)
        image = self.experiments[k].first(n).moved(state_map, control).run(self.simulator)
        stable = rollout.stable & image.stable
        predicted, actual = (x[:, state_map.counted] for x in state_map.changes(rollout, image))
        changes = _relative(predicted[stable], actual[stable])
        if self.experiments[k].is_free:
            # There are no contacts, so numbers derived from them and the rewards say nothing here.
            return changes
        derived = self.derived_numbers(rollout, image)
        rewards = (r.rewards[0][stable, None] for r in (rollout, image))
        terminations = (rollout.terminated[0] != image.terminated[0])[stable]
        return np.concatenate([changes, _relative(*derived), _relative(*rewards), [terminations.any()]])

    def derived_numbers(self, rollout: Rollout, image: Rollout) -> tuple[Float[ndarray, "m e"], Float[ndarray, "m e"]]:
        """Predicted and actual numbers that the environment derives from the state, of all steps and stable states."""
        stable, layout = rollout.stable & image.stable, self.spec.observation
        predicted, actual = (to_rep(layout, r.obs[1:, stable]).reshape(-1, layout.rep.size) for r in (rollout, image))
        return (predicted @ self.rho.T)[:, self.derived], actual[:, self.derived]

    def _notices_derived(self, mistake: Mistake) -> bool:
        """Numbers derived from the state are seen, so nothing has to be stepped."""
        rows, sources = (np.searchsorted(np.flatnonzero(self.derived), x) for x in (mistake.rows, mistake.sources))
        for predicted, actual in self.shown:
            errors = _relative(mistake.sign * predicted[:, sources], actual[:, rows])
            known = _relative(predicted[:, rows], actual[:, rows])
            # Contacts are where an approximate symmetry breaks: that a mistake is worse at all has to do there.
            if (errors > (CLEARLY if self.is_exact else 1.0) * known + NOTICED).any():
                return True
        return False


def _places(layout: Layout, counted: Bool[ndarray, " rep"]) -> list[Place]:
    """Of the single numbers of the blocks that are counted."""
    return [
        (block.name, row, place.start)
        for block, place in zip(layout.blocks, layout.slices, strict=True)
        if block.transform == "identity" and counted[place].all()
        for row in range(place.start, place.stop)
    ]


def _in_words(mistakes: Sequence[tuple[Mistake, str]]) -> tuple[str, ...]:
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    for mistake, which in mistakes:
        told[mistake.kind, mistake.part].append(which)
    return tuple(f"{kind} {', '.join(dict.fromkeys(which))} of {part}" for (kind, part), which in told.items())


def _total(errors: Float[ndarray, " e"]) -> float:
    """The sum of relative errors, none of which counts more than that of the opposite prediction."""
    return float(np.minimum(errors, 2.0).sum())


def _relative(predicted: ndarray, actual: ndarray) -> Float[ndarray, " e"]:
    """For each column the error relative to its values, 0 where nothing happens; one column is compared with each."""
    scale = np.maximum(np.linalg.norm(predicted, axis=0), np.linalg.norm(actual, axis=0))
    error = np.linalg.norm(predicted - actual, axis=0)
    return np.divide(error, scale, out=np.zeros_like(error), where=scale > 0.0)
