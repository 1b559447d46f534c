"""One picture of an agent: its learning curve, its returns, and the symmetry of its gait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy import ndarray

from rpp_rl.agents.gait import Asymmetry, Limbs, asymmetries, limbs
from rpp_rl.agents.play import play
from rpp_rl.agents.trained_agent import TrainedAgent
from rpp_rl.envs.coordinates import to_rep
from rpp_rl.envs.spec import EnvSpec
from rpp_rl.io.atomic import replacing
from rpp_rl.io.extras import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_STEPS = 200
"""Steps of an episode whose angles are drawn; more of them are a carpet."""

SMALLEST_RANGE = 0.2
"""Radians that an axis of angles shows at least, so that standing still looks like it."""

LEGEND_SHARE = 0.4
"""Room for the legend above the curves, relative to theirs."""

COLUMNS = 2


@dataclass(frozen=True)
class Portrait:
    """The numbers in the picture.

    Attributes:
        returns: Return of each episode.
        asymmetries: How far the gait is from its images, in the longest episode; empty without angles to compare.
    """

    returns: list[float]
    asymmetries: list[Asymmetry]

    def __str__(self) -> str:
        mean, std = np.mean(self.returns), np.std(self.returns)
        images = [
            f"gait and its image under {image.generator}: error {image.error:.2f}, {image.delay} steps later"
            for image in self.asymmetries
        ]
        return "\n".join([f"return {mean:.1f} ± {std:.1f} in {len(self.returns)} episodes", *images])


def plot_agent(
    agent: TrainedAgent,
    env: gym.Env,
    path: str | Path,
    *,
    n_episodes: int = 5,
    seed: int | None = 0,
    spec: EnvSpec | None = None,
) -> Portrait:
    """Play episodes and draw them, with the learning curve of the agent's card.

    Args:
        agent: The agent.
        env: Its environment.
        path: The picture to write, in any format of matplotlib; it is complete or absent.
        n_episodes: Episodes to play.
        seed: Seed of the environment.
        spec: The agent's symmetry with other words for its numbers; the one that it carries when not given.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        AgentError: If the agent does not fit the environment.
        ValueError: If matplotlib does not know the format.
        OSError: If the file cannot be written.
    """
    need("matplotlib", "plot")
    from matplotlib.figure import Figure

    path = Path(path)
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ValueError(f"{path}: expected a name that ends in one of .{', .'.join(sorted(known))}")
    episodes = [list(play(agent, env, seed=seed if k == 0 else None)) for k in range(n_episodes)]
    returns = [sum(step.reward for step in episode) for episode in episodes]
    longest = np.array([step.obs for step in max(episodes, key=len)])
    spec = spec or agent.spec
    # The first quarter is the start from a standstill.
    x = longest[len(longest) // 4 :] if spec is None else to_rep(spec.observation, longest)[len(longest) // 4 :]
    groups = [] if spec is None else limbs(spec)
    gait = [] if spec is None else asymmetries(spec, x)

    n_rows = 1 + -(-len(groups) // COLUMNS)
    figure = Figure(figsize=(5.5 * COLUMNS, 0.6 + 2.6 * n_rows), layout="constrained")
    axes = np.ravel(figure.subplots(n_rows, COLUMNS))
    _draw_learning(axes[0], agent)
    _draw_returns(axes[1], returns, agent)
    dt = getattr(env.unwrapped, "dt", None)
    # The generator that the gait respects least; its image has begun when the curves begin.
    worst = max(gait, key=lambda asymmetry: asymmetry.error, default=None)
    start = 0 if worst is None else worst.delay
    for axis, group in zip(axes[2:], groups, strict=False):
        _draw_limbs(axis, group, x[start : start + SHOWN_STEPS], dt)
        if spec is not None and worst is not None:
            _draw_image(axis, group, x[:SHOWN_STEPS], spec, worst, dt)
        _draw_legend(axis)
    for axis in axes[2 + len(groups) :]:
        axis.set_axis_off()
    figure.suptitle("\n".join([_title(agent), *_in_words(gait, dt)]), fontsize=10)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=120)
    return Portrait(returns, gait)


def _title(agent: TrainedAgent) -> str:
    return f"{agent.card.get('name', agent.env_id)}, {agent.env_id}, {agent.n_steps} steps"


def _in_words(gait: Sequence[Asymmetry], dt: float | None) -> list[str]:
    unit = "steps" if dt is None else "s"
    parts = [f"{a.generator}: {a.error:.2f} at a delay of {a.delay * (dt or 1):.3g} {unit}" for a in gait]
    return ["gait against its mirror images (0 the same, 0.7 unrelated): " + "; ".join(parts)] if parts else []


def _draw_learning(axis: Axes, agent: TrainedAgent) -> None:
    curve: Any = agent.card.get("learning_curve")
    axis.set(xlabel="environment steps", ylabel="return", title="learning curve")
    if not curve:
        axis.set(xticks=(), yticks=())
        axis.text(0.5, 0.5, "no evaluation is recorded", ha="center", va="center", transform=axis.transAxes)
        return
    steps, mean, std = (np.array(curve[key], dtype=float) for key in ("steps", "mean_return", "std_return"))
    axis.plot(steps, mean, color="tab:blue")
    axis.fill_between(
        steps, mean - std, mean + std, color="tab:blue", alpha=0.2, linewidth=0, label="± std of episodes"
    )
    axis.axvline(agent.n_steps, color="tab:gray", linewidth=1, linestyle=":", label="this agent")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def _draw_returns(axis: Axes, returns: Sequence[float], agent: TrainedAgent) -> None:
    axis.bar(range(1, len(returns) + 1), returns, color="tab:blue", alpha=0.6)
    axis.axhline(float(np.mean(returns)), color="tab:blue", label=f"mean {np.mean(returns):.0f}")
    record: Any = agent.card.get("evaluation")
    if record:
        axis.axhline(record["mean_return"], color="tab:gray", linestyle=":", label=f"card {record['mean_return']:.0f}")
    axis.set(xlabel="episode", ylabel="return", title="return per episode", xticks=range(1, len(returns) + 1))
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def _draw_limbs(axis: Axes, group: Limbs, x: ndarray, dt: float | None) -> None:
    time = np.arange(len(x)) * (dt or 1)
    for coordinate, sign, label in zip(group.coordinates, group.signs, group.labels, strict=True):
        axis.plot(time, sign * x[:, coordinate], linewidth=1.2, label=label)
    low, high = axis.get_ylim()
    if high - low < SMALLEST_RANGE:
        axis.set_ylim((low + high - SMALLEST_RANGE) / 2, (low + high + SMALLEST_RANGE) / 2)
    axis.set(xlabel="step" if dt is None else "time [s]", title=group.name)
    axis.grid(alpha=0.3)


def _draw_image(axis: Axes, group: Limbs, x: ndarray, spec: EnvSpec, under: Asymmetry, dt: float | None) -> None:
    """Of the first curve, later by the best delay; it covers that curve where the gait is symmetric."""
    names = [record.name for record in spec.generators]
    image = x @ spec.obs_rep.generators[names.index(under.generator)].T
    later = f", {under.delay * (dt or 1):.3g} {'steps' if dt is None else 's'} later" if under.delay else ""
    curve = group.signs[0] * image[:, group.coordinates[0]]
    label = f"{group.labels[0]} in the image under {under.generator}{later}"
    axis.plot(np.arange(len(curve)) * (dt or 1), curve, color="black", linewidth=1, linestyle=":", label=label)


def _draw_legend(axis: Axes) -> None:
    """Above the curves."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + LEGEND_SHARE * (high - low))
    axis.legend(fontsize=8, ncols=2, loc="upper left")
