"""Soft equivariance without a penalty: weights in a subspace of matrices that nearly commute with the group.

This is the tunable layer of Rahman, Lim, Jiang, Lim & Yeh (2026, arXiv:2603.26657) with its hard bound on the spectrum:
W = B θ, where B spans the matrices that violate the group's constraints up to a bound, see `nearly_equivariant_blocks`.
"""

from __future__ import annotations

import torch
from torch import nn

from rpp_rl.nn import EquivariantMatrix, RPPLinear
from rpp_rl.studies.projection import coefficients
from rpp_rl.symmetry import trivial

SOFTNESS = 0.5
"""Half of the largest violation. No other value was tried."""


@torch.no_grad()
def widen(network: nn.Module, softness: float = SOFTNESS) -> nn.Module:
    """Give every linear map of a fresh ``emlp`` network the matrices and biases of some softness.

    The network computes the same as before: what is new starts at zero.

    Raises:
        ValueError: If the softness is not a number from 0 to 1.
    """
    for layer in network.modules():
        if isinstance(layer, RPPLinear) and layer.mode == "emlp":
            _widen(layer, softness)
    return network


def _widen(layer: RPPLinear, softness: float) -> None:
    weight, bias = layer.weight(), layer.bias()
    one = trivial(layer.rep_in.group)
    layer.weight_matrix = EquivariantMatrix(layer.rep_in, layer.rep_out, softness=softness).to(weight)
    layer.equiv_weight = nn.Parameter(coefficients(layer.weight_matrix, weight))
    of_bias = EquivariantMatrix(one, layer.rep_out, softness=softness).to(bias)
    layer.equiv_bias = nn.Parameter(coefficients(of_bias, bias.unsqueeze(-1)))
    layer.bias_basis = torch.as_tensor(of_bias.operator().toarray()).to(bias)
    layer.bias_norms = of_bias.norms
