"""Batches are those that the replay buffer draws; its copy on a device follows it, wherever it was written to."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer

from rpp_rl.fast import DeviceReplay


@pytest.fixture
def buffer():
    """A buffer for 50 transitions that holds 30 and counts how many it was ever given."""
    buffer = ReplayBuffer(50, Box(-np.inf, np.inf, (17,), np.float64), Box(-1, 1, (6,)), device="cpu")
    buffer.n_added = 0
    add(buffer, 30)
    return buffer


def add(buffer, n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        obs, next_obs = rng.normal(size=(2, 1, 17))
        reward, done = rng.normal(size=1), rng.random(1) < 0.3
        infos = [{"TimeLimit.truncated": bool(rng.random() < 0.5)}]
        buffer.add(obs, next_obs, rng.uniform(-1, 1, (1, 6)), reward, done, infos)
        buffer.n_added += 1


def test_the_copy_follows_the_buffer_around_its_end(buffer):
    replay = DeviceReplay(buffer)
    for seed, n in enumerate((0, 15, 25, 1, 49, 50, 123)):
        add(buffer, n, seed)
        replay.follow(buffer.n_added)
        assert replay.n_rows == buffer.size()
        for columns, array in ((slice(17), buffer.observations), (slice(-3, -2), buffer.rewards[..., None])):
            expected = torch.from_numpy(array[: buffer.size(), 0]).float()
            torch.testing.assert_close(replay.rows[: buffer.size(), columns], expected, rtol=0, atol=0)


def test_a_buffer_that_is_emptied_is_followed(buffer):
    replay = DeviceReplay(buffer)
    replay.follow(buffer.n_added)
    buffer.reset()
    add(buffer, 3, seed=5)
    replay.follow(buffer.n_added)
    assert replay.n_rows == 3
    expected = torch.from_numpy(buffer.actions[:3, 0])
    torch.testing.assert_close(replay.rows[:3, 17:23], expected, rtol=0, atol=0)


def test_what_is_drawn_are_transitions_of_the_buffer(buffer):
    replay = DeviceReplay(buffer)
    replay.follow(buffer.n_added)
    batch = replay.draw(400)
    observations = buffer.observations[:, 0].astype(np.float32)
    rows = [int((observations == obs).all(1).argmax()) for obs in batch.observations.numpy()]
    assert set(rows) == set(range(30)), "all rows that are filled, and no others"
    expected = buffer._get_samples(np.array(rows))
    for name in ("observations", "actions", "next_observations", "rewards", "dones"):
        torch.testing.assert_close(getattr(batch, name), getattr(expected, name).float(), rtol=0, atol=0)
    assert 0 < float(batch.dones.mean()) < float(torch.as_tensor(buffer.dones[:30]).float().mean()), "time-outs count"
