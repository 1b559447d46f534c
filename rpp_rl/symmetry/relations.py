"""Whether given matrices represent a group: the relations of its generators, brackets and conjugations."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from rpp_rl.symmetry.groups import Group

RELATION_TOLERANCE = 1e-8
"""Largest entry by which a product of generator images may miss the image of the product."""


def require_homomorphism(name: str, group: Group, generators: ndarray, lie_algebra: ndarray) -> None:
    """Check that h_i -> generators[i], A_k -> lie_algebra[k] extends to a representation of ``group``.

    Finite groups are checked on their whole multiplication table; for Lie groups the brackets of the algebra and the
    conjugation of the algebra by the discrete generators are checked.

    Raises:
        ValueError: Naming the rep, the group and the relation that fails.
    """
    expected = len(group.generators), len(group.lie_algebra)
    if (len(generators), len(lie_algebra)) != expected:
        raise ValueError(
            f"{name}: {group} has {expected[0]} discrete and {expected[1]} infinitesimal generators, "
            f"got {len(generators)} and {len(lie_algebra)} matrices"
        )
    if not (np.isfinite(generators).all() and np.isfinite(lie_algebra).all()):
        raise ValueError(f"{name}: the matrices must be finite numbers")
    if group.is_finite:
        _require_table(name, group, generators)
    else:
        _require_brackets(name, group, lie_algebra)
        _require_conjugations(name, group, generators, lie_algebra)


def _require_table(name: str, group: Group, generators: ndarray) -> None:
    matrices = [np.eye(generators.shape[-1])]
    for word, _ in group.elements[1:]:
        matrices.append(generators[word[0]] @ matrices[_index(group, word[1:])])
    stack = np.array(matrices)
    for k, images in enumerate(group.left_action):
        error = np.abs(generators[k] @ stack - stack[images]).max((-2, -1))
        if error.max() > RELATION_TOLERANCE:
            word = group.elements[int(error.argmax())].word
            raise ValueError(
                f"{name} does not represent {group}: generator {k} times the word {word} is off by {error.max():.2g}"
            )


def _index(group: Group, word: tuple[int, ...]) -> int:
    index = 0
    for k in reversed(word):
        index = int(group.left_action[k, index])
    return index


def _coordinates(algebra: ndarray, matrix: ndarray) -> ndarray:
    basis = algebra.reshape(len(algebra), -1).T
    return np.linalg.lstsq(basis, matrix.ravel(), rcond=None)[0]


def _require_brackets(name: str, group: Group, lie_algebra: ndarray) -> None:
    for i, a in enumerate(group.lie_algebra):
        for j, b in enumerate(group.lie_algebra[:i]):
            structure = _coordinates(group.lie_algebra, a @ b - b @ a)
            bracket = lie_algebra[i] @ lie_algebra[j] - lie_algebra[j] @ lie_algebra[i]
            error = np.abs(bracket - np.tensordot(structure, lie_algebra, axes=1)).max()
            if error > RELATION_TOLERANCE:
                raise ValueError(f"{name} does not represent {group}: bracket of {i} and {j} is off by {error:.2g}")


def _require_conjugations(name: str, group: Group, generators: ndarray, lie_algebra: ndarray) -> None:
    for k, (h, image) in enumerate(zip(group.generators, generators, strict=True)):
        for i, a in enumerate(group.lie_algebra):
            structure = _coordinates(group.lie_algebra, h @ a @ np.linalg.inv(h))
            moved = image @ lie_algebra[i] @ np.linalg.inv(image)
            error = np.abs(moved - np.tensordot(structure, lie_algebra, axes=1)).max()
            if error > RELATION_TOLERANCE:
                raise ValueError(f"{name} does not represent {group}: generator {k} moves A_{i} wrongly by {error:.2g}")
