"""The same robot as its sensors see it: gravity and gyroscope in body axes, joint angles and rates, the last action."""

import gymnasium
import numpy as np
from my_robot import MyRobot


class MySensors(MyRobot):
    def observation(self):
        world_to_body = self.data.body("trunk").xmat.reshape(3, 3).T
        gravity = world_to_body @ [0.0, 0.0, -1.0]
        gyro = self.data.qvel[3:6]  # MuJoCo gives the angular velocity of a free body in body axes
        return np.concatenate([gravity, gyro, self.data.qpos[7:], self.data.qvel[6:], self.data.ctrl])


gymnasium.register("MySensors-v0", f"{__name__}:MySensors", max_episode_steps=1000)
