"""The simulator's verdict on a specification: does one step commute with the group?

The image of a state under a generator is put into the simulator, both are stepped with an action and its image, and the
results are compared. The error `inc` is relative to the change: sqrt(Σ|e|² / Σ|s' - s|²), where s' - s is the increment
of the state and e = ρ(g) s' - (ρ(g) s)'. Predicting no change has the error 1 (100 %), a random prediction about 1.4.
States are those met on the way from resets, half of them perturbed, and *wild* ones, settled by physics or tangled, in
which everything touches something. Where the simulation blows up, a state is dropped and counted.

How far a symmetry is from exact cannot tell a weak one from a wrong representation: contacts and joint limits, where
the asymmetries of a robot are felt most, drive the error of a weak but true symmetry (a hopper's knee bends one way
only) above that of a wrong one. So a second experiment runs without them, in free flight, where a true symmetry of the
mechanism predicts the direction of all changes. The *alignment* is the correlation between predicted and actual values,
of a coordinate's change, of a number derived from the state, or of the response to a single actuator, whichever is
lowest. Clearly negative means that the prediction points the wrong way: the verdict is ``wrong``. Measured with 8 seeds
at 100 states: symmetries that are true, however weak, have -0.02 to 1 and the wrong ones in the literature -1 to -0.29.

A check that nothing can fail proves nothing, so every check is checked itself (`rpp_rl.envs.sensitivity`): it must
notice every changed sign and every exchange of two numbers of one kind in observation and action. Where it would not,
a part of the specification was never exercised, and nothing is called exact. Where a change fits better than the
specification, this is ``wrong``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy import ndarray

from rpp_rl.envs.coordinates import to_rep
from rpp_rl.envs.sensitivity import Experiment, Sensitivity, SensitivityTrial
from rpp_rl.envs.simulator import Rollout, Simulator, both_stable
from rpp_rl.envs.spec import EXACT, EnvSpec, Generator
from rpp_rl.envs.state_map import StateMap, state_map_of_observation
from rpp_rl.envs.states import Policy, met_states, touching, wild_states
from rpp_rl.symmetry import Element

Verdict = Literal["exact", "exact dynamics", "untested", "approximate", "weak", "wrong"]

MISALIGNED = -0.15
"""Alignment below which a prediction is not just bad but points the wrong way."""
MIN_EVENTS = 5.0
"""Effective number of values, (Σx²)² / Σx⁴, that a correlation needs; a rare contact alone proves nothing."""
HORIZON = 20
"""Steps after which errors are compared a second time."""
WEAK = 0.2
"""One-step error from which on a symmetry is called weak."""
TAIL = 95.0
"""Percentile of the states' errors that is called their tail."""
SMALL_CHANGE = 0.01
"""A state that changes less than this, in units of the median, has its error taken relative to this."""
ANGLES = (90.0, 37.0)
"""Degrees by which infinitesimal generators turn: one at which a pyramidal friction cone is symmetric, one not."""
ROUNDING = 1e-12
"""Changes smaller than this have no direction."""
N_ACTUATOR_STATES = 10
"""States in which each actuator is tried alone."""
N_WILD, N_WILD_DERIVED = 40, 200
"""Wild states, tried for one brief step; more where an environment derives numbers, forces say, that are often zero."""
MAX_UNSTABLE = 0.5
"""Share of states that may blow up before nothing can be said."""

MAX_TOLD = 3
"""Changes that fit better which are told in words."""

Mover = Callable[[Simulator, Element], StateMap]
"""How an element of the group moves the states of a simulator."""


