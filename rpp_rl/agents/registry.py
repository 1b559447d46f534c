"""The pretrained agents that come with the package: one file and one readable card each."""

from __future__ import annotations

from pathlib import Path

from rpp_rl.io.tensor_file import SUFFIX

FOLDER = Path(__file__).parent / "pretrained"


def names() -> list[str]:
    """The names of all agents, ``{method}-{environment}``."""
    return sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}"))


def path_of(name: str) -> Path:
    """The file of an agent."""
    return FOLDER / f"{name}{SUFFIX}"


def name_of(path: Path | None) -> str:
    """The display name of an agent: its name in the registry, or its path."""
    return path.name.removesuffix(SUFFIX) if path is not None and path.parent == FOLDER else str(path)
