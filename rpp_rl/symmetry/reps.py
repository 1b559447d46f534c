"""Representations of matrix groups and their algebra: sums, multiples, tensor products, duals, restriction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from rpp_rl.symmetry.groups import Element, Group, element_matrix
from rpp_rl.symmetry.matrices import block_diagonals, content_key, frozen, frozen_stack, kroneckers, snapped
from rpp_rl.symmetry.relations import image_matrices, require_homomorphism

MAX_SIZE = 5_000
"""Largest representation whose matrices are written down; two dense generators of this size fill 400 MB."""


@dataclass(frozen=True, eq=False)
class Rep:
    """A real representation rho: G -> GL(size), given by the images of the group's generators.

    A direct sum remembers its summands run by run (``parts``), because bases are solved per pair of distinct summands
    and nonlinearities act summand by summand. Two reps are equal when group, matrices and division into summands are.
    The matrices are not checked against the group's relations here: `matrix_rep` does that.

    Attributes:
        name: How the rep was built, e.g. ``"2*V + R"``.
        group: The group that acts.
        generators: rho(h_i), shape ``(n_discrete, size, size)``.
        lie_algebra: drho(A_k), shape ``(n_lie, size, size)``.
        runs: Runs of equal summands as (count, summand); empty for a rep that is not split.

    Raises:
        ValueError: If there is not one square matrix of one size for each generator of the group.
    """

    name: str
    group: Group
    generators: Float[ndarray, "n_discrete size size"]
    lie_algebra: Float[ndarray, "n_lie size size"]
    runs: tuple[tuple[int, Rep], ...] = ()

    def __post_init__(self) -> None:
        for attribute in ("generators", "lie_algebra"):
            object.__setattr__(self, attribute, frozen_stack(getattr(self, attribute), f"{self.name}: {attribute}"))
        shapes = [(len(stack), self.size, self.size) for stack in (self.group.generators, self.group.lie_algebra)]
        if [self.generators.shape, self.lie_algebra.shape] != shapes:
            got = [self.generators.shape, self.lie_algebra.shape]
            raise ValueError(f"{self.name}: a rep of {self.group} needs stacks of shape {shapes}, got {got}")

    @property
    def size(self) -> int:
        """Dimension of the vector space."""
        return self.generators.shape[-1]

    @property
    def parts(self) -> tuple[tuple[int, Rep], ...]:
        """Runs of equal summands as (count, summand), in the order of the coordinates."""
        return self.runs or ((1, self),)

    def whole(self) -> Rep:
        """The same representation as one summand that is not split."""
        return Rep(self.name, self.group, self.generators, self.lie_algebra) if self.runs else self

    def rho(self, g: Element) -> Float[ndarray, "size size"]:
        """The matrix by which ``g`` acts."""
        return element_matrix(g, self.generators, self.lie_algebra)

    @cached_property
    def element_matrices(self) -> Float[ndarray, "order size size"]:
        """Rho of every element of a finite group, in the order of ``group.elements``."""
        return frozen(image_matrices(self.group, self.generators))

    @cached_property
    def is_signed_permutation(self) -> bool:
        """Whether every element permutes coordinates up to sign."""
        magnitude = np.abs(self.generators)
        return bool(
            np.isin(magnitude, (0.0, 1.0)).all()
            and (magnitude.sum(-1) == 1).all()
            and (magnitude.sum(-2) == 1).all()
            and not self.lie_algebra.any()
        )

    @cached_property
    def is_permutation(self) -> bool:
        """Whether every element permutes coordinates."""
        return self.is_signed_permutation and bool((self.generators >= 0).all())

    @cached_property
    def is_orthogonal(self) -> bool:
        """Whether every element preserves the Euclidean norm."""
        gram = np.swapaxes(self.generators, -1, -2) @ self.generators
        symmetric = self.lie_algebra + np.swapaxes(self.lie_algebra, -1, -2)
        return bool(np.allclose(gram, np.eye(self.size), atol=1e-9) and np.allclose(symmetric, 0.0, atol=1e-9))

    @cached_property
    def is_regular(self) -> bool:
        """Whether this is one copy of the regular representation of a finite group, in the order of its elements."""
        if self.runs or not (self.group.is_finite and self.is_permutation):
            return False
        # No element but the identity has fixed points, which settles most cases without listing the elements.
        traces = self.size * np.isclose(self.group.generators, np.eye(self.group.d)).all((1, 2))
        if not np.array_equal(np.trace(self.generators, axis1=1, axis2=2), traces):
            return False
        return np.array_equal(self.generators.argmax(-2), self.group.left_action)

    @cached_property
    def is_trivial(self) -> bool:
        """Whether this is one number that no element changes."""
        return self.size == 1 and bool((self.generators == 1).all() and (self.lie_algebra == 0).all())

    def __add__(self, other: Rep) -> Rep:
        return direct_sum(self, other) if isinstance(other, Rep) else NotImplemented

    def __rmul__(self, copies: SupportsIndex) -> Rep:
        """``n * rep``: n concatenated copies."""
        n = index(copies)
        if n < 1:
            raise ValueError(f"a multiple of {self.name} needs a positive count, got {n}")
        require_size(n * self.size, f"{n}*({self.name})")
        return sum_of_runs(n * list(self.runs) if self.runs else [(n, self)])

    def __mul__(self, other: Rep) -> Rep:
        """Tensor product, coordinates in row-major order: (a ⊗ b)[i * b.size + j] = a[i] b[j]."""
        return tensor_product(self, other) if isinstance(other, Rep) else NotImplemented

    def dual(self) -> Rep:
        """The representation g -> rho(g)^-T; equal to the rep itself when it is orthogonal."""
        if self.is_orthogonal:
            return self
        if self.runs:
            return sum_of_runs([(count, part.dual()) for count, part in self.runs])
        generators = np.array([snapped(np.linalg.inv(h).T) for h in self.generators]).reshape(self.generators.shape)
        return Rep(_wrapped(self.name, "+", "*") + "'", self.group, generators, -np.swapaxes(self.lie_algebra, -1, -2))

    def abs(self) -> Rep:
        """The permutation left when the signs of a signed permutation are dropped: how a standard deviation transforms.

        Raises:
            ValueError: If the rep is not a signed permutation.
        """
        if not self.is_signed_permutation:
            raise ValueError(f"only a signed permutation has an absolute value, got {self.name} of {self.group}")
        return sum_of_runs([(count, _unsigned(part)) for count, part in self.parts])

    def restrict(
        self,
        subgroup: Group,
        images: Sequence[Element],
        lie_images: Float[ndarray, "n_lie_sub n_lie"] | None = None,
    ) -> Rep:
        """The same space under a subgroup.

        Args:
            subgroup: The smaller group (or any group with a homomorphism into this one).
            images: For each discrete generator of ``subgroup`` the element of this group that it is.
            lie_images: For each infinitesimal generator its coefficients in this group's Lie algebra.

        Raises:
            ValueError: If the images do not satisfy the relations of ``subgroup``.
        """
        n_lie = len(self.lie_algebra)
        coefficients = np.zeros((0, n_lie)) if lie_images is None else np.asarray(lie_images, float).reshape(-1, n_lie)

        def stacks(generators: ndarray, lie_algebra: ndarray) -> tuple[ndarray, ndarray]:
            size = generators.shape[-1]
            moved = np.array([element_matrix(g, generators, lie_algebra) for g in images]).reshape(-1, size, size)
            return snapped(moved), np.tensordot(coefficients, lie_algebra, axes=1)

        # Checked on the defining matrices: on a trivial rep every choice of images would pass.
        require_homomorphism("the restriction", subgroup, *stacks(self.group.generators, self.group.lie_algebra))
        parts = [(n, Rep(part.name, subgroup, *stacks(part.generators, part.lie_algebra))) for n, part in self.parts]
        return sum_of_runs(parts)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Rep) and self._content == other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[object, ...]:
        split = tuple((count, part.size) for count, part in self.parts)
        return self.group, split, content_key(self.generators), content_key(self.lie_algebra)

    def __repr__(self) -> str:
        return f"Rep({self.name}, group={self.group}, size={self.size})"


def direct_sum(*reps: Rep) -> Rep:
    """Concatenate representations of one group.

    Raises:
        ValueError: If ``reps`` is empty or belongs to more than one group.
    """
    groups = {rep.group for rep in reps}
    if len(groups) != 1:
        raise ValueError(f"a direct sum needs reps of exactly one group, got {sorted(map(repr, groups))}")
    return sum_of_runs([run for rep in reps for run in rep.parts])


def tensor_product(a: Rep, b: Rep) -> Rep:
    """A ⊗ b in row-major order, split along the summands of ``a``, and along those of ``b`` under one of size 1.

    Raises:
        ValueError: If the reps belong to different groups.
    """
    if a.group != b.group:
        raise ValueError(f"a tensor product needs reps of one group, got {a.group!r} and {b.group!r}")
    require_size(a.size * b.size, f"{a.name}*{b.name}")
    runs: list[tuple[int, Rep]] = []
    for count, part in a.parts:
        if part.is_trivial:
            runs += count * list(b.parts)
        elif part.size == 1:
            runs += count * [(n, _tensor_of_wholes(part, factor)) for n, factor in b.parts]
        else:
            runs.append((count, _tensor_of_wholes(part, b)))
    return sum_of_runs(runs)


def _tensor_of_wholes(a: Rep, b: Rep) -> Rep:
    generators = kroneckers(a.generators, b.generators)
    eyes_a, eyes_b = (np.broadcast_to(np.eye(rep.size), rep.lie_algebra.shape) for rep in (a, b))
    lie_algebra = kroneckers(a.lie_algebra, eyes_b) + kroneckers(eyes_a, b.lie_algebra)
    return Rep(_wrapped(a.name, "+") + "*" + _wrapped(b.name, "+", "*"), a.group, generators, lie_algebra)


def _unsigned(part: Rep) -> Rep:
    return part if part.is_permutation else Rep(f"|{part.name}|", part.group, np.abs(part.generators), part.lie_algebra)


def _wrapped(name: str, *operators: str) -> str:
    """The name in parentheses where one of the operators occurs in it."""
    return f"({name})" if any(operator in name for operator in operators) else name


def require_size(size: int, name: str) -> None:
    """Refuse a rep whose matrices would not fit in memory, before they are made."""
    if size > MAX_SIZE:
        raise ValueError(f"the representation {name} would have size {size}; the largest supported is {MAX_SIZE}")


def sum_of_runs(runs: Sequence[tuple[int, Rep]]) -> Rep:
    """The direct sum of (count, summand) runs of one group; neighbours that are equal become one run."""
    merged: list[tuple[int, Rep]] = []
    for count, part in runs:
        if merged and merged[-1][1] == part:
            merged[-1] = (merged[-1][0] + count, part)
        else:
            merged.append((count, part))
    if len(merged) == 1 and merged[0][0] == 1:
        return merged[0][1]
    name = " + ".join(part.name if count == 1 else f"{count}*" + _wrapped(part.name, "+") for count, part in merged)
    require_size(sum(count * part.size for count, part in merged), name)
    summands = [part for count, part in merged for _ in range(count)]
    generators = block_diagonals([part.generators for part in summands])
    lie_algebra = block_diagonals([part.lie_algebra for part in summands])
    return Rep(name, merged[0][1].group, generators, lie_algebra, tuple(merged))
