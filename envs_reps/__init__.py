"""Symmetries of the locomotion environments, one declarative module per robot.

Every generator carries the errors that the simulator measured (400 random states of `rpp_rl.envs.check`, seed 0);
``check-spec`` measures them again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpp_rl.envs import EnvSpec

MODULES = MappingProxyType(
    {
        f"{robot}-v{version}": robot.lower()
        for robot in ("Ant", "HalfCheetah", "Hopper", "Humanoid", "Swimmer", "Walker2d")
        for version in (4, 5)
    }
    | {"rpp_rl/AntCommand-v0": "antcommand"}
)
"""Which module of this package describes an environment; a module is imported when one of its robots is asked for."""


WRONG = ("paper-", "placebo-")
"""What the names of groups begin with that the simulator refutes: the literature's, and those made to be wrong."""


def env_ids() -> list[str]:
    """All environments that have a specification."""
    return list(MODULES)


@cache
def _specs(env_id: str) -> dict[str, EnvSpec]:
    if env_id not in MODULES:
        raise ValueError(
            f"no specification for environment {env_id!r}; there is one for {', '.join(MODULES)}. "
            "For another MuJoCo environment derive one with derive-spec --env ID -o FILE, and give it with --spec; "
            "for any other one write it by hand"
        )
    module = import_module(f"{__name__}.{MODULES[env_id]}")
    return {spec.variant: spec for spec in module.SPECS if spec.env_id == env_id}


def variants(env_id: str) -> list[str]:
    """Names of the groups offered for an environment, the default first; ``paper-...`` are the literature's wrong ones.

    Raises:
        ValueError: If the environment has no specification.
    """
    return list(_specs(env_id))


def load(env_id: str, group: str | None = None) -> EnvSpec:
    """The specification of an environment, for its default group or the one named.

    Raises:
        ValueError: If the environment has no specification or does not offer the group.
    """
    specs = _specs(env_id)
    name = next(iter(specs)) if group is None else group
    if name not in specs:
        raise ValueError(f"{env_id} has no group {name!r}; it offers {', '.join(specs)}")
    return specs[name]


def load_spec(source: str | Path, group: str | None = None) -> EnvSpec:
    """The specification of an environment of this package, or the one in a file.

    Args:
        source: The environment's id, or the path of a file that ``derive-spec`` or `rpp_rl.envs.write_spec` wrote.
        group: One of the environment's groups; None for its default. A file has one group.

    Raises:
        ValueError: If there is no such specification or group, or the file holds none.
        OSError: If the file cannot be read.
    """
    if Path(source).suffix not in (".yaml", ".yml"):
        return load(str(source), group)
    from rpp_rl.envs import read_spec

    spec = read_spec(Path(source))
    if group not in (None, spec.variant):
        raise ValueError(f"{source} is for the group {spec.variant}, not for {group}")
    return spec


def described(spec: EnvSpec) -> EnvSpec:
    """A specification from a file of before with the kinds, units and labels of the one that comes with the package.

    It is returned as it is if its blocks hold other numbers, or nothing comes with the package.
    """
    if spec.env_id not in MODULES or spec.variant not in _specs(spec.env_id):
        return spec
    own = _specs(spec.env_id)[spec.variant]
    same = [block.indices for block in own.observation.blocks] == [block.indices for block in spec.observation.blocks]
    return replace(own, generators=spec.generators) if same and own.obs_rep == spec.obs_rep else spec


def default_group(env_id: str) -> str:
    """The largest group offered whose generators all keep dynamics, reward and termination exactly, else the first.

    Raises:
        ValueError: If the environment has no specification.
    """
    specs = _specs(env_id)
    exact = [name for name, spec in specs.items() if spec.is_exact]
    return max(exact, key=lambda name: _size(specs[name]), default=next(iter(specs)))


def dynamics_group(env_id: str, *, is_finite: bool = False) -> str:
    """The largest group offered for models of the dynamics, whatever it does to the reward; not the wrong ones.

    Args:
        env_id: The environment.
        is_finite: Whether it has to be finite.

    Raises:
        ValueError: If the environment has no specification.
    """
    specs = _specs(env_id)
    right = [n for n, spec in specs.items() if not n.startswith(WRONG) and (spec.group.is_finite or not is_finite)]
    return max(right, key=lambda name: _size(specs[name]))


def _size(spec: EnvSpec) -> float:
    return spec.group.order if spec.group.is_finite else float("inf")
