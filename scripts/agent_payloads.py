"""What damaged and malicious files are made of: odd values, a payload, archives."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ODD: list[Any] = [
    None, True, -1, 0, 3, 10**6, 10**30, 1e308, -0.5, "", "x" * 5000, "../../../etc/passwd", "\x00", [], {}, [[]],
    [1, 2, 3], {"__class__": "os.system"}, [10**9] * 3, {":serialized:": "gASVAAAA"}, "136*R + 30*V", "V^9",
    "9999999*R",
]  # fmt: skip
"""What a forger puts in the place of a value."""
MANY_BYTES = 2**29 + 1
"""More than an agent may unpack to."""


class Payload:
    """Its unpickling leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        """Run a command on unpickling."""
        return os.system, (f"touch {self.canary}",)


def places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """Every place in nested lists and mappings, as a container and a key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these members."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()
