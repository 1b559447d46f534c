"""Pickles read as descriptions: what a pickle would call is written down, and nothing is imported, called or changed.

A pickle is a program for a small stack machine. Python's own reader runs it, and a list of names that it may use does
not make that safe: with nothing but ``numpy.ndarray`` a file can forge pointers. This machine knows no calls. Where the
file asks for one, it leaves a `Call` with the name and the arguments, and whoever reads the result picks out what they
know. Bytes are views of the file, so memory is taken by the size of the file and not by what it says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_STEPS = 100_000
"""Most instructions that are followed; a replay buffer takes about 600."""
MAX_INTEGER_BYTES = 64


@dataclass(frozen=True)
class Name:
    """What a pickle would import."""

    module: str
    name: str


@dataclass(eq=False, repr=False)
class Call:
    """What a pickle would call, and what it would set on the result."""

    name: Any
    arguments: Any
    states: list[Any] = field(default_factory=list)


class _Mark:
    pass


MARK = _Mark()


def read_inert(data: memoryview) -> tuple[Any, int]:
    """What a pickle describes, and where in the data it ends.

    Args:
        data: The bytes, of which views are returned: a mapped file has to stay open.

    Raises:
        ValueError: If they are no pickle of protocol 3 or later, or a damaged one.
    """
    machine = _Machine(data)
    try:
        return machine.run(), machine.position
    except (struct.error, IndexError, KeyError, TypeError, UnicodeDecodeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__} at byte {machine.position}") from error


class _Machine:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:  # noqa: ANN401
        if self.take(1) != b"\x80" or not 3 <= self.take(1)[0] <= 5:
            raise ValueError("expected a pickle of protocol 3 to 5")
        for _ in range(MAX_STEPS):
            opcode = bytes(self.take(1))
            if opcode == b".":
                return self.stack.pop()
            action = ACTIONS.get(opcode)
            if action is None:
                raise ValueError(f"unexpected instruction {opcode!r} at byte {self.position - 1}")
            action(self)
        raise ValueError(f"expected at most {MAX_STEPS} instructions")

    def take(self, n: int) -> memoryview:
        if n > len(self.data) - self.position:
            raise ValueError(f"cut short: {n} bytes are missing at byte {self.position}")
        piece = self.data[self.position : self.position + n]
        self.position += n
        return piece

    def number(self, code: str) -> Any:  # noqa: ANN401
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self) -> str:
        end = bytes(self.data[self.position : self.position + 1000]).index(b"\n")
        return str(self.take(end + 1)[:-1], "utf-8")

    def until_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    def tuple_of(self, n: int) -> None:
        items = [self.stack.pop() for _ in range(n)]
        self.stack.append(tuple(items[::-1]))

    def text(self, code: str) -> None:
        self.stack.append(str(self.take(self.number(code)), "utf-8", "surrogatepass"))

    def bytes_of(self, code: str) -> None:
        self.stack.append(self.take(self.number(code)))

    def integer(self, code: str) -> None:
        n = self.number(code)
        if not 0 <= n <= MAX_INTEGER_BYTES:
            raise ValueError(f"an integer of {n} bytes")
        self.stack.append(int.from_bytes(self.take(n), "little", signed=True))

    def name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Name(*map(_text, (module, name))))

    def call(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        self.stack.append(Call(name, arguments))

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Call):
            raise ValueError("state for something that was not called")
        self.stack[-1].states.append(state)

    def append(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("items for something that is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise ValueError("items for something that is no mapping")
        keys = items[::2]
        if not all(isinstance(key, str | int) for key in keys):
            raise ValueError("a mapping whose keys are neither text nor integers")
        self.stack[-1].update(zip(keys, items[1::2], strict=True))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a name that is no text")
    return value


def _push(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value)


def _pop_pair(machine: _Machine) -> list[Any]:
    value, key = machine.stack.pop(), machine.stack.pop()
    return [key, value]


def _memoize(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


ACTIONS: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x95": lambda m: m.number("<Q"),  # FRAME: its length says nothing that the rest does not
    b"(": _push(MARK),
    b"N": _push(None),
    b"\x88": _push(True),
    b"\x89": _push(False),
    b")": _push(()),
    b"]": lambda m: m.stack.append([]),
    b"}": lambda m: m.stack.append({}),
    b"K": lambda m: m.stack.append(m.number("<B")),
    b"M": lambda m: m.stack.append(m.number("<H")),
    b"J": lambda m: m.stack.append(m.number("<i")),
    b"G": lambda m: m.stack.append(m.number(">d")),
    b"\x8a": lambda m: m.integer("<B"),
    b"\x8b": lambda m: m.integer("<i"),
    b"\x8c": lambda m: m.text("<B"),
    b"X": lambda m: m.text("<I"),
    b"\x8d": lambda m: m.text("<Q"),
    b"C": lambda m: m.bytes_of("<B"),
    b"B": lambda m: m.bytes_of("<I"),
    b"\x8e": lambda m: m.bytes_of("<Q"),
    b"\x96": lambda m: m.bytes_of("<Q"),
    b"t": lambda m: m.stack.append(tuple(m.until_mark())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"a": lambda m: m.append([m.stack.pop()]),
    b"e": lambda m: m.append(m.until_mark()),
    b"s": lambda m: m.set_items(_pop_pair(m)),
    b"u": lambda m: m.set_items(m.until_mark()),
    b"\x94": lambda m: _memoize(m, len(m.memo)),
    b"q": lambda m: _memoize(m, m.number("<B")),
    b"r": lambda m: _memoize(m, m.number("<I")),
    b"h": lambda m: m.stack.append(m.memo[m.number("<B")]),
    b"j": lambda m: m.stack.append(m.memo[m.number("<I")]),
    b"c": lambda m: m.stack.append(Name(m.line(), m.line())),
    b"\x93": lambda m: m.name(),
    b"R": lambda m: m.call(),
    b"\x81": lambda m: m.call(),
    b"b": lambda m: m.build(),
    b"0": lambda m: m.stack.pop(),
}
"""What is done for each instruction; those that no replay buffer needs are missing."""
