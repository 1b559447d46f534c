"""Files that take the place of others: all or nothing, and errors that name the file that was meant."""

import errno

import pytest

from rpp_rl.io.atomic import replacing


def test_what_was_there_stays_until_all_is_written(tmp_path):
    path = tmp_path / "agent"
    path.write_bytes(b"old")

    def fail():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named_by_the_file_that_was_meant(tmp_path):
    path = tmp_path / "nowhere" / "agent"
    with pytest.raises(FileNotFoundError) as error, replacing(path):
        pass
    assert error.value.filename == str(path)


def test_a_disk_that_becomes_read_only_is_told_by_its_first_error(tmp_path, monkeypatch):
    """Then the temporary file cannot be removed either."""

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", "the temporary file")

    monkeypatch.setattr(type(tmp_path), "unlink", refuse)
    with pytest.raises(KeyError), replacing(tmp_path / "agent"):
        raise KeyError
