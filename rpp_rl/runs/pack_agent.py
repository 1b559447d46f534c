"""Turn the folder of a run into one file that can be passed on, with a card that says what it is."""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rpp_rl.agents import TrainedAgent, load_agent, save_agent
from rpp_rl.agents.agent_record import read_record
from rpp_rl.agents.card import evaluation_record, to_markdown
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.io.tensor_file import SUFFIX
from rpp_rl.runs.environments import require_asked, require_no_module
from rpp_rl.runs.evaluate_agent import evaluate
from rpp_rl.runs.tensorboard import equivariance_curve
from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import MACHINE_SETTINGS, load_yaml, parse_yaml

FLAGS = {"group": "--group", "n_timesteps": "-n", "seed": "--seed"}
"""Settings for which the command has a flag of their own, and nearly always gets it."""

MAX_POINTS = 200
"""Points of a curve that a card keeps."""


@dataclass(frozen=True)
class Packed:
    """One file with an agent, and the card beside it.

    Attributes:
        agent: The agent with its card.
        path: The file.
    """

    agent: TrainedAgent
    path: Path


def pack_agent(
    folder: Path,
    target: Path | None = None,
    *,
    env_id: str | None = None,
    n_episodes: int = 20,
    seed: int = 0,
    last: bool = False,
) -> Packed:
    """Write an agent of a run as one file without pickled code, with a card for people beside it.

    Args:
        folder: Folder of the run.
        target: Where; absent for ``{method}-{environment}`` in the current folder.
        env_id: The environment again, where it is one of a module that has to be imported.
        n_episodes: Episodes that the card reports, played with the deterministic policy.
        seed: Their seed.
        last: Whether to take the agent at the end, and not the one with the best evaluation.

    Raises:
        UserError: If the run has no such agent or no evaluations, or one of its files is damaged.
        OSError: If a file cannot be read or written.
    """
    run = RunFolder.open(folder)
    target = target or Path(f"{_config(run).method}-{run.settings.name}{SUFFIX}")
    if target.suffix != SUFFIX:
        raise UserError(f"{target}: expected the name of a file that ends in {SUFFIX}")
    require_asked(_config(run).env, env_id, run.path)
    require_no_module(_config(run).env_kwargs, {}, run.path)
    agent = agent_with_card(run, n_episodes, seed, last=last)
    agent.card = {"name": target.stem, **agent.card}
    save_agent(agent, target)
    stored_env_id, card = read_record(target)
    with replacing(target.with_suffix(".md")) as file:
        file.write(to_markdown(target.stem, stored_env_id, card).encode())
    return Packed(agent, target)


def agent_with_card(run: RunFolder, n_episodes: int, seed: int, *, last: bool) -> TrainedAgent:
    """The agent of a run with its card, for which it plays episodes.

    Args:
        run: The run.
        n_episodes: Episodes to play with the deterministic policy.
        seed: Their seed.
        last: Whether to take the agent at the end, and not the one with the best evaluation.

    Raises:
        UserError: If the run has no such agent or no evaluations, or one of its files is damaged.
        OSError: If a file cannot be read.
    """
    agent = load_agent(run.agent if last else run.path, device="cpu")
    config = _config(run)
    timesteps, returns, _ = run.load_evaluations()
    if not len(timesteps):
        raise UserError(f"{run.path} has no evaluations yet; train for longer or with a smaller --eval-freq")
    result = evaluate(agent, config.env, config.env_kwargs, n_episodes=n_episodes, seed=seed)
    agent.config = dataclasses.replace(config, **{name: _default(name) for name in MACHINE_SETTINGS}).to_dict()
    agent.card = {
        "method": config.method,
        "group": None if config.mode == "mlp" else config.group,
        "steps": agent.n_steps,
        "run_steps": max([int(timesteps[-1]), *run.checkpoint_steps()]),
        "choice": "best" if agent.path == run.best_agent else "last",
        "seed": config.seed,
        "evaluation": evaluation_record(result.returns, result.lengths, seed),
        "measured_group": result.group,
        "equivariance_error": result.equivariance_error,
        "learning_curve": {
            "steps": [int(step) for step in timesteps],
            "mean_return": [float(np.mean(values)) for values in returns],
            "std_return": [float(np.std(values)) for values in returns],
        },
        "equivariance_curve": equivariance_curve(run, config, MAX_POINTS),
        "command": command_of(config),
        **_versions(run),
    }
    return agent


def _config(run: RunFolder) -> SACConfig:
    with user_input(ValueError):
        return sac_config(load_yaml(run.config))


def _versions(run: RunFolder) -> dict[str, Any]:
    """What the run was made with last, and before that if it was continued with something else."""
    records = run.versions()
    earlier = [record for i, record in enumerate(records) if record not in records[i + 1 :]][:-1]
    return {"versions": records[-1] if records else {}, **({"earlier_versions": earlier} if earlier else {})}


def command_of(config: SACConfig) -> str:
    """The command that makes such an agent again: every setting with which a new run would not begin."""
    words = ["train-sac", "--env", config.env, f"--{config.mode}"]
    unsaid = SACConfig.new(env=config.env, mode=config.mode).to_dict()
    params = {
        name: value
        for name, value in config.to_dict().items()
        if name not in MACHINE_SETTINGS and value != unsaid[name]
    }
    for name, flag in FLAGS.items():
        if name in params:
            words += [flag, str(params.pop(name))]
    if params:
        words += ["-params", *(f"{name}:{_as_typed(value)}" for name, value in params.items())]
    return shlex.join(words)


def _as_typed(value: object) -> str:
    """A value as one would type it: text without quotes, where YAML reads it as the same text."""
    if isinstance(value, str) and parse_yaml(value) == value:
        return value
    return json.dumps(value)


def _default(name: str) -> object:
    field = next(field for field in dataclasses.fields(SACConfig) if field.name == name)
    return {} if field.default is dataclasses.MISSING else field.default
