"""Replay buffers in files: what was written comes back, damage is seen, and no pickle makes us do anything."""

import json
import pickle
import struct
import sys
import tracemalloc
from collections import deque
from contextlib import suppress

import numpy as np
import pytest
import safetensors
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import ReplayBuffer

from rpp_rl.io.array_file import read_arrays, write_arrays
from rpp_rl.io.inert_pickle import Call, Name, read_inert
from rpp_rl.io.plain_tree import pack, unpack
from rpp_rl.io.replay_file import fill, read_replay, read_sb3_replay, replay_arrays, write_replay


def make_buffer(n_steps=7, capacity=10, n_envs=2, dtype=np.float64):
    box = spaces.Box(-np.inf, np.inf, (3,), dtype)
    buffer = ReplayBuffer(capacity * n_envs, box, spaces.Box(-2, 2, (2,)), device="cpu", n_envs=n_envs)
    rng = np.random.default_rng(0)
    for step in range(n_steps):
        done = np.full(n_envs, step % 4 == 3)
        infos = [{"TimeLimit.truncated": step % 8 == 7}] * n_envs
        obs, after = rng.normal(size=(2, n_envs, 3))
        buffer.add(obs, after, rng.uniform(-1, 1, (n_envs, 2)), rng.normal(size=n_envs), done, infos)
    return buffer


def same(one, other):
    return all(
        a.dtype == b.dtype and np.array_equal(a, b)
        for a, b in zip(one.arrays.values(), other.arrays.values(), strict=True)
    )


@pytest.mark.parametrize("n_steps", [0, 7, 10, 13])
def test_a_buffer_comes_back_row_by_row(tmp_path, n_steps):
    buffer = make_buffer(n_steps)
    replay = replay_arrays(buffer, "Toy-v0")
    write_replay(tmp_path / "a.safetensors", replay, {"steps": 5}, {"extra": np.arange(3)})
    again, more, arrays = read_replay(tmp_path / "a.safetensors")
    assert same(replay, again)
    assert (again.oldest, again.env_id, more) == (replay.oldest, "Toy-v0", {"steps": 5})
    assert arrays["extra"].tolist() == [0, 1, 2]
    filled = make_buffer(0)
    fill(filled, again)
    assert (filled.pos, filled.full) == (buffer.pos, buffer.full)
    np.testing.assert_array_equal(filled.next_observations, buffer.next_observations)
    with safetensors.safe_open(tmp_path / "a.safetensors", "np") as file:
        np.testing.assert_array_equal(file.get_tensor("replay.rewards"), replay.rewards)


def test_a_ring_is_put_in_order_where_there_is_more_room():
    replay = replay_arrays(make_buffer(13), None)
    roomy = make_buffer(0, capacity=20)
    fill(roomy, replay)
    assert (roomy.pos, roomy.full) == (10, False)
    np.testing.assert_array_equal(roomy.rewards[:10], np.roll(replay.rewards, -3, axis=0))
    with pytest.raises(ValueError, match="10 steps of transitions do not fit into 5"):
        fill(make_buffer(0, capacity=5), replay)
    with pytest.raises(ValueError, match=r"expected observations of shape \(2, 3\) of float32"):
        fill(make_buffer(0, dtype=np.float32), replay)


def test_every_flipped_bit_is_seen(tmp_path, rng):
    path = tmp_path / "a.safetensors"
    write_replay(path, replay_arrays(make_buffer(), "Toy-v0"), {}, {})
    whole = path.read_bytes()
    for position in rng.integers(len(whole), size=150):
        broken = bytearray(whole)
        broken[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.safetensors"):
            read_replay(path)


@settings(max_examples=40)
@given(st.data())
def test_a_header_that_lies_about_sizes_is_refused(tmp_path_factory, data):
    """The file is mapped, so a size that is believed would be read beyond its end."""
    path = tmp_path_factory.mktemp("lies") / "a.safetensors"
    write_arrays(path, "numbers", 1, {}, {"a": np.zeros(4), "b": np.zeros(3, np.int32)})
    whole = path.read_bytes()
    n_bytes = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + n_bytes])
    entry = header[data.draw(st.sampled_from(["a", "b"]))]
    sizes = st.sampled_from([-1, 0, 1, 5, 2**31, 2**62, 10**30, 1.0, True, None, "4"])
    key = data.draw(st.sampled_from(["shape", "data_offsets", "dtype"]))
    before = json.dumps(entry)
    entry[key] = {
        "shape": data.draw(st.lists(sizes, max_size=3) | st.sampled_from([{}, None, "", 4])),
        "data_offsets": data.draw(st.lists(sizes, min_size=2, max_size=2)),
        "dtype": data.draw(st.sampled_from(["O", "F128", "F64", ["F64"], None, 3])),
    }[key]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + n_bytes :])
    if json.dumps(entry) != before:
        with pytest.raises(ValueError, match="damaged"):
            read_arrays(path, "numbers", 1)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("n_steps", [7, 13])
def test_a_pickle_of_sb3_is_read_without_running_it(tmp_path, protocol, n_steps, monkeypatch):
    buffer = make_buffer(n_steps)
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(buffer, protocol=protocol))
    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    assert same(read_sb3_replay(tmp_path / "b.pkl")[0], replay_arrays(buffer, None))


def test_numbers_of_the_other_byte_order_and_columns_first_are_read(tmp_path):
    buffer = make_buffer(10)
    buffer.observations = np.asfortranarray(buffer.observations.astype(">f8"))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(buffer, protocol=5))
    np.testing.assert_array_equal(read_sb3_replay(tmp_path / "b.pkl")[0].observations, buffer.observations)


