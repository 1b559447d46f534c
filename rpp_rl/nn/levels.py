"""A level between both pathways of a network's maps, for a subgroup of the robot's group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rpp_rl.envs.spec import EnvSpec
from rpp_rl.nn.chain import Subgroup
from rpp_rl.symmetry import Element


class SubgroupLevel(NamedTuple):
    """What commutes with a subgroup alone: D4 > Z2 for the Ant and its flip.

    Attributes:
        subgroup: How the subgroup lies in the group.
        spec: The symmetry under the subgroup alone: what it trusts, the residual pathway breaks.
    """

    subgroup: Subgroup
    spec: EnvSpec


def subgroup_level(spec: EnvSpec, names: Sequence[str]) -> SubgroupLevel:
    """The level of the subgroup that some discrete generators of a group generate.

    Args:
        spec: The symmetry under the whole group.
        names: The generators' names.

    Raises:
        ValueError: If a generator is unknown or named twice.
    """
    known = [record.name for record in spec.generators[: len(spec.group.generators)]]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"subgroup: the generators of {spec} are {', '.join(known)}; got {', '.join(unknown)}")
    if len(set(names)) < len(names):
        raise ValueError(f"subgroup: expected each generator once, got {len(names)} of {len(set(names))}")
    elements = [Element((known.index(name),), (0.0,) * len(spec.group.lie_algebra)) for name in names]
    narrow = spec.restrict("·".join(names), elements)
    return SubgroupLevel(Subgroup(narrow.group, elements), narrow)
