"""The Ant under command: walk with the velocity that is asked for, in any direction relative to the body.

This is how legged robots are trained: observations in body axes, a command for every episode, a reward for following
it. Gymnasium's Ant runs in one direction of the world; here all directions that the symmetry of the body links occur
equally often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco as mujoco_module
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle
from jaxtyping import Float
from numpy import ndarray

mujoco: Any = mujoco_module  # its stubs do not know its functions

FRAME_SKIP = 5
TIME_STEP = 0.01
PAYLOAD_BODY = "aux_1"
"""The body that carries the payload: the upper half of the first leg."""


class AntCommandEnv(MujocoEnv, EzPickle):
    """A four-legged robot that is told how to move.

    Observation, 28 numbers, vectors in the axes of the torso:

    | numbers | quantity | unit |
    |---|---|---|
    | 0 | height of the torso | m |
    | 1-3 | direction of gravity | 1 |
    | 4-6 | velocity | m/s |
    | 7-9 | angular velocity | rad/s |
    | 10-17 | angles of hip and ankle of leg 1 to 4 | rad |
    | 18-25 | their rates | rad/s |
    | 26-27 | commanded velocity, forward and left | m/s |

    Actions are the torques of Gymnasium's Ant. In every step of 0.05 s the reward is

        exp(-2 |v - c|² / |c|² - 0.1 ω_z²) - ctrl_cost_weight |a|²

    with the velocity v in the horizontal axes of the torso, the command c and the angular velocity ω_z about its upward
    axis: 0.14 for standing still and 1 for following without turning. Speed and direction of the command are drawn
    uniformly at the start of an episode, which ends as that of Gymnasium's Ant, when the torso leaves a range of
    heights.

    Args:
        speed_range: Slowest and fastest command [m/s].
        ctrl_cost_weight: Weight of the squared torques.
        healthy_z_range: Lowest and highest torso [m].
        reset_noise_scale: Size of the random changes of the first state.
        payload: Mass that the first leg carries [kg]; it breaks the symmetry of the robot.
        kwargs: Passed on to Gymnasium's ``MujocoEnv`` (``render_mode``, ``width``, ...).

    Raises:
        ValueError: If the speeds are no range of positive numbers or the payload is negative.
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": round(1 / (FRAME_SKIP * TIME_STEP)),
    }

    task_quantities: ClassVar[Mapping[str, str]] = {"command": "command_lin_vel"}
    """What the task remembers, for ``check-spec``."""

    def __init__(
        self,
        speed_range: tuple[float, float] = (0.5, 1.5),
        ctrl_cost_weight: float = 0.02,
        healthy_z_range: tuple[float, float] = (0.2, 1.0),
        reset_noise_scale: float = 0.1,
        payload: float = 0.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        EzPickle.__init__(self, speed_range, ctrl_cost_weight, healthy_z_range, reset_noise_scale, payload, **kwargs)
        if not 0 < speed_range[0] <= speed_range[1]:
            raise ValueError(f"speed_range: expected two positive speeds in order, got {speed_range}")
        if not payload >= 0:
            raise ValueError(f"payload: expected a mass of at least 0 kg, got {payload}")
        self.speed_range, self.ctrl_cost_weight = speed_range, ctrl_cost_weight
        self.healthy_z_range, self.reset_noise_scale = healthy_z_range, reset_noise_scale
        self.command = np.array([speed_range[1], 0.0])
        MujocoEnv.__init__(
            self,
            "ant.xml",
            FRAME_SKIP,
            observation_space=Box(-np.inf, np.inf, (28,), dtype=np.float64),
            default_camera_config={"distance": 4.0, "trackbodyid": 1},
            **kwargs,
        )
        # At the body's centre of mass, so that its moments of inertia stay what they are.
        self.model.body(PAYLOAD_BODY).mass[0] += payload
        mujoco.mj_setConst(self.model, self.data)
        mujoco.mj_resetData(self.model, self.data)

    def step(self, action: Float[ndarray, " action"]) -> tuple[ndarray, float, bool, bool, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Apply torques for 0.05 s."""
        before = self.data.qpos[:2].copy()
        self.do_simulation(action, self.frame_skip)
        observation = self._observation()
        velocity = observation[4:6]
        rate = observation[9]
        error = np.square(velocity - self.command).sum() / np.square(self.command).sum()
        tracking = np.exp(-2 * error - 0.1 * rate**2)
        reward = tracking - self.ctrl_cost_weight * np.square(action, dtype=np.float64).sum()
        info = {
            "x_position": self.data.qpos[0],
            "y_position": self.data.qpos[1],
            "speed": np.linalg.norm(self.data.qpos[:2] - before) / self.dt,
            "reward_tracking": tracking,
        }
        if self.render_mode == "human":
            self.render()
        return observation, float(reward), not self.is_healthy, False, info

    @property
    def is_healthy(self) -> bool:
        """Whether the torso is in its range of heights and every number of the state is finite."""
        low, high = self.healthy_z_range
        return bool(np.isfinite(self.state_vector()).all() and low <= self.data.qpos[2] <= high)

    def reset_model(self) -> Float[ndarray, " 28"]:
        """Draw a state near the standing one, and a command."""
        noise, rng = self.reset_noise_scale, self.np_random
        qpos = self.init_qpos + rng.uniform(-noise, noise, self.model.nq)
        qvel = self.init_qvel + noise * rng.standard_normal(self.model.nv)
        self.set_state(qpos, qvel)
        angle = rng.uniform(-np.pi, np.pi)
        self.command = rng.uniform(*self.speed_range) * np.array([np.cos(angle), np.sin(angle)])
        return self._observation()

    def get_task_state(self) -> dict[str, Float[ndarray, " 2"]]:
        """What the task remembers beside the simulator."""
        return {"command": self.command.copy()}

    def set_task_state(self, state: Mapping[str, Float[ndarray, " 2"]]) -> None:
        """Continue from what `get_task_state` returned."""
        self.command = np.array(state["command"])

    def _observation(self) -> Float[ndarray, " 28"]:
        qpos, qvel = self.data.qpos, self.data.qvel
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, qpos[3:7] / np.linalg.norm(qpos[3:7]))
        rotation = rotation.reshape(3, 3)
        # Axes of the torso are the columns; MuJoCo gives angular velocities of free joints in them already.
        return np.concatenate(
            [qpos[2:3], -rotation[2], qvel[:3] @ rotation, qvel[3:6], qpos[7:], qvel[6:], self.command]
        )
