"""Environments and devices for the commands: made by name, seeded, and refused where they do not fit."""

import atexit
import dataclasses
import difflib
import math
import multiprocessing
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import envs_reps
import rpp_rl.tasks  # noqa: F401 (makes the package's own environments known)
from rpp_rl.agents import TrainedAgent
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.envs.spec_file import read_spec
from rpp_rl.fast import set_strict_float32
from rpp_rl.io.border import UserError, user_input
from rpp_rl.runs import env_state
from rpp_rl.runs.finite_env import FiniteVecEnv
from rpp_rl.sac.config import SACConfig

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""What asks a run to stop or to save."""


def derived_seed(seed: int, *path: int) -> int:
    """A seed for one purpose of a run, unrelated to the seeds of its other purposes and of other runs."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0] >> 1)


class ResumableMonitor(Monitor):
    """SB3's ``Monitor``, which can be asked from another process where its environment stands.

    Where the environment reports ``x_position``, the record of an episode says as ``x_displacement`` how far the robot
    has moved along x since the first step: a good return may be that of a robot that stands still.
    """

    start_x: float | None = math.nan
    """Where this episode began; NaN where that is not known, as in states that were captured without it."""

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Begin an episode."""
        self.start_x = None
        return super().reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Make a step."""
        obs, reward, terminated, truncated, info = super().step(action)
        if "x_position" in info:
            x = float(info["x_position"])
            self.start_x = x if self.start_x is None else self.start_x
            if "episode" in info:
                info["episode"]["x_displacement"] = x - self.start_x
        return obs, reward, terminated, truncated, info

    def capture_state(self) -> tuple[Any, str | None]:
        """A tree of plain values; or None and the reason why there is none."""
        try:
            return env_state.capture(self), None
        except env_state.NotRestorableError as error:
            return None, str(error)

    def restore_state(self, tree: Any) -> str | None:  # noqa: ANN401
        """Stand where the tree says; returns why that is impossible, if it is."""
        try:
            env_state.restore(self, tree)
        except env_state.NotRestorableError as error:
            return str(error)
        return None


def make_env(env_id: str, env_kwargs: dict[str, Any], monitor: Path | None = None, *, append: bool = False) -> Monitor:
    """Make one environment that counts its returns.

    Args:
        env_id: Gymnasium's id, which may begin with a module to import, as in ``my_robots:Dog-v0``.
        env_kwargs: Arguments of the environment.
        monitor: Prefix of the file ``{prefix}.monitor.csv`` that gets one line per episode.
        append: Whether the file goes on, as after a resumed run.

    Raises:
        UserError: If there is no such environment, or it does not take these arguments, or its spaces are not vectors.
    """
    if multiprocessing.parent_process() is not None:
        # A signal may reach all processes of a run; only the main one may act on it, and it still needs this one.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    from rpp_rl.envs.simulator import make  # imports MuJoCo, which has to be told before how to render

    check_known(env_id)
    if ":" in env_id and "" not in sys.path:
        sys.path.insert(0, "")  # a command finds modules in the current folder, as ``python -m`` does
    about = f"cannot make {env_id} with {env_kwargs}" if env_kwargs else f"cannot make {env_id}"
    with user_input(gym.error.Error, ImportError, TypeError, about=about):
        env = make(env_id, **env_kwargs)
    for name, space in (("observations", env.observation_space), ("actions", env.action_space)):
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise UserError(f"{env_id}: expected {name} in a one-dimensional Box, got {space}")
    if not env.action_space.is_bounded():  # pyright: ignore[reportAttributeAccessIssue]
        raise UserError(f"{env_id}: expected actions between finite bounds, got {env.action_space}")
    return ResumableMonitor(env, filename=None if monitor is None else str(monitor), override_existing=not append)


def make_vec_env(
    env_id: str,
    env_kwargs: dict[str, Any],
    *,
    n_envs: int,
    seed: int,
    vec_env: str = "subproc",
    monitor_folder: Path | None = None,
    append: bool = False,
) -> VecEnv:
    """Make environments that are stepped together, with seeds of their own.

    Args:
        env_id: Gymnasium's id.
        env_kwargs: Arguments of the environments.
        n_envs: Their number.
        seed: Seed of the first; the others follow it.
        vec_env: ``"dummy"`` for this process, ``"subproc"`` for one process each if there are several.
        monitor_folder: Folder of the files ``{i}.monitor.csv``.
        append: Whether these files go on.

    Raises:
        UserError: If the environment cannot be made.
    """
    monitors = [None if monitor_folder is None else monitor_folder / str(i) for i in range(n_envs)]
    makers: list[Callable[[], gym.Env]] = [
        partial(make_env, env_id, env_kwargs, monitor, append=append) for monitor in monitors
    ]
    if vec_env == "subproc" and n_envs > 1:
        make_env(env_id, env_kwargs).close()  # An error in another process would not reach the user.
        # Imported once, in the process from which the others are forked: seconds and 150 MB for each of them.
        multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
        workers = SubprocVecEnv(makers)
        # They ignore the signal by which Python ends processes that are left at the end; without this it would wait.
        atexit.register(_kill, workers.processes)
        envs = FiniteVecEnv(workers, env_id)
    else:
        envs = FiniteVecEnv(DummyVecEnv(makers), env_id)
    envs.seed(seed)
    return envs


