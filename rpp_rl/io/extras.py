"""Packages that only some users need, and what to install for them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from rpp_rl.io.border import UserError


class MissingExtraError(UserError):
    """A package is missing that belongs to an extra of this one; the text says what to install."""


def need(module: str, extra: str) -> ModuleType:
    """Import a module that comes with an extra.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{module.partition('.')[0]} is not installed: run pip install 'rpp_rl[{extra}]'"
        ) from error
