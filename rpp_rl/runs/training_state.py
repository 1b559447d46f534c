"""What a training needs besides networks and transitions to go on as if it had not stopped, bit for bit.

That is the state of every random generator, where the environments stand, and the observations that were seen last.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from rpp_rl.model_based import ModelBasedRPPSAC
from rpp_rl.sac import RPPSAC


def capture_training(model: RPPSAC, *, is_between_steps: bool = True) -> tuple[Any, str | None]:
    """Everything as a tree of plain values, and why the environments are not in it, if they are not.

    Args:
        model: The agent.
        is_between_steps: Whether its environments wait for the next action; after an error they may not.
    """
    state: dict[str, Any] = {
        "torch": torch.get_rng_state().numpy(),
        "numpy": np.random.get_state(),  # noqa: NPY002 (SB3 draws from it)
        "python": random.getstate(),
        "action_space": _generator_state(model),
        "episode_starts": model._last_episode_starts,
        "last_obs": model._last_obs,
    }
    if isinstance(model, ModelBasedRPPSAC):
        state["model_based"] = model.world_state()
    if model.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(model.device).numpy()
    envs, reason = None, "it failed in the middle of a step"
    if is_between_steps:
        envs, reason = _capture_envs(model.get_env())
    return {**state, "envs": envs, "reason": reason}, reason


def restore_training(model: RPPSAC, state: Any, envs: VecEnv, seed: int) -> str | None:  # noqa: ANN401
    """Continue where `capture_training` was called.

    Args:
        model: The agent.
        state: What was captured; None if nothing was, and everything that is random begins anew.
        envs: Its environments.
        seed: Seed for the episodes that begin, where the environments cannot continue theirs.

    Returns:
        Why new episodes begin; None if the old ones continue.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: If the state is none.
    """
    if state is None:
        model.set_random_seed(seed)
        model._last_obs = None
        return "an earlier version of rpp_rl did not write where they stood"
    obs = envs.reset()
    reason = str(state["reason"]) if state["envs"] is None else _restore_envs(envs, state["envs"])
    if reason is None:
        last_obs = state["last_obs"]
        if not isinstance(last_obs, np.ndarray) or last_obs.shape != np.asarray(obs).shape:
            raise ValueError("the last observations are missing or of another shape")
        model._last_obs = last_obs
        model._last_episode_starts = state["episode_starts"]
    else:
        envs.seed(seed)
        model._last_obs = None
    if state["action_space"] is not None:
        model.action_space.np_random.bit_generator.state = state["action_space"]
    if isinstance(model, ModelBasedRPPSAC):
        model.load_world_state(state["model_based"])
    if "cuda" in state and model.device.type == "cuda":
        torch.cuda.set_rng_state(torch.from_numpy(state["cuda"]), model.device)
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(state["torch"]))
    return reason


def _generator_state(model: RPPSAC) -> Any:  # noqa: ANN401
    """The state of the generator that draws the first actions; None if it has not drawn any."""
    generator = model.action_space._np_random
    return None if generator is None else generator.bit_generator.state


def _capture_envs(envs: VecEnv | None) -> tuple[list[Any] | None, str | None]:
    if envs is None:
        return None, "there is none"
    try:
        answers = envs.env_method("capture_state")
    except (AttributeError, EOFError, OSError) as error:  # other environments, or processes that are gone
        return None, f"{type(error).__name__}: {error}"
    reasons = [reason for _, reason in answers if reason is not None]
    return (None, reasons[0]) if reasons else ([tree for tree, _ in answers], None)


def _restore_envs(envs: VecEnv, trees: list[Any]) -> str | None:
    if len(trees) != envs.num_envs:
        return f"there were {len(trees)} of them"
    for index, tree in enumerate(trees):
        (reason,) = envs.env_method("restore_state", tree, indices=[index])
        if reason is not None:
            return reason
    return None
