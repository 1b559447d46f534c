"""How an agent is asked for, and losses of one's own."""

import gymnasium as gym
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env

import envs_reps
from rpp_rl.sac import RPPSAC

SMALL = {"net_arch": [8, 8]}
OPTIONS = {"buffer_size": 100, "learning_starts": 10, "batch_size": 8, "device": "cpu", "seed": 0}


def made(*args, policy_kwargs=SMALL, **options):
    return RPPSAC(*args, policy_kwargs=policy_kwargs, **OPTIONS, **options)


@pytest.mark.parametrize(
    "agent",
    [
        lambda: made("Swimmer-v5", spec="Z2xZ2"),
        lambda: made(gym.make("Swimmer-v5"), spec="Z2xZ2"),
        lambda: made(make_vec_env("Swimmer-v5"), spec="Z2xZ2"),
        lambda: made("Swimmer-v5", spec=envs_reps.load("Swimmer-v5", "Z2xZ2")),
        lambda: made("RPPPolicy", "Swimmer-v5", policy_kwargs={**SMALL, "spec": "Z2xZ2"}),
        lambda: made("RPPPolicy", "Swimmer-v5", policy_kwargs={**SMALL, "spec": envs_reps.load("Swimmer-v5", "Z2xZ2")}),
    ],
)
def test_the_symmetry_is_given_by_name_or_by_value(agent):
    assert agent().policy.symmetry == envs_reps.load("Swimmer-v5", "Z2xZ2")


def test_without_a_specification_it_is_the_default_and_plain_networks_have_none():
    assert made("Swimmer-v5").policy.symmetry == envs_reps.load("Swimmer-v5")
    assert made("Swimmer-v5", mode="mlp").policy.symmetry is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spec": "D7"}, "no group 'D7'"),
        ({"spec": "Z2", "policy_kwargs": {"spec": "Z2xZ2"}}, "given twice"),
        ({"update": "fast"}, "update must be one of auto, plain"),
    ],
)
def test_what_cannot_be_made_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        made("Swimmer-v5", **options)


class Calm(RPPSAC):
    """Adds a penalty on large actions, and counts how often it is asked for."""

    n_calls = 0

    def actor_loss(self, batch, actions, log_prob, ent_coef):
        self.n_calls += 1
        return super().actor_loss(batch, actions, log_prob, ent_coef) + 100 * actions.square().mean()


def test_a_loss_of_ones_own_is_what_the_actor_descends():
    """Negative control: without it, the actions stay larger."""
    calm = Calm("Swimmer-v5", spec="Z2", policy_kwargs=SMALL, learning_rate=1e-2, **OPTIONS)
    usual = made("Swimmer-v5", spec="Z2", learning_rate=1e-2)
    assert usual.learns_fast
    assert not calm.learns_fast
    sizes = []
    for agent in (calm, usual):
        agent.learn(60)
        obs = torch.as_tensor(agent.replay_buffer.observations[:50, 0])
        with torch.no_grad():
            sizes.append(float(agent.actor(obs).square().mean()))
    assert calm.n_calls == 50
    assert sizes[0] < 0.5 * sizes[1]


class Same(RPPSAC):
    """Overrides a loss by itself."""

    def critic_loss(self, batch, ent_coef):
        return super().critic_loss(batch, ent_coef)


def test_an_override_and_the_plain_update_on_request_are_one_update():
    """Bit for bit; `test_update` holds the plain update and the fast one together."""
    weights = []
    for make in (
        lambda: Same("Swimmer-v5", spec="Z2", policy_kwargs=SMALL, **OPTIONS),
        lambda: made("Swimmer-v5", spec="Z2", update="plain"),
    ):
        agent = make().learn(13)  # made one after the other: the seed is that of one generator for both
        assert not agent.learns_fast
        weights.append(torch.cat([value.detach().flatten() for value in agent.policy.parameters()]))
    assert torch.equal(*weights)


class Stepping(RPPSAC):
    """Has a step of its own."""

    def plain_follow_critic(self):
        self.followed = True
        super().plain_follow_critic()


def test_a_step_of_ones_own_is_taken():
    agent = Stepping("Swimmer-v5", spec="Z2", policy_kwargs=SMALL, **OPTIONS).learn(13)
    assert agent.followed


def test_the_folder_of_tensorboard_is_named_after_the_class(tmp_path):
    agent = RPPSAC("Pendulum-v1", mode="mlp", tensorboard_log=str(tmp_path), learning_starts=10, buffer_size=20)
    agent.learn(3)
    agent.learn(3, tb_log_name="mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["RPPSAC_1", "mine_1"]
