"""Saved models: one file of weights with the specification and the settings in its header; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.envs.spec_file import checked_spec
from rpp_rl.io.tensor_file import SUFFIX, read_weights, write_weights
from rpp_rl.nn import of_version

KIND = "a transition model"
VERSION = 2
"""In version 1 the coefficients of equivariant maps were those of orthonormal bases."""

MAX_WIDTH = 4096
MAX_LAYERS = 32
MAX_INFLATION = 128
"""Most entries of matrices per stored number: a strictly equivariant layer makes as many of one as its group has."""

DAMAGE = (
    KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, ArithmeticError, MemoryError,
    AssertionError,
)  # fmt: skip
"""What values of wrong types make the constructor raise."""

MODEL_FILE = f"model{SUFFIX}"
"""Name of the model in the folder of a run."""

TEST_FILE = "test.npz"
"""Name of the held-out trajectories in it, for `rpp_rl.dynamics.readers.read_episodes`."""


def save_model(
    model: TransitionModel,
    path: Path,
    *,
    about: Mapping[str, Any] | None = None,
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model; the file appears under its name when it is complete, and not before.

    Args:
        model: The model, whose specification is written by value.
        path: Name of the file, usually with the suffix ``.safetensors``.
        about: More to write into the header, as plain values.
        extra: More tensors to write, under names that are none of the model's.

    Raises:
        OSError: If it cannot be written.
    """
    document = {"spec": model.spec.to_dict(), "settings": dict(model.settings), "about": dict(about or {})}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    write_weights(path, KIND, VERSION, document, {**tensors, **(extra or {})})


def load_model(path: str | Path, device: str = "cpu") -> TransitionModel:
    """Read a model in evaluation mode.

    Args:
        path: A file of `save_model`, or the folder of a run of ``train-model``.
        device: Where to put it.

    Raises:
        ValueError: If the file is not a model, is damaged, or is of a newer version.
        OSError: If it cannot be read.
    """
    return read_model(path, device)[0]


def read_model(
    path: str | Path, device: str = "cpu"
) -> tuple[TransitionModel, Mapping[str, Any], Mapping[str, Tensor]]:
    """Read a model in evaluation mode, with what `save_model` was given in ``about`` and ``extra``.

    Raises:
        ValueError: If the file is not a model, is damaged, or is of a newer version.
        OSError: If it cannot be read.
    """
    path = Path(path)
    path = path / MODEL_FILE if path.is_dir() else path
    document, tensors = read_weights(path, KIND, VERSION)
    weights = {name.removeprefix("model."): tensors.pop(name) for name in list(tensors) if name.startswith("model.")}
    try:
        _check_sizes(document["settings"], sum(tensor.numel() for tensor in weights.values()))
        with torch.random.fork_rng([]):
            model = TransitionModel(checked_spec(document["spec"]), **document["settings"])
        model.load_state_dict(of_version(model, weights, document["version"]))
        about = dict(document["about"])
    except DAMAGE as error:
        raise ValueError(f"{path} holds no model that this rpp_rl can make: {str(error)[:300]}") from error
    return model.to(device).eval(), about, tensors


def _check_sizes(settings: Mapping[str, Any], n_stored: int) -> None:
    """Refuse what would take more memory than the weights in the file justify, before any of it is made."""
    widths, n_members = settings.get("widths", [256, 256]), settings.get("ensemble")
    if not isinstance(widths, list | tuple) or len(widths) > MAX_LAYERS:
        raise ValueError(f"expected at most {MAX_LAYERS} widths, got {str(widths)[:80]}")
    if not all(type(width) is int and 1 <= width <= MAX_WIDTH for width in widths):
        raise ValueError(f"expected widths of 1 to {MAX_WIDTH}, got {str(widths)[:80]}")
    if n_members is not None and not (type(n_members) is int and n_members >= 1):
        raise ValueError(f"expected a number of members, got {str(n_members)[:20]}")
    n_entries = (n_members or 1) * (sum(a * b for a, b in pairwise(widths)) + len(widths))
    if n_entries > MAX_INFLATION * n_stored:
        raise ValueError(f"its settings ask for matrices of {n_entries} entries, but {n_stored} numbers are stored")
