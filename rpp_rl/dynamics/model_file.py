"""Saved models: one file of weights with the specification and the settings in its header; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.io.tensor_file import SUFFIX, read_weights, write_weights
from rpp_rl.nn import of_version

KIND = "a transition model"
VERSION = 2
"""In version 1 the coefficients of equivariant maps were those of orthonormal bases."""

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
        with torch.random.fork_rng([]):
            model = TransitionModel(EnvSpec.from_dict(document["spec"]), **document["settings"])
        model.load_state_dict(of_version(model, weights, document["version"]))
        about = document["about"]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} holds no model that this rpp_rl can make: {error}") from error
    return model.to(device).eval(), about, tensors
