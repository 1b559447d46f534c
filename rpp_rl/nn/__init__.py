"""Layers typed by representations: linear maps with residual pathways, nonlinearities, normalisation, priors."""

from rpp_rl.nn.bilinear import Bilinear
from rpp_rl.nn.chain import ChainLinear, Subgroup
from rpp_rl.nn.conv import RPPConv2d
from rpp_rl.nn.coordinates import ObsToRep
from rpp_rl.nn.emlp import RPPEMLP, hidden_rep, linear_layer, merge, trunk
from rpp_rl.nn.linear import Mode, RPPLinear, of_version
from rpp_rl.nn.matrix import EquivariantMatrix
from rpp_rl.nn.nonlinearity import Gated, Pointwise, nonlinearity
from rpp_rl.nn.norm import EquivariantLayerNorm, EquivariantNorm
from rpp_rl.nn.prior import Prior, parameter_groups, pathway_norms, pathways, residual_decay

__all__ = [
    "RPPEMLP",
    "Bilinear",
    "ChainLinear",
    "EquivariantLayerNorm",
    "EquivariantMatrix",
    "EquivariantNorm",
    "Gated",
    "Mode",
    "ObsToRep",
    "Pointwise",
    "Prior",
    "RPPConv2d",
    "RPPLinear",
    "Subgroup",
    "hidden_rep",
    "linear_layer",
    "merge",
    "nonlinearity",
    "of_version",
    "parameter_groups",
    "pathway_norms",
    "pathways",
    "residual_decay",
    "trunk",
]
