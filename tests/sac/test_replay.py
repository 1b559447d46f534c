"""Cutting a replay buffer to its transitions and giving it room again loses nothing."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import ReplayBuffer

from rpp_rl.sac.replay import filled, with_capacity


def make_buffer(n_transitions, capacity=8, n_envs=2):
    buffer = ReplayBuffer(
        capacity * n_envs, spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), device="cpu", n_envs=n_envs
    )
    for i in range(n_transitions):
        obs = np.full((n_envs, 3), i, dtype=np.float32)
        buffer.add(obs, obs + 1, obs[:, :2], obs[:, 0], np.zeros(n_envs), [{}] * n_envs)
    return buffer


@given(st.integers(1, 20))
def test_round_trip_restores_contents_and_place(n_transitions):
    buffer = make_buffer(n_transitions)
    small = filled(buffer)
    again = with_capacity(small, buffer.buffer_size)
    assert small.size() == again.size() == buffer.size() == small.buffer_size
    assert (again.pos, again.full) == (buffer.pos, buffer.full)
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        assert np.array_equal(getattr(again, name), getattr(buffer, name))


def test_both_can_be_sampled_and_the_roomy_one_filled():
    buffer = make_buffer(5)
    small = filled(buffer)
    assert small.sample(64).observations.max() <= 4
    roomy = with_capacity(small, 8)
    roomy.add(*(np.full((2, n), 9.0) for n in (3, 3, 2)), np.zeros(2), np.zeros(2), [{}] * 2)
    assert roomy.size() == 6
    assert buffer.size() == 5


def test_a_buffer_that_stores_next_observations_in_the_next_row_is_left_alone():
    buffer = ReplayBuffer(
        8,
        spaces.Box(-1, 1, (3,)),
        spaces.Box(-1, 1, (2,)),
        device="cpu",
        optimize_memory_usage=True,
        handle_timeout_termination=False,
    )
    assert filled(buffer) is buffer


def test_too_little_room_is_refused():
    with pytest.raises(ValueError, match="does not fit into 4"):
        with_capacity(make_buffer(8), 4)
