"""Residual pathway priors for reinforcement learning.

The symmetry of a robot enters its policy, its critic and its transition model as a soft prior: every linear map is the
sum of an equivariant map and a free one, and Gaussian priors make symmetry the default explanation and not a law
(Finzi, Benton & Wilson 2021, arXiv:2112.01388).
"""

__version__ = "0.1.0"
