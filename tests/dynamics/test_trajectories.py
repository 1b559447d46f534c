"""Cutting and dividing episodes: nothing is made up, nothing is used twice, nothing leaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpp_rl.dynamics.trajectories import Episodes, require_disjoint, sample_chunks, split, spread

SPLIT = {"n_chunks": 1000, "chunk_length": 5, "n_test": 4, "test_length": 20}


def numbered(lengths):
    """Episodes whose states say (episode, time) and whose actions say the same, negated."""
    states = [np.array([(k, t) for t in range(length + 1)], dtype=np.float32) for k, length in enumerate(lengths)]
    return Episodes(tuple(states), tuple(-s[:-1] for s in states), "Counter-v0")


def steps_of(trajectories):
    """The (episode, time) of every step, after checking that each trajectory is one run of an episode."""
    states, actions = trajectories.states, trajectories.actions
    np.testing.assert_array_equal(np.diff(states, axis=1), np.broadcast_to([0, 1], states[:, 1:].shape))
    np.testing.assert_array_equal(actions, -states[:, :-1])
    return [tuple(step) for step in states[:, :-1].reshape(-1, 2).astype(int).tolist()]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 10))
def test_windows_follow_one_another_and_take_all_that_fits(lengths, length):
    if max(lengths) < length:
        with pytest.raises(ValueError, match=f"at least {length} steps, got at most {max(lengths)}"):
            numbered(lengths).windows(length)
        return
    steps = steps_of(numbered(lengths).windows(length))
    assert steps == [(k, t) for k, n in enumerate(lengths) for t in range(n // length * length)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 10), st.integers(1, 8), st.integers(0, 9))
def test_sampled_windows_share_no_step(lengths, length, n, seed):
    available = sum(count // length for count in lengths)
    if not available:
        return
    windows = numbered(lengths).sample_windows(length, n, np.random.default_rng(seed))
    steps = steps_of(windows)
    assert len(windows) == min(n, available)
    assert len(set(steps)) == len(steps) == len(windows) * length


def test_every_step_can_be_sampled():
    """Negative control of the test above: the first windows that fit would share no step either."""
    seen = {
        step
        for seed in range(50)
        for step in steps_of(numbered([24]).sample_windows(10, 1, np.random.default_rng(seed)))
    }
    assert seen == {(0, t) for t in range(24)}


@given(st.lists(st.integers(1, 100), min_size=3, max_size=12), st.integers(0, 20), st.sampled_from([0.0, 0.1, 0.5]))
def test_no_episode_is_on_both_sides(lengths, seed, share):
    episodes = numbered(lengths)
    try:
        train, validation, test = split(episodes, **SPLIT, seed=seed, validation=share)
    except ValueError:
        # Only where it cannot be done: too few windows, or the rest is empty or too short.
        n_windows = np.array(lengths) // SPLIT["test_length"]
        assert n_windows.sum() < SPLIT["n_test"] or (n_windows > 0).sum() <= 4
        return
    (in_train, in_test) = ({k for k, _ in steps_of(part)} for part in (train, test))
    assert in_train.isdisjoint(in_test)
    if validation is not None:
        assert share > 0
        assert validation.time == 5
        assert {k for k, _ in steps_of(validation)}.isdisjoint(in_train | in_test)
    assert (len(test), test.time, train.time) == (4, 20, 5)
    require_disjoint(episodes.subset(sorted(in_train)), test.episodes())


def test_a_tenth_is_held_out_and_the_seed_says_which():
    episodes = numbered([40] * 30)
    parts = [split(episodes, **SPLIT, seed=seed) for seed in (0, 0, 1)]
    held_out = [{k for k, _ in steps_of(test)} for *_, test in parts]
    assert held_out[0] == held_out[1] != held_out[2]
    np.testing.assert_array_equal(parts[0][0].states, parts[1][0].states)
    assert len({k for k, _ in steps_of(parts[0][0])}) == 27


@pytest.mark.parametrize("n", [1, 7, 100, 1000])
def test_every_beginning_is_spread_evenly(n):
    order = spread(n, np.random.default_rng(0))
    assert sorted(order) == list(range(n))
    assert largest_gap(order) < 2


def test_beginnings_of_a_permutation_are_not():
    """Negative control."""
    assert largest_gap(np.random.default_rng(0).permutation(100)) > 4


def largest_gap(order):
    """The largest gap beside a beginning of an order, relative to equal gaps beside as many numbers."""
    gaps = [np.diff([-1, *sorted(order[:m]), len(order)]).max() for m in range(1, len(order) + 1)]
    return ((np.array(gaps) - 1) * np.arange(1, len(order) + 1) / len(order)).max()


def test_all_parts_are_spread_over_the_training_of_the_agent():
    """Of 300 episodes that grow longer, every tenth of the training is part of everything."""
    lengths = np.linspace(30, 90, 300).astype(int).tolist()
    parts = split(numbered(lengths), **SPLIT | {"n_test": 60}, seed=0, validation=0.2)
    # Random episodes would miss the bound of the validation, by a factor of two or three.
    for part, bound in zip(parts, (0.012, 0.035, 0.07), strict=True):
        numbers = [k for k, _ in steps_of(part)]
        shares = np.histogram(numbers, bins=10, range=(0, 300))[0] / len(numbers)
        assert np.abs(shares - np.linspace(0.055, 0.145, 10)).max() < bound


def test_fewer_chunks_are_some_of_more_and_the_test_is_the_same():
    few, many = (split(numbered([40] * 30), **SPLIT | {"n_chunks": n}, seed=0, validation=0.2) for n in (20, 100))
    np.testing.assert_array_equal(few.train.states, many.train.states[:20])
    np.testing.assert_array_equal(few.test.states, many.test.states)


def test_a_share_of_the_rest_is_validated_on():
    """Whole episodes and as large a share of the chunks; never the last episode that is left to learn from."""
    train, validation, _ = split(numbered([40] * 30), **SPLIT, seed=0, validation=1 / 3)
    assert len({k for k, _ in steps_of(train)}) == 18
    assert len({k for k, _ in steps_of(validation)}) == 9
    train, validation = sample_chunks(numbered([40, 40]), 12, 5, 0.9, np.random.default_rng(0))
    assert (len(train), len(validation)) == (8, 8)
    assert sample_chunks(numbered([40, 4]), 12, 5, 0.9, np.random.default_rng(0))[1] is None
    assert sample_chunks(numbered([40, 40]), 12, 5, 0.0, np.random.default_rng(0))[1] is None


def test_a_leak_is_seen():
    episodes = numbered([40, 40])
    with pytest.raises(ValueError, match="test episode 1 has a transition that is also"):
        require_disjoint(episodes.subset([0]), episodes.subset([1, 0]))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([19, 10], "4 test trajectories of 20 steps, but 2 episodes of at most 19"),
        ([40, 40], "leave none to learn from"),
    ],
)
def test_too_little_data_is_refused_with_its_numbers(lengths, message):
    with pytest.raises(ValueError, match=message):
        split(numbered(lengths), **SPLIT, seed=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_refused_by_name(value):
    states = np.zeros((5, 3), dtype=np.float32)
    states[3, 2] = value
    with pytest.raises(ValueError, match=f"episode 0: .* got {value} at index 2 of the state at time 3"):
        Episodes((states,), (np.zeros((4, 1), dtype=np.float32),))


def test_states_and_actions_must_fit():
    with pytest.raises(ValueError, match=r"episode 1: .* got \(4, 3\) and \(4, 1\)"):
        Episodes((np.zeros((5, 3)), np.zeros((4, 3))), (np.zeros((4, 1)), np.zeros((4, 1))))
    with pytest.raises(ValueError, match="expected episodes, got 0"):
        Episodes((), ())


def test_the_checksum_sees_every_change():
    episodes = numbered([3, 4])
    same, cut_elsewhere = numbered([3, 4]), numbered([3, 4])
    assert episodes.checksum == same.checksum != numbered([4, 3]).checksum
    cut_elsewhere.states[1][2, 0] += 1e-6 + 1e-7
    assert episodes.checksum != cut_elsewhere.checksum
