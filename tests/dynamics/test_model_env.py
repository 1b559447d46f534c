"""The model as an environment: it is the model's rollout, and Gymnasium's rules hold."""

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import envs_reps
from envs_reps.tasks import task
from rpp_rl.dynamics import TransitionModel
from rpp_rl.dynamics.evaluation import roll_out
from rpp_rl.dynamics.model_env import ModelEnv
from rpp_rl.envs import from_rep, to_rep
from rpp_rl.envs.simulator import make
from tests.kit.toy_models import ACTIONS, POINTS, STILL, KnownModel, distance_to_one, make_env, never, push


def no_reward(obs, action, next_obs):
    return np.zeros(len(obs))


def test_steps_are_the_model_s_rollout(rng):
    """Orientations stay rotation matrices inside, so no step goes through a quaternion."""
    spec = envs_reps.load("Ant-v4", "D4")
    torch.manual_seed(0)
    model = TransitionModel(spec, mode="rpp", widths=(16,))
    start, actions = rng.normal(size=(5, 27)), rng.uniform(-1, 1, size=(5, 10, 8))
    env = ModelEnv(model, start, make("Ant-v4").action_space, num_envs=5, reward=no_reward, terminated=never)
    obs, _ = env.reset(options={"obs": start})
    assert np.allclose(to_rep(spec.observation, obs), to_rep(spec.observation, start))
    with torch.no_grad():
        x0 = torch.as_tensor(to_rep(spec.observation, start), dtype=torch.float32)
        expected = from_rep(spec.observation, model.rollout(x0, torch.as_tensor(actions, dtype=torch.float32)).numpy())
    for t in range(10):
        obs, *_ = env.step(actions[:, t])
        assert np.allclose(obs, expected[:, t], atol=1e-4)


@pytest.fixture
def members(rng):
    """A real ensemble, and its members as models of their own."""
    torch.manual_seed(0)
    ensemble = TransitionModel(POINTS, mode="rpp", widths=(8,), ensemble=3)
    singles = [TransitionModel(POINTS, mode="rpp", widths=(8,)) for _ in range(3)]
    for i, single in enumerate(singles):
        own = {name: value.shape for name, value in single.state_dict().items()}
        state = ensemble.state_dict()
        single.load_state_dict({k: state[k] if state[k].shape == shape else state[k][i] for k, shape in own.items()})
    return ensemble, singles


def test_every_copy_follows_a_member_of_a_real_ensemble(members, rng):
    ensemble, singles = members
    start, actions = rng.normal(size=(12, 4)), rng.uniform(-1, 1, size=(12, 5, 2))
    env = ModelEnv(ensemble, start, ACTIONS, num_envs=12, reward=distance_to_one, terminated=never)
    env.reset(seed=0, options={"obs": start})
    observed = np.stack([env.step(actions[:, t])[0] for t in range(5)], axis=1)
    expected = np.stack([roll_out(single, start, actions) for single in singles])
    is_near = np.isclose(observed, expected, atol=1e-5).all(axis=(2, 3))
    assert is_near.sum(axis=0).tolist() == [1] * 12
    assert is_near.any(axis=1).all()


