"""Agents and checkpoints on the disk, written so that being killed at any moment loses no more than one interval.

A checkpoint is two files that belong together: the agent ``rl_model_{N}_steps.zip``, of which every one is kept, and
then the replay buffer ``replay_buffer.safetensors``, of which there is one, with the state of everything else. The
rename of the buffer completes a checkpoint: it names its agent by number of steps and by hash. A process that dies
between the two renames leaves the buffer before, which still names the agent before.

A run is resumed only from files that are known to be whole and to belong together, and nothing is changed before.
"""

import hashlib
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.plain_tree import pack, unpack
from rpp_rl.io.replay_file import ReplayArrays, fill, read_replay, read_sb3_replay, replay_arrays, write_replay
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.training_state import capture_training
from rpp_rl.sac import RPPSAC, algorithm_for

DAMAGE = (ValueError, KeyError, TypeError, AttributeError)
"""What values make the code raise that are not those of a checkpoint."""


@dataclass(frozen=True)
class Mark:
    """What a replay buffer's file says about the checkpoint that it completes.

    Attributes:
        env_id: The environment its transitions come from.
        n_steps: Steps made when it was written.
        agent_hash: SHA-256 of the agent's file that it belongs to.
        monitor_sizes: Bytes in each of the run's ``*.monitor.csv`` at that time.

    Raises:
        ValueError: If a value is of another type, or a name that of another file.
    """

    env_id: str
    n_steps: int
    agent_hash: str
    monitor_sizes: dict[str, int]

    def __post_init__(self) -> None:
        is_mark = isinstance(self.env_id, str) and isinstance(self.agent_hash, str) and _is_count(self.n_steps)
        if not is_mark or not isinstance(self.monitor_sizes, dict):
            raise ValueError("expected an environment, a number of steps, a hash and sizes")
        for name, size in self.monitor_sizes.items():
            if not re.fullmatch(r"[0-9]{1,6}\.monitor\.csv", name) or not _is_count(size):
                raise ValueError(f"expected sizes of N.monitor.csv, got {name[:80]!r}: {str(size)[:20]}")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def save_agent(model: RPPSAC, path: Path) -> str:
    """Write an agent and return the SHA-256 of the file.

    Raises:
        OSError: If it cannot be written.
    """
    # Made in memory first, because an error of the disk inside torch's writer would not be an OSError.
    data = io.BytesIO()
    with _clock_that_zip_knows():
        model.save(data)
    with replacing(path) as file:
        file.write(data.getbuffer())
    return hashlib.sha256(data.getbuffer()).hexdigest()


@contextmanager
def _clock_that_zip_knows() -> Iterator[None]:
    """Zip files know no year before 1980, which is when a board without a clock believes to live."""
    if time.localtime().tm_year >= 1980:
        yield
        return
    frozen = SimpleNamespace(time=time.time, localtime=lambda _: time.struct_time((1980, 1, 1, 0, 0, 0, 1, 1, 0)))
    zipfile.time, before = frozen, zipfile.time  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        zipfile.time = before  # pyright: ignore[reportAttributeAccessIssue]


def save_checkpoint(
    folder: RunFolder, model: RPPSAC, *, keep_buffer: bool, is_between_steps: bool = True
) -> str | None:
    """Write the agent and, if asked, the replay buffer that belongs to it, with the state of everything else.

    Args:
        folder: Where.
        model: The agent.
        keep_buffer: Whether the run can be resumed.
        is_between_steps: Whether the environments wait for the next action; after an error they may not.

    Returns:
        Why a resumed run will begin with new episodes; None if it will continue those that are being played.

    Raises:
        OSError: If they cannot be written; the checkpoint before is untouched then.
    """
    agent_hash = save_agent(model, folder.checkpoint(model.num_timesteps))
    if not keep_buffer:
        return None
    assert model.replay_buffer is not None
    sizes = {path.name: path.stat().st_size for path in sorted(folder.path.glob("*.monitor.csv"))}
    mark = asdict(Mark(folder.env_id, model.num_timesteps, agent_hash, sizes))
    del mark["env_id"]
    state, reason = capture_training(model, is_between_steps=is_between_steps)
    tree, arrays = pack(state)
    replay = replay_arrays(model.replay_buffer, folder.env_id)
    write_replay(folder.replay_buffer, replay, {"mark": mark, "state": tree}, arrays)
    folder.pickled_replay_buffer.unlink(missing_ok=True)
    return reason


def load_agent(path: Path, device: str, env: VecEnv | None = None, algorithm: type[RPPSAC] | None = None) -> RPPSAC:
    """Read an agent that ``train-sac`` wrote, as one of the class that fits its environment or of another one.

    Raises:
        UserError: If the file is missing, damaged or not of this package, or the agent does not fit the environment.
    """
    _check_agent(path)
    # An agent of another version may have arguments or parts that this one does not know.
    with user_input(ValueError, KeyError, RuntimeError, TypeError, AttributeError, about=f"cannot load {path}"):
        return (algorithm or algorithm_for(env)).load(path, env=env, device=device)


