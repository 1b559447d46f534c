"""Which of torch's two libraries multiplies matrices on the CPU: on some processors one is twice as fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ContextDecorator
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

SIZE = 256
"""Rows and columns of the matrices that are multiplied to decide: those of a usual batch and hidden layer."""
MIN_GAIN = 1.25
"""How much faster the other library has to be: half the gain where there is one, so that noise does not decide."""
MAX_ERROR_GROWTH = 2.0
"""Largest error of the other library relative to the default one's; rounding to bfloat16 makes it thousands."""

DEFAULT, STRICT, FAST = "none", "ieee", "bf16"
Product = Callable[[Tensor, Tensor], Tensor]

# Absent in torch 2.8, which leaves the default as it is there.
_settings: Any = getattr(torch.backends.mkldnn, "matmul", None)


class fast_products(ContextDecorator):  # noqa: N801 - used like a function
    """Lets torch multiply float32 matrices on the CPU by the library that is fastest here, at float32 accuracy.

    By default torch asks MKL, which leaves half of the rate of AMD's processors unused. Its other library, oneDNN, is
    asked if products may round to bfloat16; most processors have no use for that licence and compute at full accuracy
    all the same. Speed and accuracy are measured once per process, and unless it is faster and as accurate nothing is
    changed. Nor is it if ``torch.backends.mkldnn.matmul.fp32_precision`` was set by somebody else.
    """

    is_on: ClassVar[bool] = False

    def __enter__(self) -> None:
        self.switches = getattr(_settings, "fp32_precision", None) == DEFAULT and _onednn_is_better()
        if self.switches:
            _set(FAST)

    def __exit__(self, *error: object) -> None:
        if self.switches:
            _set(DEFAULT)

    def _recreate_cm(self) -> fast_products:
        return type(self)()  # as a decorator: one for every call, which may lie inside of another


class default_products:  # noqa: N801
    """Inside of `fast_products`: ask the default library all the same, for it is faster where a factor is a vector."""

    def __enter__(self) -> None:
        self.switches = fast_products.is_on
        if self.switches:
            _set(DEFAULT)

    def __exit__(self, *error: object) -> None:
        if self.switches:
            _set(FAST)


def _set(precision: str) -> None:
    _settings.fp32_precision, fast_products.is_on = precision, precision == FAST


def set_strict_float32(strict: bool) -> None:
    """Forbid products that may round to less than float32, whatever was measured, or leave it to `fast_products`."""
    if _settings is not None:
        _settings.fp32_precision = STRICT if strict else DEFAULT


@cache
def _onednn_is_better() -> bool:
    if not torch.backends.mkldnn.is_available():
        return False

    def product(a: Tensor, b: Tensor) -> Tensor:
        _settings.fp32_precision = FAST
        try:
            return torch.mm(a, b)
        finally:
            _settings.fp32_precision = DEFAULT

    return is_better(product, torch.mm)


@torch.no_grad()
def is_better(candidate: Product, default: Product) -> bool:
    """Whether a way of multiplying matrices is clearly faster than another and about as accurate."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, dtype=torch.float32, device="cpu", generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    errors = [float((product(a, b) - exact).abs().max()) for product in (candidate, default)]
    if errors[0] > MAX_ERROR_GROWTH * errors[1]:
        return False
    seconds = [[_seconds(product, a, b) for product in (candidate, default)] for _ in range(10)]
    fastest = [min(times) for times in zip(*seconds, strict=True)]
    return fastest[1] > MIN_GAIN * fastest[0]


def _seconds(product: Product, a: Tensor, b: Tensor) -> float:
    start = time.perf_counter()
    for _ in range(3):
        product(a, b)
    return time.perf_counter() - start
