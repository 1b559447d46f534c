"""Runs that stop and go on: by choice, by signal, by being killed, and with a disk that is full."""

import dataclasses
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch

from rpp_rl.cli.train_sac import main
from rpp_rl.io.border import UserError
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs import callbacks
from rpp_rl.runs.checkpoint import load_checkpoint, read_checkpoint, read_mark, rewind, save_agent, save_checkpoint
from rpp_rl.runs.environments import make_vec_env
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import sac_config

# Tests may run under nohup, where SIGHUP is ignored, by children too.
DEFAULT_SIGNALS = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
MAIN = DEFAULT_SIGNALS + "import sys; from rpp_rl.cli.train_sac import main; sys.exit(main())"


class Died(BaseException):
    """The process is gone: nothing after this runs."""


def die(*_):
    raise Died


def load(folder, n_envs=1):
    """The agent and buffer of the newest checkpoint."""
    envs = make_vec_env(folder.env_id, {}, n_envs=n_envs, seed=0)
    return load_checkpoint(folder, read_checkpoint(folder), "cpu", envs)


def timesteps(folder):
    return folder.load_evaluations()[0].tolist()


def start(*flags):
    """The command in a process and a group of processes of its own, as a shell would start it."""
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, process):
    for _ in range(3600):
        if condition():
            return
        if process.poll() is not None:
            raise AssertionError(process.stdout.read())
        time.sleep(0.05)
    raise AssertionError("waited for three minutes")


def test_a_finished_run_can_be_made_longer(copied):
    before = load(copied)
    assert main(["--resume", str(copied.path), "-n", "300"]) == 0
    after = load(copied)
    assert (before.num_timesteps, after.num_timesteps) == (200, 300)
    assert timesteps(copied) == [100, 200, 300]
    assert after.replay_buffer.pos == 300
    np.testing.assert_array_equal(after.replay_buffer.observations[:200], before.replay_buffer.observations[:200])
    assert after._n_updates == before._n_updates + 100
    assert sac_config({}, copied.config).n_timesteps == 300
    assert len((copied.settings / "command.txt").read_text().splitlines()) == 2


def test_a_run_of_the_first_version_goes_on_with_new_episodes(copied, capsys):
    """It has a pickled buffer with a line of JSON behind it, and no state of generators and environments."""
    before, mark = load(copied), read_mark(copied)
    with copied.pickled_replay_buffer.open("wb") as file:
        before.save_replay_buffer(file)
        file.write(b"\n" + json.dumps(dataclasses.asdict(mark)).encode())
    copied.replay_buffer.unlink()
    assert main(["--resume", str(copied.path), "-n", "260"]) == 0
    assert "new episodes begin, because the environment cannot continue the old ones: an earlier version" in (
        capsys.readouterr().out
    )
    after = load(copied)
    assert (after.num_timesteps, after._n_updates) == (260, before._n_updates + 60)
    np.testing.assert_array_equal(after.replay_buffer.observations[:200], before.replay_buffer.observations[:200])
    assert copied.replay_buffer.exists()
    assert not copied.pickled_replay_buffer.exists()


def test_the_state_of_the_optimisers_goes_on(copied):
    model = load(copied)
    every, every_other = model._n_updates, model._n_updates // 2  # policy_delay is 2
    for network, expected in ((model.critic, every), (model.actor, every_other)):
        steps = {int(state["step"]) for state in network.optimizer.state_dict()["state"].values()}
        assert steps == {expected}
    (step,) = {int(state["step"]) for state in model.ent_coef_optimizer.state_dict()["state"].values()}
    assert step == every_other


def test_what_was_recorded_after_the_last_checkpoint_is_removed(tiny, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoints, "_on_training_end", die)
        with pytest.raises(Died):
            main([*tiny, "--rpp", "-n", "200", "--eval-freq", "50", "--save-freq", "120"])
    folder = RunFolder.open(tmp_path / "logs" / "rpp_sac" / "Walker2d-v5_1")
    assert timesteps(folder) == [50, 100, 150, 200]
    mark, monitor = read_mark(folder), folder.path / "0.monitor.csv"
    assert mark.n_steps == 120
    assert monitor.stat().st_size > mark.monitor_sizes[monitor.name]
    assert main(["--resume", str(folder.path), "-n", "130"]) == 0
    assert timesteps(folder) == [50, 100]
    lengths = [int(line.split(",")[1]) for line in monitor.read_text().splitlines()[2:]]
    assert sum(lengths) <= 130


