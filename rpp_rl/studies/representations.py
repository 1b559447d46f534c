"""Groups and hidden representations of the studies, and the network of tensors that two of them share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import product

import numpy as np

from rpp_rl.nn import RPPEMLP, Mode, Subgroup, hidden_rep
from rpp_rl.symmetry import Element, Group, Rep, cyclic, direct_sum, special_orthogonal, tensor_product, trivial, vector


def orthogonal_about_z() -> Group:
    """O(2)_z: rotations of R³ about the vertical and the reflection diag(-1, 1, 1)."""
    turn = np.zeros((1, 3, 3))
    turn[0, 1, 0] = 1.0
    turn[0, 0, 1] = -1.0
    return Group("O2z", np.diag([-1.0, 1.0, 1.0])[None], turn)


def about_z_in_orthogonal() -> Subgroup:
    """O(2)_z in O(3): the same reflection, and the first of the three rotations."""
    return Subgroup(orthogonal_about_z(), [Element((0,), ())], np.array([[1.0, 0.0, 0.0]]))


def mirror_about_z(direction: Sequence[float]) -> Subgroup:
    """The mirror of O(2)_z whose plane holds a horizontal direction.

    The plane is turned by some angle from that of diag(-1, 1, 1), hence its mirror by twice as much.
    """
    x, y, _ = direction
    angle = math.atan2(-x, y)
    return Subgroup(cyclic(2), [Element((0,), (-2.0 * angle,))])


def about_z_in_rotations() -> Subgroup:
    """SO(2)_z in SO(3): the first of the three rotations."""
    turn = orthogonal_about_z().lie_algebra
    return Subgroup(Group("SO2z", np.zeros((0, 3, 3)), turn), lie_images=np.array([[1.0, 0.0, 0.0]]))


def rotations_in_special_linear() -> Subgroup:
    """SO(3) in SL(3): a rotation's generator E_ji - E_ij is the difference of two of SL(3)'s."""
    places = [(i, j) for i in range(3) for j in range(3) if i != j]
    coefficients = np.zeros((3, 8))
    for row, (i, j) in zip(coefficients, ((0, 1), (0, 2), (1, 2)), strict=True):
        row[places.index((j, i))], row[places.index((i, j))] = 1.0, -1.0
    return Subgroup(special_orthogonal(3), lie_images=coefficients)


def tensor_rep(group: Group, width: int) -> Rep:
    """The hidden representation "uniform" of arXiv:2104.09459, section 5, with duals where the group tells them apart.

    Copies of a tensor power are shared among the words in V and its dual V', such as V*V, V*V', V'*V, V'*V'.

    >>> from rpp_rl.symmetry import special_linear
    >>> tensor_rep(special_linear(3), 24)
    Rep(12*R + 2*V + 2*V', group=SL3, size=24)
    """
    uniform = hidden_rep(group, width, "uniform")
    if vector(group).is_orthogonal:
        return uniform
    shared = [_shared(count, group, degree) for degree, (count, _) in enumerate(uniform.parts)]
    return direct_sum(*(copies * word for words in shared for copies, word in words))


def _shared(count: int, group: Group, degree: int) -> list[tuple[int, Rep]]:
    """So many copies of tensors of a degree, shared among the words in V and V'; mixed words come first."""
    if degree == 0:
        return [(count, trivial(group))]
    base = vector(group)
    letters = sorted(product((1, -1), repeat=degree), key=lambda word: abs(sum(word)))
    copies, rest = divmod(count, len(letters))
    words = [reduce(tensor_product, [base if letter > 0 else base.dual() for letter in word]) for word in letters]
    counts = [copies + (position < rest) for position in range(len(words))]
    return [(count, word) for count, word in zip(counts, words, strict=True) if count]


def tensor_network(
    rep_in: Rep,
    rep_out: Rep,
    mode: Mode,
    *,
    width: int,
    members: int | None = None,
    subgroups: Sequence[Subgroup] = (),
    twins: bool = False,
) -> RPPEMLP:
    """The paper's network: three hidden layers of tensors with bilinear layers, or of plain swish units.

    See `rpp_rl.nn.trunk` for ``subgroups`` and ``twins``.
    """
    return RPPEMLP(
        rep_in,
        rep_out,
        3 * [tensor_rep(rep_in.group, width)],
        mode=mode,
        activation="silu",
        bilinear="tensor",
        subgroups=subgroups,
        twins=twins,
        ensemble=members,
    )
