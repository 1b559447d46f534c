"""Agents and checkpoints on the disk, written so that being killed at any moment loses no more than one interval.

A checkpoint is two files that belong together: the agent ``rl_model_{N}_steps.zip``, of which every one is kept, and
then the replay buffer ``replay_buffer.pkl``, of which there is one. The rename of the buffer completes a checkpoint:
behind the pickle it carries a line of JSON that names its agent by number of steps and by hash. A process that dies
between the two renames leaves the buffer before, which still names the agent before.
"""

import hashlib
import io
import json
import os
import pickle
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from stable_baselines3.common.vec_env import VecEnv

from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.sac import RPPSAC, algorithm_for


@dataclass(frozen=True)
class Mark:
    """What a replay buffer's file says about itself in its last line.

    Attributes:
        env_id: The environment its transitions come from.
        n_steps: Steps made when it was written.
        agent_hash: SHA-256 of the agent's file that it belongs to.
        monitor_sizes: Bytes in each of the run's ``*.monitor.csv`` at that time.
    """

    env_id: str
    n_steps: int
    agent_hash: str
    monitor_sizes: dict[str, int]


def save_agent(model: RPPSAC, path: Path) -> str:
    """Write an agent and return the SHA-256 of the file.

    Raises:
        OSError: If it cannot be written.
    """
    # Made in memory first, because an error of the disk inside torch's writer would not be an OSError.
    data = io.BytesIO()
    model.save(data)
    with replacing(path) as file:
        file.write(data.getbuffer())
    return hashlib.sha256(data.getbuffer()).hexdigest()


def save_checkpoint(folder: RunFolder, model: RPPSAC, *, keep_buffer: bool) -> None:
    """Write the agent and, if asked, the replay buffer that belongs to it.

    Raises:
        OSError: If they cannot be written; the checkpoint before is untouched then.
    """
    agent_hash = save_agent(model, folder.checkpoint(model.num_timesteps))
    if not keep_buffer:
        return
    sizes = {path.name: path.stat().st_size for path in folder.path.glob("*.monitor.csv")}
    mark = Mark(folder.env_id, model.num_timesteps, agent_hash, sizes)
    with replacing(folder.replay_buffer) as file:
        model.save_replay_buffer(file)
        file.write(b"\n" + json.dumps(asdict(mark)).encode())


def load_agent(path: Path, device: str, env: VecEnv | None = None) -> RPPSAC:
    """Read an agent that ``train-sac`` wrote.

    Raises:
        UserError: If the file is missing, damaged or not of this package, or the agent does not fit the environment.
    """
    _check_agent(path)
    # An agent of another version may have arguments or parts that this one does not know.
    with user_input(ValueError, KeyError, RuntimeError, TypeError, AttributeError, about=f"cannot load {path}"):
        return algorithm_for(env).load(path, env=env, device=device)


def load_checkpoint(folder: RunFolder, mark: Mark, device: str, env: VecEnv) -> RPPSAC:
    """Read the agent and the replay buffer of a checkpoint.

    Raises:
        UserError: If a file is damaged or does not fit the environment.
        OSError: If a file cannot be read.
    """
    model = load_agent(folder.checkpoint(mark.n_steps), device, env)
    # What a damaged pickle raises depends on where the damage is.
    damage = (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        ImportError,
        TypeError,
    )
    with folder.replay_buffer.open("rb") as file, user_input(*damage, about=f"{folder.replay_buffer} is damaged"):
        model.load_replay_buffer(file)
    buffer = model.replay_buffer
    if buffer is None or (buffer.observation_space, buffer.n_envs) != (env.observation_space, env.num_envs):
        raise UserError(f"{folder.replay_buffer}: expected a replay buffer of {folder.env_id}, got another one")
    return model


def read_mark(folder: RunFolder) -> Mark:
    """What the replay buffer says about itself, after it is known to belong to its agent.

    Raises:
        UserError: If there is no checkpoint, the buffer is of another environment or cut short, or its agent is
            missing or another one.
        OSError: If a file cannot be read.
    """
    path = folder.replay_buffer
    if not path.exists():
        raise UserError(
            f"{folder.path} cannot be resumed: it has no {path.name}, because no checkpoint was reached or because "
            "save_replay_buffer is off; start the run anew"
        )
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**20))
        last_line = file.read().rsplit(b"\n", 1)[-1]
    with user_input(ValueError, TypeError, about=f"{path} is cut short or was not written by train-sac"):
        mark = Mark(**json.loads(last_line))
    if mark.env_id != folder.env_id:
        raise UserError(f"{path}: expected a replay buffer of {folder.env_id}, got one of {mark.env_id}")
    agent = folder.checkpoint(mark.n_steps)
    if not agent.exists():
        raise UserError(f"{path} belongs to {agent.name}, which is missing")
    if hashlib.sha256(agent.read_bytes()).hexdigest() != mark.agent_hash:
        raise UserError(f"{path} and {agent.name} do not belong together: one of them was damaged or replaced")
    return mark


def rewind(folder: RunFolder, mark: Mark) -> None:
    """Remove what the run recorded after its last checkpoint, because it is going to happen again.

    Raises:
        OSError: If a file cannot be written.
    """
    for leftover in folder.path.glob(".*.tmp"):
        leftover.unlink()
    for name, size in mark.monitor_sizes.items():
        os.truncate(folder.path / name, size)
    timesteps, results, ep_lengths = folder.load_evaluations()
    kept = timesteps <= mark.n_steps
    if not kept.all():
        folder.save_evaluations(timesteps[kept], results[kept], ep_lengths[kept])


def _check_agent(path: Path) -> None:
    """Refuse a damaged or foreign file before anything in it is unpickled."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such agent file")
    damage = (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError)
    with user_input(*damage, about=f"{path} is damaged or no zip file"), zipfile.ZipFile(path) as file:
        broken = file.testzip()
        names = file.namelist()
        data = file.read("data") if "data" in names else b"{}"
    if broken is not None:
        raise UserError(f"{path} is damaged: the checksum of {broken} in it is wrong")
    if not {"data", "policy.pth", "pytorch_variables.pth"} <= set(names):
        raise UserError(f"{path}: expected an agent of train-sac, got a zip file of something else or one cut short")
    with user_input(ValueError, KeyError, TypeError, AttributeError, about=f"{path}: expected an agent of train-sac"):
        module = json.loads(data)["policy_class"]["__module__"]
    if not str(module).startswith("rpp_rl.sac."):
        raise UserError(f"{path}: expected an agent of train-sac, got one with a policy of {module}")
