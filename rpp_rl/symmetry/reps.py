"""Representations of matrix groups and their algebra: sums, multiples, tensor products, duals, restriction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import block_diag

from rpp_rl.symmetry.groups import Element, Group, element_matrix
from rpp_rl.symmetry.relations import require_homomorphism


@dataclass(frozen=True, eq=False)
class Rep:
    """A real representation rho: G -> GL(size), given by the images of the group's generators.

    A direct sum remembers its summands run by run (``parts``), because bases are solved per pair of distinct summands
    and nonlinearities act summand by summand. Two reps are equal when group, matrices and division into summands are.

    Attributes:
        name: How the rep was built, e.g. ``"2*V + R"``.
        group: The group that acts.
        generators: rho(h_i), shape ``(n_discrete, size, size)``.
        lie_algebra: drho(A_k), shape ``(n_lie, size, size)``.
        runs: Runs of equal summands as (count, summand); empty for a rep that is not split.
    """

    name: str
    group: Group
    generators: Float[ndarray, "n_discrete size size"]
    lie_algebra: Float[ndarray, "n_lie size size"]
    runs: tuple[tuple[int, Rep], ...] = ()

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
        return np.array([self.rho(g) for g in self.group.elements])

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
        products = np.swapaxes(self.generators, -1, -2) @ self.generators
        antisymmetric = self.lie_algebra + np.swapaxes(self.lie_algebra, -1, -2)
        return bool(np.allclose(products, np.eye(self.size), atol=1e-9) and np.allclose(antisymmetric, 0.0, atol=1e-9))

    @cached_property
    def is_regular(self) -> bool:
        """Whether this is one copy of the regular representation of a finite group, in the order of its elements."""
        group = self.group
        return group.is_finite and self.is_permutation and self.size == group.order and self == regular(group)

    def __add__(self, other: Rep) -> Rep:
        return direct_sum(self, other)

    def __rmul__(self, copies: int) -> Rep:
        """``n * rep``: n concatenated copies."""
        if copies < 1:
            raise ValueError(f"a multiple of {self.name} needs a positive count, got {copies}")
        return direct_sum(*(copies * [self]))

    def __mul__(self, other: Rep) -> Rep:
        """Tensor product, coordinates in row-major order: (a ⊗ b)[i * b.size + j] = a[i] b[j]."""
        return tensor_product(self, other)

    def dual(self) -> Rep:
        """The representation g -> rho(g)^-T; equal to the rep itself when it is orthogonal."""
        if self.is_orthogonal:
            return self
        generators = np.array([np.linalg.inv(h).T for h in self.generators]).reshape(self.generators.shape)
        return Rep(f"{_factor(self.name)}'", self.group, generators, -np.swapaxes(self.lie_algebra, -1, -2))

    def abs(self) -> Rep:
        """The permutation left when the signs of a signed permutation are dropped: how a standard deviation transforms.

        Raises:
            ValueError: If the rep is no signed permutation.
        """
        if not self.is_signed_permutation:
            raise ValueError(f"only a signed permutation has an absolute value, got {self.name} of {self.group}")
        parts = [
            (n, Rep(f"|{part.name}|", part.group, np.abs(part.generators), part.lie_algebra)) for n, part in self.parts
        ]
        return _sum_of_runs(parts)

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
        coefficients = np.zeros((0, len(self.lie_algebra))) if lie_images is None else np.asarray(lie_images, float)
        runs = []
        for count, part in self.parts:
            generators = np.array([part.rho(g) for g in images]).reshape(-1, part.size, part.size)
            lie_algebra = np.tensordot(coefficients, part.lie_algebra, axes=1).reshape(-1, part.size, part.size)
            runs.append((count, matrix_rep(subgroup, generators, lie_algebra, name=part.name)))
        return _sum_of_runs(runs)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Rep) and self._content == other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[object, ...]:
        split = tuple((count, part.size) for count, part in self.parts)
        return self.group, split, (self.generators + 0.0).tobytes(), (self.lie_algebra + 0.0).tobytes()

    def __repr__(self) -> str:
        return f"Rep({self.name}, group={self.group}, size={self.size})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the group."""
        return {"parts": [_part_to_dict(count, part) for count, part in self.parts]}

    @staticmethod
    def from_dict(data: Mapping[str, Any], group: Group) -> Rep:
        """The rep that ``to_dict`` described.

        Raises:
            ValueError: If the matrices do not represent ``group``.
        """
        return _sum_of_runs([(int(part["count"]), _part_from_dict(part, group)) for part in data["parts"]])

    @staticmethod
    def parse(text: str, group: Group) -> Rep:
        """Read a rep from text such as ``"2*V + 3*R + P*V + V*V"``; see `rpp_rl.symmetry.parsing`.

        Raises:
            ValueError: If the text does not follow the grammar.
        """
        from rpp_rl.symmetry.parsing import parse_rep

        return parse_rep(text, group)


