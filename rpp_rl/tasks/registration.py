"""Gymnasium's ids of the tasks; Gymnasium itself calls this when it is imported, because the package declares it."""

# Not from gymnasium itself, which is half imported when it calls this.
from gymnasium.envs.registration import register, registry

TASKS = {"rpp_rl/AntCommand-v0": "rpp_rl.tasks.ant_command:AntCommandEnv"}


def register_tasks() -> None:
    """Make the tasks known to Gymnasium, once."""
    for env_id, entry_point in TASKS.items():
        if env_id not in registry:
            register(env_id, entry_point, max_episode_steps=1000)
