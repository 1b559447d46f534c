"""How an agent is asked for: the environment once, the symmetry by a name, by a file or by value."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

import envs_reps
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.nn import Mode


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


def _env_id(env: GymEnv | str | None) -> str | None:
    if isinstance(env, str):
        return env
    if env is None:
        return None
    record = env.get_attr("spec", 0)[0] if isinstance(env, VecEnv) else env.spec
    return None if record is None else record.id
