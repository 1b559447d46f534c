"""Episodes from files: what was recorded comes back, and what is no recording is refused by name."""

import io
import json
import os
import pickle
import re
import struct
import sys
import warnings

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from minari.data_collector import EpisodeBuffer
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.save_util import save_to_pkl

from rpp_rl.dynamics.readers import read_episodes, replay_episodes, write_episodes
from rpp_rl.dynamics.trajectories import Episodes
from rpp_rl.io.replay_file import replay_arrays, write_replay
from rpp_rl.sac.replay import filled

LOW, HIGH = np.array([-0.4, 0.0], dtype=np.float32), np.array([0.4, 3.0], dtype=np.float32)


def recorded(ends, capacity=50, jump=(), n_envs=1, **options):
    """A buffer of len(ends) steps of an environment that counts, and its true episodes.

    Args:
        ends: For each step whether the episode terminates (1), times out (2) or goes on (0).
        jump: Steps before which the recording was interrupted, as by a resumed run.
    """
    box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    buffer = ReplayBuffer(capacity * n_envs, box, spaces.Box(LOW, HIGH), device="cpu", n_envs=n_envs, **options)
    start = np.arange(n_envs) * 1000.0
    obs, episodes = start.copy(), []
    for step, end in enumerate(ends):
        if step in jump or step == 0 or ends[step - 1]:
            obs = start + 100 * len(episodes)
            episodes.append(([obs], []))
        action = np.tile([step / 100, -0.5], (n_envs, 1))
        rows = [np.stack([array, -array], axis=1) for array in (obs, obs + 1)]
        infos = [{"TimeLimit.truncated": end == 2}] * n_envs
        buffer.add(rows[0], rows[1], action, np.zeros(n_envs), np.full(n_envs, end > 0), infos)
        obs = obs + 1
        episodes[-1][0].append(obs)
        episodes[-1][1].append(step / 100)
    return buffer, episodes


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=1, max_size=40), st.sets(st.integers(1, 39)))
def test_episodes_of_a_buffer_are_those_that_were_played(ends, jump):
    buffer, truth = recorded(ends, jump=jump, n_envs=2)
    episodes = buffer_episodes(filled(buffer), "Counter-v0")
    assert len(episodes) == 2 * len(truth)
    for k in range(len(episodes)):
        number, env = divmod(k, 2)  # in the order in which they began
        states, actions = truth[number]
        np.testing.assert_array_equal(episodes.states[k][:, 0], [obs[env] for obs in states])
        np.testing.assert_allclose(episodes.actions[k][:, 0], np.multiply(actions, 0.4), atol=1e-7)
        np.testing.assert_allclose(episodes.actions[k][:, 1], 0.75)  # -0.5 of [-1, 1] in [0, 3]


def buffer_episodes(buffer, env_id=None):
    return replay_episodes(replay_arrays(buffer, env_id))


def test_a_full_buffer_begins_at_its_oldest_transition():
    buffer, truth = recorded([0] * 5 + [1] + [0] * 6, capacity=9)
    assert buffer.full
    assert buffer.pos == 3
    episodes = buffer_episodes(buffer)
    np.testing.assert_array_equal(episodes.states[0][:, :1], truth[0][0][3:])
    np.testing.assert_array_equal(episodes.states[1][:, :1], truth[1][0])


def test_a_buffer_without_last_states_is_refused():
    buffer, _ = recorded([0] * 5, optimize_memory_usage=True, handle_timeout_termination=False)
    with pytest.raises(ValueError, match="whole transitions"):
        buffer_episodes(buffer)
    with pytest.raises(ValueError, match="expected episodes, got 0"):
        buffer_episodes(recorded([])[0])


@pytest.fixture(params=["replay_buffer.safetensors", "replay_buffer.pkl"])
def saved(tmp_path, request):
    """A buffer's file as train-sac writes it, and as it wrote it before."""
    return write_buffer(tmp_path / request.param, recorded([0, 0, 1, 0, 0])[0])


def write_buffer(path, buffer, env_id="Counter-v0"):
    if path.suffix == ".safetensors":
        write_replay(path, replay_arrays(buffer, env_id), {}, {})
        return path
    with path.open("wb") as file:
        save_to_pkl(file, filled(buffer))
        file.write(b"\n" + json.dumps({"env_id": env_id}).encode())  # as earlier versions of train-sac did
    return path


def test_a_file_of_train_sac_is_read(saved):
    episodes = read_episodes(saved)
    assert (episodes.env_id, [len(a) for a in episodes.actions]) == ("Counter-v0", [3, 2])
    assert episodes.checksum == read_episodes(saved, "Counter-v0").checksum


