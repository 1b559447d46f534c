"""Numbers that are not finite end a command in one clear line, whether the simulation or the training made them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rpp_rl.io.border import UserError
from rpp_rl.sac import RPPSAC


@contextmanager
def naming_divergence(model: RPPSAC) -> Iterator[None]:
    """Say that a training has diverged where torch says that the parameter of a distribution is wrong.

    Raises:
        UserError: In place of a ValueError, if the agent has a weight that is not finite.
    """
    try:
        yield
    except ValueError as error:
        if all(bool(torch.isfinite(weights).all()) for weights in model.policy.parameters()):
            raise
        raise UserError(
            f"after {model.num_timesteps} steps the agent's weights are not finite: its training has diverged; "
            "use a lower learning_rate or an earlier checkpoint"
        ) from error


class FiniteVecEnv(VecEnvWrapper):
    """Stops a run at the first number that is not finite, before it enters the replay buffer."""

    def __init__(self, envs: VecEnv, env_id: str) -> None:
        super().__init__(envs)
        self.env_id = env_id
        self.n_steps = 0

    def reset(self) -> VecEnvObs:
        """Reset all environments.

        Raises:
            UserError: If an observation is not finite.
        """
        obs = self.venv.reset()
        self._check("observation", obs)
        return obs

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
        return obs, rewards, dones, infos

    def _check(self, name: str, values: Any) -> None:  # noqa: ANN401
        if not np.isfinite(values).all():
            index = int(np.argwhere(~np.isfinite(np.atleast_1d(values)))[0, -1])
            raise UserError(
                f"{self.env_id}: expected finite numbers, got {np.atleast_1d(values)[..., index].max()} in the {name} "
                f"at index {index} after {self.n_steps} steps; the simulation has blown up or the environment is wrong"
            )
