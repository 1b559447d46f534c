"""A tiny training, run once and shared by the tests that only look at it, and pieces to run others."""

import shutil

import pytest

from rpp_rl.cli.train_sac import main as train_sac
from rpp_rl.io.run_folder import RunFolder

ENV = "Walker2d-v5"
TINY = ["--env", ENV, "--seed", "1", "--eval-freq", "100", "--eval-episodes", "2", "--save-freq", "80"]
TINY += ["-params", "learning_starts:50", "net_arch:[16,16]", "buffer_size:1000", "batch_size:16"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of an RPP run of 200 steps: evaluations at 100 and 200, checkpoints at 80, 160 and 200."""
    logs = tmp_path_factory.mktemp("logs")
    assert train_sac([*TINY, "--rpp", "-n", "200", "-f", str(logs)]) == 0
    return RunFolder.open(logs / "rpp_sac" / f"{ENV}_1")


@pytest.fixture
def copied(trained, tmp_path):
    """The same run, to be spoilt."""
    shutil.copytree(trained.path, tmp_path / trained.path.name)
    return RunFolder.open(tmp_path / trained.path.name)


@pytest.fixture
def tiny(tmp_path):
    """Flags of a training of a second, writing into the test's own folder."""
    return [*TINY, "-f", str(tmp_path / "logs")]


@pytest.fixture
def refused(capsys):
    """Runs a command that has to end in one line on stderr and status 2, and returns the line."""

    def refused(command, *argv):
        assert command([str(arg) for arg in argv]) == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        return line

    return refused