def test_a_file_of_sb3_itself_has_the_environment_that_is_asked_for(tmp_path):
    save_to_pkl(tmp_path / "buffer.pkl", recorded([0, 0])[0])
    assert read_episodes(tmp_path / "buffer.pkl", "Counter-v0").env_id == "Counter-v0"


def test_a_file_of_another_environment_is_refused(saved):
    with pytest.raises(ValueError, match=r"replay_buffer\.\w+: expected data of Ant-v4, got data of Counter-v0"):
        read_episodes(saved, "Ant-v4")


@settings(max_examples=30)
@given(st.data())
def test_a_file_cut_short_anywhere_is_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut")
    whole = write_buffer(folder / "whole.pkl", recorded([0, 1, 0])[0]).read_bytes()
    pickled = whole.rindex(b"\n")
    # Without its last line only, it is a buffer as SB3 writes it.
    n_bytes = data.draw(st.integers(0, pickled - 1) | st.integers(pickled + 2, len(whole) - 1))
    (folder / "cut.pkl").write_bytes(whole[:n_bytes])
    with pytest.raises(ValueError, match=r"cut\.pkl: damaged, cut short, or no replay buffer"):
        read_episodes(folder / "cut.pkl")


class Attack:
    def __reduce__(self):
        return exec, ("raise SystemExit",)


