"""The scale of rewards: statistics of discounted returns against those of all of them at once."""

import numpy as np
import pytest

from rpp_rl.sac.reward_scale import add_rewards, no_returns, reward_scale

GAMMA = 0.9


def fed(rewards, dones):
    statistics = no_returns(rewards.shape[1])
    for reward, done in zip(rewards, dones, strict=True):
        statistics = add_rewards(statistics, reward, done, GAMMA)
    return statistics


@pytest.mark.parametrize("n_envs", [1, 3])
def test_statistics_are_those_of_all_returns(n_envs):
    rng = np.random.default_rng(0)
    rewards, dones = rng.normal(1, 2, (200, n_envs)), rng.random((200, n_envs)) < 0.1
    returns, now = [], np.zeros(n_envs)
    for reward, done in zip(rewards, dones, strict=True):
        now = GAMMA * now + reward
        returns.append(now)
        now = np.where(done, 0, now)
    statistics = fed(rewards, dones)
    assert statistics["mean"] == pytest.approx(np.mean(returns))
    assert statistics["var"] == pytest.approx(np.var(returns))
    assert statistics["largest"] == np.abs(returns).max()
    assert reward_scale(statistics) == pytest.approx(max(np.std(returns), np.abs(returns).max() / 10))


def test_scaled_rewards_do_not_depend_on_the_unit():
    rng = np.random.default_rng(1)
    rewards, dones = rng.normal(size=(100, 1)), np.zeros((100, 1), dtype=bool)
    assert reward_scale(fed(7 * rewards, dones)) == pytest.approx(7 * reward_scale(fed(rewards, dones)))
    assert reward_scale(fed(0 * rewards, dones)) == 1
    assert reward_scale(no_returns(1)) == 1


def test_another_number_of_environments_begins_anew():
    statistics = add_rewards(no_returns(1), np.ones(4), np.zeros(4, dtype=bool), GAMMA)
    assert statistics["returns"] == [1.0] * 4
