"""The header of an agent's file: environment and card, read without the weights and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rpp_rl.agents.errors import AgentError, refusing
from rpp_rl.io.tensor_file import read_document

KIND = "an agent of rpp_rl"
VERSION = 2
"""In version 1 the coefficients of equivariant maps were those of orthonormal bases."""


def read_record(path: Path) -> tuple[str | None, dict[str, Any]]:
    """The environment and the card of an agent without its weights, for lists; the checksum is not looked at.

    Raises:
        AgentError: If the file is no agent.
        OSError: If it cannot be read.
    """
    with refusing(path, ValueError):
        document = read_document(path, KIND, VERSION)
        return mapping(document, "env").get("id"), mapping(document, "card")


def mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key of an untrusted document.

    Raises:
        AgentError: If there is something else.
    """
    value = document.get(key)
    if not isinstance(value, dict):
        raise AgentError(f"expected a mapping under {key!r}, got {str(value)[:80]!r}")
    return value
