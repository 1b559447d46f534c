"""The picture of an agent, and the measure of a gait's symmetry behind it."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import envs_reps
from rpp_rl.agents.gait import asymmetries, limbs
from rpp_rl.cli.plot_agent import main
from rpp_rl.envs import EnvSpec, Layout
from rpp_rl.io.extras import MissingExtraError
from tests.kit.agents import untrained

PERIOD = 40


def gait(spec, delays, length=400, noise=0.0):
    """Angles that all follow one curve, each orbit another; the k-th limb of an orbit with a delay of its own."""
    x = noise * np.random.default_rng(0).normal(size=(length, spec.obs_rep.size))
    time = np.arange(length)
    for n, group in enumerate(limbs(spec)):
        for k, (index, sign) in enumerate(zip(group.coordinates, group.signs, strict=True)):
            phase = 2 * np.pi * (time - delays[k]) / PERIOD
            x[:, index] += sign * (0.3 + np.sin(phase + n) + 0.4 * np.sin(2 * phase))
    return x


@pytest.mark.parametrize("delay", [0, PERIOD // 2])
def test_a_mirrored_gait_is_its_own_image(delay):
    """Legs in step are the same at no delay, legs in turn at half a period."""
    spec = envs_reps.load("Walker2d-v5")
    (found,) = asymmetries(spec, gait(spec, (0, delay)))
    assert found.error < 1e-10
    assert found.delay % PERIOD == delay


def test_a_limp_is_no_mirrored_gait():
    """Negative control: a quarter of a period is not the way back, and a leg that does not move is no image either."""
    spec = envs_reps.load("Walker2d-v5")
    limping, lame = gait(spec, (0, PERIOD // 4)), gait(spec, (0, 0))
    for group in limbs(spec):
        lame[:, group.coordinates[0]] = 0.0
    assert asymmetries(spec, limping)[0].error > 0.3
    assert asymmetries(spec, lame)[0].error > 0.3


def test_every_generator_is_asked():
    """Legs of the Ant one after the other: a quarter turn is a quarter of a period later, a mirror is not."""
    spec = envs_reps.load("Ant-v4")
    r, f = asymmetries(spec, gait(spec, [k * PERIOD // 4 for k in range(4)]))
    assert (r.generator, f.generator) == ("r", "f")
    assert r.error < 1e-10
    assert r.delay % (PERIOD // 4) == 0
    assert f.error > 0.3


def test_a_posture_counts_only_where_it_differs():
    spec = envs_reps.load("Walker2d-v5")
    still = np.zeros((100, spec.obs_rep.size))
    assert asymmetries(spec, still + 0.7)[0].error == 0.0
    still[:, limbs(spec)[0].coordinates[0]] = 0.7
    assert asymmetries(spec, still)[0].error > 0.99


@pytest.mark.parametrize(
    ("env_id", "n_sets", "n_limbs"),
    [
        ("Ant-v4", 2, 4),
        ("Swimmer-v5", 3, 2),
        ("Walker2d-v5", 3, 2),
        ("Humanoid-v5", 9, 2),
        ("Hopper-v5", 4, 2),
        ("HalfCheetah-v5", 3, 2),
    ],
)
def test_limbs_of_the_robots(env_id, n_sets, n_limbs):
    """Every set is closed under the group: the image of a curve of the set is a curve of the set, with its sense."""
    spec = envs_reps.load(env_id)
    found = [group for group in limbs(spec) if len(group.coordinates) == n_limbs]
    assert len(found) >= n_sets
    for group in found:
        members = set(zip(group.coordinates, group.signs, strict=True))
        for g in spec.obs_rep.generators:
            for index, sign in members:
                image = int(np.abs(g[:, index]).argmax())
                assert (image, sign * g[image, index]) in members or (image, -sign * g[image, index]) in members


def test_only_angles_are_limbs():
    """The one block of the Swimmer's middle link holds angles, velocities and rates."""
    spec = envs_reps.load("Swimmer-v5", "Z2xZ2")
    found = limbs(spec)
    assert [(group.name, group.coordinates) for group in found] == [
        ("heading angle [rad]", (0, 0)),
        ("bend angle [rad]", (1, 2)),
    ]
    assert found[1].labels == ("first bend", "second bend")
    moving = np.zeros((100, spec.obs_rep.size))
    moving[:, 3:] = np.random.default_rng(0).normal(size=(100, 5))
    assert [asymmetry.error for asymmetry in asymmetries(spec, moving)] == [0.0, 0.0]


def test_what_numbers_are_is_not_read_out_of_names():
    """Negative control: without kinds there are no angles, whatever the names say."""
    spec = envs_reps.load("Walker2d-v5")
    blocks = tuple(replace(block, name=block.title, kind="") for block in spec.observation.blocks)
    assert limbs(spec)
    assert not limbs(replace(spec, observation=Layout(blocks)))


@pytest.mark.mujoco
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_command_draws(suffix, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="not installed: pip install 'rpp_rl[plot]'")
    agent = untrained("Walker2d-v5")
    agent.card["learning_curve"] = {"steps": [0, 7, 9], "mean_return": [1.0, 2.0, 3.0], "std_return": [0.1, 0.2, 0.3]}
    agent.card["evaluation"] = {"mean_return": 2.0}
    monkeypatch.setattr("rpp_rl.agents.load_agent", lambda *_, **__: agent)
    path = tmp_path / f"walker{suffix}"
    assert main(["hf://any/agent", "-o", str(path), "--episodes", "2"]) == 0
    assert "gait and its image under f" in capsys.readouterr().out
    if suffix == ".svg":
        text = path.read_text()
        assert text.startswith("<?xml")
        return
    with Image.open(path) as image:
        assert np.asarray(image.convert("L")).std() > 10
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.mujoco
def test_an_agent_without_symmetry_and_without_curve(tmp_path):
    pytest.importorskip("matplotlib", reason="not installed: pip install 'rpp_rl[plot]'")
    from rpp_rl.agents.plot import plot_agent

    agent = untrained("Walker2d-v5", "mlp")
    agent.policy.symmetry = None
    portrait = plot_agent(agent, gym.make("Walker2d-v5"), tmp_path / "walker.png", n_episodes=1)
    assert portrait.asymmetries == []
    assert len(portrait.returns) == 1


@pytest.mark.mujoco
def test_mistakes(tmp_path, monkeypatch):
    from rpp_rl.agents.plot import plot_agent

    agent, env = untrained("Walker2d-v5"), gym.make("Walker2d-v5")
    pytest.importorskip("matplotlib", reason="not installed: pip install 'rpp_rl[plot]'")
    with pytest.raises(ValueError, match=r"expected a name that ends in one of .*\.png"):
        plot_agent(agent, env, tmp_path / "walker.txt")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"rpp_rl\[plot\]"):
        plot_agent(agent, env, tmp_path / "walker.png")
    assert not list(tmp_path.iterdir())


def test_an_agent_of_before_gets_the_words_of_its_robot():
    spec = envs_reps.load("Swimmer-v5", "Z2xZ2")
    data = spec.to_dict()
    for block in data["observation"]:
        for key in ("kind", "unit", "labels"):
            del block[key]
    before = EnvSpec.from_dict(data)
    assert not limbs(before)
    assert limbs(envs_reps.described(before)) == limbs(spec)
    other = envs_reps.load("Swimmer-v5", "Z2")
    assert envs_reps.described(replace(other, variant="Z2xZ2")).observation == other.observation