def test_what_a_killed_process_was_writing_is_removed_before_anything_is_written(copied):
    leftovers = [copied.path / ".best_model.zip.tmp", copied.settings / ".config.yml.tmp"]
    for path in leftovers:
        path.touch()
    rewind(copied, read_mark(copied))
    assert not any(path.exists() for path in leftovers)


def test_a_resumed_run_repeats_exactly_too(copied, tmp_path):
    twin = shutil.copytree(copied.path, tmp_path / "twin")
    agents = []
    for path in (copied.path, twin):
        assert main(["--resume", str(path), "-n", "280"]) == 0
        agents.append(load(RunFolder.open(path)).policy.state_dict())
    assert all(torch.equal(agents[0][key], agents[1][key]) for key in agents[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "vec_env", "n_envs"),
    [("SIGINT", "dummy", 1), ("SIGTERM", "dummy", 1), ("SIGHUP", "dummy", 1), ("SIGINT", "subproc", 2)],
)
def test_a_signal_saves_and_the_run_goes_on(tmp_path, tiny, number, vec_env, n_envs):
    flags = ["-n", "100000", "--save-freq", "100000", "--vec-env", vec_env, "-params", f"n_envs:{n_envs}"]
    process = start(*tiny, "--rpp", *flags)
    folder_path = tmp_path / "logs" / "rpp_sac" / "Walker2d-v5_1"
    wait_for((folder_path / "evaluations.npz").exists, process)
    os.killpg(process.pid, getattr(signal, number))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, number), output
    last = output.splitlines()[-1]
    assert last.startswith("interrupted after")
    assert last.endswith(f"train-sac --resume {folder_path}")
    folder = RunFolder.open(folder_path)
    n_steps = read_mark(folder).n_steps
    assert load(folder, n_envs).replay_buffer.size() == min(n_steps, 1000) // n_envs
    assert main(["--resume", str(folder_path), "-n", str(n_steps + 20)]) == 0
    assert timesteps(folder)[:1] == [100]