@dataclass(frozen=True)
class Checkpoint:
    """Everything from which a run is resumed, known to be whole.

    Attributes:
        mark: Which checkpoint it is.
        replay: The transitions.
        state: What `rpp_rl.runs.training_state` needs; None in runs of the first version, which did not write it.
    """

    mark: Mark
    replay: ReplayArrays
    state: Any


def read_checkpoint(folder: RunFolder) -> Checkpoint:
    """The newest checkpoint of a run, of which every file is compared with what was written.

    Raises:
        UserError: If there is none, it is damaged or of another environment, or its agent is missing or another one.
        OSError: If a file cannot be read.
    """
    path, read = folder.replay_buffer, _read_buffer
    if not path.exists() and folder.pickled_replay_buffer.exists():
        path, read = folder.pickled_replay_buffer, _read_pickled_buffer
    if not path.exists():
        raise UserError(
            f"{folder.path} cannot be resumed: it has no {path.name}, because no checkpoint was reached or because "
            "save_replay_buffer is off; start a new run"
        )
    mark, replay, state = read(path)
    if mark.env_id != folder.env_id:
        raise UserError(f"{path}: expected a replay buffer of {folder.env_id}, got one of {mark.env_id[:80]}")
    agent = folder.checkpoint(mark.n_steps)
    if not agent.exists():
        raise UserError(f"{path} belongs to {agent.name}, which is missing")
    if hashlib.sha256(agent.read_bytes()).hexdigest() != mark.agent_hash:
        raise UserError(f"{path} and {agent.name} do not belong together: one of them was damaged or replaced")
    _check_monitors(folder, mark)
    folder.load_evaluations()
    return Checkpoint(mark, replay, state)


def _read_buffer(path: Path) -> tuple[Mark, ReplayArrays, Any]:
    with user_input(*DAMAGE):
        replay, more, arrays = read_replay(path)
    with user_input(*DAMAGE, about=f"{path} is damaged or was not written by train-sac"):
        return Mark(str(replay.env_id), **more["mark"]), replay, unpack(more["state"], arrays)


def _read_pickled_buffer(path: Path) -> tuple[Mark, ReplayArrays, None]:
    with user_input(*DAMAGE, about=f"{path} is damaged or was not written by train-sac"):
        replay, mark = read_sb3_replay(path)
        return Mark(**mark), replay, None


def saved_steps(path: Path) -> int | None:
    """Steps made by an agent in a file of `save_agent`; None if there is no such file or it does not say."""
    with suppress(OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError), zipfile.ZipFile(path) as file:
        return int(json.loads(file.read("data"))["num_timesteps"])
    return None


def read_mark(folder: RunFolder) -> Mark:
    """Which checkpoint of a run is the newest, see `read_checkpoint`."""
    return read_checkpoint(folder).mark


def load_checkpoint(
    folder: RunFolder, checkpoint: Checkpoint, device: str, env: VecEnv, algorithm: type[RPPSAC] | None = None
) -> RPPSAC:
    """The agent of a checkpoint with its transitions, as one of the class that fits its environment or of another one.

    Raises:
        UserError: If a file is damaged or does not fit the environment.
        OSError: If a file cannot be read.
    """
    model = load_agent(folder.checkpoint(checkpoint.mark.n_steps), device, env, algorithm)
    assert model.replay_buffer is not None
    with user_input(ValueError, about=f"{folder.replay_buffer} does not fit {folder.env_id}"):
        fill(model.replay_buffer, checkpoint.replay)
    return model


def rewind(folder: RunFolder, mark: Mark) -> None:
    """Remove what the run recorded after its last checkpoint, because it is going to happen again.

    Raises:
        UserError: If a file of returns is shorter than it was.
        OSError: If a file cannot be written.
    """
    _check_monitors(folder, mark)
    for leftover in (*folder.path.glob(".*.tmp"), *folder.settings.glob(".*.tmp")):
        leftover.unlink()
    for name, size in mark.monitor_sizes.items():
        os.truncate(folder.path / name, size)
    timesteps, results, ep_lengths = folder.load_evaluations()
    kept = timesteps <= mark.n_steps
    if not kept.all():
        folder.save_evaluations(timesteps[kept], results[kept], ep_lengths[kept])


def _check_monitors(folder: RunFolder, mark: Mark) -> None:
    """The files of returns are there, in the folder itself, and only have to be cut."""
    for name, size in mark.monitor_sizes.items():
        path = folder.path / name
        if path.is_symlink() or not path.is_file():
            raise UserError(f"{path} is missing or is not a regular file; the checkpoint was written with it")
        if path.stat().st_size < size:
            raise UserError(f"{path}: expected at least the {size} bytes of the checkpoint, got {path.stat().st_size}")


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
    with user_input(*DAMAGE, about=f"{path}: expected an agent of train-sac"):
        module = json.loads(data)["policy_class"]["__module__"]
    if not str(module).startswith("rpp_rl.sac."):
        raise UserError(f"{path}: expected an agent of train-sac, got one with a policy of {module}")