def matrix_rep(
    group: Group,
    generators: Float[ndarray, "n_discrete size size"] | Sequence[ndarray],
    lie_algebra: Float[ndarray, "n_lie size size"] | Sequence[ndarray] | None = None,
    *,
    name: str = "M",
) -> Rep:
    """A rep from the images of the generators, checked against the group's relations.

    Raises:
        ValueError: If the number of matrices or a relation of the group is not met.
    """
    stacks = [np.array(stack, dtype=float) for stack in (generators, () if lie_algebra is None else lie_algebra)]
    size = next((stack.shape[-1] for stack in stacks if stack.size), 1)
    stacks = [stack if stack.size else np.zeros((0, size, size)) for stack in stacks]
    require_homomorphism(name, group, *stacks)
    return Rep(name, group, *stacks)


def signed_permutation(
    group: Group, perms: Sequence[Sequence[int]], signs: Sequence[Sequence[int]], *, name: str = "signed permutation"
) -> Rep:
    """A rep that permutes coordinates up to sign: generator k maps o to o'[i] = signs[k][i] * o[perms[k][i]].

    Raises:
        ValueError: If a list is no permutation, a sign is not ±1, or a relation of the group is not met.
    """
    for perm, sign_row in zip(perms, signs, strict=True):
        if sorted(perm) != list(range(len(perm))) or len(sign_row) != len(perm):
            raise ValueError(
                f"{name}: expected a permutation of 0..{len(perm) - 1} with as many signs, got {list(perm)}"
            )
        if any(s not in (-1, 1) for s in sign_row):
            raise ValueError(f"{name}: signs must be 1 or -1, got {list(sign_row)}")
    matrices = [np.array(s)[:, None] * np.eye(len(p))[list(p)] for p, s in zip(perms, signs, strict=True)]
    size = len(perms[0]) if perms else 1
    return matrix_rep(group, matrices, np.zeros((len(group.lie_algebra), size, size)), name=name)


def trivial(group: Group) -> Rep:
    """One number that no element changes."""
    shapes = [(len(stack), 1, 1) for stack in (group.generators, group.lie_algebra)]
    return Rep("R", group, np.ones(shapes[0]), np.zeros(shapes[1]))


def sign(group: Group) -> Rep:
    """One number that takes the sign of det(g) in the defining representation (a pseudoscalar)."""
    signs = np.array([np.sign(np.round(np.linalg.det(h), 9)) for h in group.generators]).reshape(-1, 1, 1)
    return Rep("P", group, signs, np.zeros((len(group.lie_algebra), 1, 1)))


def vector(group: Group) -> Rep:
    """The defining representation on R^d; for Z_n, S_n and D_n-perm a permutation of n points."""
    return Rep("V", group, group.generators, group.lie_algebra)


def regular(group: Group) -> Rep:
    """R^|G| with one coordinate for each element of a finite group: rho(g) e_h = e_gh.

    Raises:
        ValueError: If the group is infinite.
    """
    generators = np.zeros((len(group.generators), group.order, group.order))
    for matrix, images in zip(generators, group.left_action, strict=True):
        matrix[images, np.arange(group.order)] = 1.0
    return Rep("regular", group, generators, np.zeros((0, group.order, group.order)))


