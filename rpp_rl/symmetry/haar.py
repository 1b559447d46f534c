"""Random elements of compact groups, uniform over the group (Haar measure)."""

from __future__ import annotations

import numpy as np

from rpp_rl.symmetry.groups import Element, Group

HALF_TURN = np.pi


def haar_element(group: Group, rng: np.random.Generator) -> Element:
    """Draw an element of a finite group, or of one whose identity component is SO(2) or SO(3).

    `Group.sample` covers any group but prefers elements close to the identity.

    Raises:
        ValueError: If the group is not one of these.

    >>> from rpp_rl.symmetry import orthogonal
    >>> haar_element(orthogonal(3), np.random.default_rng(0)).word
    (0,)
    """
    if group.is_finite:
        return group.elements[rng.integers(group.order)]
    n_lie = len(group.lie_algebra)
    if n_lie not in (1, 3) or not _is_rotation_algebra(group):
        raise ValueError(
            f"uniform elements are known for finite groups and those of rotations in 2D or 3D, not {group}"
        )
    # A uniform choice of components, each of them a coset of the rotations.
    word = _random_component(group, rng)
    if n_lie == 1:
        return Element(word, (float(rng.uniform(-HALF_TURN, HALF_TURN)),))
    axis = rng.normal(size=3)
    return Element(word, tuple(float(x) for x in _angle(rng) * axis / np.linalg.norm(axis)))


def _random_component(group: Group, rng: np.random.Generator) -> tuple[int, ...]:
    """One reflection or none: the known groups have at most one discrete generator, of order two."""
    if len(group.generators) == 0:
        return ()
    square = group.generators[0] @ group.generators[0]
    if len(group.generators) > 1 or not np.allclose(square, np.eye(group.d)):
        raise ValueError(f"the components of {group} are not known; expected at most one reflection")
    return (0,) * int(rng.integers(2))


def _is_rotation_algebra(group: Group) -> bool:
    """Antisymmetric generators of unit rotations, and for three of them the commutators of so(3)."""
    algebra = group.lie_algebra
    norms = np.einsum("kij,kij->k", algebra, algebra)
    if not np.allclose(algebra, -np.swapaxes(algebra, 1, 2)) or not np.allclose(norms, 2.0):
        return False
    if len(algebra) == 1:
        return True
    closes = algebra[0] @ algebra[1] - algebra[1] @ algebra[0]
    return bool(np.allclose(np.abs(closes), np.abs(algebra[2])))


def _angle(rng: np.random.Generator) -> float:
    """The angle of a uniform rotation of R³, of density (1 − cos θ)/π on [0, π]; drawn by rejection."""
    while True:
        angle = rng.uniform(0.0, HALF_TURN)
        if rng.uniform(0.0, 2.0) < 1.0 - np.cos(angle):
            return float(angle)
