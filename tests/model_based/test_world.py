"""The model that learns beside the agent: what it learns and imagines, and when it says that something is wrong."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer

from rpp_rl.io.plain_tree import pack, unpack
from rpp_rl.model_based import World
from tests.kit.toy_models import POINTS

ACTIONS = Box(np.array([-2.0, -2.0], np.float32), np.array([2.0, 2.0], np.float32))


def step(obs, action):
    """Two masses on springs, which a mirror exchanges."""
    q, v = obs[:, :2], obs[:, 2:]
    v = 0.95 * v + 0.1 * (action - q)
    return np.concatenate([q + 0.1 * v, v], 1).astype(np.float32)


def reward(obs, action, next_obs):
    return next_obs[..., :2].sum(-1) - 0.1 * np.square(action).sum(-1)


def terminated(obs):
    return obs[..., :2].sum(-1) > 2


def filled(n=400, ends=terminated):
    """A replay buffer of steps from random states under random actions."""
    rng = np.random.default_rng(0)
    buffer = ReplayBuffer(n, Box(-np.inf, np.inf, (4,), np.float32), ACTIONS)
    obs, actions = rng.normal(size=(n, 4)).astype(np.float32), rng.uniform(-1, 1, size=(n, 2)).astype(np.float32)
    next_obs = step(obs, 2 * actions)
    rewards, dones = reward(obs, 2 * actions, next_obs), ends(next_obs)
    for k in range(n):
        buffer.add(*(a[k : k + 1] for a in (obs, next_obs, actions, rewards, dones)), [{}])
    return buffer


def make_world(mode="rpp", **options):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    options = {"reward": reward, "terminated": terminated, "learning_rate": 3e-3} | options
    return World(POINTS, ACTIONS, mode=mode, widths=(32, 32), ensemble=3, **options)


def at_rest(obs):
    return np.zeros((len(obs), 2), np.float32)


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_it_learns_to_predict(mode):
    world, buffer = make_world(mode), filled()
    first = world.learn(buffer, 1, 64)
    last = world.learn(buffer, 200, 64)
    assert last < first - 0.5
    obs = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    imagined, lost = world.imagine(at_rest, obs, 1)
    assert lost == 0
    np.testing.assert_array_equal(imagined.observations, obs)
    real = step(obs, at_rest(obs))
    errors = np.abs(imagined.next_observations - real).mean(0)
    assert (errors < 0.5 * np.abs(real - obs).mean(0)).all()
    np.testing.assert_allclose(imagined.rewards, reward(obs, at_rest(obs), imagined.next_observations), rtol=1e-5)
    np.testing.assert_array_equal(imagined.dones, terminated(imagined.next_observations))


def test_rollouts_go_on_from_where_they_are_and_end_where_the_task_ends():
    world = make_world()
    world.learn(filled(), 100, 64)
    obs = np.random.default_rng(1).normal(size=(90, 4)).astype(np.float32)
    imagined, _ = world.imagine(at_rest, obs, 3)
    running = imagined.next_observations[:90][imagined.dones[:90] == 0]
    n_second = len(running) // 3 * 3
    np.testing.assert_array_equal(imagined.observations[90 : 90 + n_second], running[:n_second])
    assert imagined.dones[:90].any()


def test_actions_are_in_the_units_of_the_environment():
    """The policy's 1 is the environment's 2, of which the reward costs 0.1 times 4 for each mass."""
    world = make_world()
    world.learn(filled(), 200, 64)
    obs = np.zeros((300, 4), np.float32)
    imagined, _ = world.imagine(lambda obs: np.ones((len(obs), 2), np.float32), obs, 1)
    assert (imagined.actions == 1).all()
    assert imagined.next_observations.mean(0) == pytest.approx(step(obs, 2 * imagined.actions)[0], abs=0.05)
    assert imagined.rewards.mean() == pytest.approx(0.04 - 0.8, abs=0.05)


def test_errors_grow_with_the_steps_and_what_follows_an_end_is_left_out():
    world = make_world()
    world.learn(filled(), 200, 64)
    rng = np.random.default_rng(2)
    obs, actions = [rng.normal(size=(20, 4)).astype(np.float32)], rng.uniform(-1, 1, size=(20, 5, 2))
    for t in range(5):
        obs.append(step(obs[-1], 2 * actions[:, t].astype(np.float32)))
    obs = np.stack(obs, 1)
    running = np.ones((20, 5), bool)
    errors, covered = world.errors(obs[:, :-1], actions, obs[:, 1:], running)
    assert errors[0] < errors[4] < 0.5
    assert 0 <= covered <= 1
    wrong = obs[:, 1:].copy()
    wrong[8:, 2:] = 100
    assert world.errors(obs[:, :-1], actions, wrong, running)[0][4] > 1
    running[8:, 2:] = False
    assert world.errors(obs[:, :-1], actions, wrong, running)[0][4] < 0.5
    running[:, 1:] = False
    assert np.isnan(world.errors(obs[:, :-1], actions, wrong, running)[0][1:]).all()


@pytest.mark.parametrize("given", ["none", "wrong reward", "wrong end"])
def test_a_task_that_is_unknown_or_wrong_is_learned(given):
    functions = {
        "none": {"reward": None, "terminated": None},
        "wrong reward": {"reward": lambda obs, action, next_obs: next_obs[..., 3]},
        "wrong end": {"terminated": lambda obs: np.zeros(len(obs), bool)},
    }[given]
    world = make_world(**functions)
    if given == "none":
        world.learn(filled(), 300, 64)
    else:
        with pytest.warns(UserWarning, match="both are learned from data instead"):
            world.learn(filled(), 300, 64)
    assert world.learned_task is not None
    obs = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    next_obs = step(obs, at_rest(obs))
    rewards, ends = world.judge(obs, at_rest(obs), next_obs)
    expected = reward(obs, at_rest(obs), next_obs)
    assert np.square(rewards - expected).mean() < 0.2 * expected.var()
    assert (ends == terminated(next_obs)).mean() > 0.95


def test_a_task_that_is_right_is_not_learned():
    """Negative control of the test above."""
    world = make_world()
    world.learn(filled(), 1, 64)
    assert world.learned_task is None


def test_a_function_that_misses_rare_ends_is_not_believed():
    """They are less than a hundredth of the steps."""

    def rarely(obs):
        return obs[..., :2].sum(-1) > 3.2

    buffer = filled(2000, rarely)
    assert 5 < buffer.dones.sum() < 20
    blind = make_world(terminated=lambda obs: np.zeros(len(obs), bool))
    with pytest.warns(UserWarning, match="the known end of the task is wrong in 100% of its ends"):
        blind.learn(buffer, 1, 64)
    assert blind.learned_task is not None
    sound = make_world(terminated=rarely)
    sound.learn(buffer, 1, 64)
    assert sound.learned_task is None


def test_an_empty_buffer_and_divergence_are_said():
    world = make_world(learning_rate=1e30)
    with pytest.raises(ValueError, match="the replay buffer is empty"):
        world.learn(ReplayBuffer(10, Box(-1, 1, (4,), np.float32), ACTIONS), 1, 8)
    with pytest.raises(FloatingPointError, match=r"the model's loss is (nan|inf).* use a lower model_learning_rate"):
        world.learn(filled(), 20, 64)


def test_a_model_that_leaves_the_data_is_not_believed():
    world = make_world()
    world.learn(filled(), 20, 64)
    world.model.changes.scale.mul_(1e6)
    with pytest.raises(FloatingPointError, match=r"the model has diverged.*shorter rollouts"):
        world.imagine(at_rest, np.zeros((30, 4), np.float32), 3)


@pytest.mark.parametrize("functions", [{}, {"reward": None, "terminated": None}])
def test_it_goes_on_from_its_state_to_the_same_bits(functions):
    """The state passes through the plain values of a checkpoint."""
    buffer = filled()
    whole = make_world(**functions)
    whole.learn(buffer, 20, 64)
    tree, arrays = pack(whole.state())
    resumed, fresh = make_world(**functions), make_world(**functions)
    resumed.load_state(unpack(tree, arrays))
    results = []
    for world in (whole, resumed, fresh):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        loss = world.learn(buffer, 20, 64)
        results.append((loss, *world.imagine(at_rest, np.zeros((30, 4), np.float32), 2)[0]))
    assert all(np.array_equal(a, b) for a, b in zip(*results[:2], strict=True))
    assert not np.array_equal(results[0][3], results[2][3])  # the comparison can fail
