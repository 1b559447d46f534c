"""How an agent is asked for: the environment once, the symmetry by a name, by a file or by value, and its prior."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch.optim import Adam, AdamW

import envs_reps
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.nn import Mode, residual_decay
from rpp_rl.nn.prior import UNKNOWN_ERROR

REWARD_ERROR = 0.3
"""What a symmetry that changes the reward counts as at least, as an error of the dynamics would."""


def policy_and_env(
    policy: Any,  # noqa: ANN401
    env: Any,  # noqa: ANN401
    policies: Collection[str],
) -> tuple[Any, Any]:
    """Tell policy and environment apart: Stable-Baselines3's order is policy, environment; one may be left out.

    Args:
        policy: The first argument.
        env: The second.
        policies: Names of policies.
    """
    is_policy = isinstance(policy, type) or (isinstance(policy, str) and policy in policies)
    return (policy, env) if is_policy or env is not None else ("RPPPolicy", policy)


def with_symmetry(
    policy_kwargs: dict[str, Any] | None, env: GymEnv | str | None, spec: EnvSpec | str | Path | None, mode: Mode | None
) -> dict[str, Any]:
    """The arguments of the policy with the symmetry in them, by value.

    Raises:
        ValueError: If the symmetry is given twice, or the environment has none of this name.
        OSError: If the file of a specification cannot be read.
    """
    kwargs = dict(policy_kwargs or {})
    for name, value in (("spec", spec), ("mode", mode)):
        if value is not None:
            if kwargs.get(name) not in (None, value):
                raise ValueError(f"{name} is given twice, as an argument and in policy_kwargs; leave one of them out")
            kwargs[name] = value
    given = kwargs.get("spec")
    if isinstance(given, str | Path) and Path(given).suffix in (".yaml", ".yml"):
        given = envs_reps.load_spec(given)
    elif isinstance(given, str | Path):
        env_id = _env_id(env)
        if env_id is None:
            raise ValueError(f"spec={given!r} names a group, but the environment has no id: give an EnvSpec or a file")
        given = envs_reps.load_spec(env_id, str(given))
    elif "spec" not in kwargs and kwargs.get("mode") != "mlp":
        env_id = _env_id(env)
        given = envs_reps.load_spec(env_id) if env_id in envs_reps.env_ids() else None
    if isinstance(given, EnvSpec):
        given = given.to_dict()
    return kwargs if given is None else {**kwargs, "spec": given}


def trusting_decay(
    given: float | Literal["auto"] | None, residual_var: float | None, policy_kwargs: dict[str, Any] | None
) -> float | None:
    """The decay of a residual pathway: what was given or, if that is ``"auto"``, one that trusts the symmetry.

    One prior is enough: beside a Gaussian, a decay that was left open is none.

    Args:
        given: The setting.
        residual_var: Variance of the Gaussian prior of the same pathway.
        policy_kwargs: The arguments of the policy, with the symmetry by value.
    """
    if given != "auto":
        return given
    kwargs = policy_kwargs or {}
    is_adam = kwargs.get("optimizer_class", Adam) in (Adam, AdamW)
    is_soft = kwargs.get("spec") is not None and kwargs.get("mode", "rpp") == "rpp"
    if residual_var is not None or not is_soft or not is_adam:
        return None
    return residual_decay(trusted_error(EnvSpec.from_dict(kwargs["spec"])))


def trusted_error(spec: EnvSpec) -> float:
    """The measured error of a symmetry, as the prior counts it: `EnvSpec.error` with what is not in it."""
    error = UNKNOWN_ERROR if spec.error is None else spec.error
    return error if spec.keeps_reward else max(error, REWARD_ERROR)


def _env_id(env: GymEnv | str | None) -> str | None:
    if isinstance(env, str):
        return env
    if env is None:
        return None
    record = env.get_attr("spec", 0)[0] if isinstance(env, VecEnv) else env.spec
    return None if record is None else record.id
