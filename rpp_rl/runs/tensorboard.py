"""What a run wrote for TensorBoard, read back: how symmetric the policy was while it learned."""

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rpp_rl.io.run_folder import RunFolder
from rpp_rl.sac.config import SACConfig

ERROR = "rpp/actor_mean_error"


def equivariance_errors(folder: Path) -> dict[int, float]:
    """The error of the actor's mean at every step at which it was logged, averaged over the generators."""
    errors: dict[int, list[float]] = {}
    if folder.is_dir():
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            if tag.startswith(ERROR):
                for event in events.Scalars(tag):
                    errors.setdefault(event.step, []).append(event.value)
    return {step: float(np.mean(values)) for step, values in sorted(errors.items())}


def equivariance_curve(run: RunFolder, config: SACConfig, n_points: int) -> dict[str, list[float]] | None:
    """The same for a run, at no more than so many steps; None if it logged none.

    Args:
        run: The run.
        config: Its settings, which say where its logs are.
        n_points: Points to keep, evenly spread.
    """
    errors = equivariance_errors(run.events(config.tensorboard_log))
    if not errors:
        return None
    picked = np.unique(np.linspace(0, len(errors) - 1, min(len(errors), n_points)).round().astype(int))
    steps, values = list(errors), list(errors.values())
    return {"steps": [steps[i] for i in picked], "error": [round(values[i], 4) for i in picked]}
