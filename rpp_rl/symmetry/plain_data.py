"""Groups and reps as plain JSON values and back: the same numbers bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from rpp_rl.symmetry.constructors import matrix_rep, signed_permutation
from rpp_rl.symmetry.groups import Group
from rpp_rl.symmetry.reps import Rep, sum_of_runs


def group_to_dict(group: Group) -> dict[str, Any]:
    """Plain JSON values from which `group_from_dict` makes an equal group of the same name."""
    return {
        "name": group.name,
        "d": group.d,
        "generators": group.generators.tolist(),
        "lie_algebra": group.lie_algebra.tolist(),
    }


def group_from_dict(data: Mapping[str, Any]) -> Group:
    """The group that `group_to_dict` described.

    Raises:
        ValueError: If a key is missing or the matrices do not form a group.
    """
    _require_keys("a group", data, "name", "d", "generators", "lie_algebra")
    label, d = f"the group {data['name']}", int(data["d"])
    return Group(str(data["name"]), *(_stack(label, data[key], d) for key in ("generators", "lie_algebra")))


def rep_to_dict(rep: Rep) -> dict[str, Any]:
    """Plain JSON values, without the group; signed permutations are written as index and sign lists."""
    return {"parts": [_part_to_dict(count, part) for count, part in rep.parts]}


def rep_from_dict(data: Mapping[str, Any], group: Group) -> Rep:
    """The rep that `rep_to_dict` described.

    Raises:
        ValueError: If a key is missing or the matrices do not represent ``group``.
    """
    _require_keys("a representation", data, "parts")
    if not data["parts"]:
        raise ValueError(f"a representation of {group} needs at least one part, got none")
    return sum_of_runs([_part_from_dict(part, group) for part in data["parts"]])


def _part_to_dict(count: int, part: Rep) -> dict[str, Any]:
    data: dict[str, Any] = {"count": count, "name": part.name, "size": part.size}
    if part.is_signed_permutation and len(part.generators):
        perms = np.abs(part.generators).argmax(-1)
        signs = part.generators.sum(-1).astype(int)
        return {**data, "perms": perms.tolist(), "signs": signs.tolist()}
    return {**data, "generators": part.generators.tolist(), "lie_algebra": part.lie_algebra.tolist()}


def _part_from_dict(data: Mapping[str, Any], group: Group) -> tuple[int, Rep]:
    keys = ("perms", "signs") if "perms" in data else ("generators", "lie_algebra")
    _require_keys("a part of a representation", data, "count", "name", "size", *keys)
    count, name, size = int(data["count"]), str(data["name"]), int(data["size"])
    if count < 1:
        raise ValueError(f"{name}: a part needs a positive count, got {count}")
    if "perms" in data:
        part = signed_permutation(group, data["perms"], data["signs"], name=name)
    else:
        part = matrix_rep(group, *(_stack(name, data[key], size) for key in keys), name=name)
    if part.size != size:
        raise ValueError(f"{name}: expected matrices of size {size}, got {part.size}")
    return count, part


def _stack(label: str, values: Any, size: int) -> ndarray:  # noqa: ANN401 (JSON)
    stack = np.array(values, dtype=float) if values else np.zeros((0, size, size))
    if stack.shape[1:] != (size, size):
        raise ValueError(f"{label}: expected matrices of shape {(size, size)}, got {stack.shape[1:]}")
    return stack


def _require_keys(what: str, data: Mapping[str, Any], *keys: str) -> None:
    missing = [key for key in keys if key not in data]
    if missing:
        raise ValueError(f"{what} needs the keys {', '.join(keys)}; missing: {', '.join(missing)}")