def test_the_prediction_of_a_real_ensemble_is_the_mean_of_its_members(members, rng):
    ensemble, singles = members
    start, actions = rng.normal(size=(3, 4)), rng.uniform(-1, 1, size=(3, 20, 2))
    expected = np.mean([roll_out(single, start, actions) for single in singles], axis=0)
    assert roll_out(ensemble, start, actions) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_later_learning_is_not_seen():
    model = TransitionModel(POINTS, widths=(8,))
    env = ModelEnv(model, STILL + 1, ACTIONS, reward=distance_to_one, terminated=never)
    env.reset(seed=0)
    before, *_ = env.step(np.zeros((1, 2)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    env.reset(seed=0)
    assert np.array_equal(env.step(np.zeros((1, 2)))[0], before)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_episodes_end_and_begin_anew_as_gymnasium_says(rng):
    """Positions grow by one; the copy from 0 ends beyond 2.5, the copy from 10 at once."""
    env = make_env(
        lambda x, u: x + torch.tensor([1.0, 0, 0, 0]),
        num_envs=2,
        reward=lambda obs, action, next_obs: next_obs[:, 0],
        terminated=lambda obs: obs[:, 0] > 2.5,
        max_episode_steps=2,
    )
    env.reset(seed=0, options={"obs": [[0.0, 0, 0, 0], [10.0, 0, 0, 0]]})
    log = [env.step(np.zeros((2, 2)))[:4] for _ in range(5)]
    first, second = ([(s[0][i, 0], s[1][i], s[2][i], s[3][i]) for s in log] for i in range(2))
    assert first == [
        (1, 1, False, False),
        (2, 2, False, True),
        (0, 0, False, False),
        (1, 1, False, False),
        (2, 2, False, True),
    ]
    assert second == [
        (11, 11, True, False),
        (0, 0, False, False),
        (1, 1, False, False),
        (2, 2, False, True),
        (0, 0, False, False),
    ]


def test_gymnasium_s_wrappers_count_returns():
    env = RecordEpisodeStatistics(
        make_env(num_envs=3, max_episode_steps=4, reward=lambda obs, action, next_obs: np.ones(3))
    )
    env.reset(seed=0)
    infos = [env.step(np.zeros((3, 2)))[-1] for _ in range(4)]
    assert infos[-1]["episode"]["r"].tolist() == [4, 4, 4]


def test_seeds_decide_the_starts(rng):
    env = make_env(start=rng.normal(size=(50, 4)), num_envs=8)
    first, second, other = (env.reset(seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[:, 0])) > 4


def test_an_episode_follows_one_member():
    """Members move by 1, 2 and 3 per step, so episodes end, and others are drawn, at different times."""

    def step(x, u):
        return x + torch.arange(1.0, 4.0, dtype=x.dtype)[:, None, None]

    env = make_env(step, ensemble=3, num_envs=64, terminated=lambda obs: obs[:, 0] > 5)
    obs, _ = env.reset(seed=0)
    episodes, speeds = np.zeros(64, dtype=int), [{} for _ in range(64)]
    for _ in range(20):
        before = obs
        obs, *_ = env.step(np.zeros((64, 2)))
        for i in range(64):
            if obs[i, 0] == 0:
                episodes[i] += 1
            else:
                speeds[i].setdefault(int(episodes[i]), set()).add(obs[i, 0] - before[i, 0])
    drawn = [speed for copy in speeds for speed in copy.values()]
    assert all(len(speed) == 1 for speed in drawn)
    assert set.union(*drawn) == {1, 2, 3}
    assert any(len(set.union(*copy.values())) > 1 for copy in speeds)


def test_gaussian_models_draw_their_steps():
    class Gaussian(KnownModel):
        head = "gaussian"

        def distribution(self, x, u):
            return x + 1, 0 * x + torch.tensor([0.0, 0.5, 0.0, 2.0])

    env = ModelEnv(Gaussian(None), STILL, ACTIONS, num_envs=4000, reward=distance_to_one, terminated=never)
    env.reset(seed=0)
    obs, *_ = env.step(np.zeros((4000, 2)))
    assert obs.mean(axis=0) == pytest.approx(np.ones(4), abs=0.1)
    assert obs.std(axis=0) == pytest.approx([0, 0.5, 0, 2], abs=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e5])
def test_a_copy_that_diverges_stays_and_ends(bad):
    env = make_env(lambda x, u: torch.where(u[:, :1] > 0, bad, x), num_envs=2, start=STILL + 1, max_norm=1e4)
    env.reset(seed=0)
    obs, rewards, terminated, _, infos = env.step(np.array([[1.0, 0], [-1.0, 0]]))
    assert obs.tolist() == [[1] * 4] * 2
    assert terminated.tolist() == infos["diverged"].tolist() == [True, False]
    assert rewards.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": np.zeros((3, 5))}, "does not fit the observation space"),
        ({"start": np.zeros((0, 4))}, "observations to begin from"),
        ({"start": np.full((1, 4), np.nan)}, "observations to begin from"),
        ({"action_space": Box(-1, 1, (3,))}, "does not fit the action space"),
        ({"num_envs": 0}, "num_envs=0"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {"start": STILL, "action_space": ACTIONS, "reward": distance_to_one, "terminated": never} | change
    with pytest.raises(ValueError, match=message):
        ModelEnv(KnownModel(push), **arguments)


def test_a_step_before_the_first_reset_is_refused_as_gymnasium_does():
    env = make_env(num_envs=2)
    with pytest.raises(ResetNeeded, match=r"call reset\(\) before the first step\(\)"):
        env.step(np.zeros((2, 2)))
    env.reset()
    env.step(np.zeros((2, 2)))


def test_wrong_shapes_are_named():
    env = make_env(num_envs=2)
    with pytest.raises(ValueError, match=r"expected observations \(2, 4\), got \(3,\)"):
        env.reset(options={"obs": np.zeros(3)})
    env.reset()
    with pytest.raises(ValueError, match=r"expected actions of shape \(2, 2\), got \(2,\)"):
        env.step(np.zeros(2))


@pytest.mark.mujoco
def test_reward_and_termination_of_a_robot():
    real, hop = make("Hopper-v4"), task("Hopper-v4")
    model = TransitionModel(envs_reps.load("Hopper-v4"), widths=(8,))
    start = real.reset(seed=0)[0][None]
    env = ModelEnv(model, start, real.action_space, reward=hop.reward, terminated=hop.terminated)
    env.reset(seed=0)
    obs, rewards, terminated, truncated, _ = env.step(real.action_space.sample()[None])
    assert env.observation_space.contains(obs)
    assert rewards.shape == terminated.shape == truncated.shape == (1,)
