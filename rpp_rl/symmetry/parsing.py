"""The grammar of representations: ``sum := product ('+' product)*``, ``product := factor ('*' factor)*``.

A factor is a count (``3``), a named rep, a rep in parentheses, each optionally with ``^k`` (tensor power) or ``'`` (dual).
Names: ``R`` or ``scalar`` (trivial), ``P`` (sign of the determinant), ``V`` (defining), ``regular``, ``irrep(k)``,
``T(p,q)`` = V^p ⊗ V'^q.
"""

from __future__ import annotations

import re
from functools import reduce

from rpp_rl.symmetry.groups import Group
from rpp_rl.symmetry.irreps import irrep
from rpp_rl.symmetry.reps import Rep, direct_sum, regular, sign, tensor_product, trivial, vector

_TOKEN = re.compile(r"\s*(T\(\d+,\d+\)|irrep\(\d+\)|scalar|regular|[A-Z]|\d+|[()+*^'])")


def parse_rep(text: str, group: Group) -> Rep:
    """Read a representation of ``group`` from ``text``.

    Raises:
        ValueError: If the text does not follow the grammar, with the place where it stops to.
    """
    return _Parser(text, group).parse()


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

    def _sum(self) -> Rep:
        terms = [self._product()]
        while self._accept("+"):
            terms.append(self._product())
        return direct_sum(*terms)

    def _product(self) -> Rep:
        count, factors = 1, []
        while True:
            if self.tokens and self.tokens[0].isdigit():
                count *= int(self.tokens.pop(0))
            else:
                factors.append(self._factor())
            if not self._accept("*"):
                break
        if count < 1:
            raise self._error("0")
        return count * reduce(tensor_product, factors or [trivial(self.group)])

    def _factor(self) -> Rep:
        rep = self._name()
        while token := self._accept("^", "'"):
            if token == "'":
                rep = rep.dual()
            elif self.tokens and self.tokens[0].isdigit() and int(self.tokens[0]) > 0:
                rep = reduce(tensor_product, int(self.tokens.pop(0)) * [rep])
            else:
                raise self._error(token)
        return rep

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
        if token.startswith("irrep"):
            return irrep(self.group, int(token[6:-1]))
        if token.startswith("T"):
            p, q = map(int, token[2:-1].split(","))
            v = vector(self.group)
            return reduce(tensor_product, p * [v] + q * [v.dual()], trivial(self.group))
        raise self._error(token)
