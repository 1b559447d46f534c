"""Checks of specifications whose observations do not show the state: the robot's own symmetries move it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy import ndarray
from scipy.linalg import expm, logm

from rpp_rl.derive.quantities import NoLinearMapError
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.symmetries import ANY_TURN, find_symmetries, identity
from rpp_rl.derive.trials import state_map_of
from rpp_rl.envs.check import GeneratorCheck, Mover, check_spec
from rpp_rl.envs.check_report import CheckReport
from rpp_rl.envs.coordinates import to_rep
from rpp_rl.envs.sensitivity import Experiment
from rpp_rl.envs.simulator import Simulator, both_stable, is_settable
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.envs.state_map import StateMap, state_map_of_observation
from rpp_rl.envs.states import Policy, met_states, wild_states
from rpp_rl.envs.statistical import check_statistically
from rpp_rl.symmetry import Element

N_STATES, N_WILD = 4, 4
"""States in which it is tried which symmetry of the robot a generator is."""
PER_STATE = 60
"""Transitions for each of the states asked for, where no state can be chosen."""


def check_robot(
    spec: EnvSpec,
    env: gymnasium.Env[Any, Any] | None = None,
    *,
    n_states: int = 100,
    seed: int = 0,
    policy: Policy | None = None,
) -> tuple[GeneratorCheck, ...]:
    """Check a specification of any environment on MuJoCo, whatever its observation.

    Where the observation begins with positions and velocities, the specification says how these are moved. Otherwise
    the symmetries of the model are found, and of those the one is taken for each generator that fits best; what the
    task remembers is moved if the environment tells it (see `rpp_rl.envs.simulator.TaskState`).

    Args:
        spec: The specification.
        env: The environment; made of the spec's id when not given.
        n_states: Number of states met on the way.
        seed: Seed of states and actions.
        policy: Acts on the way to the states; random actions when not given.

    Raises:
        ValueError: If the environment does not fit the specification or cannot be put into a chosen state.
    """
    simulator = Simulator(spec.env_id if env is None else env)
    spec.check_spaces(simulator.outer.observation_space, simulator.outer.action_space)
    mover = mover_of(spec, simulator)
    return check_spec(spec, simulator.outer, n_states=n_states, seed=seed, mover=mover, policy=policy)


def mover_of(spec: EnvSpec, simulator: Simulator) -> Mover:
    """How the group of a specification moves the states of its environment."""
    if simulator.shows_state and simulator.task is None:
        return state_map_of_observation(spec)
    return _Moved.by_best_symmetries(spec, simulator)


def check_environment(
    spec: EnvSpec, env: gymnasium.Env[Any, Any], *, n_states: int = 100, seed: int = 0
) -> CheckReport:
    """Check a specification in the simulator, or, where no state can be chosen, by a model of transitions.

    Args:
        spec: The specification.
        env: The environment.
        n_states: Number of states met on the way; `PER_STATE` times as many transitions where none can be chosen.
        seed: Seed of states and actions.

    Raises:
        ValueError: If the environment does not fit the specification.
    """
    if is_settable(env):
        return CheckReport.of_simulator(spec, check_robot(spec, env, n_states=n_states, seed=seed))
    checks = check_statistically(spec, env, n_transitions=PER_STATE * n_states, seed=seed)
    return CheckReport.of_transitions(spec, checks)


@dataclass(frozen=True)
class _Turn:
    """The infinitesimal turn of the world about the vertical, on states and on what the task remembers."""

    matrix: ndarray
    task: dict[str, ndarray]

    @staticmethod
    def of(state_map: StateMap) -> _Turn:
        angle = np.radians(ANY_TURN)
        task = {name: np.real(logm(matrix)) / angle for name, matrix in state_map.task.items()}
        return _Turn(np.real(logm(state_map.matrix)) / angle, task)


@dataclass(frozen=True)
class _Moved:
    """Moves states as products of the maps that belong to the generators."""

    discrete: tuple[StateMap, ...]
    turn: _Turn | None
    unit: StateMap

    @staticmethod
    def by_best_symmetries(spec: EnvSpec, simulator: Simulator) -> _Moved:
        robot = Robot(simulator.env.model)
        maps = [state_map_of(identity(robot), simulator)]
        turn: _Turn | None = None
        for element in find_symmetries(robot):
            try:
                state_map = state_map_of(element, simulator) if element.has_maps else None
            except NoLinearMapError:
                state_map = None
            if state_map is not None and element.turn is None:
                maps.append(state_map)
            elif state_map is not None and element.turn == ANY_TURN:
                turn = _Turn.of(state_map)
        best = _best(spec, simulator, maps)
        return _Moved(tuple(maps[i] for i in best), turn, maps[0])

    def __call__(self, simulator: Simulator, g: Element) -> StateMap:
        matrix, task = self.unit.matrix, dict(self.unit.task)
        for k in g.word:
            matrix = matrix @ self.discrete[k].matrix
            task = {name: task[name] @ self.discrete[k].task[name] for name in task}
        for angle in g.angles:
            if angle and (self.turn is None or len(g.angles) > 1):
                raise ValueError("this infinitesimal generator is no turn of the world, so it cannot be checked here")
            if angle and self.turn is not None:
                matrix = matrix @ expm(angle * self.turn.matrix)
                task = {name: task[name] @ expm(angle * self.turn.task[name]) for name in task}
        return StateMap(self.unit.layout, matrix, task, self.unit.counted)


def _best(spec: EnvSpec, simulator: Simulator, maps: Sequence[StateMap]) -> list[int]:
    """For each discrete generator the map of states under which observations and states fit best."""
    rng = np.random.default_rng(0)
    few = met_states(simulator, N_STATES, rng), wild_states(simulator, N_WILD, rng)
    experiments = [
        Experiment(states, simulator.random_actions(len(states), rng)[None], is_brief=k == 1)
        for k, states in enumerate(few)
    ]
    rollouts = [experiment.run(simulator) for experiment in experiments]
    best = []
    for k in range(len(spec.group.generators)):
        rho, control = spec.obs_rep.generators[k], spec.action_rep.generators[k]
        errors = []
        for state_map in maps:
            error = 0.0
            for experiment, rollout in zip(experiments, rollouts, strict=True):
                image = experiment.moved(state_map, control).run(simulator)
                rollout_kept, image = both_stable(rollout, image)
                seen, actual = (to_rep(spec.observation, r.obs[1]) for r in (rollout_kept, image))
                off = np.linalg.norm(seen @ rho.T - actual, axis=0)
                scale = np.maximum(np.linalg.norm(seen @ rho.T, axis=0), np.linalg.norm(actual, axis=0))
                error += float(np.divide(off, scale, out=np.zeros_like(off), where=scale > 0).sum())
                error += min(state_map.inc(rollout_kept, image, 1), 2.0)
            errors.append(error)
        best.append(int(np.argmin(errors)))
    return best
