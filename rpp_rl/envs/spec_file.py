"""Specifications as YAML files of plain values, for robots that the package does not know."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from rpp_rl.envs.spec import EnvSpec


def read_spec(path: Path) -> EnvSpec:
    """The specification in a file, checked like any other.

    Raises:
        ValueError: If the file holds no valid specification.
        OSError: If it cannot be read.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return EnvSpec.from_dict(data)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: expected a specification in YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_spec(path: Path, spec: EnvSpec) -> None:
    """Write a specification; the file appears under its name when it is complete, and not before.

    Raises:
        OSError: If it cannot be written.
    """
    text = yaml.safe_dump(spec.to_dict(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(
                f"# Symmetry of {' '.join(spec.env_id.split())}, for train-sac --spec and check-spec --spec.\n{text}"
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = error.filename or str(path)
        raise
