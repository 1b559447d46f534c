"""Tasks of this package's own, under Gymnasium's ids ``rpp_rl/...``; importing this makes them known to Gymnasium."""

from rpp_rl.tasks.registration import register_tasks

__all__ = ["register_tasks"]

register_tasks()
