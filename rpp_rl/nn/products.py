"""Which of torch's two libraries multiplies matrices on the CPU: on some processors one is twice as fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

SIZE = 256
"""Rows and columns of the matrices that are multiplied to decide, those of a usual hidden layer."""
MIN_GAIN = 1.25
"""How much faster the other library has to be. Where it is of use it is twice as fast, and equally fast elsewhere, so
that noise does not decide."""
MAX_ERROR_GROWTH = 2.0
"""Largest error of the other library relative to that of the default one; rounding to bfloat16 means a thousand."""

Product = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def fast_products() -> Iterator[None]:
    """Let torch multiply float32 matrices on the CPU by the library that is fastest here, at float32 accuracy.

    By default torch asks MKL, which on AMD's processors leaves half of their rate unused; its other library, oneDNN,
    takes over when products may round to bfloat16. Many processors have no use for that licence and compute at full
    accuracy all the same. Both things are measured once per process, and where either is not so nothing is changed.
    Nor is it if ``torch.backends.mkldnn.matmul.fp32_precision`` is set already, for example to ``"ieee"``, which
    forbids such rounding everywhere.
    """
    # A property of torch's module that type checkers do not know.
    settings = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
    if settings.fp32_precision != "none" or not _onednn_is_better():
        yield
        return
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = "none"


@cache
def _onednn_is_better() -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    settings = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]

    def product(a: Tensor, b: Tensor) -> Tensor:
        settings.fp32_precision = "bf16"
        try:
            return torch.mm(a, b)
        finally:
            settings.fp32_precision = "none"

    return is_better(product, torch.mm)


@torch.no_grad()
def is_better(candidate: Product, default: Product) -> bool:
    """Whether a way of multiplying matrices is clearly faster than another and about as accurate."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    errors = [float((product(a, b) - exact).abs().max()) for product in (candidate, default)]
    if errors[0] > MAX_ERROR_GROWTH * errors[1]:
        return False
    seconds = [[_seconds(product, a, b) for product in (candidate, default)] for _ in range(10)]
    best = [min(times) for times in zip(*seconds, strict=True)]
    return best[1] > MIN_GAIN * best[0]


def _seconds(product: Product, a: Tensor, b: Tensor) -> float:
    start = time.perf_counter()
    for _ in range(3):
        product(a, b)
    return time.perf_counter() - start
