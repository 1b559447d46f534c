"""All studies by name; one is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpp_rl.studies.study import Study

TITLES = MappingProxyType(
    {
        "inertia": "inertia of five masses: exact, approximate and misspecified symmetry (figure 2, upper row)",
        "pendulum": "Hamiltonian of a double spring pendulum: exact, approximate and misspecified symmetry "
        "(figure 2, lower row)",
        "prior": "modified inertia over a grid of prior variances (figure 3, right)",
        "posterior": "equivariance error of deep ensembles during training (figure 3, left)",
        "uci": "small regression tables as images (Table 1); needs --data",
        "digits": "handwritten digits with their pixels in order and permuted",
        "cifar10": "CIFAR-10 in small with its pixels in order and permuted (after Table 1); needs --data",
    }
)
"""One line about each study."""


def load_study(name: str) -> Study:
    """The study of this name, one of `TITLES`."""
    return import_module(f"rpp_rl.studies.{name}").STUDY
