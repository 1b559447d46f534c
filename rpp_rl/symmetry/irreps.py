"""Real irreducible representations of the groups that robots have: Z_n, D_n, SO(2), O(2)."""

from __future__ import annotations

import numpy as np

from rpp_rl.symmetry.constructors import matrix_rep, sign, trivial, vector
from rpp_rl.symmetry.families import (
    cyclic,
    dihedral,
    dihedral_permutation,
    orthogonal,
    rotation,
    special_orthogonal,
)
from rpp_rl.symmetry.groups import Group
from rpp_rl.symmetry.reps import Rep


def irreps(group: Group) -> tuple[Rep, ...]:
    """All real irreducible representations of Z_n, D_n or the trivial group, the trivial one first.

    Raises:
        ValueError: If the group is not one of these.
    """
    kind, n = _family(group)
    if kind == "trivial":
        return (trivial(group),)
    if kind not in ("cyclic", "dihedral"):
        raise ValueError(f"the list of irreducible representations is known for Z(n) and D(n), not for {group}")
    count = n // 2 + 1 if kind == "cyclic" else (n - 1) // 2 + (4 if n % 2 == 0 else 2)
    return tuple(irrep(group, k) for k in range(count))


def irrep(group: Group, k: int) -> Rep:
    """The k-th irreducible representation of Z_n, D_n, SO(2) or O(2); k = 0 is the trivial one of any group.

    Rotations act by the angle k·2π/n (or k·θ). Z_n has k = 0..n//2. D_n has rotations for k = 1..(n-1)//2, then the
    one-dimensional reps: first the one in which only reflections act as -1, then for even n the two in which r acts as
    -1. O(2) has its one-dimensional rep as ``P``.

    Raises:
        ValueError: If the group is not one of these or has no such rep.
    """
    if k == 0:
        return trivial(group)
    kind, n = _family(group)
    if kind in ("SO2", "O2") and k > 0:
        flip = [np.diag([-1.0, 1.0])] if kind == "O2" else []
        return matrix_rep(group, flip, [k * np.array([[0.0, -1.0], [1.0, 0.0]])], name=f"irrep({k})")
    if kind == "cyclic" and 0 < k <= n // 2:
        return _cyclic_irrep(group, n, k)
    if kind == "dihedral" and 0 < k < (n - 1) // 2 + (4 if n % 2 == 0 else 2):
        return _dihedral_irrep(group, n, k)
    raise ValueError(
        f"{group} has no irreducible representation irrep({k}); known are those of Z(n), D(n), SO(2), O(2)"
    )


def _family(group: Group) -> tuple[str, int]:
    """The family that the group belongs to, recognised by its matrices, and its number n."""
    if not group.is_finite:
        return ("SO2", 2) if group == special_orthogonal(2) else ("O2", 2) if group == orthogonal(2) else ("other", 0)
    if len(group.generators) == 0:
        return "trivial", 1
    if group == cyclic(group.d):
        return "cyclic", group.d
    if group.d >= 3 and group == dihedral_permutation(group.d):
        return "dihedral", group.d
    is_orthogonal = group.d == 2 and vector(group).is_orthogonal
    if is_orthogonal and group == dihedral(group.order // 2):
        return "dihedral", group.order // 2
    return "other", 0


def _cyclic_irrep(group: Group, n: int, k: int) -> Rep:
    image = -np.eye(1) if 2 * k == n else rotation(2 * np.pi * k / n)
    return matrix_rep(group, [image], name=f"irrep({k})")


def _dihedral_irrep(group: Group, n: int, k: int) -> Rep:
    n_rotations = (n - 1) // 2
    if k <= n_rotations:
        return matrix_rep(group, [rotation(2 * np.pi * k / n), np.diag([1.0, -1.0])], name=f"irrep({k})")
    if k == n_rotations + 1 and group.d == 2:
        return sign(group)
    r, f = [(1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)][k - n_rotations - 1]
    return matrix_rep(group, [r * np.eye(1), f * np.eye(1)], name=f"irrep({k})")
