"""Groups and representations written by hand, with rounding errors: the same bases as of the exact ones."""

import numpy as np
import pytest

from rpp_rl.symmetry import (
    Group,
    basis_blocks,
    complex_rep,
    cyclic,
    equivariant_basis,
    matrix_rep,
    on_product,
    parse_group,
    parse_rep,
    special_orthogonal,
    trivial,
    vector,
)
from rpp_rl.symmetry import basis as basis_module
from tests.kit.symmetry_oracles import KNOWN, character_rank

NOISES = (1e-16, 1e-13, 2e-11)
TEXTS = ("V", "V*V", "P + V", "V'")
"""Where two are compared, the larger one comes first."""
OTHERS = ("T", "Th", "O", "Oh", "I", "GL2", "Sp1", "Sp2", "U2", "SU2", "SU3")
NAMED = KNOWN | {name: parse_group(name) for name in OTHERS}
ORDERS = ("noisy first", "exact first", "alone")


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


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", NAMED)
def test_a_noisy_group_has_the_ranks_of_the_exact_one(name, order):
    """Equal groups share what is computed once, so whichever comes first must not spoil the other."""
    exact = NAMED[name]
    forget()
    expected = ranks(exact)
    for noise in NOISES:
        if order != "exact first":
            forget()
        assert ranks(noisy(exact, noise)) == expected
        if order == "noisy first":
            assert ranks(exact) == expected


@pytest.mark.parametrize("noisy_first", [True, False])
@pytest.mark.parametrize("name", ["Z4", "D3", "Oh", "Z2xS3", "SO3", "SU2"])
def test_what_is_kept_on_the_disk_is_not_spoilt_either(name, noisy_first, monkeypatch, tmp_path):
    """Another process reads what the first one has written, whichever of two equal groups that had."""
    exact = NAMED[name]
    expected = ranks(exact)
    monkeypatch.setenv("RPP_RL_CACHE", str(tmp_path))
    for group in (noisy(exact, 1e-13), exact) if noisy_first else (exact, noisy(exact, 1e-13)):
        forget()
        assert ranks(group) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_reps_of_different_noisy_groups_go_together(order):
    exact = cyclic(4), special_orthogonal(2)
    copies = [noisy(group, 1e-13) for group in exact]
    pairs = {"noisy first": (copies, exact), "exact first": (exact, copies), "alone": (copies,)}[order]
    forget()
    for groups in pairs:
        legs, heading = on_product(*map(vector, groups))
        both = legs * heading + legs
        # Four commuting maps of the cycle, two of the plane.
        assert len(equivariant_basis(both, both)) == 4 * 2 + 4


@pytest.mark.parametrize("n", [2, 3, 4, 6, 12])
def test_phases_written_as_exponentials(n):
    """By exp(2πi k/n): maps between two phases are complex linear or antilinear ones, where these fit."""
    group = cyclic(n)
    reps = [complex_rep(group, [[[np.exp(2j * np.pi * k / n)]]]) for k in range(n + 1)]
    for k, first in enumerate(reps):
        for m, second in enumerate(reps):
            expected = 2 * ((k - m) % n == 0) + 2 * ((k + m) % n == 0)
            assert len(equivariant_basis(first, second)) == expected


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
