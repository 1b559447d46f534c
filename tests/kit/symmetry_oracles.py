"""Slow, obvious answers that share no code with the package, and the groups and reps on which the two are compared."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from scipy.linalg import block_diag

from rpp_rl.symmetry import Group, parse_group

NAMED = ("1", "Z1", "Z2", "Z3", "Z4", "D1", "D2", "D3", "D4", "D6", "D3perm", "D4perm", "S3", "S4", "Z2xZ2", "Z2xS3")
# No reversal of words (F21), irreps of quaternionic type (Q8), no invariant sphere in these coordinates (lattice).
POINTS = np.arange(7)
UNNAMED = {
    "F21": [np.eye(7)[(POINTS + 1) % 7], np.eye(7)[2 * POINTS % 7]],
    "Q8": [np.kron([[0.0, -1], [1, 0]], np.diag([1.0, -1])), np.kron(np.eye(2), [[0.0, -1], [1, 0]])],
    "lattice": [np.array([[0.0, -1], [1, -1]]), np.array([[0.0, 1], [1, 0]])],
}
FINITE = (*NAMED, *UNNAMED)
LIE = ("SO2", "SO3", "O2", "O3", "SL2", "SL3", "SO(1,1)", "SO(1,3)", "O(1,3)", "SO3xZ2", "SO2xD4")
GROUPS = FINITE + LIE


def closure(generators):
    """All products of the given matrices, compared entry by entry."""
    elements = [np.eye(len(generators[0]))]
    for element in elements:
        for h in generators:
            image = h @ element
            if not any(np.allclose(image, known, atol=1e-6) for known in elements):
                elements.append(image)
            assert len(elements) < 500, "not a small finite group"
    return elements


def joint_closure(*reps):
    """The matrices of all reps for every element of their finite group, found from the matrices alone."""
    group = reps[0].group
    if not len(group.generators):
        return [[np.eye(rep.size) for rep in reps]]
    stacks = [group.generators, *(rep.generators for rep in reps)]
    cuts = np.cumsum([0] + [stack.shape[-1] for stack in stacks])
    elements = closure([block_diag(*matrices) for matrices in zip(*stacks, strict=True)])
    return [[g[a:b, a:b] for a, b in pairwise(cuts[1:])] for g in elements]


def character_rank(rep_in, rep_out):
    """dim Hom = 1/|G| Σ_g χ_in(g⁻¹) χ_out(g)."""
    pairs = joint_closure(rep_in, rep_out)
    return round(sum(np.trace(np.linalg.inv(a)) * np.trace(b) for a, b in pairs) / len(pairs))


def reynolds_projector(rep_in, rep_out):
    """W -> 1/|G| Σ_g rho_out(g) W rho_in(g)⁻¹ as a matrix on W flattened row by row."""
    pairs = joint_closure(rep_in, rep_out)
    return sum(np.kron(b, np.linalg.inv(a).T) for a, b in pairs) / len(pairs)


def null_space_projector(rep_in, rep_out):
    """Projector to the solutions of rho_out(h) W = W rho_in(h) and its infinitesimal form, one column of W per unit."""
    n = rep_out.size * rep_in.size
    units = np.eye(n).reshape(n, rep_out.size, rep_in.size)
    rows = [np.zeros((1, n))]
    for outs, ins in ((rep_out.generators, rep_in.generators), (rep_out.lie_algebra, rep_in.lie_algebra)):
        rows += [(b @ units - units @ a).reshape(n, n).T for a, b in zip(ins, outs, strict=True)]
    _, s, vh = np.linalg.svd(np.concatenate(rows))
    kernel = vh[np.sum(s > 1e-9 * max(1.0, s[0])) :]
    return kernel.T @ kernel


def projector(basis):
    """QQᵀ of a stack of basis matrices, which does not depend on the choice of basis."""
    flat = basis.reshape(len(basis), basis.shape[1] * basis.shape[2])
    return flat.T @ flat


KNOWN = {text: parse_group(text) for text in (*NAMED, *LIE)}
KNOWN |= {name: Group(name, np.array(h), np.zeros((0, *h[0].shape))) for name, h in UNNAMED.items()}


def _sizes(group):
    names = {"R": 1, "scalar": 1, "P": 1, "V": group.d, "T(0,1)": group.d}
    return sorted({**names, "regular": group.order}.items() if group.is_finite else names.items())


# Strategies must not call the package: its runtime shape checks disturb the random numbers of the search.
SIZES = {text: _sizes(group) for text, group in KNOWN.items()}


def rep_texts(sizes, max_size=12):
    """Texts of the rep grammar, built from its rules, of a limited size."""

    def extend(inner):
        return st.one_of(
            st.tuples(inner, inner).map(lambda terms: (f"{terms[0][0]} + {terms[1][0]}", terms[0][1] + terms[1][1])),
            st.tuples(inner, inner).map(lambda terms: (f"({terms[0][0]})*({terms[1][0]})", terms[0][1] * terms[1][1])),
            st.tuples(st.integers(1, 3), inner).map(lambda term: (f"{term[0]}*({term[1][0]})", term[0] * term[1][1])),
            inner.map(lambda term: (f"({term[0]})'", term[1])),
            inner.map(lambda term: (f"({term[0]})^2", term[1] ** 2)),
        )

    texts = st.recursive(st.sampled_from(sizes), extend, max_leaves=3)
    return texts.filter(lambda term: term[1] <= max_size).map(lambda term: term[0])


@st.composite
def typed_pairs(draw, groups=GROUPS, max_size=12):
    """A group and the texts of two small reps; the reps themselves are made in the test."""
    text = draw(st.sampled_from(groups))
    texts = rep_texts(SIZES[text], max_size)
    return KNOWN[text], draw(texts), draw(texts)
