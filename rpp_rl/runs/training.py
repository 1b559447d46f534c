"""One function for both kinds of training."""

from __future__ import annotations

from typing import overload

from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.runs.train_dynamics import DynamicsRun, train_dynamics
from rpp_rl.runs.train_sac import SACRun, train_sac
from rpp_rl.sac.config import SACConfig


@overload
def train(config: SACConfig, *, progress: bool = ...) -> SACRun: ...
@overload
def train(config: ModelConfig, *, progress: bool = ...) -> DynamicsRun: ...
def train(config: SACConfig | ModelConfig, *, progress: bool = False) -> SACRun | DynamicsRun:
    """Train as ``train-sac`` or ``train-model`` does, with evaluations, checkpoints and a record in a run folder.

    >>> run = train(SACConfig.new(env="Ant-v4", mode="rpp", n_timesteps=20_000))  # doctest: +SKIP
    >>> run.agent.predict(run.agent.env.reset())  # doctest: +SKIP

    Args:
        config: All settings; their kind decides what is trained.
        progress: Whether to show a bar.

    Returns:
        The agent or the model, the run's folder, and whether the training was completed.

    Raises:
        UserError: If a setting does not fit the environment, the data or the machine.
        OSError: If a file cannot be read or written.
    """
    if isinstance(config, ModelConfig):
        return train_dynamics(config, progress=progress)
    return train_sac(config, progress=progress)
