"""Bases on the disk: the same numbers with and without it, whatever lies there, whoever else writes there."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpp_rl.symmetry import basis as basis_module
from rpp_rl.symmetry import basis_blocks, cache, parse_group, parse_rep

CONTENT = b"what decides the array"
ARRAY = np.linspace(-1.0, 1.0, 60).reshape(3, 4, 5)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache that no other test sees."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def must_not_be_called():
    raise AssertionError("the entry had to be read, not computed")


def computed_basis():
    """A numerical basis of 27 x 9 numbers, as a process that has computed nothing yet gets it."""
    group = parse_group("SO3")
    for memory in (basis_module._division, basis_module._solve):
        memory.cache_clear()
    [[block]] = basis_blocks(parse_rep("V*V", group), parse_rep("V*V*V", group))
    return block.basis.tobytes()


def test_an_entry_is_computed_once(folder):
    assert cache.kept(CONTENT, lambda: ARRAY) is ARRAY
    again = cache.kept(CONTENT, must_not_be_called)
    assert (again.tobytes(), again.shape, again.dtype) == (ARRAY.tobytes(), ARRAY.shape, ARRAY.dtype)
    np.testing.assert_array_equal(cache.kept(CONTENT + b"!", lambda: 2 * ARRAY), 2 * ARRAY)


def test_bases_are_bit_for_bit_the_same_with_and_without(folder, monkeypatch):
    first, read = computed_basis(), None
    assert len(list(folder.iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(basis_module, "_null_space_basis", must_not_be_called)
        read = computed_basis()
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert first == read == computed_basis()


def test_only_what_takes_long_is_kept(folder):
    """Closed forms are made faster than they are read, and so are the null spaces of small representations."""
    mirror, triangle = parse_group("Z2"), parse_group("D3")
    basis_module._solve.cache_clear()
    basis_blocks(parse_rep("V*V*V*V", mirror), parse_rep("V*V*V", mirror))
    basis_blocks(parse_rep("V", triangle), parse_rep("V*V", triangle))
    assert not folder.exists()


@pytest.mark.parametrize(("name", "value"), [("NULL_SPACE_VERSION", 0), ("RANK_TOLERANCE", 1e-9)])
def test_another_method_has_entries_of_its_own(folder, monkeypatch, name, value):
    computed_basis()
    monkeypatch.setattr(basis_module, name, value)
    computed_basis()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "append", "empty", "other content", "pickle"])
def test_a_damaged_entry_is_made_again(folder, damage):
    cache.kept(CONTENT, lambda: ARRAY)
    (path,) = folder.iterdir()
    data = path.read_bytes()
    if damage == "other content":
        cache.kept(b"something else", lambda: 2 * ARRAY)
        (other,) = set(folder.iterdir()) - {path}
        os.replace(other, path)
    else:
        pickle = b"\x80\x04cbuiltins\nexit\n)R."
        spoilt = {"cut": data[:-1], "flip": data[:-1] + bytes([data[-1] ^ 1]), "append": data + b"\0", "empty": b""}
        path.write_bytes({**spoilt, "pickle": pickle}[damage])
    assert cache.kept(CONTENT, lambda: ARRAY) is ARRAY
    np.testing.assert_array_equal(cache.kept(CONTENT, must_not_be_called), ARRAY)


@given(st.data())
def test_no_changed_byte_goes_unnoticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cache") / "entry"
    cache._write(path, CONTENT, ARRAY)
    raw = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(raw) - 1))
    raw[where] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    assert cache._read(path, CONTENT) is None


WRITER = """
import sys
import numpy as np
from rpp_rl.symmetry import cache
cache.MAX_BYTES = int(sys.argv[1])
arrays = [np.full((40, 40), float(i)) for i in range(8)]
for turn in range(100):
    for i in np.random.default_rng(turn).permutation(8):
        assert np.array_equal(cache.kept(bytes([i]), lambda: arrays[i]), arrays[i])
"""


@pytest.mark.parametrize("n_fit", [8, 2])
def test_several_processes_may_write_at_once(folder, n_fit):
    """With room for all entries and with room for two, so that they delete what the others are about to read."""
    room = str(n_fit * 13_000)  # an entry has 12,960 bytes
    writers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", WRITER, room], stderr=subprocess.PIPE) for _ in range(4)
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 4
    assert [path.suffix for path in folder.iterdir()] == [cache.SUFFIX] * n_fit


def test_what_was_used_least_recently_makes_way(folder, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 2000)  # an entry has 640 bytes
    for name in b"abc":
        cache.kept(bytes([name]), lambda: ARRAY)
        for age, path in enumerate(sorted(folder.iterdir(), key=lambda path: -path.stat().st_mtime_ns)):
            os.utime(path, (1000 - age, 1000 - age))
    cache.kept(b"a", must_not_be_called)  # used again: now b is the oldest
    cache.kept(b"d", lambda: ARRAY)
    for name in (b"a", b"c", b"d"):
        cache.kept(name, must_not_be_called)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2000


def test_what_a_dying_process_left_makes_way_too(folder, monkeypatch):
    folder.mkdir()
    for name in ("123.rpp_rl.tmp", "somebody_elses.tmp"):
        (folder / name).write_bytes(bytes(3000))
        os.utime(folder / name, (0, 0))
    monkeypatch.setattr(cache, "MAX_BYTES", 2000)
    cache.kept(CONTENT, lambda: ARRAY)
    assert sorted(path.suffix for path in folder.iterdir()) == [cache.SUFFIX, ".tmp"]
    assert (folder / "somebody_elses.tmp").exists()


def test_a_folder_that_cannot_be_used_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    assert cache.kept(CONTENT, lambda: ARRAY) is ARRAY
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "below"))
    assert cache.kept(CONTENT, lambda: ARRAY) is ARRAY


def test_a_full_disk_is_no_error_and_leaves_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    assert cache.kept(CONTENT, lambda: ARRAY) is ARRAY
    assert list(folder.iterdir()) == []


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.cache_folder() == tmp_path / ".cache" / "rpp_rl"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    assert cache.cache_folder() == tmp_path / ".cache" / "rpp_rl"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "rpp_rl"
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "mine"))
    assert cache.cache_folder() == tmp_path / "mine"
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert cache.cache_folder() is None


def test_entries_are_for_their_owner_only(folder):
    cache.kept(CONTENT, lambda: ARRAY)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
