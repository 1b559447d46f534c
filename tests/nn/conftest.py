"""Groups, random networks and the equivariance error of torch modules."""

import numpy as np
import pytest
import torch

from rpp_rl.symmetry import Rep, equivariance_errors, parse_group
from tests.kit.tolerances import EQUIVARIANCE

FINITE = ("Z2", "Z4", "D4", "D4perm", "Z2xZ2", "S3")
LIE = ("SO2", "O2", "SO3", "O3")


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(params=FINITE + LIE)
def group(request):
    """Every kind of group in turn."""
    return parse_group(request.param)


@pytest.fixture(params=FINITE)
def finite_group(request):
    """Every kind of finite group in turn."""
    return parse_group(request.param)


@pytest.fixture
def equivariance_tolerance(dtype):
    """The relative error that rounding may leave in an equivariant network."""
    return EQUIVARIANCE[dtype]


@pytest.fixture
def error(rng):
    """``error(function, rep_in, rep_out)``: the largest relative error over all generators and some random elements."""

    def largest(function, rep_in: Rep, rep_out: Rep | None = None) -> float:
        def call(x: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return function(torch.as_tensor(x, dtype=torch.get_default_dtype())).numpy()

        elements = [*rep_in.group.generator_elements(), *(rep_in.group.sample(rng) for _ in range(3))]
        x = rng.normal(size=(16, rep_in.size))
        return max(equivariance_errors(call, rep_in, rep_out or rep_in, x, elements))

    return largest


@pytest.fixture
def constraints():
    """``constraints(rep_in, rep_out)``: the dense linear system for vec(W) whose null space is Hom(rep_in, rep_out).

    An oracle that shares no code with the bases.
    """

    def system(rep_in: Rep, rep_out: Rep) -> np.ndarray:
        matrices_in = [*rep_in.generators, *rep_in.lie_algebra]
        matrices_out = [*rep_out.generators, *rep_out.lie_algebra]
        eye_in, eye_out = np.eye(rep_in.size), np.eye(rep_out.size)
        pairs = zip(matrices_in, matrices_out, strict=True)
        return np.concatenate([np.kron(x_out, eye_in) - np.kron(eye_out, x_in.T) for x_in, x_out in pairs])

    return system
