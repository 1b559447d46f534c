"""Models of the dynamics that keep the robot's symmetry as a soft prior (arXiv:2112.01388, section 6.2)."""

from typing import TYPE_CHECKING

from rpp_rl._lazy import lazy_names

if TYPE_CHECKING:
    from rpp_rl.dynamics.evaluation import Evaluation, evaluate
    from rpp_rl.dynamics.model import TransitionModel
    from rpp_rl.dynamics.model_env import ModelEnv
    from rpp_rl.dynamics.model_file import load_model, save_model
    from rpp_rl.dynamics.model_vec_env import ModelVecEnv
    from rpp_rl.dynamics.planning import Planner
    from rpp_rl.dynamics.readers import read_episodes, write_episodes
    from rpp_rl.dynamics.trajectories import Episodes, Trajectories

__all__ = [
    "Episodes",
    "Evaluation",
    "ModelEnv",
    "ModelVecEnv",
    "Planner",
    "Trajectories",
    "TransitionModel",
    "evaluate",
    "load_model",
    "read_episodes",
    "save_model",
    "write_episodes",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "rpp_rl.dynamics.evaluation": (
            "Evaluation",
            "evaluate",
        ),
        "rpp_rl.dynamics.model": ("TransitionModel",),
        "rpp_rl.dynamics.model_env": ("ModelEnv",),
        "rpp_rl.dynamics.model_vec_env": ("ModelVecEnv",),
        "rpp_rl.dynamics.model_file": (
            "load_model",
            "save_model",
        ),
        "rpp_rl.dynamics.planning": ("Planner",),
        "rpp_rl.dynamics.readers": (
            "read_episodes",
            "write_episodes",
        ),
        "rpp_rl.dynamics.trajectories": (
            "Episodes",
            "Trajectories",
        ),
    },
)
