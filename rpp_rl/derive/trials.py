"""The simulator's word on each symmetry: one step from random states and from their images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.derive.describing import task_matrix
from rpp_rl.derive.motions import vertical
from rpp_rl.derive.observation import state_parts
from rpp_rl.derive.robot import FREE, HINGE, PLANE, SLIDE, Robot
from rpp_rl.derive.symmetries import RobotSymmetry
from rpp_rl.derive.zero import measure_from
from rpp_rl.envs.check import SMALL_CHANGE
from rpp_rl.envs.sensitivity import Experiment
from rpp_rl.envs.simulator import Rollout, Simulator, both_stable
from rpp_rl.envs.spec import EXACT
from rpp_rl.envs.state_map import StateMap
from rpp_rl.envs.states import met_states, wild_states

N_STATES = 60
"""States met on the way in which every symmetry is tried."""
N_WILD = 60
"""Wild ones, see `rpp_rl.envs.states`."""
SEED = 0
"""Of the states met on the way, which are always the same: a robot has one group."""
STEP, MAX_SUBSTEPS = 0.01, 20
"""Seconds between two observations of a model without an environment, if its time step is shorter, and how many of
those at most: an insect's is a hundredth of this."""
MAX_SKIPPED = 3
"""Leading positions that an observation may leave out."""
ROUNDING = 1e-12
"""Differences of rewards smaller than this are none."""


