"""Matrix groups given by discrete generators and a Lie algebra, after Finzi, Welling and Wilson (arXiv:2104.09459)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.linalg import block_diag, expm

MAX_ORDER = 10_000
"""Largest finite group whose elements are listed; generators that produce more are taken for an infinite group."""


class Element(NamedTuple):
    """A group element h_{word[0]} h_{word[1]} ... exp(Σ_k angles[k] A_k), independent of any representation."""

    word: tuple[int, ...]
    angles: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Group:
    """A matrix group acting on R^d. Two groups are equal when their matrices are.

    Attributes:
        name: Name used in messages, e.g. ``"D4"``.
        generators: Discrete generators h_i, shape ``(n_discrete, d, d)``.
        lie_algebra: Infinitesimal generators A_k, shape ``(n_lie, d, d)``; empty for a finite group.

    Raises:
        ValueError: If the two stacks do not hold finite square matrices of one size d.
    """

    name: str
    generators: Float[ndarray, "n_discrete d d"]
    lie_algebra: Float[ndarray, "n_lie d d"]

    def __post_init__(self) -> None:
        shapes = self.generators.shape[1:], self.lie_algebra.shape[1:]
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or len(set(shapes[0])) != 1:
            raise ValueError(f"{self.name}: generators must be square and of one size, got {shapes[0]} and {shapes[1]}")
        if not (np.isfinite(self.generators).all() and np.isfinite(self.lie_algebra).all()):
            raise ValueError(f"{self.name}: generators must be finite numbers")

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
        index = {_key(matrices[0]): 0}
        left: list[list[int]] = []
        i = 0
        while i < len(words):
            images = []
            for k, h in enumerate(self.generators):
                product = h @ matrices[i]
                j = index.setdefault(_key(product), len(words))
                if j == len(words):
                    words.append((k, *words[i]))
                    matrices.append(product)
                images.append(j)
            left.append(images)
            i += 1
            if len(words) > MAX_ORDER:
                raise ValueError(f"{self.name}: generators produce more than {MAX_ORDER} elements; is it finite?")
        shape = (len(words), len(self.generators))
        return tuple(Element(word, ()) for word in words), np.array(left, dtype=int).reshape(shape).T

    @property
    def elements(self) -> tuple[Element, ...]:
        """All elements of a finite group as shortest words in the generators, identity first."""
        return self._closure[0]

    @property
    def order(self) -> int:
        """Number of elements of a finite group."""
        return len(self.elements)

    @property
    def left_action(self) -> Int[ndarray, "n_discrete order"]:
        """``left_action[k, j]`` is the index of h_k · elements[j]."""
        return self._closure[1]

    @cached_property
    def table(self) -> Int[ndarray, "order order"]:
        """Multiplication table: ``table[i, j]`` is the index of elements[i] · elements[j]."""
        identity = np.arange(self.order)
        return np.array(
            [reduce(lambda row, k: self.left_action[k][row], word[::-1], identity) for word, _ in self.elements]
        )

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
        return isinstance(other, Group) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[int, bytes, bytes]:
        return self.d, (self.generators + 0.0).tobytes(), (self.lie_algebra + 0.0).tobytes()

    def __str__(self) -> str:
        return self.name

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values from which ``from_dict`` makes an equal group."""
        return {
            "name": self.name,
            "d": self.d,
            "generators": self.generators.tolist(),
            "lie_algebra": self.lie_algebra.tolist(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Group:
        """The group that ``to_dict`` described.

        Raises:
            ValueError: If the matrices do not have one square shape.
        """
        d = int(data["d"])
        stacks = [np.array(data[key], dtype=float) for key in ("generators", "lie_algebra")]
        generators, lie_algebra = (stack if stack.size else np.zeros((0, d, d)) for stack in stacks)
        return Group(str(data["name"]), generators, lie_algebra)

    @staticmethod
    def parse(text: str) -> Group:
        """Read a group from text: Z4, D4 (2x2), D4perm (4 points), S3, SO3, O(2), SL(2), SO(1,3), O(1,3), 1, Z2xZ2.

        Raises:
            ValueError: If the text names no known group.
        """
        factors = [_parse_factor(factor.strip(), text) for factor in re.split(r"[x×]", text)]
        return reduce(product, factors)


def _key(matrix: ndarray) -> bytes:
    return (np.round(matrix, 6) + 0.0).tobytes()


def _parse_factor(factor: str, text: str) -> Group:
    if factor == "1":
        return trivial_group()
    match = re.fullmatch(r"(Z|C|D|SO|O|SL|S)\(?(\d+)(?:,(\d+))?\)?(perm)?", factor.replace(" ", ""))
    if match:
        family, p, q, perm = match[1], int(match[2]), match[3], match[4] is not None
        if q is not None and family in ("SO", "O") and not perm:
            return pseudo_orthogonal(p, int(q), special=family == "SO")
        if q is None and perm and family == "D":
            return dihedral_permutation(p)
        if q is None and not perm:
            return _FAMILIES[family](p)
    raise ValueError(
        f"unknown group {factor!r} in {text!r}; known are Z(n), D(n), D(n)perm, S(n), SO(n), O(n), SL(n), "
        "SO(p,q), O(p,q), the trivial group 1, and products such as Z2xZ2"
    )


def _finite(name: str, generators: Sequence[ndarray] | ndarray) -> Group:
    stack = np.array(generators, dtype=float)
    return Group(name, stack, np.zeros((0, *stack.shape[1:])))


def _require(condition: bool, family: str, n: int, least: int) -> None:
    if not condition:
        raise ValueError(f"{family}(n) needs n >= {least}, got {n}")


def rotation(angle: float) -> Float[ndarray, "2 2"]:
    """The plane rotation by ``angle``, with entries that are integers up to rounding made exact."""
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s], [s, c]])
    nearest = np.round(matrix)
    return np.where(np.abs(matrix - nearest) < 1e-12, nearest, matrix) + 0.0


