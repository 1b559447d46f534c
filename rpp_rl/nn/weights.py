"""The weights of a whole network, made once and used by many passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from rpp_rl.nn.linear import RPPLinear

Pair = tuple[Tensor, Tensor]
"""W = A + B and the sum of both biases of one layer."""


class Weights:
    """The weights of every `RPPLinear` in a network, made on demand and used by all passes inside `used`.

    They are as the parameters were at the last `make`; after a step of the parameters they must be made anew. Networks
    whose nonlinearities are pointwise run as one node of the graph of gradients while their weights are shared.

    Args:
        module: The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.layers = [layer for layer in module.modules() if isinstance(layer, RPPLinear)]
        self.parameters = list(module.parameters())
        index = {layer: number for number, layer in enumerate(self.layers)}
        # For each module in turn the number of its pair, or its own parameters: the order of `merge`'s parameters.
        self.merged: list[int | list[nn.Parameter]] = [
            index[m] if isinstance(m, RPPLinear) else list(m.parameters(recurse=False)) for m in module.modules()
        ]
        self.made_of: list[tuple[int, int]] | None = None
        self.pairs: list[Pair] = []
        self.constants: list[Pair] = []

    def make(self) -> None:
        """Make the weights from the parameters; gradients can flow through them once, unless under ``no_grad``."""
        self.pairs = [(layer.weight(), layer.bias()) for layer in self.layers]
        self.constants = [(weight.detach(), bias.detach()) for weight, bias in self.pairs]
        self.made_of = self._state()

    def merged_parameters(self) -> list[Tensor]:
        """The parameters that ``merge(module)`` would have, in its order, detached; they share memory with these."""
        return [
            tensor.detach()
            for part in self.merged
            for tensor in (self.constants[part] if isinstance(part, int) else part)
        ]

    @property
    def is_stale(self) -> bool:
        """Whether a parameter was loaded or moved since; a step of a fused optimiser leaves no trace."""
        return self.made_of != self._state()

    def _state(self) -> list[tuple[int, int]]:
        return [(parameter._version, parameter.data_ptr()) for parameter in self.parameters]

    @contextmanager
    def used(self, *, constant: bool = False) -> Iterator[None]:
        """Let the network compute with these weights inside the ``with`` block.

        Args:
            constant: Whether gradients stop at the weights and flow to the network's input only.
        """
        pairs = self.constants if constant else self.pairs
        try:
            for layer, pair in zip(self.layers, pairs, strict=True):
                # Past nn.Module's own assignment, which looks for parameters and takes longer than some layers.
                vars(layer)["shared"] = pair
            yield
        finally:
            for layer in self.layers:
                vars(layer)["shared"] = None


@contextmanager
def shared_weights(module: nn.Module) -> Iterator[None]:
    """Make the weights of every `RPPLinear` in ``module`` once, on entry, for all passes inside the ``with`` block.

    The parameters must not be stepped inside. Gradients flow as ever, unless the block is entered under ``no_grad``.
    """
    weights = Weights(module)
    weights.make()
    with weights.used():
        yield