@pytest.mark.slow
def test_a_second_signal_does_not_wait(tmp_path, tiny):
    """The first one waits for the end of an evaluation step; here the process hangs in one for ever."""
    code = "import time, rpp_rl.runs.callbacks as c; c.evaluate_policy = lambda *a, **k: time.sleep(600)\n" + MAIN
    command = [sys.executable, "-c", code, *tiny, "-n", "1000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for((tmp_path / "logs" / "sac" / "Walker2d-v5_1" / "rl_model_80_steps.zip").exists, process)
    time.sleep(2)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output.splitlines()[-1] == "interrupted"


@pytest.mark.slow
def test_a_killed_run_always_leaves_a_checkpoint_that_loads(tmp_path, tiny, rng):
    """Checkpoints every 5 steps, so that most of the time is spent in saving."""
    folder = RunFolder(tmp_path / "logs" / "rpp_sac" / "Walker2d-v5_1", "Walker2d-v5")
    flags = [*tiny, "--rpp", "-n", "100000", "--save-freq", "5"]
    reached = 0

    def has_gone_on():
        return folder.replay_buffer.exists() and read_mark(folder).n_steps > reached

    for _ in range(6):
        process = start(*flags)
        wait_for(has_gone_on, process)
        time.sleep(rng.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        model = load(folder)
        assert model.num_timesteps > reached
        assert model.replay_buffer.size() == min(model.num_timesteps, 1000)
        reached = model.num_timesteps
        flags = ["--resume", folder.path]
    assert main(["--resume", str(folder.path), "-n", str(reached + 10)]) == 0
    assert not list(folder.path.glob(".*.tmp"))


@pytest.mark.parametrize("n_renames", [0, 1, 2])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_dying_at_any_rename_leaves_the_old_checkpoint_or_the_new_one(copied, monkeypatch, n_renames, moment):
    model = load(copied)
    model.num_timesteps = 240
    renames = []
    replace = os.replace

    def dying_replace(source, target):
        if moment == "before" and len(renames) == n_renames:
            raise Died
        replace(source, target)
        renames.append(target)
        if moment == "after" and len(renames) == n_renames:
            raise Died

    monkeypatch.setattr("os.replace", dying_replace)
    with suppress(Died):
        save_checkpoint(copied, model, keep_buffer=True)
    monkeypatch.undo()
    assert load(copied).num_timesteps == (240 if len(renames) == 2 else 200)


def test_no_step_is_saved_twice(tiny, tmp_path, monkeypatch):
    """Or the buffer of the first time would belong to no agent while the second is written."""
    saved = []

    def counting(folder, model, **options):
        saved.append(model.num_timesteps)
        return save_checkpoint(folder, model, **options)

    monkeypatch.setattr(callbacks, "save_checkpoint", counting)
    assert main([*tiny, "-n", "160"]) == 0
    assert saved == [80, 160]
    monkeypatch.setattr(callbacks.StopRequest, "check", interrupt)
    folder = tmp_path / "logs" / "sac" / "Walker2d-v5_1"
    assert main(["--resume", str(folder), "-n", "300"]) == 130
    assert saved == [80, 160]
    assert load(RunFolder.open(folder)).num_timesteps == 160


def interrupt(stop, *_):
    stop.number = signal.SIGINT
    raise callbacks.Interrupted


def test_a_buffer_and_an_agent_that_do_not_belong_together_are_refused(copied):
    """Negative control of the test above: a mixed pair is seen."""
    shutil.copy(copied.checkpoint(160), copied.checkpoint(200))
    with pytest.raises(UserError, match="do not belong together"):
        read_mark(copied)


@pytest.fixture
def disk_of():
    """Limits the size of files, which is how a full disk can be had without filling one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_costs_nothing_that_was_saved(copied, disk_of, refused):
    disk_of(copied.agent.stat().st_size // 2)
    line = refused(main, "--resume", copied.path, "-n", "300")
    assert "make room, and continue with --resume" in line
    disk_of(2**30)
    assert load(copied).num_timesteps == 200
    assert not list(copied.path.glob(".*.tmp"))
    assert main(["--resume", str(copied.path), "-n", "210"]) == 0


@pytest.mark.parametrize("n_written", [0, 1])
def test_a_disk_that_is_full_after_some_of_a_checkpoint_keeps_the_one_before(copied, monkeypatch, n_written):
    """The system may tell that the disk is full only when the file is flushed: the agent's or the buffer's."""
    model = load(copied)
    model.num_timesteps = 240
    flushes = iter([None] * n_written)

    def full(handle):
        if next(flushes, handle) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    name = ("rl_model_240_steps.zip", "replay_buffer.safetensors")[n_written]
    with pytest.raises(OSError, match=f"No space left on device: .*{name}"):
        save_checkpoint(copied, model, keep_buffer=True)
    monkeypatch.undo()
    assert load(copied).num_timesteps == 200
    assert not list(copied.path.glob(".*.tmp"))


def test_a_resumed_run_obeys_what_is_said_about_the_machine(copied):
    assert load(copied).compile
    assert main(["--resume", str(copied.path), "-n", "210", "--no-compile"]) == 0
    assert not RPPSAC.load(copied.agent, device="cpu").compile


def test_a_clock_before_1980_stops_no_checkpoint(copied, monkeypatch):
    """Negative control: zip files know no such year."""
    model = RPPSAC.load(copied.agent, device="cpu")
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((1970, 1, 1, 0, 0, 0, 3, 1, 0)))
    with zipfile.ZipFile(copied.path / "other.zip", "w") as file, pytest.raises(ValueError, match="before 1980"):
        file.writestr("x", "")
    save_agent(model, copied.agent)
    assert RPPSAC.load(copied.agent, device="cpu").num_timesteps == 200