class Calls:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def with_part(name, part):
    buffer = make_buffer()
    setattr(buffer, name, part)
    return buffer


@pytest.fixture(scope="module")
def watched_events():
    """What this process does, as far as Python tells; nobody can stop listening, so one listener serves all tests."""
    events = deque(maxlen=10_000)
    sys.addaudithook(lambda name, _: events.append(name))
    return events


def forged_dtype(letters, flags=0):
    """A type that says of itself that it holds no objects."""
    return Calls(np.dtype, letters, False, True, state=(3, "|", None, None, None, -1, -1, flags))


def doubled(n_times):
    """Pairs of pairs: short in a pickle, endless to print, to compare or to hash."""
    pair = ()
    for _ in range(n_times):
        pair = (pair, pair)
    return pair


def nested(n_times):
    """Deeper than Python prints."""
    inner = ()
    for _ in range(n_times):
        inner = (inner,)
    return inner


def array_of(shape, letters):
    """An array of one number that says of itself what it likes."""
    return Calls(np._core.numeric._frombuffer, b"AAAAAAAA", forged_dtype(letters), shape, "C")


@pytest.mark.parametrize(
    "content",
    [
        with_part("observations", Calls(np.ndarray, (1, 1, 8), "O", b"AAAAAAAA" * 8)),
        with_part("observations", np.full((10, 2, 3), None)),
        with_part("rewards", Calls(np.frombuffer, b"AAAAAAAA", forged_dtype("O"))),
        with_part("observations", Calls(np.ndarray, (10**9,), "O")),
        with_part("action_space", Calls(spaces.Box, 0, 1, (400_000_000,))),
        with_part("observations", Calls(eval, "open('marker', 'w')")),
        with_part("observations", Calls(np.load, "marker.npy")),
        with_part("pos", doubled(40)),
        with_part("pos", nested(400)),
        with_part("observations", array_of(doubled(40), "f8")),
        with_part("observations", array_of((1,), doubled(40))),
        with_part("pos", 10**9),
        with_part("pos", -1),
        with_part("full", 1),
        with_part("optimize_memory_usage", True),
        Calls(setattr, ReplayBuffer, "add", 3),
        Calls(exec, "open('marker', 'w')"),
    ],
)
def test_no_pickle_makes_this_process_do_anything(tmp_path, monkeypatch, watched_events, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(content))
    add = ReplayBuffer.add
    events = watched_events
    events.clear()
    with pytest.raises(ValueError, match=r"expected|damaged|lacks"):
        read_sb3_replay(tmp_path / "b.pkl")
    assert "open" in events
    assert not {"exec", "compile", "os.system", "subprocess.Popen", "pickle.find_class", "import"} & set(events)
    assert ReplayBuffer.add is add
    assert [path.name for path in tmp_path.iterdir()] == ["b.pkl"]


def test_the_attacks_would_work_on_a_reader_that_runs_pickles(tmp_path, monkeypatch):
    """Negative control."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Calls(exec, "open('marker', 'w').close()")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04r\xff\xff\xff\xff.",  # a place in the memo beyond 4e9
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a byte array of 2^63 bytes
        b"\x80\x04\x8b\xff\xff\xff\x7f.",  # an integer of 2^31 bytes
        b"\x80\x04X\xff\xff\xff\xff.",
        b"\x80\x04" + b"]" * 110_000,
        b"\x80\x04(" + b"K\x01" * 60_000 + b"t" + b"2" * 10,
        b"\x80\x04]\x94(h\x00e.",  # a list that holds itself
        b"\x80\x04}\x94h\x00h\x00s.",
        b"\x80\x02.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04.",
        b"",
    ],
)
def test_small_files_stay_small(tmp_path, data):
    (tmp_path / "b.pkl").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected|damaged"):
            read_sb3_replay(tmp_path / "b.pkl")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@settings(max_examples=150)
@given(st.data())
def test_whatever_is_changed_in_a_pickle_it_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mutated") / "b.pkl"
    content = bytearray(pickle.dumps(make_buffer(3, 3, 1), protocol=data.draw(st.sampled_from([3, 4, 5]))))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    with suppress(ValueError):
        read_sb3_replay(path)


def test_a_description_names_what_would_be_called():
    described, end = read_inert(memoryview(pickle.dumps(Calls(exec, "1 + 1"), protocol=4)))
    assert isinstance(described, Call)
    assert (described.name, described.arguments) == (Name("builtins", "exec"), ("1 + 1",))
    assert end > 0


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=20,
)


@settings(max_examples=50)
@given(plain)
def test_a_tree_of_plain_values_comes_back(tree):
    data, arrays = pack(tree)
    assert repr(unpack(json.loads(json.dumps(data)), arrays)) == repr(tree)


def test_arrays_and_numbers_in_a_tree_keep_their_types_and_bits():
    tree = {"a": [np.float32(0.1), np.array([np.nan, -0.0])], "b": (np.random.default_rng(0).bit_generator.state,)}
    data, arrays = pack(tree)
    again = unpack(json.loads(json.dumps(data)), arrays)
    assert again["a"][0].dtype == np.float32
    assert again["a"][1].tobytes() == tree["a"][1].tobytes()
    assert again["b"] == tree["b"]
    with pytest.raises(ValueError, match="expected plain values, got set"):
        pack({1, 2})
    for damaged in ([1], {"call": "x"}, {"array": "9"}, {"list": 3}, {"a": 1, "b": 2}, {"dict": [[1]]}):
        with pytest.raises(ValueError, match=r"damaged|values"):
            unpack(damaged, {})
