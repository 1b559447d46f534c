"""Changes to good files, as bytes and as the values that they hold, for ``fuzz.py``.

Where a file has a checksum it is made anew, so that what lies behind it is reached.
"""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import yaml

from rpp_rl.io import array_file, tensor_file

NASTY: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, -0.5, 1e308, "", "x", "../../victim", "\x1b[2J", "a" * 10_000, [], {},
    [[]], [1, 2], {"a": 1}, ["F64"], "os:system", {"__class__": "x"}, [0] * 1000,
]  # fmt: skip
PAIRS_OF_PAIRS = b"N" + b"".join(b"r%bj%b\x86" % ((n.to_bytes(4, "little"),) * 2) for n in range(10**6, 10**6 + 60))
"""Opcodes of a value that is short as a pickle and would be long as text."""
OPCODES = [
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nndarray\n", b"R", b"b", b"\x81", b"(", b"t", b"u", b"e", b"h\x00",
    b"r\xff\xff\xff\xff", b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"]" * 5000, b"}",
    b"2", b"P", PAIRS_OF_PAIRS,
]  # fmt: skip


def changed_bytes(data: bytes, rng: np.random.Generator, extra: list[bytes] = OPCODES) -> bytes:
    """The file with some bytes changed, moved, taken away or put in."""
    broken = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(broken) + 1))
        n = int(rng.integers(1, 9))
        kind = rng.integers(6)
        if kind == 0 and at < len(broken):
            broken[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            broken[at : at + n] = rng.bytes(n)
        elif kind == 2:
            del broken[at : at + n]
        elif kind == 3:
            broken[at:at] = broken[: int(rng.integers(len(broken) + 1))]
        elif kind == 4:
            broken[at:at] = extra[int(rng.integers(len(extra)))]
        else:
            del broken[at:]
    return bytes(broken)


def changed_value(tree: Any, rng: np.random.Generator) -> Any:  # noqa: ANN401
    """The tree with one value, at any depth, replaced by another one, doubled, or taken away."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    holder, key = places[int(rng.integers(len(places)))]
    kind = rng.integers(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * int(rng.integers(-3, 1000)) + int(rng.integers(-2, 3))
    elif kind == 2 and isinstance(holder[key], list):
        holder[key] = holder[key] * int(rng.integers(2, 50))
    else:
        holder[key] = NASTY[int(rng.integers(len(NASTY)))]
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list) and tree[key]:
            yield from _places(tree[key])


def changed_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file with another value in its header, and a checksum that is right for it."""
    n_bytes = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + n_bytes]), data[8 + n_bytes :]
    document = json.loads(header["__metadata__"][tensor_file.KEY])
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if rng.integers(2):
        document = changed_value(document, rng)
    else:
        entries = changed_value(entries, rng)
    if rng.integers(4) == 0 and numbers:
        numbers = changed_bytes(numbers, rng)
    document.pop("sha256", None)
    try:
        digest = array_file._digest_of(document, entries, np.frombuffer(numbers, np.uint8))
        text = tensor_file.canonical({**document, "sha256": digest})
    except (TypeError, ValueError):
        text = json.dumps({**document, "sha256": ""})
    made = json.dumps({"__metadata__": {tensor_file.KEY: text}, **entries}).encode()
    return len(made).to_bytes(8, "little") + made + numbers


def changed_yaml(data: bytes, rng: np.random.Generator) -> bytes:
    """A YAML file with another value, or one of the shapes that take a reader's memory or stack."""
    kind = rng.integers(9)
    if kind == 0:
        return b"a: " + b"[" * int(rng.integers(10, 5000))
    if kind == 3:
        tag = ("!!pairs", "!!omap")[int(rng.integers(2))]
        lines = [
            f"p0: &p0 {tag} [a: x, b: x]",
            *(f"p{k}: &p{k} {tag} [a: *p{k - 1}, b: *p{k - 1}]" for k in range(1, 40)),
        ]
        return data + b"\n" + "\n".join(lines).encode()
    if kind == 1:
        lines = ["l0: &l0 [x, x]", *(f"l{k}: &l{k} [*l{k - 1}, *l{k - 1}]" for k in range(1, 40))]
        return data + b"\n" + "\n".join(lines).encode()
    if kind == 2:
        return data + b"\nx: !!python/object/apply:os.system ['true']\n"
    return yaml.safe_dump(changed_value(yaml.safe_load(data), rng)).encode()


def changed_hdf5(data: bytes, rng: np.random.Generator) -> bytes:
    """A file whose trees, heaps and tables of links say something else, or with another array in the place of one."""
    if rng.integers(2):
        broken, n = bytearray(data), int(rng.integers(1, 5))
        starts = [match.start() for match in re.finditer(rb"TREE|HEAP|SNOD|OHDR|OCHK|FRHP|FSSE|BTHD|BTLF", data)]
        for _ in range(n):
            at = starts[int(rng.integers(len(starts)))] + int(rng.integers(4, 64))
            broken[at : at + 8] = (int(rng.choice(starts)) if rng.integers(2) else 0).to_bytes(8, "little")
        return bytes(broken)
    import h5py  # the fuzzer does without it where no data set of Minari can be made

    file = io.BytesIO(data)
    with h5py.File(file, "a") as changed:
        name = ("episode_0/observations", "episode_0/actions")[int(rng.integers(2))]
        del changed[name]
        changes: list[Callable[[], Any]] = [
            lambda: changed.create_dataset(name, (10**7,), "f4", chunks=(10**6,), compression="gzip", fillvalue=1),
            lambda: changed.create_dataset(name, (10**9, 3), "f4", chunks=(1, 3)),
            lambda: changed.create_dataset(name, (4, 3), "f4", chunks=(10**7, 3), maxshape=(None, 3)),
            lambda: changed.create_dataset(name, data=["a", "b"]),
            lambda: changed.create_dataset(name, (4,), h5py.vlen_dtype(np.float32)),
            lambda: changed.create_dataset(name, (4,), [("a", "f4"), ("b", "i4")]),
            lambda: changed.create_dataset(name, data=np.float32(1)),
            lambda: changed.create_group(name),
            lambda: changed.update({name: h5py.SoftLink("/episode_0")}),
            lambda: changed.update({name: h5py.ExternalLink("/etc/passwd", "/x")}),
            lambda: changed.update({name: changed["episode_0"]}),
        ]
        changes[int(rng.integers(len(changes)))]()
    return file.getvalue()


def changed_npz(data: bytes, rng: np.random.Generator) -> bytes:
    """An archive with an array of another type or shape."""
    with np.load(io.BytesIO(data)) as archive:
        arrays: dict[str, Any] = dict(archive)
    name = sorted(arrays)[int(rng.integers(len(arrays)))]
    array = arrays[name]
    changes: list[Callable[[], Any]] = [
        lambda: array.astype(complex) if array.dtype.kind != "U" else array,
        lambda: array.astype(str),
        lambda: array.astype(object),
        lambda: np.array(3),
        lambda: np.zeros(int(rng.integers(1000)), [("a", "f4")]),
        lambda: np.zeros((0, 0, 0)),
        lambda: np.full(array.shape, -1),
        lambda: np.zeros((3, int(rng.integers(5000)), 100)),
    ]
    arrays[name] = changes[int(rng.integers(len(changes)))]()
    if rng.integers(5) == 0:
        del arrays[name]
    made = io.BytesIO()
    (np.savez_compressed if rng.integers(2) else np.savez)(made, **arrays)
    return made.getvalue()