def trivial_group() -> Group:
    """The group of one element, acting on R^1."""
    return Group("1", np.zeros((0, 1, 1)), np.zeros((0, 1, 1)))


def cyclic(n: int) -> Group:
    """Z_n, generated by the cyclic shift of n points. Z_2 swaps left and right."""
    _require(n >= 1, "Z", n, 1)
    return _finite(f"Z{n}", [np.roll(np.eye(n), 1, axis=0)])


def dihedral(n: int) -> Group:
    """D_n as 2x2 matrices: rotation r by 2π/n and reflection f = diag(1, -1); r^n = f² = (fr)² = 1."""
    _require(n >= 1, "D", n, 1)
    return _finite(f"D{n}", [rotation(2 * np.pi / n), np.diag([1.0, -1.0])])


def dihedral_permutation(n: int) -> Group:
    """D_n as permutations of n points on a circle: the shift r and the reflection f : i -> -i; not equal to D_n as 2x2."""
    _require(n >= 3, "Dperm", n, 3)
    return _finite(f"D{n}perm", [np.roll(np.eye(n), 1, axis=0), np.eye(n)[-np.arange(n) % n]])


def symmetric(n: int) -> Group:
    """S_n, all permutations of n points, generated by a transposition and the cyclic shift."""
    _require(n >= 1, "S", n, 1)
    swap = np.eye(n)[[1, 0, *range(2, n)]] if n > 1 else np.eye(1)
    return _finite(f"S{n}", [swap, np.roll(np.eye(n), 1, axis=0)])


def special_orthogonal(n: int) -> Group:
    """SO(n), rotations of R^n, by the antisymmetric matrices E_ji - E_ij for i < j."""
    _require(n >= 2, "SO", n, 2)
    return Group(f"SO{n}", np.zeros((0, n, n)), pseudo_orthogonal_algebra(n, 0))


def orthogonal(n: int) -> Group:
    """O(n), rotations and the reflection diag(-1, 1, ..., 1)."""
    _require(n >= 2, "O", n, 2)
    return Group(f"O{n}", np.diag([-1.0] + [1.0] * (n - 1))[None], pseudo_orthogonal_algebra(n, 0))


def special_linear(n: int) -> Group:
    """SL(n), matrices of determinant 1, by the traceless matrices."""
    _require(n >= 2, "SL", n, 2)
    off_diagonal = [np.outer(np.eye(n)[i], np.eye(n)[j]) for i in range(n) for j in range(n) if i != j]
    diagonal = [np.diag(np.eye(n)[i] - np.eye(n)[i + 1]) for i in range(n - 1)]
    return Group(f"SL{n}", np.zeros((0, n, n)), np.array(off_diagonal + diagonal))


def pseudo_orthogonal(p: int, q: int, *, special: bool = True) -> Group:
    """SO(p,q) or O(p,q), preserving diag(1,...,1,-1,...,-1); SO(p,q) has two components when p and q are positive."""
    _require(p >= 1 and q >= 1, "SO(p,q) or O(p,q): p and q", min(p, q), 1)
    flips = [np.diag(np.where(np.arange(p + q) == axis, -1.0, 1.0)) for axis in (0, p)]
    discrete = [flips[0] @ flips[1]] if special else flips
    return Group(f"{'SO' if special else 'O'}({p},{q})", np.array(discrete), pseudo_orthogonal_algebra(p, q))


def pseudo_orthogonal_algebra(p: int, q: int) -> Float[ndarray, "n_lie d d"]:
    """Basis of so(p,q): A with Aᵀη + ηA = 0, one matrix for each pair of axes."""
    n, matrices = p + q, []
    for i, j in combinations(range(n), 2):
        a = np.zeros((n, n))
        a[j, i] = 1.0
        a[i, j] = 1.0 if i < p <= j else -1.0
        matrices.append(a)
    return np.array(matrices).reshape(-1, n, n)


def product(first: Group, second: Group) -> Group:
    """The direct product on R^(d1+d2): the generators of ``first``, then those of ``second``."""

    def stack(a: ndarray, b: ndarray) -> ndarray:
        blocks = [block_diag(m, np.eye(second.d)) for m in a] + [block_diag(np.eye(first.d), m) for m in b]
        return np.array(blocks).reshape(-1, first.d + second.d, first.d + second.d)

    def stack_algebra(a: ndarray, b: ndarray) -> ndarray:
        blocks = [block_diag(m, 0 * np.eye(second.d)) for m in a] + [block_diag(0 * np.eye(first.d), m) for m in b]
        return np.array(blocks).reshape(-1, first.d + second.d, first.d + second.d)

    return Group(
        f"{first.name}x{second.name}",
        stack(first.generators, second.generators),
        stack_algebra(first.lie_algebra, second.lie_algebra),
    )


def element_matrix(g: Element, generators: ndarray, lie_algebra: ndarray) -> Float[ndarray, "size size"]:
    """The matrix of ``g`` when the generators are represented by the given stacks."""
    size = generators.shape[-1]
    if any(g.angles):
        flow = expm(np.tensordot(np.array(g.angles), lie_algebra, axes=1))
    else:
        flow = np.eye(size)
    return reduce(np.matmul, [generators[i] for i in g.word], np.eye(size)) @ flow


_FAMILIES: dict[str, Callable[[int], Group]] = {
    "Z": cyclic,
    "C": cyclic,
    "D": dihedral,
    "S": symmetric,
    "SO": special_orthogonal,
    "O": orthogonal,
    "SL": special_linear,
}
