"""Whether given matrices represent a group: do they satisfy every relation of its generators?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import expm

from rpp_rl.symmetry.groups import Group
from rpp_rl.symmetry.matrices import matrix_key

RELATION_TOLERANCE = 1e-8
"""Largest relative error by which a product of generator images may miss the image of the product."""

TURN_STEPS = 24
"""One-parameter subgroups are compared with the discrete elements at multiples of 2π/24."""


def require_homomorphism(name: str, group: Group, generators: ndarray, lie_algebra: ndarray) -> None:
    """Check that h_i -> generators[i], A_k -> lie_algebra[k] extends to a representation of ``group``.

    The group made by the discrete generators is checked on its whole multiplication table, which is everything for a
    finite group. For a Lie group the brackets of the algebra, its conjugation by the discrete generators, and the
    places where exp(θ A_k) meets a discrete element (exp(2π A_k) = 1, say, which a spinor misses) are checked too.

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
    images = _require_table(name, group, generators)
    if not group.is_finite:
        _require_brackets(name, group, lie_algebra)
        _require_conjugations(name, group, generators, lie_algebra)
        _require_turns(name, group, images, lie_algebra)


@lru_cache(maxsize=256)
def discrete_part(group: Group) -> Group:
    """The group made by the discrete generators alone; the group itself when it is finite."""
    if group.is_finite:
        return group
    return Group(f"the discrete part of {group}", group.generators, np.zeros((0, group.d, group.d)))


def image_matrices(group: Group, generators: ndarray) -> Float[ndarray, "order size size"]:
    """The matrix of every element of a finite group, in the order of its elements, from those of the generators."""
    matrices = np.empty((group.order, *generators.shape[1:]))
    matrices[0] = np.eye(generators.shape[-1])
    known: dict[tuple[int, ...], int] = {(): 0}
    for i, (word, _) in enumerate(group.elements[1:], start=1):
        # A word is a shorter word of the list with one generator more in front.
        matrices[i] = generators[word[0]] @ matrices[known[word[1:]]]
        known[word] = i
    return matrices


def _require_table(name: str, group: Group, generators: ndarray) -> ndarray:
    discrete = discrete_part(group)
    matrices = image_matrices(discrete, generators)
    for k, images in enumerate(discrete.left_action):
        error = _largest_error(generators[k] @ matrices, matrices[images])
        if not error.max() <= RELATION_TOLERANCE:
            word = discrete.elements[int(error.argmax())].word
            raise ValueError(
                f"{name} does not represent {group}: generator {k} times the word {word} is off by {error.max():.2g}"
            )
    return matrices


def _require_brackets(name: str, group: Group, lie_algebra: ndarray) -> None:
    structure = _structure(group)
    for i, a in enumerate(lie_algebra):
        error = _largest_error(a @ lie_algebra - lie_algebra @ a, np.tensordot(structure[i], lie_algebra, axes=1))
        if not error.max() <= RELATION_TOLERANCE:
            raise ValueError(
                f"{name} does not represent {group}: the bracket of A_{i} and A_{int(error.argmax())} "
                f"is off by {error.max():.2g}"
            )


def _require_conjugations(name: str, group: Group, generators: ndarray, lie_algebra: ndarray) -> None:
    for k, (image, structure) in enumerate(zip(generators, _conjugation(group), strict=True)):
        error = _largest_error(image @ lie_algebra, np.tensordot(structure, lie_algebra, axes=1) @ image)
        if not error.max() <= RELATION_TOLERANCE:
            raise ValueError(
                f"{name} does not represent {group}: generator {k} moves A_{int(error.argmax())} wrongly "
                f"by {error.max():.2g}"
            )


def _require_turns(name: str, group: Group, images: ndarray, lie_algebra: ndarray) -> None:
    discrete = discrete_part(group)
    index = {matrix_key(matrix): i for i, matrix in enumerate(image_matrices(discrete, group.generators))}
    angle = 2 * np.pi / TURN_STEPS
    for k, (a, image) in enumerate(zip(group.lie_algebra, lie_algebra, strict=True)):
        step, image_step = expm(angle * a), expm(angle * image)
        turned, image_turned = step, image_step
        for n in range(1, TURN_STEPS + 1):
            i = index.get(matrix_key(turned))
            if i is not None:
                error = _largest_error(image_turned[None], images[[i]])[0]
                if not error <= RELATION_TOLERANCE:
                    raise ValueError(
                        f"{name} does not represent {group}: exp({n}·2π/{TURN_STEPS} A_{k}) must be the word "
                        f"{discrete.elements[i].word}, off by {error:.2g}"
                    )
            turned, image_turned = turned @ step, image_turned @ image_step


def _largest_error(a: ndarray, b: ndarray) -> Float[ndarray, " n"]:
    """The largest entry of a[k] − b[k], relative to the largest entry of ``b`` where that is above 1."""
    return np.abs(a - b).max((-2, -1)) / max(1.0, np.abs(b).max())


@lru_cache(maxsize=256)
def _structure(group: Group) -> Float[ndarray, "n_lie n_lie n_lie"]:
    """[A_i, A_j] = Σ_k structure[i, j, k] A_k."""
    algebra = group.lie_algebra
    brackets = np.array([a @ algebra - algebra @ a for a in algebra])
    return _coordinates(group, brackets, "is not closed under brackets; give a basis of the whole algebra")


@lru_cache(maxsize=256)
def _conjugation(group: Group) -> Float[ndarray, "n_discrete n_lie n_lie"]:
    """H_k A_i H_k⁻¹ = Σ_j conjugation[k, i, j] A_j."""
    algebra = group.lie_algebra
    moved = np.array([h @ algebra @ np.linalg.inv(h) for h in group.generators]).reshape(-1, *algebra.shape)
    return _coordinates(group, moved, "is not preserved by the discrete generators")


def _coordinates(group: Group, matrices: ndarray, otherwise: str) -> ndarray:
    basis = group.lie_algebra.reshape(len(group.lie_algebra), -1)
    flat = matrices.reshape(*matrices.shape[:-2], group.d**2)
    coordinates = flat @ np.linalg.pinv(basis)
    if flat.size and np.abs(coordinates @ basis - flat).max() > RELATION_TOLERANCE * max(1.0, np.abs(flat).max()):
        raise ValueError(f"{group}: the Lie algebra {otherwise}")
    return coordinates
