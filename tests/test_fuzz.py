"""A few hundred of the files of ``scripts/fuzz.py``, always the same ones; the script makes any number."""

import os
import pickle
import shutil
import sys
import time
from pathlib import Path

import pytest

from scripts.agent_forge import Case
from scripts.agent_payloads import Payload
from scripts.fuzz import forked_batch, fuzz, judge
from scripts.fuzz_readers import Reader
from scripts.fuzz_watch import Watch


@pytest.mark.slow
@pytest.mark.mujoco
def test_no_damaged_or_malicious_file_does_more_than_be_refused():
    counts, wrong = fuzz(450, seed=0)
    assert wrong == []
    assert sum(counts.values()) == 450
    assert counts["agents: refused"] > 40
    assert counts["agents: read"] > 2
    assert all(counts[f"{name}: refused"] for name in ("buffers", "pickled buffers", "npz", "models", "settings"))


@pytest.fixture
def outcome(tmp_path):
    """How the fuzzer judges a reader of a file with these contents."""
    folder = tmp_path / "in"
    folder.mkdir()
    watch = Watch(folder)
    sys.addaudithook(watch.hook)

    def outcome(read, data=b"x", *, may_load=True):
        case = Case("test", "a.zip", data, may_load)
        return judge(Reader("test", case, lambda rng: case, read), case, folder, watch)

    return outcome


def take_too_much(path):
    try:
        raise MemoryError
    except MemoryError as error:
        raise ValueError("damaged") from error


def test_the_fuzzer_would_notice(tmp_path, outcome):
    """Negative control: readers that crash, run a payload, write, look elsewhere, or accept what is forged."""
    assert outcome(lambda path: None) == "read"
    assert outcome(lambda path: path.read_bytes()) == "read"
    assert outcome(lambda path: int("x")) == "refused"
    assert outcome(lambda path: ["x"].index("x" * 3000)).startswith("LONG LINE")
    assert outcome(lambda path: 1 / 0).startswith("CRASH ZeroDivisionError")
    assert outcome(take_too_much) == "TOO MUCH MEMORY"
    assert outcome(lambda path: None, may_load=False) == "ACCEPTED"
    (tmp_path / "secret").write_text("x")
    assert outcome(lambda path: (tmp_path / "secret").read_text()).startswith("SIDE EFFECT open")
    assert outcome(lambda path: path.write_text("new")) == "FILES CHANGED"
    assert outcome(lambda path: path.write_text("x")).startswith("SIDE EFFECT open")
    assert outcome(lambda path: shutil.rmtree(tmp_path / "none", ignore_errors=True)).startswith("SIDE EFFECT shutil")
    canary = pickle.dumps(Payload(tmp_path / "canary"))
    assert outcome(lambda path: pickle.loads(path.read_bytes()), canary).startswith("SIDE EFFECT pickle.find_class")


def test_a_module_beside_the_file_may_not_be_imported(tmp_path, monkeypatch, outcome):
    (tmp_path / "module_of_a_stranger.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    assert "module_of_a_stranger" in outcome(lambda path: __import__("module_of_a_stranger"))


def hang(path):
    while time.process_time():
        pass


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda path: os.abort(), "DIED with status -6"),
        (hang, "SLOW"),
        (lambda path: bytearray(2**31), "CRASH MemoryError: "),
    ],
)
def test_a_reader_that_ends_the_process_costs_one_case(tmp_path, monkeypatch, read, expected):
    monkeypatch.setattr("scripts.fuzz.SECONDS", 0.2)
    folder = tmp_path / "in"
    folder.mkdir()
    case = Case("kind", "a", b"x", may_load=True)
    reader = Reader("test", case, lambda rng: case, read)
    counts, wrong, following = forked_batch([reader], range(5, 6), 0, folder, None)
    assert counts == {"test: WRONG": 1}
    assert wrong == [f"case 5, test, kind: {expected}"]
    assert following == 6


def test_a_fuzzing_that_was_stopped_goes_on(tmp_path, monkeypatch):
    def make_readers(folder: Path):
        case = Case("kind", "a", b"x", may_load=True)
        return [Reader("test", case, lambda rng: case, lambda path: None)]

    monkeypatch.setattr("scripts.fuzz.make_readers", make_readers)
    monkeypatch.setattr("scripts.fuzz.BATCH", 3)
    counts, _ = fuzz(5, 0, progress=tmp_path / "p")
    assert counts == {"test: read": 5}
    lines = (tmp_path / "p").read_text().splitlines()
    assert len(lines) == 2
    (tmp_path / "p").write_text(lines[0] + "\n")
    counts, _ = fuzz(5, 0, progress=tmp_path / "p")
    assert counts == {"test: read": 5}
    assert (tmp_path / "p").read_text().splitlines() == lines
