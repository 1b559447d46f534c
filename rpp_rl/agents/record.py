"""Films of agents, rendered without a window."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy import ndarray
from PIL import Image

from rpp_rl.agents.play import play
from rpp_rl.agents.trained_agent import TrainedAgent
from rpp_rl.io.extras import need

LIBRARIES = {"egl": ("EGL", "libegl1"), "osmesa": ("OSMesa", "libosmesa6")}
"""Ways to render without a window by the value of MUJOCO_GL: the library, and the package of Debian and Ubuntu."""

MAX_FPS = 30
"""Simulators may make more pictures in a second than films need; the film keeps its pace and drops some."""

TRACKING_MODES = (1, 2)
"""MuJoCo's numbers of the modes ``track`` and ``trackcom`` of a camera."""

TRACKING = 1
"""MuJoCo's number of the type of a camera that is in no model and follows a body."""

VIEW_DISTANCE = 5.0
"""From where a robot without a camera is filmed, in its radii."""


class RenderError(RuntimeError):
    """Rendering is not possible; the message says what to install or to set."""


@dataclass(frozen=True)
class Recording:
    """What was filmed.

    Attributes:
        env_id: The environment.
        n_steps: Steps of it.
        n_frames: Pictures.
        fps: Pictures per second, so that the film runs as fast as the robot.
        episode_return: Sum of the rewards in it.
    """

    env_id: str
    n_steps: int
    n_frames: int
    fps: float
    episode_return: float

    def __str__(self) -> str:
        return (
            f"{self.n_steps} steps of {self.env_id}, return {self.episode_return:.1f}; "
            f"{self.n_frames} pictures, {self.fps:.3g} per second"
        )


def record_agent(
    agent: TrainedAgent, env: gym.Env, path: str | Path, *, seconds: float = 10.0, seed: int | None = 0
) -> Recording:
    """Film the beginning of an episode.

    Args:
        agent: The agent.
        env: Its environment, made with ``render_mode="rgb_array"``.
        path: The film to write, ``.mp4`` or ``.gif``; it is complete or absent.
        seconds: Longest duration of the film; it is shorter if the episode is.
        seed: Seed of the environment.

    Raises:
        ValueError: If the name ends otherwise or the environment makes no pictures.
        RenderError: If nothing here can render without a window.
        MissingExtraError: If the package that writes films is not installed.
        AgentError: If the agent does not fit the environment.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: expected a name that ends in {' or '.join(WRITERS)}")
    if env.render_mode != "rgb_array":
        raise ValueError(f"expected an environment made with render_mode='rgb_array', got {env.render_mode!r}")
    choose_renderer()
    _follow_robot(env)
    rate = _steps_per_second(env)
    stride = int(np.ceil(rate / MAX_FPS))
    n_steps, n_frames, total = 0, 0, 0.0
    with _writer(path, rate / stride) as write:
        for n_steps, step in enumerate(play(agent, env, seed=seed), start=1):
            total += step.reward
            if (n_steps - 1) % stride == 0:
                write(_frame(env))
                n_frames += 1
            if n_steps >= seconds * rate:
                break
    return Recording("" if env.spec is None else env.spec.id, n_steps, n_frames, rate / stride, total)


def choose_renderer() -> None:
    """Set MUJOCO_GL to what is installed here, unless the user has set it; to be done before MuJoCo is imported.

    Raises:
        RenderError: If nothing is installed, or not what the user has chosen.
    """
    if sys.platform != "linux":
        return
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    usable = [name for name, (library, _) in LIBRARIES.items() if find_library(library)]
    if chosen in LIBRARIES and chosen not in usable:
        library, package = LIBRARIES[chosen]
        other = f", or set MUJOCO_GL={usable[0]}" if usable else ""
        raise RenderError(f"MUJOCO_GL={chosen} needs the library {library}: run apt install {package}{other}")
    if chosen or "DISPLAY" in os.environ:
        return
    if not usable:
        raise RenderError(
            "there is no display, and neither EGL nor OSMesa to render without one: "
            f"run apt install {' or apt install '.join(package for _, package in LIBRARIES.values())}"
        )
    os.environ["MUJOCO_GL"] = usable[0]


def _steps_per_second(env: gym.Env) -> float:
    """What the simulator says, or the environment."""
    dt = getattr(env.unwrapped, "dt", None)
    return 1 / dt if isinstance(dt, float) and dt > 0 else float(env.metadata.get("render_fps") or MAX_FPS)


def _follow_robot(env: gym.Env) -> None:
    """Let the camera move with the robot, unless another was chosen: the model's, or a free one near its first body."""
    renderer: Any = getattr(env.unwrapped, "mujoco_renderer", None)
    # Gymnasium asks for a camera named "track", which MuJoCo 4 no longer finds by its way of asking.
    if renderer is None or renderer.camera_id != -1:
        return
    model = renderer.model
    tracking = np.isin(model.cam_mode, TRACKING_MODES).nonzero()[0]
    if len(tracking):
        renderer.camera_id = int(tracking[0])
    elif renderer.default_cam_config is None and model.nbody > 1:
        renderer.camera_id = None  # Gymnasium would turn a numbered camera into one that stays where it is.
        renderer.default_cam_config = {
            "type": TRACKING,
            "trackbodyid": 1,
            "distance": VIEW_DISTANCE * _size(model, renderer.data),
            "elevation": -20.0,
        }


def _size(model: Any, data: Any) -> float:  # noqa: ANN401 (MuJoCo has no types)
    """The radius of the first body and everything that hangs on it [m]."""
    geoms = np.flatnonzero(model.body_rootid[model.geom_bodyid] == 1)
    if not len(geoms):
        return 1.0
    return float((np.linalg.norm(data.geom_xpos[geoms] - data.xpos[1], axis=1) + model.geom_rbound[geoms]).max())


def _frame(env: gym.Env) -> ndarray:
    # Not above: MuJoCo looks for the renderer when it is imported.
    from mujoco import FatalError  # pyright: ignore[reportAttributeAccessIssue]

    try:
        # Pictures are timed by the simulator, so what Gymnasium says of a missing rate does not matter.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*No render fps was declared")
            frame: Any = env.render()
    except (FatalError, RuntimeError, ImportError, AttributeError, OSError) as error:
        # Drivers fail in many ways; PyOpenGL without its library is an AttributeError.
        raise RenderError(f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '')} fails here: {error}") from error
    return frame


@contextmanager
def _writer(path: Path, fps: float) -> Iterator[Callable[[ndarray], None]]:
    """Something that takes pictures, and a film that is complete when all have been taken."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        with WRITERS[path.suffix](temporary, fps) as write:
            yield write
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _gif(path: Path, fps: float) -> Iterator[Callable[[ndarray], None]]:
    frames: list[Image.Image] = []
    yield lambda frame: frames.append(Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE))
    # Browsers show a picture for whole hundredths of a second.
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=10 * round(100 / fps), loop=0)


@contextmanager
def _mp4(path: Path, fps: float) -> Iterator[Callable[[ndarray], None]]:
    need("imageio_ffmpeg", "video")
    import imageio.v2 as imageio

    with imageio.get_writer(path, format="FFMPEG", mode="I", fps=fps, macro_block_size=2) as writer:
        yield writer.append_data  # pyright: ignore[reportAttributeAccessIssue]


WRITERS = {".mp4": _mp4, ".gif": _gif}
"""How films are written, by the end of their name."""
