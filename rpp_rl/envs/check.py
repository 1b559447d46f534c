"""The simulator's verdict on a specification: does one step commute with the group?

The image of a state under a generator is put into the simulator, both are stepped with an action and its image, and the
results are compared. The error `inc` is relative to the change: sqrt(Σ|e|² / Σ|s' - s|²), where s' - s is the increment
of the state and e = ρ(g) s' - (ρ(g) s)'. Predicting no change has the error 1 (100 %), a random prediction about 1.4.

How far a symmetry is from exact cannot tell a weak one from a wrong representation: contacts and joint limits, where
the asymmetries of a robot are felt most, drive the error of a weak but true symmetry (a hopper's knee bends one way
only) above that of a wrong one. So a second experiment runs without them, in free flight, where a true symmetry of the
mechanism predicts the direction of all changes. The *alignment* is the correlation between predicted and actual values,
of a coordinate's change, of a number derived from the state, or of the response to a single actuator, whichever is
lowest. Clearly negative means that the prediction points the wrong way: the verdict is ``wrong``. Measured with 8 seeds
at 100 states: symmetries that are true, however weak, have -0.02 to 1 and the wrong ones in the literature -1 to -0.29.
One wrong sign in a symmetry that is weak anyway may go unnoticed; in an exact one it never does, because then it is no
longer exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.envs.simulator import Rollout, Simulator
from rpp_rl.envs.spec import EXACT, EnvSpec
from rpp_rl.symmetry import Element

Verdict = Literal["exact", "exact dynamics", "approximate", "weak", "wrong"]

MISALIGNED = -0.15
"""Alignment below which a prediction is not just bad but points the wrong way."""
MIN_EVENTS = 5.0
"""Effective number of values, (Σx²)² / Σx⁴, that a correlation needs; a rare contact alone proves nothing."""
HORIZON = 20
"""Steps after which errors are compared a second time."""
WEAK = 0.2
"""One-step error from which on a symmetry is called weak."""
ANGLES = (90.0, 37.0)
"""Degrees by which infinitesimal generators turn: one at which a pyramidal friction cone is symmetric, one not."""
ROUNDING = 1e-12
"""Changes smaller than this have no direction."""
N_ACTUATOR_STATES = 10
"""States in which each actuator is tried alone."""


@dataclass(frozen=True)
class GeneratorCheck:
    """What the simulator says about one generator.

    Attributes:
        generator: Its name, with the angle for an infinitesimal one.
        n_states: Number of random states.
        inc_1: Error of positions and velocities after one step, relative to their increment.
        inc_20: The same after `HORIZON` steps.
        blocks_1: The same for each block of the observation; where the environment derives a block from the state
            (contact forces, inertias), relative to its values instead of its increment.
        blocks_20: The same after `HORIZON` steps.
        reward_max: Largest difference of rewards on the first `HORIZON` steps.
        reward_mean: Mean difference of rewards on the first step.
        termination_mismatches: Number of these steps on which only one side terminated.
        alignment: Lowest correlation of a prediction with what happened, see the module's description.
        least_aligned: For which coordinate or action that was.
    """

    generator: str
    n_states: int
    inc_1: float
    inc_20: float
    blocks_1: dict[str, float]
    blocks_20: dict[str, float]
    reward_max: float
    reward_mean: float
    termination_mismatches: int
    alignment: float
    least_aligned: str

    @property
    def keeps_reward(self) -> bool:
        """Whether rewards and terminations agreed on all steps."""
        return self.reward_max < EXACT and self.termination_mismatches == 0

    @property
    def verdict(self) -> Verdict:
        """``wrong`` when a prediction points the wrong way, else how exact the symmetry is.

        ``exact`` includes every block of the observation, rewards and terminations, ``exact dynamics`` leaves out the
        latter two; ``weak`` is a one-step error of `WEAK` or more.
        """
        if max(self.inc_20, *self.blocks_1.values(), *self.blocks_20.values()) < EXACT:
            return "exact" if self.keeps_reward else "exact dynamics"
        if self.alignment < MISALIGNED:
            return "wrong"
        return "approximate" if self.inc_1 < WEAK else "weak"


class _Experiment(NamedTuple):
    """States, actions for some steps from each, and whether they run in free flight."""

    start: Float[ndarray, "n size"]
    actions: Float[ndarray, "T n action"]
    is_free: bool

    def run(self, simulator: Simulator) -> Rollout:
        if self.is_free:
            with simulator.without_constraints():
                return simulator.rollout(self.start, self.actions)
        return simulator.rollout(self.start, self.actions)

    def image(self, spec: EnvSpec, g: Element) -> _Experiment:
        start = to_rep(spec.observation, self.start) @ spec.obs_rep.rho(g).T
        actions = self.actions @ spec.action_rep.rho(g).T
        return _Experiment(from_rep(spec.observation, start), actions, self.is_free)


def check_spec(
    spec: EnvSpec, env: gymnasium.Env[Any, Any] | None = None, *, n_states: int = 100, seed: int = 0
) -> tuple[GeneratorCheck, ...]:
    """Compare the specification with the simulator, generator by generator.

    Args:
        spec: The specification.
        env: The environment; made of the spec's id when not given.
        n_states: Number of random states, each followed for `HORIZON` steps.
        seed: Seed of states and actions.

    Returns:
        One result for each discrete generator and for each infinitesimal one at each of `ANGLES`.

    Raises:
        ValueError: If the environment does not fit the specification or cannot be put into a chosen state.
    """
    simulator = Simulator(spec.env_id if env is None else env)
    spec.check_spaces(simulator.env.observation_space, simulator.env.action_space)
    rng = np.random.default_rng(seed)
    actions = np.array([simulator.random_actions(n_states, rng) for _ in range(HORIZON)])
    start = simulator.states(n_states, rng)
    # Signs show best where robots move as they do: perturbed velocities drown the small responses of a torso.
    free_start = simulator.states(2 * n_states, rng, perturbed=False)
    comparison = _Comparison(spec, simulator, start, actions, free_start)
    results = []
    for k, record in enumerate(spec.generators):
        if k < len(spec.group.generators):
            results.append(comparison.check(record.name, spec.group.generator_elements()[k]))
        else:
            half_turn = spec.group.generator_elements(np.pi)[k]
            for angle in ANGLES:
                g = spec.group.generator_elements(float(np.deg2rad(angle)))[k]
                results.append(comparison.check(f"{record.name} {angle:g}°", g, half_turn))
    return tuple(results)


class _Comparison:
    """Three experiments, run once, with which those of every generator are compared.

    Random actions for `HORIZON` steps; random actions for one step in free flight; each actuator alone, and none, too.
    """

    def __init__(
        self,
        spec: EnvSpec,
        simulator: Simulator,
        start: Float[ndarray, "n size"],
        actions: Float[ndarray, "T n action"],
        free_start: Float[ndarray, "n_free size"],
    ) -> None:
        self.spec, self.simulator = spec, simulator
        # Through the coordinates and back: both sides begin with quaternions of unit length.
        start, free_start = (from_rep(spec.observation, to_rep(spec.observation, x)) for x in (start, free_start))
        free_actions = np.resize(actions, (1, *free_start.shape[:1], actions.shape[-1]))
        few, n_actions = free_start[:N_ACTUATOR_STATES], actions.shape[-1]
        single = np.concatenate([np.zeros((1, n_actions)), np.diag(simulator.env.model.actuator_ctrlrange[:, 1])])
        self.experiments = (
            _Experiment(start, actions, is_free=False),
            _Experiment(free_start, free_actions, is_free=True),
            _Experiment(np.tile(few, (n_actions + 1, 1)), np.repeat(single, len(few), axis=0)[None], is_free=True),
        )
        self.rollouts = tuple(experiment.run(simulator) for experiment in self.experiments)
        blocks, slices = spec.observation.blocks, spec.observation.slices
        self.names = [f"{block.name}, coordinate {i}" for block in blocks for i in range(block.rep.size)]
        self.is_state = np.zeros(spec.obs_rep.size, dtype=bool)
        for block, where in zip(blocks, slices, strict=True):
            self.is_state[where] = max(block.indices) < simulator.n_state

    def check(self, name: str, g: Element, aligned_at: Element | None = None) -> GeneratorCheck:
        """Compare for the element ``g``; free flight is compared for another element of the same generator if given."""
        rollout, image = self.rollouts[0], self.experiments[0].image(self.spec, g).run(self.simulator)
        predicted, actual = self._coordinates(rollout, image, g)
        rewards = np.abs(rollout.rewards - image.rewards)
        alignment, least_aligned = min(
            [
                *self._alignments_of_derived(predicted[1], actual[1]),
                *self._alignments_in_free_flight(g if aligned_at is None else aligned_at),
            ]
        )
        return GeneratorCheck(
            generator=name,
            n_states=rollout.rewards.shape[1],
            inc_1=self._inc(predicted, actual, 1, self.is_state),
            inc_20=self._inc(predicted, actual, HORIZON, self.is_state),
            blocks_1=self._block_incs(predicted, actual, 1),
            blocks_20=self._block_incs(predicted, actual, HORIZON),
            reward_max=float(rewards.max()),
            reward_mean=float(rewards[0].mean()),
            termination_mismatches=int((rollout.terminated != image.terminated).sum()),
            alignment=alignment,
            least_aligned=least_aligned,
        )

    def _coordinates(self, rollout: Rollout, image: Rollout, g: Element) -> tuple[ndarray, ndarray]:
        layout = self.spec.observation
        return to_rep(layout, rollout.obs) @ self.spec.obs_rep.rho(g).T, to_rep(layout, image.obs)

    def _inc(self, predicted: ndarray, actual: ndarray, step: int, where: ndarray | slice) -> float:
        """The error of some coordinates; derived ones have no value at the start and are taken as they are."""
        change = predicted[step] - np.where(self.is_state, predicted[0], 0.0)
        error2, change2 = (float((x[:, where] ** 2).sum()) for x in (predicted[step] - actual[step], change))
        if error2 == 0.0:
            return 0.0
        return float(np.sqrt(error2 / change2)) if change2 > 0.0 else float("inf")

    def _block_incs(self, predicted: ndarray, actual: ndarray, step: int) -> dict[str, float]:
        layout = self.spec.observation
        return {
            block.name: self._inc(predicted, actual, step, where)
            for block, where in zip(layout.blocks, layout.slices, strict=True)
        }

    def _alignments_of_derived(self, predicted: ndarray, actual: ndarray) -> list[tuple[float, str]]:
        return [
            (_correlation(predicted[:, i], actual[:, i]), self.names[i])
            for i in np.flatnonzero(~self.is_state).tolist()
        ]

    def _alignments_in_free_flight(self, g: Element) -> list[tuple[float, str]]:
        """Correlations of predicted with actual changes of every coordinate, and of responses to every actuator."""
        images = [experiment.image(self.spec, g).run(self.simulator) for experiment in self.experiments[1:]]
        predicted, actual = self._coordinates(self.rollouts[1], images[0], g)
        changes = predicted[1] - predicted[0], actual[1] - actual[0]
        alignments = [
            (_correlation(changes[0][:, i], changes[1][:, i]), self.names[i])
            for i in np.flatnonzero(self.is_state).tolist()
        ]
        n_actions = self.experiments[2].actions.shape[-1]
        responses = [
            x[1][:, self.is_state].reshape(n_actions + 1, -1) for x in self._coordinates(self.rollouts[2], images[1], g)
        ]
        predicted, actual = (response[1:] - response[0] for response in responses)
        return alignments + [
            (_correlation(predicted[j], actual[j]), f"response to action {j}") for j in range(n_actions)
        ]


def _correlation(a: ndarray, b: ndarray) -> float:
    """Cosine of predicted and actual values; 1 where there is nothing to judge by."""
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if max(norms) < ROUNDING * len(a) or max(_n_events(a), _n_events(b)) < MIN_EVENTS:
        return 1.0
    return float(a @ b) / (norms[0] * norms[1]) if min(norms) > 0.0 else 0.0


def _n_events(x: ndarray) -> float:
    return float((x**2).sum() ** 2 / (x**4).sum()) if x.any() else 0.0
