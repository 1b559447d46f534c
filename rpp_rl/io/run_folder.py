"""The folder of a run, in the layout of rl-baselines3-zoo.

What a run needs to go on is written under a temporary name and renamed, so whoever looks finds the old file or the new
one; logs are appended to.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from rpp_rl.io.atomic import replacing
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.lock import locked
from rpp_rl.io.npz_file import read_npz
from rpp_rl.io.provenance import versions
from rpp_rl.settings import Settings, load_yaml

if TYPE_CHECKING:
    from stable_baselines3.common.logger import Logger

CONFIG, BEST_AGENT = "config.yml", "best_model.zip"
VERSIONS = "versions.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: The folder.
        env_id: The environment, after which some of the files are named.
    """

    path: Path
    env_id: str

    @classmethod
    def create(cls, parent: Path, env_id: str) -> RunFolder:
        """Make a folder with the next free number; runs that start at the same moment get different ones.

        Args:
            parent: Folder of the runs of one algorithm.
            env_id: The environment.

        Raises:
            OSError: If the folder cannot be made.
        """
        parent.mkdir(parents=True, exist_ok=True)
        name = _file_name(env_id)
        taken = [re.fullmatch(rf"{re.escape(name)}_(\d+)", path.name) for path in parent.iterdir()]
        number = max((int(match[1]) for match in taken if match), default=0)
        while True:
            number += 1
            try:
                (parent / f"{name}_{number}").mkdir()
            except FileExistsError:
                continue
            return cls(parent / f"{name}_{number}", env_id)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Find the files of an existing run.

        Raises:
            UserError: If ``path`` is not a run folder.
        """
        if not cls.exists(path):
            n_found = len(list(path.glob(f"*/{CONFIG}")))
            raise UserError(f"{path} is not a run folder: expected one file */{CONFIG} in it, got {n_found}")
        (config,) = path.glob(f"*/{CONFIG}")
        with user_input(ValueError):
            env_id = load_yaml(config).get("env")
        if not isinstance(env_id, str):
            raise UserError(f"{config}: expected the environment under 'env', got {env_id!r}")
        return cls(path, env_id)

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether ``path`` is the folder of a run."""
        return len(list(path.glob(f"*/{CONFIG}"))) == 1

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from going on with the run, see `rpp_rl.io.lock.locked`."""
        return locked(self.path)

    @property
    def settings(self) -> Path:
        """Folder of the files that say how the run was made."""
        return self.path / _file_name(self.env_id)

    @property
    def agent(self) -> Path:
        """The agent at the end of the run."""
        return self.path / f"{_file_name(self.env_id)}.zip"

    @property
    def best_agent(self) -> Path:
        """The agent with the highest mean return in an evaluation."""
        return self.path / BEST_AGENT

    @property
    def replay_buffer(self) -> Path:
        """The replay buffer of the newest checkpoint."""
        return self.path / "replay_buffer.safetensors"

    @property
    def pickled_replay_buffer(self) -> Path:
        """The same in a run that an earlier version began; the next checkpoint takes its place."""
        return self.path / "replay_buffer.pkl"

    @property
    def evaluations(self) -> Path:
        """Steps, returns and lengths of all evaluations."""
        return self.path / "evaluations.npz"

    def checkpoints(self) -> list[Path]:
        """The agents of all checkpoints, newest first."""
        return [self.checkpoint(n_steps) for n_steps in self.checkpoint_steps()]

    def checkpoint_steps(self) -> list[int]:
        """Steps made at each checkpoint, newest first."""
        found = (re.fullmatch(r"rl_model_(\d+)_steps\.zip", path.name) for path in self.path.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def saved_agents(self) -> list[Path]:
        """The agents that exist, the best first, then the last, then those of the checkpoints, newest first."""
        return [path for path in (self.best_agent, self.agent, *self.checkpoints()) if path.exists()]

    def checkpoint(self, n_steps: int) -> Path:
        """The agent after ``n_steps``."""
        return self.path / f"rl_model_{n_steps}_steps.zip"

    @property
    def config(self) -> Path:
        """All settings, as a file that ``--conf-file`` reads."""
        return self.settings / CONFIG

    def write_settings(self, config: Settings, command_line: str, n_steps: int) -> None:
        """Write how the run was made; a run that goes on adds to the lists of commands and versions.

        Args:
            config: The resolved settings.
            command_line: How it was asked for.
            n_steps: Steps made before, or epochs.

        Raises:
            OSError: If a file cannot be written.
        """
        self.settings.mkdir(exist_ok=True)
        for path in (self.config, self.settings / "args.yml"):
            with replacing(path) as file:
                file.write(yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True).encode())
        with (self.settings / "command.txt").open("a", encoding="utf-8") as file:
            file.write(f"{command_line}\n")
        with (self.settings / VERSIONS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"from_step": n_steps, **versions()}) + "\n")

    def logger(self, tensorboard_log: str | None, verbose: int = 0) -> Logger:
        """Where numbers are written: TensorBoard unless it is off, and a table on request.

        Args:
            tensorboard_log: Folder for TensorBoard, ``"off"`` for none; None for the folder of the run.
            verbose: 1 for the table.
        """
        from stable_baselines3.common.logger import configure

        formats = [] if tensorboard_log == "off" else ["tensorboard"]
        return configure(str(self.events(tensorboard_log)), formats + (["stdout"] if verbose else []))

    def events(self, tensorboard_log: str | None) -> Path:
        """Folder of what was logged for TensorBoard.

        Args:
            tensorboard_log: Parent folder of the logs of several runs; None or ``"off"`` for the folder of the run.
        """
        if tensorboard_log in (None, "off"):
            return self.path
        return Path(tensorboard_log) / self.path.parent.name / self.path.name

    def versions(self) -> list[dict[str, object]]:
        """What the run was made with, one entry for its start and one for each time it was resumed.

        Raises:
            UserError: If the file is damaged.
            OSError: If it cannot be read.
        """
        path = self.settings / VERSIONS
        with user_input(ValueError, AttributeError, about=f"{path} is damaged"):
            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return [{key: value for key, value in record.items() if key != "from_step"} for record in records]

    def remove(self) -> None:
        """Delete the folder of a run that could not begin."""
        shutil.rmtree(self.path)

    def load_evaluations(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Timesteps ``(n,)``, returns ``(n, episodes)`` and episode lengths ``(n, episodes)`` of the evaluations.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.evaluations.exists():
            return np.zeros(0, int), np.zeros((0, 0)), np.zeros((0, 0), int)
        with user_input(ValueError, about=f"{self.evaluations} is damaged"):
            arrays = read_npz(self.evaluations, {"timesteps": "iu", "results": "fiu", "ep_lengths": "iu"})
            shapes = [array.shape for array in arrays.values()]
            if shapes[0] != shapes[1][:1] or shapes[1] != shapes[2] or len(shapes[1]) != 2:
                raise ValueError(f"expected one row per evaluation, got arrays of shapes {str(shapes)[:200]}")
        return arrays["timesteps"], arrays["results"], arrays["ep_lengths"]

    def save_evaluations(self, timesteps: np.ndarray, results: np.ndarray, ep_lengths: np.ndarray) -> None:
        """Write what :meth:`load_evaluations` reads.

        Raises:
            OSError: If it cannot be written.
        """
        with replacing(self.evaluations) as file:
            np.savez(file, timesteps=timesteps, results=results, ep_lengths=ep_lengths)


def _file_name(env_id: str) -> str:
    """The id as a part of a path: namespaces and modules are divided by ``/`` and ``:``."""
    return re.sub(r"[/:]", "-", env_id)