def direct_sum(*reps: Rep) -> Rep:
    """Concatenate representations of one group.

    Raises:
        ValueError: If ``reps`` is empty or belongs to more than one group.
    """
    groups = {rep.group for rep in reps}
    if len(groups) != 1:
        raise ValueError(f"a direct sum needs reps of exactly one group, got {sorted(map(str, groups))}")
    return _sum_of_runs([run for rep in reps for run in rep.parts])


def tensor_product(a: Rep, b: Rep) -> Rep:
    """A ⊗ b in row-major order, split along the summands of ``a``.

    Raises:
        ValueError: If the reps belong to different groups.
    """
    if a.group != b.group:
        raise ValueError(f"a tensor product needs reps of one group, got {a.group} and {b.group}")
    runs: list[tuple[int, Rep]] = []
    for count, part in a.parts:
        if part == trivial(a.group):
            runs += count * list(b.parts)
        else:
            runs.append((count, _tensor_of_wholes(part, b)))
    return _sum_of_runs(runs)


def _tensor_of_wholes(a: Rep, b: Rep) -> Rep:
    size = a.size * b.size
    eye_a, eye_b = np.eye(a.size), np.eye(b.size)
    generators = [np.kron(x, y) for x, y in zip(a.generators, b.generators, strict=True)]
    algebra = [np.kron(x, eye_b) + np.kron(eye_a, y) for x, y in zip(a.lie_algebra, b.lie_algebra, strict=True)]
    name = f"{_factor(a.name)}*{_factor(b.name)}"
    return Rep(name, a.group, np.array(generators).reshape(-1, size, size), np.array(algebra).reshape(-1, size, size))


def _factor(name: str) -> str:
    return f"({name})" if " + " in name else name


def _sum_of_runs(runs: Sequence[tuple[int, Rep]]) -> Rep:
    merged: list[tuple[int, Rep]] = []
    for count, part in runs:
        if merged and merged[-1][1] == part:
            merged[-1] = (merged[-1][0] + count, part)
        else:
            merged.append((count, part))
    if len(merged) == 1 and merged[0][0] == 1:
        return merged[0][1]
    names = [part.name if count == 1 else f"{count}*{_factor(part.name)}" for count, part in merged]

    def stack(attribute: str) -> ndarray:
        stacks = [np.array([np.kron(np.eye(n), m) for m in getattr(part, attribute)]) for n, part in merged]
        size = sum(n * part.size for n, part in merged)
        return np.array([block_diag(*row) for row in zip(*stacks, strict=True)]).reshape(-1, size, size)

    return Rep(" + ".join(names), merged[0][1].group, stack("generators"), stack("lie_algebra"), tuple(merged))


def _part_to_dict(count: int, part: Rep) -> dict[str, Any]:
    data: dict[str, Any] = {"count": count, "name": part.name, "size": part.size}
    if part.is_signed_permutation:
        perms = np.abs(part.generators).argmax(-1)
        signs = part.generators.sum(-1).astype(int)
        return {**data, "perms": perms.tolist(), "signs": signs.tolist()}
    return {**data, "generators": part.generators.tolist(), "lie_algebra": part.lie_algebra.tolist()}


def _part_from_dict(data: Mapping[str, Any], group: Group) -> Rep:
    if "perms" in data and len(group.generators):
        return signed_permutation(group, data["perms"], data["signs"], name=str(data["name"]))
    size = int(data["size"])
    empty = np.zeros((len(group.lie_algebra), size, size))
    lie_algebra = np.array(data["lie_algebra"], float).reshape(-1, size, size) if "lie_algebra" in data else empty
    generators = np.array(data.get("generators", ()), float).reshape(-1, size, size)
    require_homomorphism(str(data["name"]), group, generators, lie_algebra)
    return Rep(str(data["name"]), group, generators, lie_algebra)


__all__ = [
    "Rep",
    "direct_sum",
    "matrix_rep",
    "regular",
    "sign",
    "signed_permutation",
    "tensor_product",
    "trivial",
    "vector",
]
