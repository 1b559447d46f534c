"""``pack-agent``: turn the folder of a run into one file that can be passed on, with a card that says what it is."""

import argparse
import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rpp_rl.agents import Agent, AgentError, load_agent, save_agent
from rpp_rl.agents.agent_file import read_record
from rpp_rl.agents.card import evaluation_record, to_markdown
from rpp_rl.cli.arguments import integer
from rpp_rl.cli.errors import command
from rpp_rl.cli.evaluate_agent import evaluate
from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.run_folder import ALGORITHMS, OF_THE_MACHINE, RunFolder
from rpp_rl.io.tensor_file import SUFFIX
from rpp_rl.runs.tensorboard import equivariance_curve
from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import load_yaml

MAX_POINTS = 200
"""Points of a curve that a card keeps."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, evaluate, write, and return the status for the shell."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    run = RunFolder.open(args.run)
    target = args.output or Path(f"{_method(run)}-{run.settings.name}{SUFFIX}")
    if target.suffix != SUFFIX:
        raise UserError(f"{target}: expected the name of a file that ends in {SUFFIX}")
    agent = pack(run, args.episodes, args.seed, last=args.last)
    agent.card = {"name": target.stem, **agent.card}
    with user_input(AgentError):
        save_agent(agent, target)
        env_id, card = read_record(target)
    with replacing(target.with_suffix(".md")) as file:
        file.write(to_markdown(target.stem, env_id, card).encode())
    record = agent.card["evaluation"]
    print(
        f"{target}: the {agent.card['choice']} agent, after {agent.n_steps} steps, "
        f"return {record['mean_return']:.1f} ± {record['std_return']:.1f} in {record['episodes']} episodes"
    )
    return 0


def pack(run: RunFolder, n_episodes: int, seed: int, *, last: bool) -> Agent:
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
    with user_input(AgentError, ValueError):
        agent = load_agent(run.agent if last else run.path, device="cpu")
        config = sac_config(load_yaml(run.config))
    timesteps, returns, _ = run.load_evaluations()
    if not len(timesteps):
        raise UserError(f"{run.path} has no evaluations yet; train for longer or with a smaller --eval-freq")
    result = evaluate(agent, config.env, config.env_kwargs, n_episodes, seed=seed)
    agent.config = dataclasses.replace(config, **{name: _default(name) for name in OF_THE_MACHINE}).to_dict()
    agent.card = {
        "method": _method(run),
        "group": None if config.mode == "mlp" else config.group,
        "steps": agent.n_steps,
        "run_steps": _run_steps(run, int(timesteps[-1])),
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
        "equivariance_curve": equivariance_curve(run.path, config, MAX_POINTS),
        "command": _command(config),
        **_versions(run),
    }
    return agent


def _method(run: RunFolder) -> str:
    with user_input(ValueError):
        return ALGORITHMS[sac_config(load_yaml(run.config)).mode]


def _run_steps(run: RunFolder, evaluated: int) -> int:
    """How far the run has got: to its newest checkpoint or its last evaluation."""
    return max([evaluated, *(int(path.stem.split("_")[2]) for path in run.checkpoints())])


def _versions(run: RunFolder) -> dict[str, Any]:
    """What the run was made with last, and before that if it was continued with something else."""
    path = run.settings / "versions.jsonl"
    with user_input(ValueError, AttributeError, about=f"{path} is damaged"):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        records = [{key: value for key, value in record.items() if key != "from_step"} for record in records]
    earlier = [record for i, record in enumerate(records) if record not in records[i + 1 :]][:-1]
    return {"versions": records[-1] if records else {}, **({"earlier_versions": earlier} if earlier else {})}


def _command(config: SACConfig) -> str:
    """The command that makes such an agent again: every setting that is not the default."""
    words = ["train-sac", "--env", config.env, f"--{config.mode}"]
    params = {
        name: value
        for name, value in config.to_dict().items()
        if name not in ("env", "mode", *OF_THE_MACHINE) and getattr(config, name) != _default(name)
    }
    if params:
        words += ["-params", *(f"{name}:{json.dumps(value)}" for name, value in params.items())]
    return shlex.join(words)


def _default(name: str) -> object:
    field = next(field for field in dataclasses.fields(SACConfig) if field.name == name)
    return {} if field.default is dataclasses.MISSING else field.default


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pack-agent",
        description="Write an agent of a run of train-sac as one file without pickled code, with a card beside it: "
        "what it earns in fresh episodes, how it learned, how symmetric it is, and what it was made with.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=f"where (default: {{method}}-{{environment}}{SUFFIX})"
    )
    parser.add_argument("--last", action="store_true", help="take the agent at the end, not the best one")
    parser.add_argument("--episodes", type=integer(2), default=20, metavar="N", help="episodes to play (default: 20)")
    parser.add_argument("--seed", type=integer(0, at_most=2**32 - 1), default=0, metavar="N", help="their seed (0)")
    return parser
