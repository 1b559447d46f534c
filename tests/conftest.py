"""Fixtures shared by all tests: one random generator, and both precisions with their tolerance."""

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests.kit.tolerances import EQUAL

settings.register_profile("deterministic", deadline=None, derandomize=True)
settings.load_profile("deterministic")


@pytest.fixture(scope="session", autouse=True)
def without_cache():
    """Keeps tests from reading and writing the user's bases on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPP_RL_CACHE", "off")
        yield


@pytest.fixture
def rng():
    """A random generator that draws the same numbers in every run."""
    return np.random.default_rng(0)


@pytest.fixture(params=EQUAL, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request):
    """Runs the test in float32 and in float64, as torch's default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.fixture
def tolerance(dtype):
    """How far two equal numbers may lie apart in the test's precision; the group itself acts in float64."""
    return EQUAL[dtype]


@pytest.fixture
def shake():
    """``shake(module)`` moves every parameter, so that no test passes because of zeros."""

    def move(module: torch.nn.Module, scale: float = 0.3) -> torch.nn.Module:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(scale * torch.randn_like(parameter))
        return module

    return move
