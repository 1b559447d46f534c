"""Blocks of numbers that a group permutes or mixes among themselves, found from the matrices of its generators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.sparse.csgraph import connected_components

from rpp_rl.derive.observation import Atom
from rpp_rl.envs.layout import Block, Layout
from rpp_rl.symmetry import Group, Rep, direct_sum, matrix_rep, regular, sign, trivial, vector

MAX_NAMES = 8
"""Names told in full in the name of a block."""


def blocked(
    group: Group, atoms: Sequence[Atom], matrices: Float[ndarray, "n_gen n n"], algebra: Float[ndarray, "n_lie n n"]
) -> Layout:
    """The layout of an observation or action.

    Numbers that no generator mixes with others stay alone; orbits of one kind that move alike become one block.

    Args:
        group: The group.
        atoms: The parts of the vector in order.
        matrices: How the group's discrete generators act on their coordinates.
        algebra: How the infinitesimal ones do.
    """
    ends = np.cumsum([0, *(9 if atom.is_rotation else 1 for atom in atoms)])
    owner = np.repeat(np.arange(len(atoms)), np.diff(ends))
    rows, columns = np.abs(np.concatenate([matrices, algebra])).max(axis=0).nonzero()
    linked = np.zeros((len(atoms), len(atoms)))
    linked[owner[rows], owner[columns]] = 1.0
    _, labels = connected_components(linked, directed=False)
    merged: dict[tuple[str, str, str, Rep], list[int]] = {}
    for label in dict.fromkeys(labels.tolist()):
        order, rep = _orbit(group, np.flatnonzero(labels == label), ends, matrices, algebra)
        first = atoms[order[0]]
        merged.setdefault((first.what, first.kind, first.unit, rep), []).extend(order)
    return Layout(
        tuple(
            _block(what, kind, unit, rep, [atoms[i] for i in order])
            for (what, kind, unit, rep), order in merged.items()
        )
    )


def _block(what: str, kind: str, unit: str, rep: Rep, atoms: list[Atom]) -> Block:
    owners = [atom.owner for atom in atoms]
    shown = ", ".join(owners[:MAX_NAMES]) + (f" and {len(owners) - MAX_NAMES} more" if len(owners) > MAX_NAMES else "")
    size = sum(9 if atom.is_rotation else 1 for atom in atoms)
    indices = tuple(index for atom in atoms for index in atom.indices)
    rep = size // rep.size * rep
    if atoms[0].is_rotation:
        return Block(f"{shown}: {what}", indices, rep, "rotation_matrix", kind=kind, unit=unit)
    return Block(f"{shown}: {what}", indices, rep, kind=kind, unit=unit, labels=tuple(owners))


def _orbit(
    group: Group, members: Float[ndarray, " k"], ends: ndarray, matrices: ndarray, algebra: ndarray
) -> tuple[list[int], Rep]:
    """The order of an orbit's atoms in which its matrices look most familiar, and their representation."""
    orders = [members.tolist()]
    if not _has_rotations(members, ends):
        orders += _walks(members, ends, matrices)
    known = [trivial(group), sign(group), vector(group), *([regular(group)] if group.is_finite else [])]
    stacks = [_restricted(order, ends, matrices, algebra) for order in orders]
    for rep in known:
        for order, (generators, lie) in zip(orders, stacks, strict=True):
            if np.array_equal(rep.generators, generators) and np.array_equal(rep.lie_algebra, lie):
                return order, rep
    best = min(range(len(orders)), key=lambda i: (stacks[i][0] + 0.0).tobytes() if len(orders) > 1 else b"")
    return orders[best], _split(group, *stacks[best])


def _has_rotations(members: ndarray, ends: ndarray) -> bool:
    return bool((ends[members + 1] - ends[members] > 1).any())


def _walks(members: ndarray, ends: ndarray, matrices: ndarray) -> list[list[int]]:
    """From each member the others in the order in which the generators reach them, if they only permute."""
    coordinates = ends[members]
    stack = matrices[:, coordinates[:, None], coordinates]
    if not len(stack) or not np.isin(np.abs(stack), (0.0, 1.0)).all():
        return []
    images = np.abs(stack).argmax(axis=1)
    walks = []
    for start in range(len(members)):
        walk = [start]
        for i in walk:
            walk += [j for j in dict.fromkeys(images[:, i].tolist()) if j not in walk]
        if len(walk) == len(members):
            walks.append(members[walk].tolist())
    return walks


def _restricted(order: list[int], ends: ndarray, matrices: ndarray, algebra: ndarray) -> tuple[ndarray, ndarray]:
    where = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in order])
    return matrices[:, where[:, None], where], algebra[:, where[:, None], where]


def _split(group: Group, generators: ndarray, algebra: ndarray) -> Rep:
    """The direct sum of the smallest parts of neighbouring coordinates that the group does not mix."""
    size = generators.shape[-1]
    used = np.abs(np.concatenate([generators, algebra, np.eye(size)[None]])).max(axis=0) > 0
    reach = np.maximum.accumulate([int(np.flatnonzero(used[:, i] | used[i]).max()) for i in range(size)])
    ends = [i + 1 for i in range(size) if reach[i] == i]
    starts = [0, *ends[:-1]]
    named = {1: (trivial(group), sign(group))}
    parts = []
    for start, end in zip(starts, ends, strict=True):
        where = slice(start, end)
        part = matrix_rep(group, generators[:, where, where], algebra[:, where, where], name=f"orbit{end - start}")
        known = (*named.get(end - start, ()), vector(group))
        parts.append(next((rep for rep in known if rep == part), part))
    return direct_sum(*parts)
