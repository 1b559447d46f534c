"""Saved models: one file of weights with the specification and the settings in its header; no pickle."""

from __future__ import annotations

from pathlib import Path

from rpp_rl.dynamics.model import TransitionModel


def save_model(model: TransitionModel, path: Path) -> None:
    """Write a model so that the file is complete or absent.

    Raises:
        OSError: If it cannot be written.
    """
    raise NotImplementedError


def load_model(path: Path, device: str = "cpu") -> TransitionModel:
    """Read a model in evaluation mode.

    Args:
        path: A file of `save_model`, or the folder of a run of ``train-model``.
        device: Where to put it.

    Raises:
        ValueError: If the file is no model, damaged, or of another version.
        OSError: If it cannot be read.
    """
    raise NotImplementedError
