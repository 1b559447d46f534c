"""Representations to start from: trivial, sign, vector, regular, those given by matrices, and lifts to products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.symmetry.families import product, real_form
from rpp_rl.symmetry.groups import Group
from rpp_rl.symmetry.relations import require_homomorphism
from rpp_rl.symmetry.reps import Rep, require_size, sum_of_runs


def matrix_rep(
    group: Group,
    generators: Float[ndarray, "n_discrete size size"] | Sequence[ndarray],
    lie_algebra: Float[ndarray, "n_lie size size"] | Sequence[ndarray] | None = None,
    *,
    name: str = "M",
) -> Rep:
    """A rep from the images of the generators, checked against the group's relations.

    Raises:
        ValueError: If the number or shape of the matrices does not fit, a relation of the group is not met, or the
            group has too many elements to list, so that its relations cannot be checked.
    """
    stacks = [np.array(stack, dtype=float) for stack in (generators, () if lie_algebra is None else lie_algebra)]
    size = next((stack.shape[-1] for stack in stacks if stack.ndim == 3), 1)
    images, algebra = (np.zeros((0, size, size)) if stack.shape == (0,) else stack for stack in stacks)
    for stack in (images, algebra):
        if stack.shape[1:] != (size, size):
            raise ValueError(f"{name}: expected stacks of square matrices of one size, got shape {stack.shape}")
    require_homomorphism(name, group, images, algebra)
    return Rep(name, group, images, algebra)


def complex_rep(
    group: Group,
    generators: Sequence[Any],
    lie_algebra: Sequence[Any] = (),
    *,
    name: str = "C",
) -> Rep:
    """A rep on complex numbers as one on twice as many real ones: the real parts, then the imaginary parts.

    Matrices are anything that NumPy reads as one. An equivariant map of the real form need not be complex linear.

    >>> from rpp_rl.symmetry import parse_group
    >>> phases = complex_rep(parse_group("Z4"), [[[1j]]])
    >>> phases.size, phases.generators[0].tolist()
    (2, [[0.0, -1.0], [1.0, 0.0]])

    Raises:
        ValueError: As `matrix_rep` does.
    """
    stacks = [[real_form(np.asarray(matrix)) for matrix in stack] for stack in (generators, lie_algebra)]
    return matrix_rep(group, *stacks, name=name)


def on_product(*reps: Rep) -> tuple[Rep, ...]:
    """Reps of different groups as reps of the direct product of these groups, where each is moved by its own alone.

    Sums and tensor products of the results are those of the different groups:

    >>> from rpp_rl.symmetry import parse_group
    >>> legs, heading = on_product(vector(parse_group("Z4")), vector(parse_group("SO2")))
    >>> (legs * heading).group, (legs * heading).size
    (Group(Z4xSO2, d=6, n_discrete=1, n_lie=1), 8)

    Raises:
        ValueError: If no rep is given.
    """
    if not reps:
        raise ValueError("expected at least one representation, got none")
    group = reduce(product, [rep.group for rep in reps])
    starts = np.cumsum([[0, 0], *([len(rep.generators), len(rep.lie_algebra)] for rep in reps)], axis=0)

    def lifted(part: Rep, start: ndarray) -> Rep:
        generators = np.tile(np.eye(part.size), (len(group.generators), 1, 1))
        lie_algebra = np.zeros((len(group.lie_algebra), part.size, part.size))
        generators[start[0] : start[0] + len(part.generators)] = part.generators
        lie_algebra[start[1] : start[1] + len(part.lie_algebra)] = part.lie_algebra
        return Rep(part.name, group, generators, lie_algebra)

    return tuple(
        sum_of_runs([(count, lifted(part, start)) for count, part in rep.parts])
        for rep, start in zip(reps, starts, strict=False)
    )


def signed_permutation(
    group: Group, perms: Sequence[Sequence[int]], signs: Sequence[Sequence[int]], *, name: str = "signed permutation"
) -> Rep:
    """A rep that permutes coordinates up to sign: generator k maps o to ``signs[k] * o[perms[k]]``.

    The infinitesimal generators of a Lie group act as zero. Without discrete generators there is nothing to permute
    and the rep is one trivial number.

    Raises:
        ValueError: If there is not one permutation with signs ±1 for each generator, or a relation is not met.
    """
    n_discrete = len(group.generators)
    if (len(perms), len(signs)) != (n_discrete, n_discrete):
        raise ValueError(
            f"{name}: {group} has {n_discrete} discrete generators, "
            f"got {len(perms)} permutations and {len(signs)} lists of signs"
        )
    size = len(perms[0]) if n_discrete else 1
    matrices = np.zeros((n_discrete, size, size))
    for matrix, perm, sign_row in zip(matrices, perms, signs, strict=True):
        if sorted(perm) != list(range(size)) or len(sign_row) != size or size == 0:
            raise ValueError(f"{name}: expected permutations of 0..{size - 1} with as many signs, got {list(perm)}")
        if any(s not in (-1, 1) for s in sign_row):
            raise ValueError(f"{name}: signs must be 1 or -1, got {list(sign_row)}")
        matrix[np.arange(size), np.array(perm, dtype=int)] = sign_row
    return matrix_rep(group, matrices, np.zeros((len(group.lie_algebra), size, size)), name=name)


def trivial(group: Group) -> Rep:
    """One number that no element changes."""
    shapes = [(len(stack), 1, 1) for stack in (group.generators, group.lie_algebra)]
    return Rep("R", group, np.ones(shapes[0]), np.zeros(shapes[1]))


def sign(group: Group) -> Rep:
    """One number that takes the sign of det(g) in the defining representation (a pseudoscalar)."""
    signs = np.array([np.linalg.slogdet(h)[0] for h in group.generators]).reshape(-1, 1, 1)
    return Rep("P", group, signs, np.zeros((len(group.lie_algebra), 1, 1)))


def vector(group: Group) -> Rep:
    """The defining representation on R^d; for Z_n, S_n and D_n-perm a permutation of n points."""
    return Rep("V", group, group.generators, group.lie_algebra)


def regular(group: Group) -> Rep:
    """R^|G| with one coordinate for each element of a finite group: rho(g) e_h = e_gh.

    Raises:
        ValueError: If the group is infinite, or too large to list its elements or to write the matrices down.
    """
    require_size(group.order, f"regular of {group}")
    generators = np.zeros((len(group.generators), group.order, group.order))
    for matrix, images in zip(generators, group.left_action, strict=True):
        matrix[images, np.arange(group.order)] = 1.0
    return Rep("regular", group, generators, np.zeros((0, group.order, group.order)))
