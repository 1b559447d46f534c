"""A model as an SB3 ``VecEnv``: its contract, SB3's own wrappers around it, and a short training in it."""

import numpy as np
import pytest
from gymnasium import Wrapper
from gymnasium.error import ResetNeeded
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from rpp_rl import RPPSAC
from rpp_rl.dynamics import ModelVecEnv
from tests.kit.toy_models import POINTS, make_env

FORCES = np.zeros((3, 2))


def beyond_one(obs):
    return obs[:, 0] > 1


def make_vec(**options):
    return ModelVecEnv(make_env(num_envs=3, **options))


def test_an_episode_that_ends_is_followed_by_the_next_in_the_same_step():
    start = np.array([[0.96, 0.0, 1.0, 0.0]])
    env = make_vec(start=start, terminated=beyond_one, max_episode_steps=50)
    env.seed(0)
    assert env.reset() == pytest.approx(np.repeat(start, 3, axis=0))
    obs, rewards, dones, infos = env.step(FORCES)
    assert dones.tolist() == [True] * 3
    assert obs == pytest.approx(np.repeat(start, 3, axis=0))
    assert infos[0]["terminal_observation"] == pytest.approx([1.06, 0, 1, 0])
    assert not infos[0]["TimeLimit.truncated"]
    assert rewards == pytest.approx([-(0.06**2 + 1)] * 3)
    # The next step is the first of the new episode, not an idle one.
    assert env.step(FORCES)[3][0]["terminal_observation"] == pytest.approx([1.06, 0, 1, 0])


def test_time_outs_are_no_ends_of_the_task():
    env = make_vec(max_episode_steps=2)
    env.reset()
    assert not env.step(FORCES)[2].any()
    _, _, dones, infos = env.step(FORCES)
    assert dones.all()
    assert all(info["TimeLimit.truncated"] for info in infos)


def test_seeds_repeat_the_episodes():
    start = np.random.default_rng(0).normal(size=(100, 4))
    env = make_vec(start=start)
    drawn = []
    for seed in (3, 3, 4):
        env.seed(seed)
        drawn.append(env.reset())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_step_before_the_first_reset_is_refused():
    with pytest.raises(ResetNeeded, match="call reset"):
        make_vec().step(FORCES)


def test_attributes_are_those_of_the_model():
    env = make_vec()
    assert isinstance(env, VecEnv)
    assert env.get_attr("max_episode_steps") == [1000] * 3
    assert env.get_attr("max_episode_steps", indices=1) == [1000]
    env.set_attr("max_episode_steps", 5)
    assert env.env.max_episode_steps == 5
    with pytest.raises(ValueError, match="share one model"):
        env.set_attr("max_episode_steps", 7, indices=[0])
    assert env.env_is_wrapped(Wrapper) == [False] * 3
    assert env.render_mode is None


@pytest.mark.parametrize("kind", [SAC, RPPSAC])
def test_agents_train_in_it(kind):
    """With SB3's wrappers for returns and rewards around it."""
    env = VecNormalize(VecMonitor(make_vec(max_episode_steps=10)), norm_obs=False)
    symmetry = {"spec": POINTS} if kind is RPPSAC else {}
    policy = "RPPPolicy" if kind is RPPSAC else "MlpPolicy"
    agent = kind(policy, env, learning_starts=30, buffer_size=500, policy_kwargs={"net_arch": [16]}, seed=0, **symmetry)
    agent.learn(90)
    assert agent.num_timesteps == 90
    assert agent.replay_buffer.size() == 30
    assert agent.ep_info_buffer[0]["l"] == 10
    returns, lengths = evaluate_policy(agent, VecMonitor(make_vec(max_episode_steps=5)), 3, return_episode_rewards=True)
    assert lengths == [5] * 3
    assert np.isfinite(returns).all()
