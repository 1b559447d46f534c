"""Films show the agent, and where nothing can be rendered one line says what is missing."""

import subprocess

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from rpp_rl.agents import record
from rpp_rl.agents.record import RenderError, choose_renderer, record_agent
from rpp_rl.cli.record_agent import main
from rpp_rl.io.extras import MissingExtraError
from tests.kit.agents import untrained

pytestmark = pytest.mark.mujoco

SIZE = (64, 48)


@pytest.fixture
def env(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "")
    try:
        choose_renderer()
    except RenderError as error:
        pytest.skip(str(error))
    env = gym.make("Ant-v4", render_mode="rgb_array", width=SIZE[0], height=SIZE[1])
    yield env
    env.close()


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(record, "find_library", lambda name: None)
    monkeypatch.setattr(record.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)


def test_a_gif_moves_and_keeps_the_pace(env, tmp_path):
    film = record_agent(untrained("Ant-v4"), env, tmp_path / "ant.gif", seconds=0.4)
    assert (film.n_steps, film.n_frames, film.fps) == (8, 8, 20.0)
    with Image.open(tmp_path / "ant.gif") as image:
        frames = []
        for k in range(image.n_frames):
            image.seek(k)
            assert image.info["duration"] == 50
            frames.append(np.asarray(image.convert("RGB"), dtype=float))
    assert image.size == SIZE
    assert frames[0].std() > 10
    assert np.abs(frames[0] - frames[-1]).max() > 50
    assert [path.name for path in tmp_path.iterdir()] == ["ant.gif"]


def test_the_camera_moves_with_the_robot(env, tmp_path):
    def robot_pixels():
        red, _, blue = np.moveaxis(record._frame(env).astype(int), -1, 0)
        return int((red - blue > 40).sum())

    record_agent(untrained("Ant-v4"), env, tmp_path / "ant.gif", seconds=0.1)
    robot, renderer = env.unwrapped, env.unwrapped.mujoco_renderer
    assert robot.model.cam_mode[renderer.camera_id] in record.TRACKING_MODES
    robot.set_state(np.concatenate([[40.0], robot.data.qpos[1:]]), robot.data.qvel)
    assert robot_pixels() > 20
    renderer.camera_id = -1
    assert robot_pixels() == 0, "control: the camera that stays where it is sees nothing"


def test_an_mp4_has_the_same_frames(env, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="not installed: pip install 'rpp_rl[video]'")

    path = tmp_path / "ant.mp4"
    record_agent(untrained("Ant-v4"), env, path, seconds=0.4)
    command = [ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    frames = np.frombuffer(done.stdout, dtype=np.uint8).reshape(-1, SIZE[1], SIZE[0], 3).astype(float)
    assert len(frames) == 8
    assert b"20 fps" in done.stderr
    shown = env.render().astype(float)
    assert np.abs(frames[-1] - shown).mean() < 10 < np.abs(frames[-1] - shown[::-1]).mean()


def test_the_return_is_that_of_the_episode(env, tmp_path):
    agent = untrained("Ant-v4")
    film = record_agent(agent, env, tmp_path / "ant.gif", seconds=0.25, seed=3)
    obs, _ = env.reset(seed=3)
    total = 0.0
    for _ in range(film.n_steps):
        obs, reward, *_ = env.step(agent.predict(obs)[0])
        total += reward
    assert film.episode_return == pytest.approx(total)


def test_fast_simulators_drop_pictures(monkeypatch, tmp_path, env):
    """The Walker2d's simulator makes 125 steps in a second; a film of 25 pictures runs as fast."""
    monkeypatch.setattr(type(env.unwrapped), "dt", property(lambda _: 1 / 125))
    monkeypatch.setattr(type(env.unwrapped), "metadata", {**env.metadata, "render_fps": 125})
    film = record_agent(untrained("Ant-v4"), env, tmp_path / "ant.gif", seconds=0.16)
    assert (film.n_steps, film.n_frames, film.fps) == (20, 4, 25.0)


@pytest.mark.usefixtures("nothing_installed")
def test_without_a_renderer_the_command_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("rpp_rl.agents.load_agent", lambda *_, **__: untrained("Ant-v4"))
    assert main(["hf://any/agent", "-o", str(tmp_path / "ant.gif")]) == 2
    line = capsys.readouterr().err
    assert "apt install libegl1" in line
    assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("nothing_installed")
def test_a_renderer_that_was_chosen_but_is_not_there(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(RenderError, match="apt install libosmesa6"):
        choose_renderer()


def test_a_renderer_that_fails_is_named(env, monkeypatch, tmp_path):
    def fail():
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")

    monkeypatch.setattr(env.unwrapped, "render", fail)
    with pytest.raises(RenderError, match="glGetError"):
        record_agent(untrained("Ant-v4"), env, tmp_path / "ant.gif", seconds=0.1)
    assert not list(tmp_path.iterdir())


def test_mistakes(tmp_path, env):
    agent = untrained("Ant-v4")
    with pytest.raises(ValueError, match=r"\.mp4 or \.gif"):
        record_agent(agent, env, tmp_path / "ant.avi")
    with pytest.raises(ValueError, match="render_mode='rgb_array'"):
        record_agent(agent, gym.make("Ant-v4"), tmp_path / "ant.gif")
    with pytest.raises(ValueError, match="does not fit"):
        record_agent(untrained("Walker2d-v5"), env, tmp_path / "ant.gif")
    assert not list(tmp_path.iterdir())


def test_mp4_without_its_extra(env, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtraError, match=r"rpp_rl\[video\]"):
        record_agent(untrained("Ant-v4"), env, tmp_path / "ant.mp4", seconds=0.1)
    assert not list(tmp_path.iterdir())


def test_the_command(monkeypatch, tmp_path, capsys, env):
    monkeypatch.setattr("rpp_rl.agents.load_agent", lambda *_, **__: untrained("Ant-v4"))
    path = tmp_path / "ant.gif"
    assert main(["hf://any/agent", "-o", str(path), "--seconds", "0.1", "--width", "64", "--height", "48"]) == 0
    assert "2 steps of Ant-v4" in capsys.readouterr().out
    assert path.stat().st_size > 0
