"""The simulator's word on each symmetry: one step from random states and from their images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.derive.motions import vertical
from rpp_rl.derive.observation import ObservationParts
from rpp_rl.derive.robot import FREE, SLIDE, Robot
from rpp_rl.derive.symmetries import RobotSymmetry
from rpp_rl.envs.check import EXACT
from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.envs.simulator import Rollout, Simulator

N_STATES = 60
"""Random states in which every symmetry is tried."""
STEP = 0.01
"""Seconds between two observations of a model without an environment, if its time step is shorter."""
MAX_SKIPPED = 3
"""Leading positions that an observation may leave out."""
ROUNDING = 1e-12
"""Differences of rewards smaller than this are none."""


@dataclass(frozen=True)
class Trial:
    """How a symmetry did in the simulator.

    Attributes:
        inc_1: Error of positions and velocities after one step, relative to their increment.
        inc_n: The same after the last step, where the first one left open whether the symmetry is exact.
        reward: Mean difference of rewards, relative to their spread.
        terminations: Share of the states in which only one side terminated.
    """

    inc_1: float
    inc_n: float | None
    reward: float
    terminations: float

    @property
    def worst(self) -> float:
        """The larger one of the errors."""
        return max(self.inc_1, self.inc_n or 0.0)


class BareModel(MujocoEnv):
    """A model without a task: observes positions, without the place on the ground, and velocities; no reward.

    Args:
        path: The MJCF file.

    Attributes:
        name: The name of the file.
        n_skipped: Number of leading positions that are not observed.

    Raises:
        ValueError: If the file holds no model, or one without joints or actuators.
        OSError: If there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        super().__init__(str(path.absolute()), 1, Box(-np.inf, np.inf, (1,), np.float64))
        if min(self.model.njnt, self.model.nu) == 0:
            raise ValueError(
                f"{path}: expected a robot with joints and actuators, got {self.model.njnt} joints and "
                f"{self.model.nu} controls"
            )
        self.frame_skip = max(1, round(STEP / self.model.opt.timestep))
        self.n_skipped = place_size(Robot(self.model))
        # The range of an unlimited control has no effect; random ones are drawn from it.
        self.model.actuator_ctrlrange[self.model.actuator_ctrllimited == 0] = (-1.0, 1.0)
        self._set_action_space()
        size = self.model.nq - self.n_skipped + self.model.nv
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

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
    parts: ObservationParts,
    elements: Iterable[RobotSymmetry | None],
    n_steps: int = 1,
    *,
    seed: int = 0,
) -> Iterator[Trial | None]:
    """Try symmetries in the simulator, all in the same states.

    Args:
        simulator: The environment.
        parts: What its observation is made of.
        elements: Symmetries; None is not tried.
        n_steps: Number of steps after which to compare too what looks exact after the first one.
        seed: Seed of states and actions.

    Raises:
        ValueError: If the environment is not driven by the model's controls.
    """
    env = simulator.env
    if env.action_space.shape != (env.model.nu,):
        raise ValueError(
            f"expected actions that are the {env.model.nu} controls of the model, got the space {env.action_space}"
        )
    rng = np.random.default_rng(seed)
    layout = parts.layout
    coordinates = to_rep(layout, simulator.states(N_STATES, rng))
    actions = np.array([simulator.random_actions(N_STATES, rng) for _ in range(n_steps)])
    rollout = simulator.rollout(from_rep(layout, coordinates), actions)
    n_state = sum(b.rep.size for b in layout.blocks if max(b.indices) < simulator.n_state)
    seen = to_rep(layout, rollout.obs)[..., :n_state]
    for element in elements:
        if element is None:
            yield None
            continue
        matrix, control = parts.matrix(element), element.control
        start, on_state = from_rep(layout, coordinates @ matrix.T), matrix[:n_state, :n_state]
        image = simulator.rollout(start, actions[:1] @ control.T)
        inc_1, inc_n = _inc(seen, to_rep(layout, image.obs)[..., :n_state], on_state, 1), None
        if n_steps > 1 and inc_1 < EXACT:
            longer = simulator.rollout(start, actions @ control.T)
            inc_n = _inc(seen, to_rep(layout, longer.obs)[..., :n_state], on_state, n_steps)
        yield Trial(inc_1, inc_n, *_task_errors(rollout, image))


def _inc(seen: ndarray, image: ndarray, matrix: ndarray, step: int) -> float:
    error, change = seen[step] @ matrix.T - image[step], seen[step] - seen[0]
    return float(np.sqrt((error**2).sum() / max((change**2).sum(), 1e-300)))


def _task_errors(rollout: Rollout, image: Rollout) -> tuple[float, float]:
    """Mean difference of the rewards of the first step in units of their spread, share of differing terminations."""
    rewards = rollout.rewards[0]
    off = float(np.abs(rewards - image.rewards[0]).mean())
    spread = float(np.abs(rewards - rewards.mean()).mean())
    share = float((rollout.terminated[0] != image.terminated[0]).mean())
    return off / max(spread, 1e-300) if off > ROUNDING else 0.0, share
