"""Saved models: one file of weights with the specification and the settings in its header; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.files import replacing

FORMAT = 1
"""Version of what `save_model` writes."""

MODEL_FILE = "model.safetensors"
"""Name of the model in the folder of a run."""

KEY = "rpp_rl"
"""Where the header keeps what this package has to say, as JSON."""


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
        path: Name of the file, by custom with the suffix ``.safetensors``.
        about: More to write into the header, as plain values.
        extra: More tensors to write, under names that are none of the model's.

    Raises:
        OSError: If it cannot be written.
    """
    header = {"format": FORMAT, "spec": model.spec.to_dict(), "settings": model.settings, "about": about or {}}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()} | dict(extra or {})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(tensors, {KEY: json.dumps(header)})
    with replacing(path) as file:
        file.write(data)


def load_model(path: str | Path, device: str = "cpu") -> TransitionModel:
    """Read a model in evaluation mode.

    Args:
        path: A file of `save_model`, or the folder of a run of ``train-model``.
        device: Where to put it.

    Raises:
        ValueError: If the file is no model, damaged, or of another version.
        OSError: If it cannot be read.
    """
    return read_model(path, device)[0]


def read_model(
    path: str | Path, device: str = "cpu"
) -> tuple[TransitionModel, Mapping[str, Any], Mapping[str, Tensor]]:
    """Read a model in evaluation mode, with what `save_model` was given in ``about`` and ``extra``.

    Raises:
        ValueError: If the file is no model, damaged, or of another version.
        OSError: If it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path /= MODEL_FILE
    with path.open("rb"):
        pass  # for an OSError that names the file
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no model of train-model, or damaged: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else None
        raise ValueError(f"{path}: expected a model of train-model in format {FORMAT}, got {found!r}")
    weights = {name.removeprefix("model."): tensors.pop(name) for name in list(tensors) if name.startswith("model.")}
    try:
        with torch.random.fork_rng([]):
            model = TransitionModel(EnvSpec.from_dict(header["spec"]), **header["settings"])
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged model: {error}") from error
    return model.to(device).eval(), header["about"], tensors
