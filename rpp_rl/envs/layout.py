"""An environment's vector in named blocks, each with the representation that acts on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from rpp_rl.symmetry import Element, Group, Rep, direct_sum

TRANSFORM_SIZES: Mapping[str, tuple[int, int]] = {"rotation_matrix": (4, 9), "middle_link": (8, 8)}
"""Changes of coordinates by name: how many numbers of the environment's vector become how many coordinates.

``rotation_matrix`` takes a quaternion (w, x, y, z) of any length, or several that the group may exchange (ball joints
of legs), ``middle_link`` the whole observation of the Swimmer; the formulas are in `rpp_rl.envs.coordinates`.
``identity``, not listed, keeps the numbers.
"""

KINDS = (
    "angle",
    "rate",
    "orientation",
    "position",
    "velocity",
    "acceleration",
    "direction",
    "force",
    "torque",
    "inertia",
    "contact",
    "command",
    "action",
    "other",
)
"""What numbers can be. A rate is an angle per time; a direction a vector of length one; an action also a past one."""


@dataclass(frozen=True)
class Block:
    """Numbers of the environment's vector that belong together, and the representation that acts on them.

    Attributes:
        name: What the numbers are: ``"torso height"``.
        indices: Where they are in the environment's vector, in the order in which ``rep`` acts on them.
        rep: How they transform, after the change of coordinates.
        transform: ``"identity"`` or a key of `TRANSFORM_SIZES`. The rep of a ``"rotation_matrix"`` acts on R in
            row-major order, R' = g R sᵀ with det g = det s; it is the tensor product of a world and a body vector. Of
            several quaternions, one after the other, the matrices follow each other too.
        kind: One of `KINDS` for all coordinates, or one for each; empty where nothing is said.
        unit: The unit of all coordinates, ``"m"``, or that of each; ``"1"`` for pure numbers.
        labels: A short name of each coordinate, ``"right knee"``; empty where they have none.

    Raises:
        ValueError: If the numbers of indices, coordinates, kinds, units or labels do not fit, a kind is unknown, or
            rotations do not go to rotations.
    """

    name: str
    indices: tuple[int, ...]
    rep: Rep
    transform: str = "identity"
    kind: str | tuple[str, ...] = ""
    unit: str | tuple[str, ...] = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._require_sizes()
        self._require_words()
        if self.transform == "rotation_matrix":
            _require_rotations(self)

    def _require_sizes(self) -> None:
        if self.transform != "identity" and self.transform not in TRANSFORM_SIZES:
            known = ", ".join(["identity", *TRANSFORM_SIZES])
            raise ValueError(f"block {self.name!r}: unknown transform {self.transform!r}, known are {known}")
        n_in, n_out = TRANSFORM_SIZES.get(self.transform, (self.rep.size, self.rep.size))
        if self.transform == "rotation_matrix":
            count = max(1, len(self.indices) // n_in)
            n_in, n_out = count * n_in, count * n_out
        if (len(self.indices), self.rep.size) != (n_in, n_out):
            raise ValueError(
                f"block {self.name!r}: {self.transform} expects {n_in} indices and a representation of size {n_out}, "
                f"got {len(self.indices)} and {self.rep.name} of size {self.rep.size}"
            )

    def _require_words(self) -> None:
        for what, words in (("kinds", self.kinds), ("units", self.units), ("labels", self.labels)):
            if len(words) != self.rep.size and (words or what != "labels"):
                raise ValueError(f"block {self.name!r}: expected {self.rep.size} {what}, got {len(words)}")
            if not all(isinstance(word, str) for word in words):
                raise ValueError(f"block {self.name!r}: expected {what} that are text, got {words!r}")
        for kind in self.kinds:
            if kind and kind not in KINDS:
                raise ValueError(f"block {self.name!r}: unknown kind {kind!r}, known are {', '.join(KINDS)}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each coordinate."""
        return self.kind if isinstance(self.kind, tuple) else (self.kind,) * self.rep.size

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each coordinate."""
        return self.unit if isinstance(self.unit, tuple) else (self.unit,) * self.rep.size

    @property
    def title(self) -> str:
        """The name with the units, for people: ``"torso height [m]"``."""
        units = ", ".join(dict.fromkeys(unit for unit in self.units if unit not in ("", "1")))
        return f"{self.name} [{units}]" if units else self.name

    def part(self, places: Sequence[int], rep: Rep) -> Block:
        """Some numbers of a block whose numbers are its coordinates: those at ``places``, on which ``rep`` acts."""

        def pick(words: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(words[i] for i in places) if words else ()

        return replace(
            self,
            indices=tuple(self.indices[i] for i in places),
            rep=rep,
            kind=pick(self.kinds),
            unit=pick(self.units),
            labels=pick(self.labels),
        )


def _require_rotations(block: Block) -> None:
    """A product g ⊗ s with det g ≠ det s maps rotations to reflections, which no quaternion describes."""
    tilted = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2 + np.eye(3))[0]
    rotation = tilted * np.linalg.det(tilted)
    rotations = [np.linalg.matrix_power(rotation, k + 1) for k in range(len(block.indices) // 4)]
    for g in block.rep.group.generator_elements():
        images = (block.rep.rho(g) @ np.ravel(rotations)).reshape(-1, 3, 3)
        if not np.allclose(images @ images.swapaxes(1, 2), np.eye(3), atol=1e-9) or np.linalg.det(images).min() < 0:
            raise ValueError(f"block {block.name!r}: {g} of {block.rep.group} does not map rotations to rotations")


@dataclass(frozen=True)
class Layout:
    """An environment's vector cut into blocks; the coordinates on which `rep` acts follow the order of the blocks.

    Raises:
        ValueError: If an index is missing or comes twice, or the blocks belong to more than one group.
    """

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        owners: dict[int, str] = {}
        for block in self.blocks:
            for index in block.indices:
                if index in owners:
                    raise ValueError(f"index {index} is in block {block.name!r} and in block {owners[index]!r}")
                owners[index] = block.name
        if not owners or sorted(owners) != list(range(len(owners))):
            missing = sorted(set(range(max(len(owners), 1))) - set(owners))
            raise ValueError(f"the blocks must hold every index from 0 on exactly once, missing are {missing}")
        if len({block.rep.group for block in self.blocks}) > 1:
            raise ValueError(
                f"all blocks must have one group, got {sorted({str(block.rep.group) for block in self.blocks})}"
            )

    @property
    def size(self) -> int:
        """Length of the environment's vector."""
        return sum(len(block.indices) for block in self.blocks)

    @cached_property
    def rep(self) -> Rep:
        """The direct sum of the blocks' representations, which acts on the coordinates."""
        return direct_sum(*(block.rep for block in self.blocks))

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each block's coordinates are."""
        ends = np.cumsum([0, *(block.rep.size for block in self.blocks)]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    def block_of(self, index: int) -> Block:
        """The block that holds an index of the environment's vector."""
        return next(block for block in self.blocks if index in block.indices)

    def restrict(self, subgroup: Group, images: Sequence[Element]) -> Layout:
        """The same blocks under a subgroup; ``images`` are its generators as elements of the present group."""
        reps = {block.rep: block.rep.restrict(subgroup, images) for block in self.blocks}
        return Layout(tuple(replace(block, rep=reps[block.rep]) for block in self.blocks))
