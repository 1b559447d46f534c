"""Agents that learn from short rollouts in a model of the dynamics as well (MBPO, arXiv:1906.08253)."""

from typing import TYPE_CHECKING

from rpp_rl._lazy import lazy_names

if TYPE_CHECKING:
    from rpp_rl.model_based.agent import ModelBasedRPPSAC
    from rpp_rl.model_based.world import World

__all__ = ["ModelBasedRPPSAC", "World"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "rpp_rl.model_based.agent": ("ModelBasedRPPSAC",),
        "rpp_rl.model_based.world": ("World",),
    },
)