def without(name):
    """A buffer that lacks something."""
    buffer, _ = recorded([0] * 5)
    delattr(buffer, name)
    return buffer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("dones"), "damaged, .*dones"),
        (Attack(), "got builtins.exec; if you trust whoever made the file, let it run with --trust"),
        ({"a": 1}, "expected a ReplayBuffer, got dict"),
        (io.BytesIO(b""), "got _io.BytesIO"),
    ],
)
def test_a_pickle_of_anything_else_is_refused_before_it_acts(tmp_path, content, message):
    (tmp_path / "foreign.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=f"foreign.pkl: .*{message}"):
        read_episodes(tmp_path / "foreign.pkl")


def test_a_buffer_with_numbers_that_are_not_finite_is_refused(tmp_path):
    buffer, _ = recorded([0] * 5)
    buffer.observations[3, 0, 1] = buffer.next_observations[2, 0, 1] = np.nan
    with pytest.raises(ValueError, match=r"expected finite numbers, got nan at index 1 of the state at time 3"):
        read_episodes(write_buffer(tmp_path / "nan.pkl", buffer))


@pytest.fixture
def episodes(rng):
    lengths = (3, 7, 1)
    states, actions = ([rng.normal(size=(n + k, 2)).astype(np.float32) for n in lengths] for k in (1, 0))
    return Episodes(tuple(states), tuple(actions), "Counter-v0")


def test_written_episodes_come_back(episodes, tmp_path):
    write_episodes(episodes, str(tmp_path / "data.npz"))
    again = read_episodes(tmp_path / "data.npz", "Counter-v0")
    assert (again.checksum, again.env_id) == (episodes.checksum, "Counter-v0")
    with pytest.raises(ValueError, match="expected data of Ant-v4"):
        read_episodes(tmp_path / "data.npz", "Ant-v4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": np.array([3, 8, 1])}, "expected as many states and actions .* 15 and 12, got 14 and 11"),
        ({"lengths": np.array([11, 0, 0])}, "expected states and actions in rows"),
        ({"states": None}, "damaged, cut short, or no .npz file: it has no array states"),
        ({"lengths": np.array([3.0, 7.0, 1.0])}, "damaged, .*lengths holds float64"),
        ({"lengths": np.array(["3", "7", "1"])}, "damaged, .*lengths holds <U1"),
        ({"lengths": np.array(11)}, "expected states and actions in rows"),
        ({"states": np.array(1.0)}, "expected states and actions in rows"),
        ({"states": np.zeros((14, 2), complex)}, "damaged, .*states holds complex128"),
        ({"states": np.zeros(14, [("a", "f4"), ("b", "f4")])}, "damaged, .*states holds"),
        ({"actions": np.full((11, 2), np.nan)}, "episode 0: expected finite numbers"),
        ({"env_id": np.array(Attack(), dtype=object)}, "damaged, cut short, or no .npz file"),
    ],
)
def test_other_arrays_are_refused(episodes, tmp_path, change, message):
    write_episodes(episodes, tmp_path / "data.npz")
    with np.load(tmp_path / "data.npz") as file:
        arrays = dict(file) | change
    np.savez(tmp_path / "data.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=f"data.npz: {message}"):
        read_episodes(tmp_path / "data.npz")


def test_a_file_of_no_episodes_is_refused(tmp_path):
    arrays = {"states": np.zeros((0, 3)), "actions": np.zeros((0, 1)), "lengths": np.zeros(0, int)}
    np.savez(tmp_path / "data.npz", **arrays, env_id=np.array(""))
    with pytest.raises(ValueError, match=r"data.npz: expected episodes, got 0"):
        read_episodes(tmp_path / "data.npz")


def test_damaged_arrays_are_refused(episodes, tmp_path):
    write_episodes(episodes, tmp_path / "data.npz")
    whole = (tmp_path / "data.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 1  # among the numbers of the first array
    for content in (whole[:-10], whole[:100], b"", b"no zip", bytes(flipped)):
        (tmp_path / "data.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"data.npz: damaged, cut short, or no .npz file"):
            read_episodes(tmp_path / "data.npz")


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"data.csv: expected a replay buffer \(.safetensors, .pkl\), episodes \(.npz\) or a Minari"
    ):
        read_episodes(tmp_path / "data.csv")
    with pytest.raises(FileNotFoundError):
        read_episodes(tmp_path / "data.npz")


@pytest.fixture
def minari_data(tmp_path, monkeypatch):
    """The folder of a data set of one episode, written by Minari itself."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    with warnings.catch_warnings():  # it misses the author, the code, ...
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "counter/test-v0",
            [EpisodeBuffer(**MINARI_EPISODE)],
            env="Pendulum-v1",
            observation_space=box,
            action_space=box,
        )
    return tmp_path / "counter" / "test-v0" / "data"


MINARI_EPISODE = {
    "observations": np.arange(8, dtype=np.float32).reshape(4, 2),
    "actions": np.arange(6, dtype=np.float32).reshape(3, 2) / 10,
    "rewards": np.zeros(3),
    "terminations": np.array([False, False, True]),
    "truncations": np.zeros(3, dtype=bool),
    "infos": {"success": np.zeros(4, dtype=bool), "words": ["a", "bb", "", "c"]},
}


def test_minari_data_sets_are_read(minari_data):
    read = read_episodes("minari:counter/test-v0", "Pendulum-v1")
    assert read.env_id == "Pendulum-v1"
    np.testing.assert_array_equal(read.states[0], MINARI_EPISODE["observations"])
    np.testing.assert_array_equal(read.actions[0], MINARI_EPISODE["actions"])
    with pytest.raises(ValueError, match="no such data set on this machine"):
        read_episodes("minari:counter/none-v0")
    (minari_data / "main_data.hdf5").unlink()
    with pytest.raises(FileNotFoundError):
        read_episodes("minari:counter/test-v0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total_episodes": 2**31}, "its metadata say 2147483648 episodes, main_data.hdf5 has 1"),
        ({"total_episodes": "1"}, "its metadata say 1 episodes"),
        ({"total_episodes": True}, "its metadata say True episodes"),
        ({"total_episodes": -1}, "its metadata say -1 episodes"),
        ({"total_episodes": 0}, "expected episodes, got 0"),
        ({"data_format": "arrow"}, "expected the format hdf5, got arrow"),
        ({"env_spec": {"id": "Pendulum-v1"}}, "damaged, or no data set"),
        ({"env_spec": json.dumps({"id": 1})}, "the id of its environment is 1"),
        (None, "damaged, or no data set of Minari: 'data_format'"),
    ],
)
def test_metadata_of_minari_that_lie_are_refused(minari_data, change, message):
    file = minari_data / "metadata.json"
    file.write_text(json.dumps({} if change is None else json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=f"minari:counter/test-v0: .*{message}"):
        read_episodes("minari:counter/test-v0")


def test_a_data_set_of_minari_imports_nothing(minari_data):
    file = minari_data / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["env_spec"] = json.dumps({**json.loads(metadata["env_spec"]), "entry_point": "antigravity:Env"})
    del metadata["observation_space"]  # then Minari makes the environment
    file.write_text(json.dumps(metadata))
    assert len(read_episodes("minari:counter/test-v0")) == 1
    assert "antigravity" not in sys.modules


def _virtual(group, name):
    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource("other.hdf5", "x", (4, 2))
    group.create_virtual_dataset(name, layout)


def _array(shape, dtype="f4", **options):
    return lambda group, name: group.create_dataset(name, shape, dtype, **options)


def _early_chunks(group, name):
    """Chunks of one number, in an array that lists none of them: HDF5 takes a kilobyte for each."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 1))
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple((4 * 10**5, 2))
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.STD_I8LE, space, plist)


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (_array((10**9, 2), chunks=(1000, 2)), "there are more numbers in episode_0/observations than main_data.hdf5"),
        (_array((5 * 10**5, 2), "i1", chunks=(1, 1)), "there are more numbers in episode_0/observations than"),
        (_array((2**33, 2**33), chunks=(1000, 2)), "there are more numbers in episode_0/observations than"),
        (_array((4, 2), chunks=(4, 2), compression="gzip"), "observations is compressed"),
        (_array((4, 2), chunks=(4, 2), scaleoffset=3), "observations is compressed"),
        (_early_chunks, "memory"),
        (lambda group, name: group.update({name: h5py.SoftLink("/episode_0/kept")}), "is missing, or a link"),
        (lambda group, name: group.update({name: h5py.ExternalLink("/dev/null", "/x")}), "is missing, or a link"),
        (_array((4, 2), external=[("/etc/passwd", 0, 32)]), "observations lies in another file"),
        (_virtual, "observations lies in another file"),
        (_array((4, 2), "S3"), "expected vectors of numbers in episode_0/observations"),
        (_array((4, 2), "c8"), "expected vectors of numbers in episode_0/observations"),
        (_array(()), "expected vectors of numbers in episode_0/observations"),
        (_array((4,)), "expected vectors of numbers in episode_0/observations"),
        (_array((4, 2), h5py.vlen_dtype("f4")), "expected vectors of numbers in episode_0/observations"),
        (_array((4, 2), h5py.ref_dtype), "expected vectors of numbers in episode_0/observations"),
        (lambda group, name: group.update({name: group}), "expected vectors of numbers in episode_0/observations"),
        (lambda group, name: group.create_group(name), "expected vectors of numbers in episode_0/observations"),
        (lambda *_: None, "observations is missing"),
    ],
)
def test_arrays_of_minari_that_lie_are_refused(minari_data, put, message):
    with h5py.File(minari_data / "main_data.hdf5", "a") as file:
        file.move("episode_0/observations", "episode_0/kept")
        put(file["episode_0"], "observations")
    with pytest.raises(ValueError, match=f"minari:counter/test-v0: damaged.*{message}"):
        read_episodes("minari:counter/test-v0")


