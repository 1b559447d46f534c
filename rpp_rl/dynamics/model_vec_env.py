"""`ModelEnv` as a ``VecEnv`` of Stable-Baselines3, whose algorithms train in it as in any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Wrapper
from jaxtyping import Float
from numpy import ndarray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from rpp_rl.dynamics.model_env import ModelEnv


class ModelVecEnv(VecEnv):
    """The copies of a `ModelEnv`. As SB3 expects, an episode that ends is followed by the next one in the same step.

    The last observation of an episode is ``info["terminal_observation"]``; ``info["diverged"]`` says that the model's
    prediction was not believed, see `ModelEnv`.

    Args:
        env: The model's environment, which belongs to this object from now on.
    """

    def __init__(self, env: ModelEnv) -> None:
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: Float[ndarray, "num_envs action"] | None = None

    def reset(self) -> Float[ndarray, "num_envs obs"]:
        """Begin new episodes in all copies; the first of the seeds given by ``seed`` is that of all of them."""
        obs, _ = self.env.reset(seed=self._seeds[0])
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: Float[ndarray, "num_envs action"]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all copies, and begin a new episode in those whose last one is over.

        Raises:
            ResetNeeded: Before the first `reset`.
        """
        assert self._actions is not None
        obs, rewards, terminated, truncated, details = self.env.step(self._actions)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [
            {"diverged": bool(diverged), "TimeLimit.truncated": bool(is_truncated)}
            for diverged, is_truncated in zip(details["diverged"], truncated, strict=True)
        ]
        for k in np.flatnonzero(dones):
            infos[k]["terminal_observation"] = obs[k]
        if dones.any():
            obs = self.env.begin(dones)
        return obs, rewards, dones, infos

    def close(self) -> None:
        """Release the model."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the model's environment, once for each copy."""
        return [getattr(self.env, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ANN401
        """Set an attribute of the model's environment, which all copies share.

        Raises:
            ValueError: If it is to be set in some of them only.
        """
        if len(self._chosen(indices)) != self.num_envs:
            raise ValueError("the copies share one model: attributes are set in all of them")
        setattr(self.env, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,  # noqa: ANN401
        indices: VecEnvIndices = None,
        **method_kwargs: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Call a method of the model's environment once; all copies share the answer."""
        return [getattr(self.env, method_name)(*method_args, **method_kwargs)] * len(self._chosen(indices))

    def env_is_wrapped(self, wrapper_class: type[Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """No copy is wrapped."""
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: VecEnvIndices) -> Sequence[int]:
        return list(self._get_indices(indices))
