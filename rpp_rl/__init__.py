"""Residual pathway priors for reinforcement learning.

The symmetry of a robot enters its policy, its critic and its transition model as a soft prior: every linear map is the
sum of an equivariant map and a free one, and a prior makes symmetry the default explanation and not a law
(Finzi, Benton & Wilson 2021, arXiv:2112.01388).

This module is the front door; its names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from rpp_rl._lazy import lazy_names
from rpp_rl._version import __version__ as __version__

if TYPE_CHECKING:
    from envs_reps import load_spec
    from rpp_rl.agents.load import load_agent
    from rpp_rl.dynamics.config import ModelConfig
    from rpp_rl.dynamics.model import TransitionModel
    from rpp_rl.dynamics.model_file import load_model
    from rpp_rl.experiments.comparison import compare
    from rpp_rl.runs.evaluate_agent import evaluate
    from rpp_rl.runs.training import train
    from rpp_rl.sac.config import SACConfig
    from rpp_rl.sac.sac import RPPSAC

__all__ = [
    "RPPSAC",
    "ModelConfig",
    "SACConfig",
    "TransitionModel",
    "compare",
    "evaluate",
    "load_agent",
    "load_model",
    "load_spec",
    "train",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "envs_reps": ("load_spec",),
        "rpp_rl.agents.load": ("load_agent",),
        "rpp_rl.dynamics.config": ("ModelConfig",),
        "rpp_rl.dynamics.model": ("TransitionModel",),
        "rpp_rl.dynamics.model_file": ("load_model",),
        "rpp_rl.experiments.comparison": ("compare",),
        "rpp_rl.runs.evaluate_agent": ("evaluate",),
        "rpp_rl.runs.training": ("train",),
        "rpp_rl.sac.config": ("SACConfig",),
        "rpp_rl.sac.sac": ("RPPSAC",),
    },
)
