"""How far apart two numbers may lie that would be equal in exact arithmetic: the one table of it.

The group itself acts in float64. What is equal to rounding in both is compared with these; a test of anything else says
its own bound and why.
"""

import torch

EQUAL = {torch.float32: 1e-4, torch.float64: 1e-10}
"""Values that were computed in two ways, relative to numbers of size one."""

EQUIVARIANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Relative error of the equivariance of a layer."""

EXPORTED = 1e-5
"""Actions of an exported agent, float32, in units of their range."""
