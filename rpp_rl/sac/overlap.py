"""Training that updates the networks while the environments step in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import RolloutReturn
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rpp_rl.sac.sac import RPPSAC


class OverlappedRPPSAC(RPPSAC):
    """`RPPSAC` whose updates are made between the moment at which actions are sent out and that at which it waits.

    No update is lost: what is owed at the end of `learn` is made then, and a checkpoint remembers it. Every one draws
    from the transitions that it would draw from otherwise; but the actions of a step are chosen before the updates that
    the step before has earned, by a policy that is one round of them older. It pays where the environments are slow and
    have processes of their own (``SubprocVecEnv``).
    """

    _owed: int = 0
    _stepper: _Stepper | None = None

    def learn(self, total_timesteps: int, *args: Any, **kwargs: Any) -> OverlappedRPPSAC:  # noqa: ANN401
        """Learn as `RPPSAC` does; at the end no update is owed."""
        super().learn(total_timesteps, *args, **kwargs)
        self._pay()
        return self

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Owe so many updates; they are made while the environments make their next step."""
        self._owed += gradient_steps

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> RolloutReturn:  # noqa: ANN401
        """Step the environments, and make the updates owed during the first of the steps."""
        if self._stepper is None or self._stepper.venv is not env:
            self._stepper = _Stepper(env, self._pay)
        return super().collect_rollouts(self._stepper, *args, **kwargs)

    def _pay(self) -> None:
        if self._owed:
            owed, self._owed = self._owed, 0
            super().train(owed, self.batch_size)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_stepper"]


class _Stepper(VecEnvWrapper):
    """Does something else while the environments step."""

    def __init__(self, venv: VecEnv, meanwhile: Callable[[], None]) -> None:
        super().__init__(venv)
        self.meanwhile = meanwhile

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self.venv.step_async(actions)
        self.meanwhile()

    def step_wait(self) -> VecEnvStepReturn:
        return self.venv.step_wait()


def algorithm_for(envs: VecEnv | None) -> type[RPPSAC]:
    """The class that trains fastest in these environments: with overlap where they have processes of their own."""
    return OverlappedRPPSAC if envs is not None and isinstance(envs.unwrapped, SubprocVecEnv) else RPPSAC
