"""A robot of one's own: the environment around ``robot.xml``."""

from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box


class MyRobot(MujocoEnv):
    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 40}

    def __init__(self, **kwargs):
        path = Path(__file__).with_name("robot.xml")
        super().__init__(str(path), 5, observation_space=None, camera_name="track", **kwargs)
        size = len(self.observation())
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def observation(self):
        return np.concatenate([self.data.qpos[2:], self.data.qvel])

    def step(self, action):
        x = self.data.qpos[0]
        self.do_simulation(action, self.frame_skip)
        return self.observation(), (self.data.qpos[0] - x) / self.dt, False, False, {}

    def reset_model(self):
        self.set_state(self.init_qpos + 0.01 * self.np_random.normal(size=self.model.nq), self.init_qvel)
        return self.observation()


gymnasium.register("MyRobot-v0", f"{__name__}:MyRobot", max_episode_steps=1000)