def test_data_of_minari_cut_short_are_refused(minari_data):
    path = minari_data / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="minari:counter/test-v0: damaged, or no data set of Minari: "):
        read_episodes("minari:counter/test-v0")


def _loop_of_free_space(data):
    """The names of the links lie in a heap, whose first free piece says that it is the next one as well."""
    start = data.index(b"HEAP")
    free, segment = struct.unpack_from("<QQ", data, start + 16)
    struct.pack_into("<Q", data, segment + free, free)


def _loop_of_siblings(data):
    """The nodes with the links of a group are their own neighbours."""
    for node in re.finditer(b"TREE", bytes(data)):
        struct.pack_into("<QQ", data, node.start() + 8, node.start(), node.start())


def _loop_of_children(data):
    start = data.index(b"TREE")
    data[start + 5] = 1  # its level: the children are such nodes
    struct.pack_into("<Q", data, start + 32, start)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_loop_of_free_space, "memory"),
        (_loop_of_children, r"crashed \(signal|took too long"),
        pytest.param(_loop_of_siblings, "took too long", marks=pytest.mark.slow),
    ],
)
def test_what_ends_hdf5_does_not_end_this_process(tmp_path, monkeypatch, spoil, message):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    folder = tmp_path / "counter" / "data"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"total_episodes": 1, "data_format": "hdf5"}')
    path = folder / "main_data.hdf5"
    with h5py.File(path, "w") as file:
        file["episode_0/observations"] = np.zeros((4, 2), ">f8")
        file["episode_0/actions"] = np.zeros((3, 1), "f2")
    assert read_episodes("minari:counter").states[0].dtype == np.float32
    data = bytearray(path.read_bytes())
    spoil(data)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"minari:counter: damaged.*{message}"):
        read_episodes("minari:counter")


@pytest.mark.parametrize("name", ["metadata.json", "main_data.hdf5"])
def test_what_is_no_file_of_minari_is_not_waited_for(minari_data, name):
    (minari_data / name).unlink()
    os.mkfifo(minari_data / name)
    with pytest.raises(FileNotFoundError, match="expected a file"):
        read_episodes("minari:counter/test-v0")


def test_nothing_beside_a_data_set_is_imported_by_the_process_that_reads_it(minari_data, monkeypatch):
    monkeypatch.chdir(minari_data)
    (minari_data / "h5py.py").write_text("open('marker', 'w').close()")
    assert len(read_episodes("minari:counter/test-v0")) == 1
    assert not (minari_data / "marker").exists()
