"""Mistakes that a specification may have, one at a time: changed signs, and numbers of one kind that changed places.

Rotations are changed by turning two of their axes round, since one changed sign makes no rotation of a rotation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from jaxtyping import Bool, Float
from numpy import ndarray

from rpp_rl.envs.simulator import Simulator
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.envs.state_map import StateMap

MAX_EXCHANGES = 200
"""Exchanges that are tried of what is stepped, and of what is derived; of more of them some, evenly spread."""

Place = tuple[str, int, int]
"""The block of a number or the action, its row in the map, and the block's first row."""
Pair = tuple[str, Place, Place]
"""Which map, and two places in it."""


class Mistake(NamedTuple):
    """A change of one of the three maps, those of the state, of derived numbers and of the action.

    Attributes:
        kind: What is changed, in words.
        part: The block in which, in words.
        where: ``"state"``, ``"derived"`` or ``"action"``.
        rows: The rows of the map that are replaced.
        sources: By which rows.
        sign: With which sign.
    """

    kind: str
    part: str
    where: str
    rows: tuple[int, ...]
    sources: tuple[int, ...]
    sign: float

    def applied(self, matrix: Float[ndarray, "m m"], *, in_columns: bool = False) -> Float[ndarray, "m m"]:
        """The map with the mistake in it, on request in its columns as well as in its rows."""
        changed = matrix.copy()
        changed[list(self.rows)] = self.sign * matrix[list(self.sources)]
        if in_columns:
            changed[:, list(self.rows)] = self.sign * changed[:, list(self.sources)]
        return changed


def all_mistakes(
    spec: EnvSpec, simulator: Simulator, state_map: StateMap, is_state: Bool[ndarray, " rep"]
) -> Iterator[tuple[Mistake, str]]:
    """All of them, each with the numbers that it concerns: changed signs, then exchanges within a block."""
    signs: list[tuple[Mistake, str]] = []
    stepped: list[Pair] = []
    seen: list[Pair] = []
    layouts = [(spec.observation, "derived", ~is_state)]
    if simulator.shows_state:
        layouts.append((state_map.layout, "state", state_map.counted))
    for layout, where, counted in layouts:
        for block, place in zip(layout.blocks, layout.slices, strict=True):
            if not counted[place].all():
                continue
            if block.transform == "rotation_matrix":
                signs += _turned_axes(block.name, where, place)
                continue
            # What is known to be zero for ever can have any sign.
            known = simulator.zeros if where == "derived" and block.transform == "identity" else ()
            rows = [row for row, index in enumerate(block.indices, place.start) if index not in known]
            signs += [
                (Mistake("the sign of coordinate", block.name, where, (i,), (i,), -1.0), f"{i - place.start}")
                for i in rows
            ]
            pairs = seen if where == "derived" else stepped
            pairs += [
                (where, (block.name, i, place.start), (block.name, j, place.start)) for i, j in combinations(rows, 2)
            ]
    n = spec.action.size
    signs += [(Mistake("the sign of number", "the action", "action", (i,), (i,), -1.0), f"{i}") for i in range(n)]
    stepped += [("action", ("the action", i, 0), ("the action", j, 0)) for i, j in combinations(range(n), 2)]
    yield from signs
    yield from map(exchange, [*spread(stepped), *spread(seen)])


def exchange(pair: Pair) -> tuple[Mistake, str]:
    """The mistake that two numbers are in each other's place, and which they are."""
    where, (part, i, start), (other, j, other_start) = pair
    which = f"{i - start} and {j - other_start}" if part == other else f"{i - start} of {part} and {j - other_start}"
    return Mistake("the exchange of coordinates", other, where, (i, j), (j, i), 1.0), which


def spread(pairs: Sequence[Pair]) -> list[Pair]:
    """Not more than `MAX_EXCHANGES` of them."""
    step = max(1.0, len(pairs) / MAX_EXCHANGES)
    return [pairs[int(k * step)] for k in range(int(len(pairs) / step))]


def _turned_axes(name: str, where: str, place: slice) -> Iterator[tuple[Mistake, str]]:
    """Two axes of the world, or of the body, turned round in each rotation matrix."""
    for start in range(place.start, place.stop, 9):
        for axis, letter in enumerate("xyz"):
            pair = [k for k in range(3) if k != axis]
            for side in ("world", "body"):
                entries = [3 * k + m if side == "world" else 3 * m + k for k in pair for m in range(3)]
                rows = tuple(start + entry for entry in entries)
                yield Mistake("the signs of two axes", name, where, rows, rows, -1.0), f"({side}, about {letter})"
