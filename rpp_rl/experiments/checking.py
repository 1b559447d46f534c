"""Whether the runs of an experiment could begin: environments exist, symmetries fit them, data are there."""

import dataclasses
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np

import envs_reps
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.experiments.plan import Plan, PlanError, read_plan, require_writable
from rpp_rl.experiments.scheduling import members_of
from rpp_rl.io.border import UserError, user_input
from rpp_rl.runs.environments import check_device, check_known, make_vec_env, specification
from rpp_rl.runs.train_sac import build_agent
from rpp_rl.sac.config import SACConfig
from rpp_rl.settings import Settings


def plan_and_mistakes(path: Path) -> tuple[Plan, list[str]]:
    """An experiment, or its sound part, and everything that is wrong with its file.

    Raises:
        UserError: If it is no YAML file.
        OSError: If the file cannot be read.
    """
    try:
        return read_plan(path), []
    except PlanError as error:
        unknown = unknown_environments(error.env_ids) if error.sound.kind == "sac" else []
        return error.sound, [*error.mistakes, *unknown]


def check_start(plan: Plan, folder: Path, *, here: bool, is_meant: bool) -> tuple[list[str], dict[str, int]]:
    """Try everything that could keep an experiment from its start.

    Args:
        plan: The experiment.
        folder: Its folder.
        here: Whether runs are made on this machine, whose devices can be tried.
        is_meant: Whether its file is free of mistakes; what these have changed is not compared with runs of before.

    Returns:
        As `mistakes_of`.
    """
    mistakes = conflicts(plan, folder) if is_meant else []
    of_arms, sizes = mistakes_of(plan, here=here)
    mistakes += of_arms
    try:
        require_writable(folder)
    except OSError as error:
        mistakes.append(f"{error.filename}: {error.strerror}")
    return mistakes, sizes


def refuse(path: Path, mistakes: Iterable[str]) -> None:
    """End in these mistakes, if there are any; several of them are printed first, a line for each.

    Raises:
        UserError: If there is one.
    """
    different = list(dict.fromkeys(mistakes))
    if len(different) == 1:
        raise UserError(f"{path}: {different[0]}")
    for number, mistake in enumerate(different, 1):
        print(f"({number}) {' '.join(mistake.split())}", file=sys.stderr)
    if different:
        raise UserError(f"{path}: {len(different)} mistakes, listed above; nothing was started")


def conflicts(plan: Plan, folder: Path) -> list[str]:
    """Arms that were begun with other settings, by the first run of each."""
    found: dict[tuple[str, str], str] = {}
    for member in members_of(plan, folder):
        conflict = member.folder.conflict(member.job)
        if conflict is not None:
            found.setdefault((member.job.variant, member.job.env_id), conflict)
    return list(found.values())


def mistakes_of(plan: Plan, *, here: bool) -> tuple[list[str], dict[str, int]]:
    """Try everything that a run does before it learns, once for each arm.

    Args:
        plan: The experiment.
        here: Whether runs are made on this machine, whose devices can be tried.

    Returns:
        All mistakes; and the numbers in a transition of every environment that could be made.
    """
    mistakes: dict[str, None] = {}
    sizes: dict[str, int] = {}
    for settings in _one_per_arm(plan):
        try:
            if here:
                check_device(str(getattr(settings, "device", "cpu")))
            if isinstance(settings, SACConfig):
                sizes[settings.env] = _check_agent(settings)
            elif isinstance(settings, ModelConfig):
                _check_model(settings)
        except (UserError, OSError) as error:
            mistakes[str(error)] = None
    return list(mistakes), sizes


def unknown_environments(env_ids: Iterable[str]) -> list[str]:
    """A mistake for each id that no environment has, whatever the settings of its arms are."""
    mistakes = []
    for env_id in env_ids:
        try:
            check_known(env_id)
        except UserError as error:
            mistakes.append(str(error))
    return mistakes


def _one_per_arm(plan: Plan) -> Iterable[Settings]:
    seen = set()
    for job in plan.jobs:
        if (job.variant, job.env_id) not in seen:
            seen.add((job.variant, job.env_id))
            yield job.settings


def _check_agent(config: SACConfig) -> int:
    """Make the environment, its symmetry and an agent; returns the numbers in a transition."""
    small = dataclasses.replace(config, device="cpu", buffer_size=max(1, config.n_envs), compile=False)
    with closing(make_vec_env(config.env, config.env_kwargs, n_envs=1, seed=0, vec_env="dummy")) as envs:
        with user_input(ValueError):
            build_agent(small, specification(config, envs), envs)
        sizes = [int(np.prod(space.shape)) for space in (envs.observation_space, envs.action_space) if space.shape]
    return 2 * sizes[0] + sizes[1] + 2


def _check_model(config: ModelConfig) -> None:
    if config.buffer is None:
        raise UserError(f"{config.env}: no data given, set buffer")
    for source in (config.buffer, config.test_buffer):
        if source is not None and not source.startswith("minari:") and not Path(source).exists():
            raise UserError(f"{source}: no such data")
    if config.spec is None:
        try:
            envs_reps.load(config.env, config.group)
        except (KeyError, ValueError) as error:
            raise UserError(str(error.args[0])) from error
