"""Trust in a specification follows what its environment shows, also where no state of it can be chosen."""

import dataclasses
from contextlib import closing

import gymnasium
import numpy as np
import pytest

from rpp_rl.cli.train_sac import main as train_sac
from rpp_rl.envs import Block, EnvSpec, Generator, Layout, write_spec
from rpp_rl.io.border import UserError
from rpp_rl.nn import residual_decay
from rpp_rl.nn.prior import DECAY
from rpp_rl.runs.environments import make_vec_env
from rpp_rl.runs.measured_spec import measured_spec
from rpp_rl.runs.train_sac import build_agent
from rpp_rl.sac.config import SACConfig
from rpp_rl.symmetry import cyclic, sign, trivial

Z2 = cyclic(2)


def pendulum(env_id="Pendulum-v1", *, torque=-1):
    """The mirror of gymnasium's pendulum, which is not on MuJoCo; the file claims that it is exact."""
    layouts = [
        Layout(tuple(Block(name, (i,), {1: trivial, -1: sign}[s](Z2)) for i, (name, s) in enumerate(signs)))
        for signs in ([("cosine", 1), ("sine", -1), ("rate", -1)], [("torque", torque)])
    ]
    record = Generator("f", "left and right are exchanged", keeps_reward=True, error_1_step=0.0)
    return EnvSpec(env_id, "Z2", Z2, *layouts, (record,))


def config(spec):
    return SACConfig.new(env=spec.env_id, mode="rpp", spec="mirror.yaml", net_arch=[8, 8], buffer_size=100, seed=0)


def decay(spec):
    """Of the residual pathway of a fresh agent, as its optimiser has it."""
    with closing(make_vec_env(spec.env_id, {}, n_envs=1, seed=0, vec_env="dummy")) as envs:
        optimizer = build_agent(config(spec), spec, envs).policy.actor.optimizer
    return max(group["weight_decay"] for group in optimizer.param_groups)


def test_the_prior_follows_the_error_that_transitions_show(capsys):
    """They show that it is small, and cannot show more."""
    spec = measured_spec(config(pendulum()), pendulum(), force=False)
    assert "mirror.yaml was compared with 6000 transitions: f: consistent" in capsys.readouterr().out
    assert 0 < spec.error < 0.1
    assert spec.keeps_reward
    assert decay(spec) == pytest.approx(residual_decay(spec.error))
    assert DECAY / 5 < decay(spec) < decay(pendulum()) == DECAY


def test_what_transitions_refute_is_taken_only_by_force():
    """Negative control; by force the prior hardly trusts it."""
    wrong = pendulum(torque=1)
    with pytest.raises(UserError, match="its transitions refute the symmetry f: a change of the sign of number 0"):
        measured_spec(config(wrong), wrong, force=False)
    spec = measured_spec(config(wrong), wrong, force=True)
    assert spec.error > 0.2
    assert residual_decay(spec.error) < DECAY / 5


def test_the_command_refuses_it_in_one_line(tmp_path, capsys):
    write_spec(tmp_path / "spec.yaml", pendulum(torque=1))
    flags = ["--env", "Pendulum-v1", "--spec", str(tmp_path / "spec.yaml"), "--rpp", "-f", str(tmp_path / "logs")]
    assert train_sac([*flags, "-n", "60", "-tb", "off"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its transitions refute the symmetry f" in line
    assert "--force-spec" in line
    assert not (tmp_path / "logs").exists()


class OneSide(gymnasium.ObservationWrapper):
    """The pendulum with its sine far from zero, so that no image is ever met."""

    def __init__(self):
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.observation_space = gymnasium.spaces.Box(-100, 100, (3,))

    def observation(self, observation):
        return observation + np.array([0, 50, 0], dtype=np.float32)


@pytest.fixture
def one_side():
    gymnasium.register("OneSide-v0", OneSide, max_episode_steps=200)
    yield "OneSide-v0"
    del gymnasium.registry["OneSide-v0"]


def test_images_that_are_never_met_change_nothing(one_side, capsys):
    spec = pendulum(one_side)
    assert measured_spec(config(spec), spec, force=False) == spec
    assert "transitions: f: they do not decide it" in capsys.readouterr().out


def test_an_environment_that_does_not_fit_is_told(capsys):
    spec = pendulum()
    wide = dataclasses.replace(spec, observation=Layout((*spec.observation.blocks, Block("more", (3,), trivial(Z2)))))
    assert measured_spec(config(wide), wide, force=False) == wide
    assert "the specification in mirror.yaml was not checked: " in capsys.readouterr().out
