"""Numbers that are not finite end a command in one clear line, whether the simulation or the training made them."""

import sys
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from tqdm import tqdm

from rpp_rl.io.border import UserError

HUGE = 1e6
"""Size of numbers of which it is warned: networks learn little from them, and their squares soon overflow."""


class FiniteVecEnv(VecEnvWrapper):
    """Stops a run at the first number that is not finite, before it enters the replay buffer.

    Attributes:
        has_failed: Whether an error came out of the environments, so that they do not wait for the next action.
    """

    def __init__(self, envs: VecEnv, env_id: str) -> None:
        super().__init__(envs)
        self.env_id = env_id
        self.n_steps = 0
        self.has_failed = False
        self.has_warned = False

    def reset(self) -> VecEnvObs:
        """Reset all environments.

        Raises:
            UserError: If an observation is not finite.
        """
        self.has_failed = True
        obs = self.venv.reset()
        self._check("observation", obs)
        self.has_failed = False
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Begin a step."""
        self.has_failed = True
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """End a step.

        Raises:
            UserError: If an observation or a reward is not finite.
        """
        obs, rewards, dones, infos = self.venv.step_wait()
        self.n_steps += 1
        self._check("observation", obs)
        self._check("reward", rewards)
        for info in infos:
            self._check("observation", info.get("terminal_observation", 0.0))
        self.has_failed = False
        return obs, rewards, dones, infos

    def _check(self, name: str, values: Any) -> None:  # noqa: ANN401
        largest = np.abs(values).max()
        if largest < HUGE:
            return
        if not np.isfinite(values).all():
            index = int(np.argwhere(~np.isfinite(np.atleast_1d(values)))[0, -1])
            raise UserError(
                f"{self.env_id}: expected finite numbers, got {np.atleast_1d(values)[..., index].max()} in the {name} "
                f"at index {index} after {self.n_steps} steps; the simulation has blown up or the environment is wrong"
            )
        if not self.has_warned:
            self.has_warned = True
            with tqdm.external_write_mode(file=sys.stderr):
                print(
                    f"warning: {self.env_id}: the {name} reached {largest:.1e} after {self.n_steps} steps; numbers so "
                    "large are hard to learn from and may make the training diverge",
                    file=sys.stderr,
                    flush=True,
                )
