"""Real irreducible representations of the groups that robots have: Z_n, D_n, SO(2), O(2)."""

from __future__ import annotations

import numpy as np

from rpp_rl.symmetry.groups import (
    Group,
    cyclic,
    dihedral,
    dihedral_permutation,
    orthogonal,
    rotation,
    special_orthogonal,
)
from rpp_rl.symmetry.reps import Rep, matrix_rep, sign, trivial


def irreps(group: Group) -> tuple[Rep, ...]:
    """All real irreducible representations of Z_n or D_n, the trivial one first.

    Raises:
        ValueError: If the group is none of these.
    """
    kind = _kind(group)
    if kind not in ("cyclic", "dihedral"):
        raise ValueError(f"the list of irreducible representations is known for Z(n) and D(n), not for {group}")
    n = group.order if kind == "cyclic" else group.order // 2
    count = n // 2 + 1 if kind == "cyclic" else (n - 1) // 2 + (4 if n % 2 == 0 else 2)
    return tuple(irrep(group, k) for k in range(count))


def irrep(group: Group, k: int) -> Rep:
    """The k-th irreducible representation of Z_n, D_n, SO(2) or O(2).

    Rotations act by the angle k·2π/n (or k·θ); k = 0 is trivial. Z_n has k = 0..n//2. After the rotations, D_n and O(2)
    count the one-dimensional reps by reflection: D_n has rotations k = 1..(n-1)//2, then sign; for even n also the two in
    which r acts as -1. O(2) has its sign as ``Rep.parse("P")``.

    Raises:
        ValueError: If the group is none of these or has no such rep.
    """
    kind = _kind(group)
    if k == 0:
        return trivial(group)
    if kind == "SO2" or kind == "O2":
        flip = [np.diag([-1.0, 1.0])] if kind == "O2" else []
        return matrix_rep(group, flip, [k * np.array([[0.0, -1.0], [1.0, 0.0]])], name=f"irrep({k})")
    if kind == "cyclic" and k <= group.order // 2:
        return _cyclic_irrep(group, k)
    if kind == "dihedral":
        return _dihedral_irrep(group, k)
    raise ValueError(f"{group} has no irreducible representation irrep({k})")


def _kind(group: Group) -> str:
    if group == special_orthogonal(2):
        return "SO2"
    if group == orthogonal(2):
        return "O2"
    if group.is_finite and group == cyclic(group.order):
        return "cyclic"
    if group.is_finite and group.order % 2 == 0:
        n = group.order // 2
        if group == dihedral(n) or (n >= 3 and group == dihedral_permutation(n)):
            return "dihedral"
    return "other"


def _cyclic_irrep(group: Group, k: int) -> Rep:
    if 2 * k == group.order:
        return matrix_rep(group, [-np.eye(1)], name=f"irrep({k})")
    return matrix_rep(group, [rotation(2 * np.pi * k / group.order)], name=f"irrep({k})")


def _dihedral_irrep(group: Group, k: int) -> Rep:
    n = group.order // 2
    n_rotations = (n - 1) // 2
    if k <= n_rotations:
        return matrix_rep(group, [rotation(2 * np.pi * k / n), np.diag([1.0, -1.0])], name=f"irrep({k})")
    one_dimensional = [(1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)][: 3 if n % 2 == 0 else 1]
    if k - n_rotations > len(one_dimensional):
        raise ValueError(f"{group} has no irreducible representation irrep({k})")
    r, f = one_dimensional[k - n_rotations - 1]
    if (r, f) == (1.0, -1.0) and group == dihedral(n):
        return sign(group)
    return matrix_rep(group, [r * np.eye(1), f * np.eye(1)], name=f"irrep({k})")