@dataclass(frozen=True)
class GeneratorCheck:
    """What the simulator says about one generator.

    Attributes:
        generator: Its name, with the angle for an infinitesimal one.
        n_states: Number of states met on the way, each followed for `HORIZON` steps.
        error_1_step: Error of positions and velocities after one step, relative to their increment.
        error_20_steps: The same after `HORIZON` steps.
        blocks_1: The same for each block of the observation; where the environment derives a block from the state
            (contact forces, inertias), relative to its values instead of its increment.
        blocks_20: The same after `HORIZON` steps.
        reward_max: Largest difference of rewards on all steps.
        reward_mean: Mean difference of rewards on the first step.
        termination_mismatches: Number of steps on which only one side terminated.
        alignment: Lowest correlation of a prediction with what happened, see the module's description.
        least_aligned: For which coordinate or action that was.
        median_1: Median of the single states' errors after one step, wild ones included.
        tail_1: Their 95th percentile.
        share_exact: Share of the states in which one step is exact.
        n_wild: Number of wild states.
        n_unstable: States that were dropped because the simulation blew up.
        n_touching: States in which something touched something.
        unexercised: Parts of the specification that no state put to the test: nothing would notice if they were wrong.
        better: Changes of the specification that fit better than itself.
        remarks: What else to know.
    """

    generator: str
    n_states: int
    error_1_step: float
    error_20_steps: float
    blocks_1: dict[str, float]
    blocks_20: dict[str, float]
    reward_max: float
    reward_mean: float
    termination_mismatches: int
    alignment: float
    least_aligned: str
    median_1: float = 0.0
    tail_1: float = 0.0
    share_exact: float = 1.0
    n_wild: int = 0
    n_unstable: int = 0
    n_touching: int = 0
    unexercised: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def keeps_reward(self) -> bool:
        """Whether rewards and terminations agreed on all steps."""
        return self.reward_max < EXACT and self.termination_mismatches == 0

    @property
    def agrees(self) -> bool:
        """Whether positions, velocities and observations agreed up to rounding in every state."""
        errors = (self.error_1_step, self.error_20_steps, *self.blocks_1.values(), *self.blocks_20.values())
        return max(errors) < EXACT and self.share_exact == 1.0

    @property
    def refutation(self) -> str | None:
        """Why the specification is wrong, in words; None if it is not."""
        if self.verdict != "wrong":
            return None
        if self.alignment < MISALIGNED:
            return f"the prediction for {self.least_aligned} points the wrong way (alignment {self.alignment:.2f})"
        return f"a change of {'; '.join(self.better[:MAX_TOLD])} fits better"

    @property
    def verdict(self) -> Verdict:
        """``wrong`` when a prediction points the wrong way, else how exact the symmetry is.

        ``exact`` includes every block of the observation, rewards and terminations, ``exact dynamics`` leaves out the
        latter two; ``untested`` is an agreement in which some parts were not exercised; ``weak`` is a one-step error
        of `WEAK` or more.
        """
        if self.agrees:
            if self.unexercised:
                return "untested"
            return "exact" if self.keeps_reward else "exact dynamics"
        if self.alignment < MISALIGNED or self.better:
            return "wrong"
        return "approximate" if self.error_1_step < WEAK else "weak"


def check_spec(
    spec: EnvSpec,
    env: gymnasium.Env[Any, Any] | None = None,
    *,
    n_states: int = 100,
    seed: int = 0,
    mover: Mover | None = None,
    policy: Policy | None = None,
) -> tuple[GeneratorCheck, ...]:
    """Compare the specification with the simulator, generator by generator.

    Args:
        spec: The specification.
        env: The environment; made of the spec's id when not given.
        n_states: Number of states met on the way, each followed for `HORIZON` steps.
        seed: Seed of states and actions.
        mover: How the group moves the simulator's state. Not needed where observations begin with positions and
            velocities: then the specification itself says so. Otherwise see `rpp_rl.derive.check_robot`.
        policy: Acts on the way to the states; random actions when not given.

    Returns:
        One result for each discrete generator and for each infinitesimal one at each of `ANGLES`.

    Raises:
        ValueError: If the environment does not fit the specification or cannot be put into a chosen state.
    """
    simulator = Simulator(spec.env_id if env is None else env)
    spec.check_spaces(simulator.outer.observation_space, simulator.outer.action_space)
    if mover is None:
        simulator.require_shown_state()
        mover = state_map_of_observation(spec)
    comparison = Comparison(spec, simulator, mover, n_states, np.random.default_rng(seed), policy)
    results = []
    for k, record in enumerate(spec.generators):
        if k < len(spec.group.generators):
            results.append(comparison.check(record.name, spec.group.generator_elements()[k]))
        else:
            half_turn = spec.group.generator_elements(np.pi)[k]
            for angle in ANGLES:
                g = spec.group.generator_elements(float(np.deg2rad(angle)))[k]
                results.append(comparison.check(_at_angle(record, angle), g, half_turn))
    return tuple(results)


def checks_of(record: Generator, checks: Sequence[GeneratorCheck]) -> list[GeneratorCheck]:
    """Those of one generator: one if it is discrete, and one for each of `ANGLES` if it is infinitesimal."""
    names = {record.name, *(_at_angle(record, angle) for angle in ANGLES)}
    return [check for check in checks if check.generator in names]


def _at_angle(record: Generator, angle: float) -> str:
    return f"{record.name} {angle:g}°"


