"""Models of the dynamics that keep the robot's symmetry as a soft prior (arXiv:2112.01388, section 6.2)."""

from rpp_rl.dynamics.evaluation import Evaluation, evaluate
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.model_env import ModelEnv
from rpp_rl.dynamics.model_file import load_model, save_model
from rpp_rl.dynamics.planning import Planner
from rpp_rl.dynamics.readers import read_episodes, write_episodes
from rpp_rl.dynamics.trajectories import Episodes, Trajectories

__all__ = [
    "Episodes",
    "Evaluation",
    "ModelEnv",
    "Planner",
    "Trajectories",
    "TransitionModel",
    "evaluate",
    "load_model",
    "read_episodes",
    "save_model",
    "write_episodes",
]
