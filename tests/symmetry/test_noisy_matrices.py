"""Groups and representations written by hand, with rounding errors: the same bases as of the exact ones."""

import numpy as np
import pytest
from symmetry_oracles import KNOWN, character_rank

from rpp_rl.symmetry import (
    Group,
    basis_blocks,
    cyclic,
    equivariant_basis,
    matrix_rep,
    parse_rep,
    special_orthogonal,
    trivial,
    vector,
)
from rpp_rl.symmetry import basis as basis_module

NOISES = (1e-16, 1e-13, 2e-11)
TEXTS = ("V", "V*V", "P + V", "V'")
"""Where two are compared, the larger one comes first."""


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """No basis from the disk or from another test."""
    monkeypatch.setenv("RPP_RL_CACHE", "off")
    forget()


def forget():
    for memory in (basis_module._division, basis_module._solve, basis_module._orbits):
        memory.cache_clear()


def turned(angle):
    """A rotation as one writes it down, without care for rounding."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def noisy(group, size, seed=0):
    """A copy of a group whose matrices are off by up to ``size``, past what the constructor makes exact."""
    rng = np.random.default_rng(seed)
    stacks = [stack + size * rng.uniform(-1, 1, stack.shape) for stack in (group.generators, group.lie_algebra)]
    return Group(f"noisy {group}", *stacks)


def ranks(group):
    reps = [parse_rep(text, group) for text in TEXTS]
    return [
        sum(b.n_coefficients for row in basis_blocks(a, b) for b in row)
        for a in reps
        for b in reps
        if a.size * b.size <= 150
    ]


@pytest.mark.parametrize("order", ["noisy first", "exact first", "alone"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_noisy_group_has_the_ranks_of_the_exact_one(name, order):
    """Equal groups share what is computed once, so whichever comes first must not spoil the other."""
    exact = KNOWN[name]
    forget()
    expected = ranks(exact)
    for noise in NOISES:
        if order != "exact first":
            forget()
        assert ranks(noisy(exact, noise)) == expected
        if order == "noisy first":
            assert ranks(exact) == expected


def test_a_half_turn_written_with_cosines():
    half = vector(Group("C2", turned(np.pi)[None], np.zeros((0, 2, 2))))
    assert len(equivariant_basis(half, half)) == 4 == character_rank(half, half)
    exact = vector(Group("C2", -np.eye(2)[None], np.zeros((0, 2, 2))))
    assert exact == half
    assert len(equivariant_basis(exact, exact)) == 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_whole_turns_written_with_cosines_are_trivial(turns):
    group = cyclic(4)
    assert len(equivariant_basis(matrix_rep(group, [turned(2 * np.pi * turns)]), trivial(group))) == 2
    quarter = matrix_rep(group, [turned(np.pi / 2)])
    assert len(equivariant_basis(quarter, trivial(group))) == 0


def test_a_turn_that_is_small_but_no_noise_is_kept():
    """Negative control: the smallest rotations that a finite group of the package has."""
    fine = vector(Group("Z5000", turned(2 * np.pi / 5000)[None], np.zeros((0, 2, 2))))
    assert len(equivariant_basis(fine, trivial(fine.group))) == 0
    assert len(equivariant_basis(fine, fine)) == 2


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 1e6])
def test_the_unit_of_an_infinitesimal_generator_does_not_matter(unit):
    """An algebra in very small units is no noise, unless it is below what tells two groups apart."""
    algebra = unit * special_orthogonal(3).lie_algebra
    v = vector(Group("SO3", np.zeros((0, 3, 3)), algebra))
    assert len(equivariant_basis(v * v, v)) == (1 if unit > 1e-10 else 27)


def test_integers_up_to_rounding_become_exact():
    group = Group("C2", turned(np.pi)[None], np.zeros((0, 2, 2)))
    assert group.generators.tobytes() == (-np.eye(2)[None] + 0.0).tobytes()
    assert vector(group).is_signed_permutation
    off = Group("other", np.array([[[1.0, 2e-10], [0.0, -1.0]]]), np.zeros((0, 2, 2)))
    assert off.generators[0, 0, 1] == 2e-10
