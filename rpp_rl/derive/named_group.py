"""The finite group that some symmetries generate, under the name and the generators by which it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations_with_replacement
from math import prod

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from rpp_rl.symmetry import Group, cyclic, dihedral, polyhedral, product, trivial_group
from rpp_rl.symmetry.families import POLYHEDRAL
from rpp_rl.symmetry.matrices import snapped

MAX_FACTORS = 4
"""Largest number of factors of a direct product that is recognised."""


@dataclass(frozen=True, eq=False)
class Closure:
    """A group and the matrices by which its generators act.

    Attributes:
        group: The group, with its usual generators.
        words: For each generator a shortest product of the given matrices, as indices.
        matrices: For each generator its matrix.
    """

    group: Group
    words: tuple[tuple[int, ...], ...]
    matrices: Float[ndarray, "n_generators n n"]


def closed(matrices: Sequence[Float[ndarray, "n n"]]) -> Closure:
    """Name the finite group that some matrices generate, and find the usual generators of that group among it.

    Known are cyclic and dihedral groups, those of the regular solids, and direct products of them; of another group
    the matrices themselves are taken, as few of them as generate it. Groups that multiply alike have one name: the
    motions of a tetrahedron are called O, whose rotations of the cube multiply in the same way.

    Args:
        matrices: At least one matrix; together they have to generate a finite group.

    Raises:
        ValueError: If they generate no finite group.
    """
    size = len(matrices[0])
    group = Group("generated", np.array(matrices), np.zeros((0, size, size)))
    elements = np.array(
        [reduce(np.matmul, [group.generators[k] for k in g.word], np.eye(size)) for g in group.elements]
    )
    table, orders = group.table, _orders(group.table)
    for known in _known_groups(group.order):
        images = _embedding(known, table, orders)
        if images is not None:
            words = tuple(group.elements[i].word for i in images)
            return Closure(known, words, snapped(elements[list(images)], 1e-9))
    chosen = _few_generators(table, [int(group.left_action[k, 0]) for k in range(len(matrices))])
    name = f"order{group.order}"
    stack = snapped(elements[chosen], 1e-9)
    words = tuple(group.elements[i].word for i in chosen)
    return Closure(Group(name, stack, np.zeros((0, size, size))), words, stack)


def _orders(table: Int[ndarray, "n n"]) -> list[int]:
    """The order of every element."""
    orders = []
    for i in range(len(table)):
        order, power = 1, i
        while power != 0:
            power = int(table[power, i])
            order += 1
        orders.append(order)
    return orders


def _known_groups(order: int) -> Iterator[Group]:
    """Groups of an order that have names: single ones before products, products of few factors before longer ones."""
    if order == 1:
        yield trivial_group()
        return
    atoms = [(cyclic(n), n) for n in range(2, order + 1) if order % n == 0]
    atoms += [(dihedral(n), 2 * n) for n in range(3, order // 2 + 1) if order % (2 * n) == 0]
    solids = [polyhedral(name) for name in POLYHEDRAL]
    atoms += [(solid, solid.order) for solid in solids if order % solid.order == 0]
    for n_factors in range(1, MAX_FACTORS + 1):
        for factors in combinations_with_replacement(atoms, n_factors):
            if prod(size for _, size in factors) == order:
                yield reduce(product, [group for group, _ in reversed(factors)])


def _embedding(known: Group, table: Int[ndarray, "n n"], orders: list[int]) -> tuple[int, ...] | None:
    """Elements that multiply as the generators of a group of the same order; None if it is another group."""
    known_orders = _orders(known.table)
    if sorted(known_orders) != sorted(orders):
        return None
    generators = [int(known.left_action[k, 0]) for k in range(len(known.generators))]
    wanted = [known_orders[g] for g in generators]

    def complete(images: tuple[int, ...]) -> tuple[int, ...] | None:
        if len(images) == len(wanted):
            return images if _is_isomorphism(known, table, images) else None
        for i in range(len(table)):
            if orders[i] == wanted[len(images)] and _pairs_fit(known, generators, table, (*images, i)):
                found = complete((*images, i))
                if found is not None:
                    return found
        return None

    return complete(())


def _pairs_fit(known: Group, generators: list[int], table: Int[ndarray, "n n"], images: tuple[int, ...]) -> bool:
    """Whether the newest image commutes with the earlier ones exactly where the generators do."""
    last = len(images) - 1
    return all(
        (known.table[generators[k], generators[last]] == known.table[generators[last], generators[k]])
        == (table[images[k], images[last]] == table[images[last], images[k]])
        for k in range(last)
    )


def _is_isomorphism(known: Group, table: Int[ndarray, "n n"], images: tuple[int, ...]) -> bool:
    """Whether generators -> images extends to a one-to-one homomorphism."""
    image = np.array([reduce(lambda a, b: int(table[a, b]), [images[k] for k in g.word], 0) for g in known.elements])
    if len(set(image.tolist())) < known.order:
        return False
    return all((image[known.left_action[k]] == table[images[k], image]).all() for k in range(len(images)))


def _few_generators(table: Int[ndarray, "n n"], candidates: list[int]) -> list[int]:
    """Some of the candidates that generate everything, none of which can be spared."""
    chosen: list[int] = []
    reached = {0}
    for candidate in candidates:
        if candidate not in reached:
            chosen.append(candidate)
            reached = _generated(table, chosen)
    for candidate in tuple(chosen):
        others = [other for other in chosen if other != candidate]
        if _generated(table, others) == reached:
            chosen = others
    return chosen


def _generated(table: Int[ndarray, "n n"], generators: list[int]) -> set[int]:
    reached, frontier = {0}, [0]
    while frontier:
        new = {int(table[g, i]) for g in generators for i in frontier} - reached
        reached |= new
        frontier = list(new)
    return reached