def _kill(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.kill()


def environment_of(agent: TrainedAgent, env_id: str | None, env_kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which environment to play an agent in, and its arguments: the one asked for, else the agent's own.

    Args:
        agent: The agent.
        env_id: The environment that the user asked for, if any.
        env_kwargs: Arguments that the user gave; for the agent's own environment they override those of its training.

    Raises:
        UserError: If nobody says which, or the agent's file names one whose making would import a module.
    """
    if env_id is not None and env_id != agent.env_id:
        return env_id, env_kwargs
    if agent.env_id is None:
        raise UserError(f"{agent.path} does not say which environment it is for: add --env ID")
    require_asked(agent.env_id, env_id, agent.path)
    require_no_module(agent.env_kwargs, env_kwargs, agent.path)
    return agent.env_id, {**agent.env_kwargs, **env_kwargs}


def require_asked(named: str, asked: object, where: object) -> None:
    """Refuse to import a module because a file names it, whatever kind of file that is and whoever wrote it.

    Args:
        named: The environment that the file names.
        asked: The environment that the user asked for, if any.
        where: The file.

    Raises:
        UserError: If the environment would import a module that the user has not named.
    """
    if ":" in named and asked != named:
        raise UserError(
            f"{where} is for {named[:80]}, which runs the module before the colon; if that is yours or you "
            f"trust it, say so with --env {named[:80]}"
        )


def require_no_module(named: Mapping[str, object], asked: Mapping[str, object], where: object) -> None:
    """Refuse arguments in a file that may make the environment import a module: adapters take ``MODULE:ID`` too.

    Args:
        named: The arguments of the environment in the file.
        asked: Those that the user gave, which override them.
        where: The file.

    Raises:
        UserError: If one of them is text with a colon, and the user has not repeated it.
    """
    for key, value in named.items():
        if key not in asked and any(":" in text for text in _texts(value)):
            raise UserError(
                f"{where} gives its environment {key[:80]} with a colon in it, as in MODULE:ID; if that is yours or "
                f"you trust it, repeat it with --env-kwargs {key[:80]}:VALUE"
            )


def _texts(value: object) -> list[str]:
    """All text in a plain value."""
    if isinstance(value, str):
        return [value]
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return [text for part in parts for text in _texts(part)] if isinstance(parts, list | tuple) else []


def specification(config: SACConfig, envs: VecEnv) -> EnvSpec | None:
    """The symmetry to train with, known to fit the environment; None where plain SAC can do without.

    Raises:
        UserError: If the environment has no specification, or none with this group, or it does not fit its spaces.
        OSError: If there is no file of the name given for the specification.
    """
    needed = config.uses_group or config.group is not None or config.spec is not None
    with user_input(KeyError, ValueError) if needed else suppress(KeyError, ValueError):
        spec = envs_reps.load(config.env, config.group) if config.spec is None else _from_file(config, envs)
        spec.check_spaces(envs.observation_space, envs.action_space)
        return spec
    return None


def _from_file(config: SACConfig, envs: VecEnv) -> EnvSpec:
    """The specification in a file, for the environment that is trained in: it may be that of a bare model."""
    assert config.spec is not None
    spec = read_spec(Path(config.spec))
    if config.group not in (None, spec.variant):
        raise ValueError(f"{config.spec} is for the group {spec.variant}, so --group {config.group} cannot be given")
    try:
        spec.check_spaces(envs.observation_space, envs.action_space)
    except ValueError as error:
        raise ValueError(f"{config.spec}, which was made for {spec.env_id}: {error}") from error
    return dataclasses.replace(spec, env_id=config.env)


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or that this machine does not have.

    Raises:
        UserError: If so.
    """
    try:
        torch.zeros(1, device="cpu" if device == "auto" else device).item()  # "meta" exists but holds no numbers
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


def prepare_torch(device: str, num_threads: int, *, strict_float32: bool) -> None:
    """Let torch use so many threads, and fast products or none but the plainest (see `rpp_rl.fast.matmul_library`).

    Raises:
        UserError: If the device cannot be used.
    """
    check_device(device)
    # By default one thread: networks this small gain little from more, and several runs on one machine lose much.
    torch.set_num_threads(num_threads)
    set_strict_float32(strict_float32)


def check_known(env_id: str) -> None:
    """Refuse an id that is not registered, unless a module is to be imported that may register it.

    Raises:
        UserError: If so.
    """
    if ":" in env_id.lstrip(":") or env_id in gym.registry:
        return
    close = difflib.get_close_matches(env_id, list(gym.registry), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "for one of your own write MODULE:ID"
    raise UserError(f"unknown environment {env_id!r}; {hint}")