def with_measurements(spec: EnvSpec, checks: Sequence[GeneratorCheck]) -> EnvSpec:
    """The specification with the numbers of a check in place of those it came with.

    Whether the reward is kept is changed only where the dynamics are exact: elsewhere rewards differ because states do.

    Args:
        spec: The specification.
        checks: What `check_spec` gave for it.
    """
    records = []
    for record in spec.generators:
        own = checks_of(record, checks)
        records.append(
            dataclasses.replace(
                record,
                keeps_reward=all(c.keeps_reward for c in own) if all(c.agrees for c in own) else record.keeps_reward,
                error_1_step=max(c.error_1_step for c in own),
                error_20_steps=max(c.error_20_steps for c in own),
                reward_max=max(c.reward_max for c in own),
                termination_mismatches=max(c.termination_mismatches for c in own),
            )
        )
    return dataclasses.replace(spec, generators=tuple(records))


class Comparison:
    """Experiments, run once, with which those of every generator are compared.

    Random actions for `HORIZON` steps; one step from wild states; random actions for one step in free flight; each
    actuator alone, and none, too.
    """

    def __init__(
        self,
        spec: EnvSpec,
        simulator: Simulator,
        mover: Mover,
        n_states: int,
        rng: np.random.Generator,
        policy: Policy | None = None,
    ) -> None:
        self.spec, self.simulator, self.mover = spec, simulator, mover
        actions = np.array([simulator.random_actions(n_states, rng) for _ in range(HORIZON)])
        start = met_states(simulator, n_states, rng, policy=policy)
        # Signs show best where robots move as they do: perturbed velocities drown the small responses of a torso.
        free_start = met_states(simulator, 2 * n_states, rng, policy=policy, perturbed=False)
        # Wild states are always the same: whether a part is ever touched must not depend on the seed.
        n_wild = N_WILD if simulator.size == simulator.n_state else N_WILD_DERIVED
        wild = wild_states(simulator, n_wild, np.random.default_rng(0))
        free_actions = np.resize(actions, (1, 2 * n_states, actions.shape[-1]))
        n_actions = actions.shape[-1]
        low, high = simulator.action_bounds
        single = np.concatenate([np.zeros((1, n_actions)), np.diag(np.where(high != 0, high, low))])
        few = free_start.take(np.tile(np.arange(min(N_ACTUATOR_STATES, 2 * n_states)), n_actions + 1))
        singles = np.repeat(single, len(few) // (n_actions + 1), axis=0)[None]
        # Through the coordinates and back: both sides begin with quaternions of unit length.
        unit = mover(simulator, Element((), (0.0,) * len(spec.group.lie_algebra)))
        experiments = (
            Experiment(start, actions),
            Experiment(wild, np.array([simulator.random_actions(n_wild, np.random.default_rng(1))]), is_brief=True),
            Experiment(free_start, free_actions, is_free=True),
            Experiment(few, singles, is_free=True),
        )
        self.experiments = tuple(experiment.moved(unit, np.eye(n_actions)) for experiment in experiments)
        # What hides behind other bodies touches nothing but when it is alone.
        fixed = () if simulator.size == simulator.n_state else simulator.fixed_bodies
        self.hidden = tuple(self.experiments[1]._replace(touching=bodies) for bodies in (fixed,) if bodies)
        self.hidden_rollouts = tuple(experiment.run(simulator) for experiment in self.hidden)
        self.rollouts = tuple(experiment.run(simulator) for experiment in self.experiments)
        self.n_touching = touching(simulator, start) + touching(simulator, wild)
        blocks, slices = spec.observation.blocks, spec.observation.slices
        self.names = [f"{block.name}, coordinate {i}" for block in blocks for i in range(block.rep.size)]
        self.is_state = np.zeros(spec.obs_rep.size, dtype=bool)
        for block, where in zip(blocks, slices, strict=True):
            self.is_state[where] = max(block.indices) < simulator.n_state

    def check(self, name: str, g: Element, aligned_at: Element | None = None) -> GeneratorCheck:
        """Compare for the element ``g``; free flight is compared for another element of the same generator if given."""
        state_map, control = self.mover(self.simulator, g), self.spec.action_rep.rho(g)
        images = [e.moved(state_map, control).run(self.simulator) for e in self.experiments[:2]]
        kept = [a.stable & b.stable for a, b in zip(self.rollouts, images, strict=False)]
        n_unstable = sum(int((~mask).sum()) for mask in kept)
        if not kept[0].any() or kept[0].mean() < MAX_UNSTABLE:
            raise ValueError(
                f"{self.spec}: the simulation blew up from {int((~kept[0]).sum())} of {len(kept[0])} states; "
                "nothing can be said about the symmetry of an unstable simulation"
            )
        (rollout, image), (wild, wild_image) = (both_stable(*pair) for pair in zip(self.rollouts, images, strict=False))
        seen, actual = self._coordinates(rollout, image, g)
        rewards = [np.abs(rollout.rewards - image.rewards), np.abs(wild.rewards - wild_image.rewards)]
        off = [(a.terminated != b.terminated).sum() for a, b in ((rollout, image), (wild, wild_image))]
        single = np.concatenate([state_map.state_errors(rollout, image), state_map.state_errors(wild, wild_image)])
        typical = np.median(single[:, 1])
        errors = single[:, 0] / np.maximum(np.maximum(single[:, 1], SMALL_CHANGE * typical), 1e-300)
        blocks_1 = self._block_incs(seen, actual, 1)
        seen_wild, actual_wild = self._coordinates(wild, wild_image, g)
        for block, error in self._block_incs(seen_wild, actual_wild, 1).items():
            blocks_1[block] = max(blocks_1[block], error) if error >= EXACT > blocks_1[block] else blocks_1[block]
        alignment, least_aligned = min(
            [
                *self._alignments_of_derived(
                    np.concatenate([seen[1], seen_wild[1]]), np.concatenate([actual[1], actual_wild[1]])
                ),
                *self._alignments_in_free_flight(g if aligned_at is None else aligned_at),
            ]
        )
        power = self._sensitivity(g, state_map, images)
        return GeneratorCheck(
            generator=name,
            n_states=int(kept[0].sum()),
            error_1_step=state_map.inc(rollout, image, 1),
            error_20_steps=state_map.inc(rollout, image, HORIZON),
            blocks_1=blocks_1,
            blocks_20=self._block_incs(seen, actual, HORIZON),
            reward_max=float(max(r.max(initial=0.0) for r in rewards)),
            reward_mean=float(rewards[0][0].mean()),
            termination_mismatches=int(sum(off)),
            alignment=alignment,
            least_aligned=least_aligned,
            median_1=float(np.median(errors)),
            tail_1=float(np.percentile(errors, TAIL)),
            share_exact=float((errors < EXACT).mean()),
            n_wild=int(kept[1].sum()),
            n_unstable=n_unstable,
            n_touching=self.n_touching,
            unexercised=power.unexercised,
            better=power.better,
            remarks=self._remarks(rollout, wild),
        )

    def _sensitivity(self, g: Element, state_map: StateMap, images: Sequence[Rollout]) -> Sensitivity:
        tried = self.experiments[:3], self.rollouts[:3], images
        control = self.spec.action_rep.rho(g)
        hidden = [
            (rollout, experiment.moved(state_map, control).run(self.simulator))
            for rollout, experiment in zip(self.hidden_rollouts, self.hidden, strict=True)
        ]
        trial = SensitivityTrial(self.spec, self.simulator, state_map, g, *tried, self.is_state)
        return trial.sensitivity(hidden)

    def _remarks(self, rollout: Rollout, wild: Rollout) -> tuple[str, ...]:
        remarks = []
        if not (rollout.terminated.any() or wild.terminated.any()):
            remarks.append("no state was terminal")
        if np.ptp(np.concatenate([rollout.rewards.ravel(), wild.rewards.ravel()])) == 0.0:
            remarks.append("the reward is the same everywhere")
        if self.n_touching == 0:
            remarks.append("nothing touched anything")
        return tuple(remarks)

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
        state_map, control = self.mover(self.simulator, g), self.spec.action_rep.rho(g)
        images = [e.moved(state_map, control).run(self.simulator) for e in self.experiments[2:]]
        changes = state_map.changes(self.rollouts[2], images[0])
        kept = self.rollouts[2].stable & images[0].stable
        alignments = [
            (_correlation(changes[0][kept, i], changes[1][kept, i]), state_map.names[i])
            for i in np.flatnonzero(state_map.counted).tolist()
        ]
        n_actions = self.experiments[3].actions.shape[-1]
        responses = [
            x[:, state_map.counted].reshape(n_actions + 1, -1) for x in state_map.ends(self.rollouts[3], images[1])
        ]
        predicted, actual = (response[1:] - response[0] for response in responses)
        return alignments + [
            (_correlation(predicted[j], actual[j]), f"response to action {j}")
            for j in range(n_actions)
            if np.isfinite(predicted[j]).all() and np.isfinite(actual[j]).all()
        ]


def _correlation(a: ndarray, b: ndarray) -> float:
    """Cosine of predicted and actual values; 1 where there is nothing to judge by."""
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if max(norms) < ROUNDING * len(a) or max(_n_events(a), _n_events(b)) < MIN_EVENTS:
        return 1.0
    return float(a @ b) / (norms[0] * norms[1]) if min(norms) > 0.0 else 0.0


def _n_events(x: ndarray) -> float:
    return float((x**2).sum() ** 2 / (x**4).sum()) if x.any() else 0.0
