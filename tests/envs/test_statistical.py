"""Environments that no simulator can put into a chosen state: their transitions are compared with their images."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from rpp_rl.cli.check_spec import main
from rpp_rl.envs import Block, EnvSpec, Generator, Layout, write_spec
from rpp_rl.envs.statistical import check_statistically, with_estimates
from rpp_rl.symmetry import cyclic, sign, trivial

Z2 = cyclic(2)
PLAIN, TURNED = trivial(Z2), sign(Z2)
RECORD = (Generator("f", "left and right are exchanged", keeps_reward=True),)


def specification(env_id, observation, action):
    """From (name, indices, rep) of each block."""
    layouts = [
        Layout(tuple(Block(name, indices, rep) for name, indices, rep in part)) for part in (observation, action)
    ]
    return EnvSpec(env_id, "Z2", Z2, *layouts, RECORD)


def pendulum(cosine=PLAIN, sine=TURNED, rate=TURNED, torque=TURNED):
    blocks = [("cosine", (0,), cosine), ("sine", (1,), sine), ("rate", (2,), rate)]
    return specification("Pendulum-v1", blocks, [("torque", (0,), torque)])


def verdict(spec, env=None, **kwargs):
    env = env or gymnasium.make(spec.env_id)
    (check,) = check_statistically(spec, env, n_transitions=3000, **kwargs)
    return check


@pytest.mark.parametrize("seed", range(3))
def test_the_mirror_of_the_pendulum_is_consistent(seed):
    check = verdict(pendulum(), seed=seed)
    assert (check.verdict, check.undecided, check.better) == ("consistent", (), ())
    assert check.image_error < 0.05


@pytest.mark.parametrize("change", [{"cosine": TURNED}, {"sine": PLAIN}, {"rate": PLAIN}, {"torque": PLAIN}])
def test_every_changed_sign_of_the_pendulum_is_refuted(change):
    """Negative control."""
    check = verdict(pendulum(**change))
    assert check.verdict == "wrong"
    assert check.better


class Idle(gymnasium.Env):
    """Two counters, of which the actions drive the first; the second action does nothing."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, *, drift=0.0):
        self.drift = drift

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2)
        return self.state.copy(), {}

    def step(self, action):
        self.state = 0.9 * self.state + [
            float(action[0]) + self.drift * np.cos(self.state[0]),
            0.1 * np.sin(self.state[1]),
        ]
        is_over = bool(self.np_random.uniform() < 0.2)
        return self.state.copy(), float(self.state[0] * self.state[1]), False, is_over, {}


def idle(second=TURNED):
    return specification("Idle", [("a", (0,), TURNED), ("b", (1,), TURNED)], [("u", (0,), TURNED), ("v", (1,), second)])


def test_an_action_without_effect_is_told():
    """Whichever sign it is given."""
    for second in (TURNED, PLAIN):
        check = verdict(idle(second), Idle())
        assert check.verdict == "consistent"
        assert check.undecided == ("the sign of number 1 of the action",)


def test_estimates_take_the_place_of_what_a_specification_came_with():
    """The weaker the symmetry, the larger the error; nothing estimated is exact, and a broken symmetry is not wrong."""
    spec = idle()
    errors = []
    for drift in (0.0, 0.1, 0.3):
        env = Idle(drift=drift)
        check = verdict(spec, env)
        estimated = with_estimates(spec, [check])
        (record,) = estimated.generators
        assert (record.error_1_step, record.error_20_steps, record.is_exact) == (check.image_error, None, False)
        assert record.note == "estimated from 3000 transitions"
        errors.append(estimated.error)
    assert errors == sorted(errors)
    assert 0 < errors[0] < 0.1
    assert errors[2] > 0.3


def test_an_undecided_symmetry_keeps_its_numbers():
    spec = idle()
    assert with_estimates(spec, [verdict(spec, Shifted())]).generators == spec.generators


class OneSided(Idle):
    """Its reward prefers one side; the dynamics do not."""

    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, float(self.state[0]), *rest


def test_a_reward_that_changes_is_noticed():
    for env, keeps in ((Idle(), True), (OneSided(), False)):
        check = verdict(idle(), env)
        assert check.keeps_reward is keeps
        (record,) = with_estimates(idle(), [check]).generators
        assert record.keeps_reward is keeps
        assert record.error_1_step < 0.1


def test_noise_that_nothing_predicts_earns_no_trust():
    class Noisy(Idle):
        def step(self, action):
            obs, *rest = super().step(action)
            self.state[0] = self.np_random.normal()
            return np.array([self.state[0], obs[1]]), *rest

    check = verdict(idle(), Noisy())
    assert check.refutation is None
    assert check.image_error > 0.4


def test_a_broken_symmetry_is_inconsistent():
    assert verdict(idle(), Idle(drift=0.3)).verdict in ("inconsistent", "wrong")


class Shifted(Idle):
    """Never near zero, so that images are unknown ground."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state += 30.0
        return self.state.copy(), {}

    def step(self, action):
        self.state = self.state + np.array([float(action[0]), float(action[1])])
        return self.state.copy(), 0.0, False, True, {}


def test_images_that_are_never_met_decide_nothing():
    check = verdict(idle(), Shifted())
    assert check.verdict == "undecided"
    assert check.far_share > 0.9


def test_the_command_says_that_this_is_weaker(tmp_path, capsys):
    path = tmp_path / "pendulum.yaml"
    write_spec(path, pendulum())
    assert main(["--spec", str(path), "--states", "50"]) == 0
    text = capsys.readouterr().out
    assert "this is weaker than a check in a simulator" in text
    assert "consistent" in text
    assert main(["--spec", str(path), "--states", "50", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["verdict"], record["n_transitions"]) == ("consistent", 3000)


@pytest.mark.mujoco
def test_a_goal_environment_as_a_flat_vector():
    """A ball in an empty maze: one side is the mirror image of the other, for the ball, its goal and its pushes.

    In short episodes, so that it is met all over the maze.
    """
    gymnasium_robotics = pytest.importorskip("gymnasium_robotics")
    gymnasium.register_envs(gymnasium_robotics)
    env = gymnasium.wrappers.FlattenObservation(gymnasium.make("PointMaze_Open-v3", max_episode_steps=5))
    plane = [("x", PLAIN), ("y", TURNED)]
    parts = ("achieved", 0), ("desired", 2), ("place", 4), ("velocity", 6)
    blocks = [(f"{what} {axis}", (at + i,), rep) for what, at in parts for i, (axis, rep) in enumerate(plane)]
    action = [(f"push {axis}", (i,), rep) for i, (axis, rep) in enumerate(plane)]
    (check,) = check_statistically(specification("PointMaze_Open-v3", blocks, action), env, n_transitions=2000)
    assert check.verdict == "consistent"
    action[1] = ("push y", (1,), PLAIN)
    (check,) = check_statistically(specification("PointMaze_Open-v3", blocks, action), env, n_transitions=2000)
    assert check.verdict == "wrong"
