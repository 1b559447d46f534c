"""Matrix groups given by discrete generators and a Lie algebra, after Finzi, Welling and Wilson (arXiv:2104.09459)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.linalg import expm

from rpp_rl.symmetry.matrices import content_key, frozen, frozen_stack, matrix_key

MAX_ORDER = 10_000
"""Largest finite group whose elements are listed; generators that produce more are taken for an infinite group."""

LEAST_SINGULAR_VALUE = 1e-9
"""A generator with a singular value below this is refused: it has no inverse."""


class Element(NamedTuple):
    """A group element h_{word[0]} h_{word[1]} ... exp(Σ_k angles[k] A_k), independent of any representation."""

    word: tuple[int, ...]
    angles: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Group:
    """A matrix group acting on R^d. Two groups are equal when their matrices are to 10 decimals, whatever their names.

    The matrices are copied in float64 and cannot be changed afterwards.

    Attributes:
        name: Name used in messages, e.g. ``"D4"``.
        generators: Discrete generators h_i, shape ``(n_discrete, d, d)``.
        lie_algebra: Infinitesimal generators A_k, shape ``(n_lie, d, d)``; empty for a finite group.

    Raises:
        ValueError: If the two stacks do not hold finite square matrices of one size d, or a generator has no inverse.
    """

    name: str
    generators: Float[ndarray, "n_discrete d d"]
    lie_algebra: Float[ndarray, "n_lie d d"]

    def __post_init__(self) -> None:
        for attribute in ("generators", "lie_algebra"):
            object.__setattr__(self, attribute, frozen_stack(getattr(self, attribute), f"{self.name}: {attribute}"))
        if self.generators.shape[1:] != self.lie_algebra.shape[1:]:
            raise ValueError(
                f"{self.name}: generators and lie_algebra must hold matrices of one size, "
                f"got {self.generators.shape[1:]} and {self.lie_algebra.shape[1:]}"
            )
        for k, h in enumerate(self.generators):
            if np.linalg.svd(h, compute_uv=False)[-1] < LEAST_SINGULAR_VALUE:
                raise ValueError(f"{self.name}: generator {k} has no inverse, so the matrices form no group")

    @property
    def d(self) -> int:
        """Dimension of the defining representation."""
        return self.generators.shape[-1]

    @property
    def is_finite(self) -> bool:
        """Whether the group has no infinitesimal generators."""
        return len(self.lie_algebra) == 0

    @cached_property
    def _closure(self) -> tuple[tuple[Element, ...], Int[ndarray, "n_discrete order"]]:
        """All elements by breadth-first search, identity first, and the left action of the generators on them."""
        if not self.is_finite:
            raise ValueError(f"{self.name} is infinite; only the elements of a finite group can be listed")
        words: list[tuple[int, ...]] = [()]
        matrices = [np.eye(self.d)]
        index = {matrix_key(matrices[0]): 0}
        left: list[list[int]] = []
        while len(left) < len(words):
            i = len(left)
            images = []
            for k, h in enumerate(self.generators):
                image = h @ matrices[i]
                j = index.setdefault(matrix_key(image), len(words))
                if j == len(words):
                    words.append((k, *words[i]))
                    matrices.append(image)
                images.append(j)
            left.append(images)
            if len(words) > MAX_ORDER:
                raise ValueError(
                    f"{self.name}: the generators produce more than {MAX_ORDER} elements, too many to list; "
                    "if the group is meant to be small, write the matrices to 15 digits"
                )
        shape = (len(words), len(self.generators))
        return tuple(Element(word, ()) for word in words), frozen(np.array(left, dtype=int).reshape(shape).T)

    @property
    def elements(self) -> tuple[Element, ...]:
        """All elements of a finite group as shortest words in the generators, identity first.

        Raises:
            ValueError: If the group is infinite or has more than `MAX_ORDER` elements.
        """
        return self._closure[0]

    @property
    def order(self) -> int:
        """Number of elements of a finite group; raises as ``elements`` does."""
        return len(self.elements)

    @property
    def left_action(self) -> Int[ndarray, "n_discrete order"]:
        """``left_action[k, j]`` is the index of h_k · elements[j]."""
        return self._closure[1]

    @cached_property
    def table(self) -> Int[ndarray, "order order"]:
        """Multiplication table: ``table[i, j]`` is the index of elements[i] · elements[j]."""
        identity = np.arange(self.order)
        rows = [reduce(lambda row, k: self.left_action[k][row], word[::-1], identity) for word, _ in self.elements]
        return frozen(np.array(rows))

    def sample(self, rng: np.random.Generator, max_length: int = 8) -> Element:
        """Draw a random element, not Haar-distributed. The word's length is random too: in Z4, h⁸ = 1."""
        n_discrete, n_lie = len(self.generators), len(self.lie_algebra)
        word = rng.integers(n_discrete, size=rng.integers(max_length + 1)) if n_discrete else ()
        return Element(tuple(map(int, word)), tuple(map(float, rng.normal(size=n_lie))))

    def generator_elements(self, angle: float = 1.0) -> tuple[Element, ...]:
        """The discrete generators, then exp(``angle`` · A_k) for each infinitesimal one."""
        n_lie = len(self.lie_algebra)
        discrete = [Element((k,), (0.0,) * n_lie) for k in range(len(self.generators))]
        flows = [Element((), tuple(angle if i == k else 0.0 for i in range(n_lie))) for k in range(n_lie)]
        return (*discrete, *flows)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Group) and self._content == other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[int, bytes, bytes]:
        return self.d, content_key(self.generators), content_key(self.lie_algebra)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Group({self.name}, d={self.d}, n_discrete={len(self.generators)}, n_lie={len(self.lie_algebra)})"


def element_matrix(g: Element, generators: ndarray, lie_algebra: ndarray) -> Float[ndarray, "size size"]:
    """The matrix of ``g`` when the generators are represented by the given stacks."""
    size = generators.shape[-1]
    flow = expm(np.tensordot(np.array(g.angles), lie_algebra, axes=1)) if any(g.angles) else np.eye(size)
    return reduce(np.matmul, [generators[i] for i in g.word], np.eye(size)) @ flow
