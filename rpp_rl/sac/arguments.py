"""How an agent is asked for: the environment once, and the symmetry by a name, by a file or by value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def given_once(name: str, argument: Any, in_policy_kwargs: Any) -> Any:  # noqa: ANN401
    """What was given for an argument that may stand in ``policy_kwargs`` too.

    Raises:
        ValueError: If it is given in both places, with different values.
    """
    if argument is None or in_policy_kwargs is None:
        return in_policy_kwargs if argument is None else argument
    if argument != in_policy_kwargs:
        raise ValueError(f"{name} is given twice, as an argument and in policy_kwargs; leave one of them out")
    return argument


def symmetry_kwargs(
    env: GymEnv | str | None, spec: EnvSpec | Mapping[str, Any] | str | Path | None, mode: Mode | None
) -> dict[str, Any]:
    """The arguments of the policy that say which symmetry it has, as plain values.

    Args:
        env: The environment, or its id.
        spec: The symmetry, by value, by the name of a group or by a file; None for the environment's default.
        mode: The mode; None for the policy's default.

    Raises:
        ValueError: If the environment has no symmetry of this name.
        OSError: If the file of a specification cannot be read.
    """
    if isinstance(spec, str | Path) and Path(spec).suffix in (".yaml", ".yml"):
        spec = envs_reps.load_spec(spec)
    elif isinstance(spec, str | Path):
        env_id = _env_id(env)
        if env_id is None:
            raise ValueError(f"spec={spec!r} names a group, but the environment has no id: give an EnvSpec or a file")
        spec = envs_reps.load_spec(env_id, str(spec))
    elif spec is None and mode != "mlp":
        env_id = _env_id(env)
        spec = envs_reps.load_spec(env_id) if env_id in envs_reps.env_ids() else None
    given = {"spec": spec.to_dict() if isinstance(spec, EnvSpec) else spec, "mode": mode}
    return {name: value for name, value in given.items() if value is not None}


def _env_id(env: GymEnv | str | None) -> str | None:
    if isinstance(env, str):
        return env
    if env is None:
        return None
    record = env.get_attr("spec", 0)[0] if isinstance(env, VecEnv) else env.spec
    return None if record is None else record.id
