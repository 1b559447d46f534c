"""Gymnasium's ids of the tasks."""

import gymnasium as gym

TASKS = {"rpp_rl/AntCommand-v0": "rpp_rl.tasks.ant_command:AntCommandEnv"}


def register_tasks() -> None:
    """Make the tasks known to Gymnasium, once."""
    for env_id, entry_point in TASKS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point, max_episode_steps=1000)
