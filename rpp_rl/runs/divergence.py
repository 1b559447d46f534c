"""Trainings that have diverged are stopped in one line that names what is not finite, before it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from stable_baselines3.common.callbacks import BaseCallback

from rpp_rl.io.border import UserError
from rpp_rl.sac import RPPSAC

NETWORKS = ("critic", "critic_target", "actor")


def not_finite(model: RPPSAC) -> list[str]:
    """The networks, the temperature and the losses since the last log that hold a number that is not finite."""
    parts = [
        name
        for name in NETWORKS
        if not all(bool(torch.isfinite(tensor).all()) for tensor in getattr(model.policy, name).state_dict().values())
    ]
    if model.log_ent_coef is not None and not bool(torch.isfinite(model.log_ent_coef).all()):
        parts.append("temperature")
    return parts + [name for name, (total, _) in model._losses.sums.items() if not bool(torch.isfinite(total).all())]


def require_finite(model: RPPSAC) -> None:
    """Stop a training that has diverged.

    Raises:
        UserError: If it has.
    """
    parts = not_finite(model)
    if parts:
        raise UserError(_message(model, f"numbers in {', '.join(parts)} are not finite"))


@contextmanager
def explaining_divergence(model: RPPSAC) -> Iterator[None]:
    """Say that a training has diverged where torch says that the parameter of a distribution is wrong.

    Raises:
        UserError: In place of torch's ValueError.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        require_finite(model)
        if "distribution" in str(error) and "to satisfy the constraint" in str(error):
            raise UserError(_message(model, "the actor's output is not finite")) from error
        raise


class DivergenceWatch(BaseCallback):
    """Looks at all networks and losses from time to time, which costs less than a thousandth of the training.

    Args:
        every: Steps between two looks; every checkpoint and every evaluation looks too.
    """

    model: RPPSAC  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, every: int = 1000) -> None:
        super().__init__()
        self.every = every
        self.due = 0

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps >= self.due:
            require_finite(self.model)
            self.due = self.model.num_timesteps + self.every

    def _on_training_end(self) -> None:
        require_finite(self.model)

    def _on_step(self) -> bool:
        return True


def _message(model: RPPSAC, what: str) -> str:
    return (
        f"after {model.num_timesteps} steps {what}: the training has diverged; what was saved before is finite and "
        "intact; use a lower learning_rate, or look at the size of observations and rewards"
    )