@dataclass(frozen=True)
class Trial:
    """How a symmetry did in the simulator.

    Attributes:
        error_1_step: Error of positions and velocities after one step, relative to their increment.
        error_n_steps: The same after the last step, where the first one left open whether the symmetry is exact.
        typical: Root mean square of the single states' errors, each counted as 1 at most: unlike `error_1_step` it does
            not hang on a few violent contacts.
        median: Median of the single states' errors.
        share_exact: Share of the states in which a step is exact, wild ones included.
        reward: Mean difference of rewards, relative to their spread.
        terminations: Share of the states in which only one side terminated.
        n_unstable: States that were dropped because the simulation blew up, and
        n_states: of how many.
    """

    error_1_step: float
    error_n_steps: float | None
    typical: float
    median: float
    share_exact: float
    reward: float
    terminations: float
    n_unstable: int = 0
    n_states: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether rounding explains every error."""
        return max(self.error_1_step, self.error_n_steps or 0.0) < EXACT and self.share_exact == 1.0


class BareModel(MujocoEnv):
    """A model without a task: observes positions, without the place on the ground, and velocities; no reward.

    Args:
        path: The MJCF or URDF file.
        ground: Whether to add a plane at height 0, for a file without its scene.
        motors: Whether every hinge and slide gets a motor, for a file without actuators.
        keyframe: The keyframe at which to begin; the rest pose if not named.
        zero: The pose, in degrees and metres, from which hinges and slides are measured; that of the file if not given.

    Attributes:
        name: The name of the file.
        n_skipped: Number of leading positions that are not observed.

    Raises:
        ValueError: If the file holds no model, or one without joints or actuators, or no keyframe of this name, or its
            joints cannot be measured from that pose.
        OSError: If there is no such file.
    """

    def __init__(
        self,
        path: Path,
        *,
        ground: bool = False,
        motors: bool = False,
        keyframe: str | None = None,
        zero: Sequence[float] | None = None,
    ) -> None:
        self.name, self.has_ground, self.has_motors = path.name, ground, motors
        super().__init__(str(path.absolute()), 1, Box(-np.inf, np.inf, (1,), np.float64))
        if min(self.model.njnt, self.model.nu) == 0:
            raise ValueError(
                f"{path}: expected a robot with joints and actuators, got {self.model.njnt} joints and "
                f"{self.model.nu} controls; --motors gives every joint a motor"
            )
        if zero is not None:
            measure_from(self.model, zero)
            self.init_qpos[:] = self.model.qpos0
        self.frame_skip = min(max(1, round(STEP / self.model.opt.timestep)), MAX_SUBSTEPS)
        robot = Robot(self.model)
        self.n_skipped = place_size(robot)
        if keyframe is not None:
            key = robot.index("key", keyframe)
            self.init_qpos[:], self.init_qvel[:] = self.model.key_qpos[key], self.model.key_qvel[key]
        # The range of an unlimited control has no effect; random ones are drawn from it.
        self.model.actuator_ctrlrange[self.model.actuator_ctrllimited == 0] = (-1.0, 1.0)
        self._set_action_space()
        size = self.model.nq - self.n_skipped + self.model.nv
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def _initialize_simulation(self) -> tuple[Any, Any]:
        if not (self.has_ground or self.has_motors):
            return super()._initialize_simulation()
        spec = mujoco.MjSpec.from_file(self.fullpath)  # pyright: ignore[reportAttributeAccessIssue]
        if self.has_ground:
            spec.worldbody.add_geom(name="added ground", type=PLANE, size=[50, 50, 1])
        for number, joint in enumerate(spec.joints if self.has_motors else ()):
            if int(joint.type) in (HINGE, SLIDE):
                joint.name = joint.name or f"joint {number}"
                motor = spec.add_actuator(name=f"motor of {joint.name}", target=joint.name)
                motor.trntype = mujoco.mjtTrn.mjTRN_JOINT  # pyright: ignore[reportAttributeAccessIssue]
        model = spec.compile()
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]

    def step(self, action: ndarray) -> tuple[ndarray, Any, bool, bool, dict[str, Any]]:
        """Step the model; there is no reward and no end."""
        self.do_simulation(action, self.frame_skip)
        return self._observation(), 0.0, False, False, {}

    def reset_model(self) -> Float[ndarray, " n"]:
        """Begin near the rest pose."""
        noise = (
            self.np_random.normal(scale=0.05, size=self.model.nq),
            self.np_random.normal(scale=0.1, size=self.model.nv),
        )
        self.set_state(self.init_qpos + noise[0], self.init_qvel + noise[1])
        return self._observation()

    def _observation(self) -> Float[ndarray, " n"]:
        return np.concatenate([self.data.qpos[self.n_skipped :], self.data.qvel])


def place_size(robot: Robot) -> int:
    """How many leading positions say only where on the ground the robot is: x and y, or horizontal slides."""
    model = robot.model
    if model.njnt and model.jnt_type[0] == FREE:
        return 2
    count, up = 0, vertical(robot)
    for j in robot.joints(int(model.jnt_bodyid[0])):
        is_horizontal = abs(robot.axis[j] @ up) < 1e-9
        if model.jnt_type[j] != SLIDE or not is_horizontal or model.jnt_limited[j] or count == MAX_SKIPPED:
            break
        count += 1
    return count


def trials(
    simulator: Simulator,
    elements: Iterable[RobotSymmetry | None],
    action_matrix: Callable[[RobotSymmetry], ndarray],
    n_steps: int = 1,
) -> Iterator[Trial | None]:
    """Try symmetries in the simulator, all in the same states.

    Args:
        simulator: The environment.
        elements: Symmetries; None is not tried.
        action_matrix: How a symmetry moves the environment's actions.
        n_steps: Number of steps after which to compare too what looks exact after the first one.
    """
    rng = np.random.default_rng(SEED)
    start, wild = met_states(simulator, N_STATES, rng), wild_states(simulator, N_WILD, np.random.default_rng(0))
    actions = np.array([simulator.random_actions(N_STATES, rng) for _ in range(n_steps)])
    wild_actions = simulator.random_actions(N_WILD, np.random.default_rng(1))[None]
    experiments = Experiment(start, actions[:1]), Experiment(wild, wild_actions, is_brief=True)
    rollouts = [experiment.run(simulator) for experiment in experiments]
    long, long_rollout = Experiment(start, actions), None
    for element in elements:
        if element is None:
            yield None
            continue
        state_map = state_map_of(element, simulator)
        images = [e.moved(state_map, action_matrix(element)).run(simulator) for e in experiments]
        single = np.concatenate([_errors(state_map, *pair) for pair in zip(rollouts, images, strict=True)])
        n_states, met = N_STATES + N_WILD, _errors(state_map, rollouts[0], images[0])
        if not len(met):
            yield Trial(np.inf, None, np.inf, np.inf, 0.0, 0.0, 0.0, n_states - len(single), n_states)
            continue
        error_1_step, error_n_steps = state_map.inc(*both_stable(rollouts[0], images[0]), 1), None
        if n_steps > 1 and error_1_step < EXACT and single.max() < EXACT:
            long_rollout = long.run(simulator) if long_rollout is None else long_rollout
            image = long.moved(state_map, action_matrix(element)).run(simulator)
            error_n_steps = state_map.inc(*both_stable(long_rollout, image), n_steps)
        share = float((single < EXACT).mean())
        # Wild states are to prove exactness; how good a near symmetry is show the ones that a robot meets.
        typical = float(np.sqrt((np.minimum(met, 1.0) ** 2).mean()))
        task = _task_errors(rollouts[0], images[0])
        yield Trial(
            error_1_step, error_n_steps, typical, float(np.median(met)), share, *task, n_states - len(single), n_states
        )


def state_map_of(element: RobotSymmetry, simulator: Simulator) -> StateMap:
    """How a symmetry moves the states of a simulator, those of its task included.

    Raises:
        ValueError: If the task remembers a quantity of a kind that is not known.
    """
    parts = state_parts(element.robot, 0)
    counted = np.arange(parts.layout.rep.size) >= (simulator.n_skipped if simulator.shows_state else 0)
    kinds = {} if simulator.task is None else simulator.task.task_quantities
    task = {name: task_matrix(kind, element) for name, kind in kinds.items()}
    return StateMap(parts.layout, parts.matrix(element), task, counted)


def _errors(state_map: StateMap, rollout: Rollout, image: Rollout) -> Float[ndarray, " n"]:
    """Of the single states that did not blow up."""
    errors, changes = state_map.state_errors(*both_stable(rollout, image)).T
    return errors / np.maximum(np.maximum(changes, SMALL_CHANGE * np.median(changes)), 1e-300)


def _task_errors(rollout: Rollout, image: Rollout) -> tuple[float, float]:
    """Mean difference of the rewards of the first step in units of their spread, share of differing terminations."""
    rollout, image = both_stable(rollout, image)
    rewards = rollout.rewards[0]
    off = float(np.abs(rewards - image.rewards[0]).mean())
    spread = float(np.abs(rewards - rewards.mean()).mean())
    share = float((rollout.terminated[0] != image.terminated[0]).mean())
    return off / max(spread, 1e-300) if off > ROUNDING else 0.0, share
