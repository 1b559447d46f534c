"""The files of settings that come with the package, found by name: ``base`` is ``configs/sac/base.yaml``."""

from pathlib import Path

ALIASES = {"sac": {"paper": "faithful"}}
"""Other names of some files, by kind."""


def config_file(given: str, kind: str, beside: Path | None = None) -> Path:
    """The file that a name or a path means.

    A name of a shipped file is that file, whatever lies in the folder; ``./base`` is the file beside.

    Args:
        given: A name or a path.
        kind: Which settings, a folder of ``configs/``: ``"sac"``, ``"experiments"``.
        beside: The folder from which paths count; None for the current one.

    Raises:
        ValueError: If it is no path, and no file of that name is shipped.
    """
    known = shipped(kind)
    name = ALIASES.get(kind, {}).get(given, given)
    if name in known:
        return known[name]
    path = (beside or Path()) / given
    if path.is_file() or "." in given or len(Path(given).parts) != 1:
        return path
    names = ", ".join(sorted({*known, *(alias for alias, of in ALIASES.get(kind, {}).items() if of in known)}))
    raise ValueError(f"no settings named {given!r}; {f'known are {names}, or' if names else 'expected'} a YAML file")


def shipped(kind: str) -> dict[str, Path]:
    """The shipped files of a kind, by name."""
    return {path.stem: path for path in sorted((_folder() / kind).glob("*.yaml"))}


def _folder() -> Path:
    """In a wheel the files lie in the package, in a checkout beside it."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"
