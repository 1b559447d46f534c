"""Groups and representations from text: the names of groups, and the grammar of representations.

    sum     := product ('+' product)*
    product := factor ('*' factor)*
    factor  := count | (name | '(' sum ')') ("'" | '^' count)*
    name    := R | scalar | P | V | regular | irrep(k) | T(p,q)

``R`` or ``scalar`` is trivial, ``P`` the sign of the determinant, ``V`` the defining rep, ``T(p,q)`` = V^p ⊗ V'^q;
``'`` is the dual, ``^k`` a tensor power. A count n stands for n scalars, so that ``2*V`` is two copies of V.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial, reduce
from math import prod

from rpp_rl.symmetry.constructors import regular, sign, trivial, vector
from rpp_rl.symmetry.families import (
    POLYHEDRAL,
    cyclic,
    dihedral,
    dihedral_permutation,
    general_linear,
    orthogonal,
    polyhedral,
    product,
    pseudo_orthogonal,
    special_linear,
    special_orthogonal,
    symmetric,
    symplectic,
    trivial_group,
    unitary,
)
from rpp_rl.symmetry.groups import Group
from rpp_rl.symmetry.irreps import irrep
from rpp_rl.symmetry.reps import MAX_SIZE, Rep, direct_sum, require_size, tensor_product

MAX_LENGTH = 1000
"""Longest text that is read, which also bounds the depth of parentheses."""

_TOKEN = re.compile(
    r"\s*(T\s*\(\s*\d+\s*,\s*\d+\s*\)|irrep\s*\(\s*\d+\s*\)|scalar|regular|[RPV]|\d+|[()+*^'])", re.ASCII
)


_FACTOR = re.compile(
    r"(Z|C|D|SO|O|SL|S|GL|Sp|SU|U) ?(?:(?P<n>\d+)|\( ?(?P<p>\d+) ?(?:, ?(?P<q>\d+) ?)?\)) ?(?P<perm>perm)?", re.A
)

# Constructor, and the largest n in text: a slip such as Z40000 must not fill the memory.
_FAMILIES: dict[str, tuple[Callable[[int], Group], int]] = {
    "Z": (cyclic, 200),
    "C": (cyclic, 200),
    "D": (dihedral, 1000),
    "Dperm": (dihedral_permutation, 200),
    "S": (symmetric, 20),
    "SO": (special_orthogonal, 12),
    "O": (orthogonal, 12),
    "SL": (special_linear, 12),
    "GL": (general_linear, 12),
    "Sp": (symplectic, 6),
    "U": (unitary, 6),
    "SU": (lambda n: unitary(n, special=True), 6),
}
_ALONE = {"1": trivial_group, **{name: partial(polyhedral, name) for name in POLYHEDRAL}}


def parse_group(text: str) -> Group:
    """Read a group from text such as D4.

    Known are Z4, D4 (2x2), D4perm (4 points), S3, SO3, O(2), SO(1,3), O(1,3), SL2, GL2, Sp(2), U(2), SU(2), T, Th, O,
    Oh, I, Ih (regular solids), the trivial group 1, and products such as Z2xZ2.

    >>> group = parse_group("D4")
    >>> group.order, group.d
    (8, 2)
    >>> parse_group("D(4)") == group, parse_group("D4perm") == group
    (True, False)

    Raises:
        ValueError: If the text names no known group, or one too large to write down.
    """
    return reduce(product, [_parse_factor(factor, text) for factor in re.split(r"[x×]", text)])


def parse_rep(text: str, group: Group) -> Rep:
    """Read a representation of ``group`` from ``text``; the grammar is at the top of this file.

    >>> rep = parse_rep("2*V + R", parse_group("D4"))
    >>> rep
    Rep(2*V + R, group=D4, size=5)
    >>> [(count, part.name) for count, part in rep.parts]
    [(2, 'V'), (1, 'R')]

    Raises:
        ValueError: If the text does not follow the grammar, naming the place where it stops to; if the group has no
            such rep; if the rep is larger than `MAX_SIZE`.
    """
    if len(text) > MAX_LENGTH or text.count("(") > 40:
        raise ValueError(
            f"the text of a representation may have {MAX_LENGTH} characters and 40 parentheses: {text[:40]}..."
        )
    return _Parser(text, group).parse()


def _parse_factor(factor: str, text: str) -> Group:
    factor = factor.strip()
    if factor in _ALONE:
        return _ALONE[factor]()
    match = _FACTOR.fullmatch(factor)
    if match:
        family, p, q = match[1] + (match["perm"] or ""), int(match["n"] or match["p"]), int(match["q"] or 0)
        if match["q"] and family in ("SO", "O"):
            _require_at_most(factor, p + q, _FAMILIES[family][1])
            return pseudo_orthogonal(p, q, special=family == "SO")
        if match["q"] is None and family in _FAMILIES:
            constructor, largest = _FAMILIES[family]
            _require_at_most(factor, p, largest)
            return constructor(p)
    raise ValueError(
        f"unknown group {factor!r} in {text!r}; known are Z(n), D(n), D(n)perm, S(n), SO(n), O(n), SO(p,q), O(p,q), "
        "SL(n), GL(n), Sp(n), U(n), SU(n), T, Th, O, Oh, I, Ih, the trivial group 1, and products such as Z2xZ2"
    )


def _require_at_most(what: str, n: int, most: int) -> None:
    if n > most:
        raise ValueError(f"the group {what} is too large: its number may be at most {most}, got {n}")


class _Parser:
    def __init__(self, text: str, group: Group) -> None:
        self.text, self.group = text, group
        self.tokens: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error(text[at:].strip())
            self.tokens.append(match[1])
            at = match.end()

    def parse(self) -> Rep:
        rep = self._sum()
        if self.tokens:
            raise self._error(self.tokens[0])
        return rep

    def _error(self, found: str) -> ValueError:
        return ValueError(
            f"cannot read the representation {self.text!r} at {found!r}; expected something like '2*V + 3*R + P*V', "
            "with the names R, P, V, regular, irrep(k), T(p,q)"
        )

    def _accept(self, *tokens: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in tokens else None

    def _count(self) -> int | None:
        return self._positive(self.tokens.pop(0)) if self.tokens and self.tokens[0].isdigit() else None

    def _positive(self, digits: str) -> int:
        if int(digits) < 1:
            raise self._error(digits)
        return self._bounded(digits)

    def _bounded(self, digits: str) -> int:
        if int(digits) > MAX_SIZE:
            raise ValueError(f"the number {digits} in {self.text!r} is too large; the largest supported is {MAX_SIZE}")
        return int(digits)

    def _sum(self) -> Rep:
        terms = [self._product()]
        while self._accept("+"):
            terms.append(self._product())
        return direct_sum(*terms)

    def _product(self) -> Rep:
        copies, factors = 1, []
        while True:
            count = self._count()
            if count is None:
                factors.append(self._factor())
            else:
                copies *= count
            if not self._accept("*"):
                break
        return copies * self._tensor(factors)

    def _factor(self) -> Rep:
        rep = self._name()
        while token := self._accept("^", "'"):
            if token == "'":
                rep = rep.dual()
                continue
            power = self._count()
            if power is None:
                raise self._error(token)
            rep = self._tensor(power * [rep])
        return rep

    def _tensor(self, factors: list[Rep]) -> Rep:
        require_size(prod(factor.size for factor in factors), repr(self.text))
        return reduce(tensor_product, factors, trivial(self.group))

    def _name(self) -> Rep:
        if not self.tokens:
            raise self._error("the end")
        token = self.tokens.pop(0)
        if token == "(":
            rep = self._sum()
            if not self._accept(")"):
                raise self._error(self.tokens[0] if self.tokens else "the end")
            return rep
        named = {"R": trivial, "scalar": trivial, "P": sign, "V": vector, "regular": regular}
        if token in named:
            return named[token](self.group)
        numbers = [self._bounded(digits) for digits in re.findall(r"\d+", token)]
        if token.startswith("irrep"):
            return irrep(self.group, *numbers)
        if token.startswith("T"):
            v = vector(self.group)
            return self._tensor(numbers[0] * [v] + numbers[1] * [v.dual()])
        raise self._error(token)
