"""Soft actor-critic with residual pathway priors, on Stable-Baselines3."""

from typing import TYPE_CHECKING

from rpp_rl._lazy import lazy_names

if TYPE_CHECKING:
    from rpp_rl.sac.callbacks import SymmetryCallback
    from rpp_rl.sac.evaluation import actor_equivariance_errors, critic_equivariance_errors
    from rpp_rl.sac.features import RPPFeatures
    from rpp_rl.sac.networks import RPPActor, RPPCritic
    from rpp_rl.sac.overlap import OverlappedRPPSAC, algorithm_for
    from rpp_rl.sac.policies import RPPSACPolicy
    from rpp_rl.sac.sac import RPPSAC

__all__ = [
    "RPPSAC",
    "OverlappedRPPSAC",
    "RPPActor",
    "RPPCritic",
    "RPPFeatures",
    "RPPSACPolicy",
    "SymmetryCallback",
    "actor_equivariance_errors",
    "algorithm_for",
    "critic_equivariance_errors",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "rpp_rl.sac.callbacks": ("SymmetryCallback",),
        "rpp_rl.sac.evaluation": (
            "actor_equivariance_errors",
            "critic_equivariance_errors",
        ),
        "rpp_rl.sac.features": ("RPPFeatures",),
        "rpp_rl.sac.networks": (
            "RPPActor",
            "RPPCritic",
        ),
        "rpp_rl.sac.overlap": (
            "OverlappedRPPSAC",
            "algorithm_for",
        ),
        "rpp_rl.sac.policies": ("RPPSACPolicy",),
        "rpp_rl.sac.sac": ("RPPSAC",),
    },
)
