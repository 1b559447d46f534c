"""What has to be true of a run after everything that can happen to it; for ``soak.py`` and the tests of resuming."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import torch

from rpp_rl.io.border import UserError
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.checkpoint import load_agent, read_checkpoint


def run_of(folder: Path) -> RunFolder | None:
    """The only run in a folder; None while there is none that can be opened."""
    paths = list(folder.glob("*/*_*"))
    try:
        return RunFolder.open(paths[0]) if paths else None
    except UserError:
        return None


def everything(run: RunFolder) -> dict[str, torch.Tensor]:
    """All that a run learned and recorded, by name; of the files of returns the time of day is left out."""
    model = load_agent(run.agent, "cpu")
    found = {f"policy.{name}": tensor for name, tensor in model.policy.state_dict().items()}
    for name in ("actor", "critic"):
        for key, state in getattr(model, name).optimizer.state_dict()["state"].items():
            found |= {f"{name}.{key}.{part}": torch.as_tensor(value) for part, value in state.items()}
    found["temperature"] = model.log_ent_coef
    replay = read_checkpoint(run).replay
    found |= {name: torch.from_numpy(array.copy()) for name, array in replay.arrays.items()}
    found["oldest"] = torch.tensor(replay.oldest)
    evaluations = zip(("timesteps", "returns", "lengths"), run.load_evaluations(), strict=True)
    found |= {name: torch.from_numpy(array.copy()) for name, array in evaluations}
    for path in sorted(run.path.glob("*.monitor.csv")):
        rows = [line.split(",")[:2] for line in path.read_text().splitlines()[2:]]
        found[path.name] = torch.tensor([[float(number) for number in row] for row in rows])
    return found


def different(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of what is not equal, bit for bit."""
    names = one.keys() | other.keys()
    return sorted(
        name for name in names if name not in one or name not in other or not torch.equal(one[name], other[name])
    )


def losses(run: RunFolder, reached: int, capacity: int, *, is_tidy: bool) -> tuple[list[str], int]:
    """What is wrong with a run that has a checkpoint, and how many steps it has.

    Args:
        run: The run.
        reached: Steps that it had before.
        capacity: Transitions that its replay buffer holds.
        is_tidy: Whether its last process ended by itself, so that no temporary file may be left.
    """
    try:
        checkpoint = read_checkpoint(run)
        timesteps = run.load_evaluations()[0]
    except (UserError, OSError) as error:
        return [str(error)], reached
    found: list[str] = []
    n_steps, n_stored = checkpoint.mark.n_steps, checkpoint.replay.rewards.size
    if n_steps < reached:
        found.append(f"went back from {reached} to {n_steps} steps")
    if n_stored != min(n_steps, capacity):
        found.append(f"{n_stored} transitions after {n_steps} steps")
    if (np.diff(timesteps) <= 0).any():
        found.append(f"evaluations at {timesteps}")
    for path in run.path.glob("*.zip"):
        try:
            with zipfile.ZipFile(path) as archive:
                found += [f"{path.name}: {name} is damaged" for name in [archive.testzip()] if name]
        except (zipfile.BadZipFile, OSError) as error:
            found.append(f"{path.name}: {error}")
    for name, size in checkpoint.mark.monitor_sizes.items():
        found += _damage_of_returns(name, (run.path / name).read_bytes()[:size].decode())
    if is_tidy:
        found += [f"left behind: {path.name}" for path in run.path.rglob(".*.tmp")]
    return found, n_steps


def _damage_of_returns(name: str, text: str) -> list[str]:
    first, *rows = text.splitlines() or [""]
    is_whole = text.endswith("\n") and first.startswith("#{") and rows[:1] == ["r,l,t"]
    is_whole = is_whole and all(re.fullmatch(r"[-0-9.e]+,\d+,[-0-9.e]+", row) for row in rows[1:])
    return [] if is_whole else [f"{name} is damaged: {text[-200:]!r}"]
