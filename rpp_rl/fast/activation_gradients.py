"""The derivatives of the activations, as torch's own kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten: Any = torch.ops.aten

BACKWARD: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "relu": lambda g, after, out: aten.threshold_backward.grad_input(g, after, 0, grad_input=out),
    "tanh": lambda g, after, out: aten.tanh_backward.grad_input(g, after, grad_input=out),
    "silu": lambda g, before, out: aten.silu_backward.grad_input(g, before, grad_input=out),
}
"""Puts the gradient of an activation's input into ``out``, which may be that of its output, and returns it.

It is made of the gradient of the output and of the output or, for ``silu``, the input.
"""
