"""What a user can get wrong ends in one line that names it; what the program gets wrong keeps its traceback."""

import dataclasses
import hashlib
import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv
from stable_baselines3 import SAC

import envs_reps
from rpp_rl.cli.errors import command
from rpp_rl.cli.evaluate_agent import main as evaluate_agent
from rpp_rl.cli.record_agent import main as record_agent
from rpp_rl.cli.train_sac import main as train_sac
from rpp_rl.envs.spec_file import write_spec
from rpp_rl.io.border import UserError, user_input
from rpp_rl.io.replay_file import read_replay, write_replay
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.checkpoint import load_agent
from rpp_rl.sac import RPPSAC
from scripts.agent_payloads import Payload


class Failing(gym.Env):
    """Its observation or reward stops being a number after some steps."""

    observation_space = gym.spaces.Box(-1, 1, (3,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, what: str = "observation", after: int = 20):
        self.what, self.after, self.n_steps = what, after, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.n_steps += 1
        failed = self.n_steps >= self.after
        if failed and self.what == "error":
            raise RuntimeError("a bug of the user's")
        obs = np.zeros(3, np.float32)
        if failed and self.what == "huge":
            obs[1] = 1e37
        elif failed and self.what != "reward":
            obs[1] = np.nan
        reward = np.inf if failed and self.what == "reward" else 0.0
        terminated = failed and self.what == "last observation"
        return obs, reward, terminated, self.n_steps % 10 == 0, {}


@pytest.fixture(scope="module", autouse=True)
def failing():
    gym.register("Failing-v0", entry_point=Failing, disable_env_checker=True)
    yield
    del gym.registry["Failing-v0"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no environment given: add --env ID"),
        (["--env", "Antt-v4", "--rpp"], "unknown environment 'Antt-v4'; did you mean Ant-v4"),
        (["--env", "Qqqqqqq", "--rpp"], "unknown environment 'Qqqqqqq'; for one of your own write MODULE:ID"),
        (["--env", "no_such_module:Dog-v0"], "cannot make no_such_module:Dog-v0: "),
        (["--env", "Ant-v2"], "cannot make Ant-v2"),
        (["--env", "CartPole-v1"], "expected actions in a one-dimensional Box, got Discrete(2)"),
        (["--env", "FrozenLake-v1"], "expected observations in a one-dimensional Box, got Discrete(16)"),
        (["--env", "Pendulum-v1", "--rpp"], "no specification for environment 'Pendulum-v1'"),
        (["--env", "Pendulum-v1", "--rpp"], "For another MuJoCo environment derive one with derive-spec"),
        (["--env", "Pendulum-v1", "--rpp"], "for any other one write it by hand"),
        (["--env", "Pendulum-v1", "--group", "Z2"], "no specification for environment 'Pendulum-v1'"),
        (["--env", "Walker2d-v5", "--rpp", "--group", "D4"], "Walker2d-v5 has no group 'D4'; it offers "),
        (["--env", "Walker2d-v5", "--env-kwargs", "legs:3"], "cannot make Walker2d-v5 with {'legs': 3}"),
        (
            ["--env", "Walker2d-v5", "--rpp", "--env-kwargs", "exclude_current_positions_from_observation:false"],
            "does not fit the observation space: expected 17 numbers",
        ),
        (["--env", "Walker2d-v5", "--rpp", "-params", "net_arch:[1]"], "a regular representation of"),
        (["--env", "Walker2d-v5", "--rpp", "-params", "hidden:7*Q", "net_arch:[7]"], "Q"),
        (["--env", "Walker2d-v5", "-params", "gama:1"], "unknown setting 'gama'; did you mean gamma"),
        (["--env", "Walker2d-v5", "-params", "gamma:high"], "gamma: expected a number, got 'high'"),
        (["--env", "Walker2d-v5", "-params", "actor_residual_var:-1.0"], "residual_var must be positive"),
        (["--env", "Walker2d-v5", "-params", "buffer_size:1000000000000"], "Unable to allocate"),
        (["--env", "Walker2d-v5", "-n", "many"], "n_timesteps: expected an integer, got 'many'"),
        (["--env", "Walker2d-v5", "--vec-env", "threads"], "vec_env: expected 'dummy' or 'subproc'"),
        (["--env", "Walker2d-v5", "--device", "tpu9"], "device 'tpu9' cannot be used"),
        (["--env", "Walker2d-v5", "--device", "meta"], "device 'meta' cannot be used"),
        (["--env", ":Walker2d-v5"], "unknown environment ':Walker2d-v5'"),
        (["--env", "Walker2d-v5", "-conf", "missing.yaml"], "missing.yaml: No such file or directory"),
        (["--resume", "missing"], "missing is not a run folder"),
    ],
)
def test_a_wrong_setting_is_one_line_and_leaves_no_folder(refused, tmp_path, flags, message):
    assert message in refused(train_sac, *flags, "-f", tmp_path / "logs")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list(tmp_path.glob("logs/*/*"))


@pytest.mark.mujoco
def test_the_specification_of_another_robot_is_named_by_its_own_name(refused, tmp_path):
    write_spec(tmp_path / "hopper.yaml", envs_reps.load("Hopper-v5"))
    flags = ["--env", "Walker2d-v5", "--rpp", "--spec", tmp_path / "hopper.yaml", "-f", tmp_path / "logs"]
    line = refused(train_sac, *flags)
    assert "hopper.yaml, which was made for Hopper-v5: " in line
    assert "expected 11 numbers" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that has to be missing")
def test_a_missing_device_is_one_line(refused, tmp_path):
    assert "device 'cuda' cannot be used" in refused(train_sac, "--env", "Walker2d-v5", "--device", "cuda")


def test_malformed_flags_are_refused_by_the_parser(capsys):
    for flags in (["-params", "gamma"], ["-params", "gamma:["], ["--rpp", "--emlp"], ["--no-such-flag"]):
        with pytest.raises(SystemExit, match="2"):
            train_sac(["--env", "Walker2d-v5", *flags])
        assert "error: " in capsys.readouterr().err


def test_actions_without_bounds_are_one_line(refused, tmp_path):
    class Unbounded(Failing):
        action_space = gym.spaces.Box(-np.inf, np.inf, (1,))

    gym.register("Unbounded-v0", entry_point=Unbounded, disable_env_checker=True)
    try:
        line = refused(train_sac, "--env", "Unbounded-v0", "-f", tmp_path / "logs")
    finally:
        del gym.registry["Unbounded-v0"]
    assert "expected actions between finite bounds" in line


def test_seconds_below_zero_are_refused(capsys):
    for seconds in ("-1", "0", "nan"):
        with pytest.raises(SystemExit, match="2"):
            record_agent(["rpp_sac-Walker2d-v5", "-o", "a.gif", "--seconds", seconds])
        assert f"expected a number above 0, got {float(seconds)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("observation", "got nan in the observation at index 1 after 20 steps"),
        ("last observation", "got nan in the observation at index 1 after 20 steps"),
        ("reward", "got inf in the reward at index 0 after 20 steps"),
    ],
)
def test_numbers_that_are_not_finite_stop_the_run_before_they_are_learnt(refused, tmp_path, what, message):
    flags = ["--env", "Failing-v0", "--env-kwargs", f"what:{what}", "-f", tmp_path, "--save-freq", "10", "-n", "100"]
    line = refused(train_sac, *flags, "--eval-freq", "1000", "-params", "buffer_size:100", "net_arch:[8]")
    assert message in line
    folder = tmp_path / "sac" / "Failing-v0_1"
    assert (folder / "rl_model_10_steps.zip").exists()
    assert message.replace("20", "5") in refused(evaluate_agent, folder, "--env-kwargs", "after:5", "--episodes", "20")


def test_a_reward_that_is_not_finite_reaches_no_model(refused, tmp_path):
    """The models have been trained when it comes."""

    class Worthless(PendulumEnv):
        n_steps = 0

        def step(self, action):
            self.n_steps += 1
            obs, reward, *rest = super().step(action)
            return obs, reward if self.n_steps < 150 else np.inf, *rest

    gym.register("Worthless-v0", entry_point=Worthless, max_episode_steps=50)
    small = ["buffer_size:300", "net_arch:[8]", "model_net_arch:[8]", "learning_starts:100", "model_updates:50"]
    try:
        flags = ["--env", "Worthless-v0", "-f", tmp_path, "-n", "300", "--model-based"]
        line = refused(train_sac, *flags, "-params", *small)
    finally:
        del gym.registry["Worthless-v0"]
    assert "got inf in the reward at index 0 after 150 steps" in line


def test_a_diverged_training_is_one_line(refused, tiny):
    assert "the training has diverged" in refused(train_sac, *tiny, "--rpp", "-params", "learning_rate:1e30")


def test_critics_that_are_not_finite_stop_the_run_and_are_not_saved(refused, tmp_path, capsys):
    """The actor may stay finite, so torch has nothing to complain about."""
    flags = ["--env", "Failing-v0", "--env-kwargs", "what:huge", "after:60", "-f", tmp_path, "--save-freq", "50"]
    flags += ["-n", "300", "-params", "buffer_size:300", "net_arch:[8]", "learning_starts:70", "batch_size:16"]
    assert train_sac([str(flag) for flag in flags]) == 2
    warning, line = capsys.readouterr().err.splitlines()
    assert "warning: Failing-v0: the observation reached 1.0e+37 after 60 steps" in warning
    assert "the training has diverged" in line
    assert "critic" in line
    folder = RunFolder.open(tmp_path / "sac" / "Failing-v0_1")
    assert [path.name for path in folder.checkpoints()] == ["rl_model_50_steps.zip"]
    assert all(bool(torch.isfinite(t).all()) for t in load_agent(folder.checkpoint(50), "cpu").policy.parameters())


def test_an_error_of_the_environment_keeps_its_traceback_and_what_was_learnt(tmp_path, capsys):
    flags = ["--env", "Failing-v0", "--env-kwargs", "what:error", "after:60", "-f", tmp_path, "--save-freq", "50"]
    flags += ["-n", "300", "-params", "buffer_size:300", "net_arch:[8]", "learning_starts:30", "batch_size:16"]
    with pytest.raises(RuntimeError, match="a bug of the user's"):
        train_sac([str(flag) for flag in flags])
    assert "the environment failed after 59 steps, which are saved; continue with" in capsys.readouterr().out
    folder = tmp_path / "sac" / "Failing-v0_1"
    assert train_sac(["--resume", str(folder), "-n", "70"]) == 0
    assert "it failed in the middle of a step" in capsys.readouterr().out


def test_a_diverged_agent_is_one_line(refused, copied):
    model = RPPSAC.load(copied.agent, device="cpu")
    with torch.no_grad():
        model.actor.mu.equiv_weight.fill_(np.nan)
    model.save(copied.best_agent)
    assert "diverged" in refused(evaluate_agent, copied.path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_agent_is_one_line(refused, copied, share):
    data = copied.agent.read_bytes()
    copied.agent.write_bytes(data[: int(share * len(data))])
    line = refused(evaluate_agent, copied.agent)
    assert "is damaged or no" in line or "cut short" in line


def test_a_damaged_agent_is_one_line_wherever_the_damage_is(refused, copied, rng):
    data = bytearray(copied.agent.read_bytes())
    for start in rng.integers(len(data) - 64, size=20):
        broken = bytearray(data)
        broken[start : start + 64] = rng.bytes(64)
        copied.agent.write_bytes(broken)
        refused(evaluate_agent, copied.agent)


def test_other_files_are_no_agents(refused, copied, tmp_path):
    text, archive, plain = tmp_path / "notes.txt", tmp_path / "photos.zip", tmp_path / "plain.zip"
    text.write_text("not a zip file")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("photo.txt", "a photo")
    SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs={"net_arch": [8]}).save(plain)
    assert "is damaged or no safetensors file" in refused(evaluate_agent, text)
    assert "got a zip file of something else" in refused(evaluate_agent, archive)
    assert "it has a policy of stable_baselines3.sac.policies" in refused(evaluate_agent, plain)
    assert "no such file, folder or pretrained agent" in refused(evaluate_agent, tmp_path / "missing.zip")
    assert "is not a run folder" in refused(evaluate_agent, tmp_path)


def test_nothing_of_a_foreign_agent_is_unpickled(refused, tmp_path):
    """A policy of another package is refused by its name, before code in the file could run."""
    evil = {":type:": "x", ":serialized:": "gASVAAAA", "__module__": "evil"}
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr("data", json.dumps({"policy_class": evil}))
        file.writestr("policy.pth", "")
        file.writestr("pytorch_variables.pth", "")
    assert "a policy of evil" in refused(evaluate_agent, tmp_path / "evil.zip")


def test_an_agent_of_another_environment_is_one_line(refused, trained):
    line = refused(evaluate_agent, trained.agent, "--env", "Ant-v5")
    assert "does not fit Ant-v5" in line


def test_settings_that_were_edited_into_nonsense_are_one_line(refused, copied):
    copied.config.write_text("env: Walker2d-v5\ngamma: high\n")
    assert "gamma: expected a number" in refused(train_sac, "--resume", copied.path, "-n", "300")
    copied.config.write_text("gamma: 0.9\n")
    assert "expected the environment under 'env'" in refused(train_sac, "--resume", copied.path, "-n", "300")


def test_what_is_learnt_cannot_change_in_the_middle_of_a_run(refused, trained):
    line = refused(train_sac, "--resume", trained.path, "-n", "300", "--emlp", "-params", "gamma:0.5")
    assert "gamma, mode cannot be given with it" in line


def test_a_run_without_a_buffer_cannot_be_resumed(refused, copied):
    copied.replay_buffer.unlink()
    assert "it has no replay_buffer.safetensors" in refused(train_sac, "--resume", copied.path, "-n", "300")


def test_a_pickle_in_the_place_of_an_old_buffer_is_not_run(refused, copied, tmp_path):
    copied.replay_buffer.unlink()
    for content in (b"", pickle.dumps(Payload(tmp_path / "canary")), b"x"):
        copied.pickled_replay_buffer.write_bytes(content)
        line = refused(train_sac, "--resume", copied.path, "-n", "300")
        assert "replay_buffer.pkl is damaged or was not written by train-sac" in line
    assert not (tmp_path / "canary").exists()


def test_a_complete_run_says_how_to_go_on(refused, copied):
    assert "give more with -n" in refused(train_sac, "--resume", copied.path)


def test_a_run_that_another_process_trains_cannot_be_resumed(refused, copied):
    with copied.locked():
        line = refused(train_sac, "--resume", copied.path, "-n", "300")
        assert line.endswith(f"{copied.path} is in use by another process\n"), "without Python's number of the error"
    assert train_sac(["--resume", str(copied.path), "-n", "210"]) == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_replay_buffer_is_one_line(refused, copied, share):
    data = copied.replay_buffer.read_bytes()
    copied.replay_buffer.write_bytes(data[: int(share * len(data))])
    assert "replay_buffer.safetensors is damaged" in refused(train_sac, "--resume", copied.path, "-n", "300")


def test_a_damaged_replay_buffer_is_one_line(refused, copied):
    data = copied.replay_buffer.read_bytes()
    copied.replay_buffer.write_bytes(data[:-100] + b"\x01" + data[-99:])
    assert "replay_buffer.safetensors is damaged: its checksum" in refused(
        train_sac, "--resume", copied.path, "-n", "300"
    )


def test_a_replay_buffer_of_another_environment_is_one_line(refused, copied, tiny, tmp_path):
    assert train_sac([*tiny, "--env", "Swimmer-v5", "-n", "200"]) == 0
    other = RunFolder.open(tmp_path / "logs" / "sac" / "Swimmer-v5_1")
    shutil.copy(other.replay_buffer, copied.replay_buffer)
    line = refused(train_sac, "--resume", copied.path, "-n", "300")
    assert "expected a replay buffer of Walker2d-v5, got one of Swimmer-v5" in line
    rewritten(copied, replay={"env_id": "Walker2d-v5"}, mark={"agent_hash": hash_of(copied.checkpoint(200))})
    line = refused(train_sac, "--resume", copied.path, "-n", "300")
    assert "does not fit Walker2d-v5: expected observations of shape" in line


def hash_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewritten(folder, replay=None, mark=None):
    """Change what a checkpoint says; its own checksum is right, as whoever changes it can make it."""
    stored, more, arrays = read_replay(folder.replay_buffer)
    more["mark"] |= mark or {}
    write_replay(folder.replay_buffer, dataclasses.replace(stored, **(replay or {})), more, arrays)


@pytest.mark.parametrize(
    "sizes",
    [
        {"../victim.txt": 0},
        {"/etc/passwd": 0},
        {"../../0.monitor.csv": 0},
        {"0.monitor.csv": 2**40},
        {"0.monitor.csv": -1},
        {"0.monitor.csv": 1.5},
        {"0.monitor.csv": None},
        {"1.monitor.csv": 0},
        {"rl_model_200_steps.zip": 0},
        None,
        [],
    ],
)
def test_a_checkpoint_can_shrink_no_file_but_the_returns_of_its_run(refused, copied, sizes):
    victim = copied.path.parent / "victim.txt"
    victim.write_text("precious")
    rewritten(copied, mark={"monitor_sizes": sizes})
    before = {path: path.stat().st_size for path in copied.path.rglob("*")}
    refused(train_sac, "--resume", copied.path, "-n", "300")
    assert victim.read_text() == "precious"
    assert {path: path.stat().st_size for path in copied.path.rglob("*")} == before


def test_a_file_of_returns_that_is_a_link_is_not_followed(refused, copied, tmp_path):
    victim = tmp_path / "victim.txt"
    monitor = copied.path / "0.monitor.csv"
    victim.write_bytes(monitor.read_bytes() + b"precious")
    monitor.unlink()
    monitor.symlink_to(victim)
    assert "is missing or is not a regular file" in refused(train_sac, "--resume", copied.path, "-n", "300")
    assert victim.read_bytes().endswith(b"precious")


@pytest.mark.parametrize("mark", [{"n_steps": "200"}, {"n_steps": -1}, {"agent_hash": None}, {"more": 1}])
def test_a_mark_with_other_values_is_one_line(refused, copied, mark):
    rewritten(copied, mark=mark)
    assert "damaged or was not written" in refused(train_sac, "--resume", copied.path, "-n", "300")


def test_damaged_evaluations_are_one_line(refused, copied):
    copied.evaluations.write_bytes(copied.evaluations.read_bytes()[:100])
    assert "evaluations.npz is damaged" in refused(train_sac, "--resume", copied.path, "-n", "300")


def test_a_bug_keeps_its_traceback():
    """Negative control: errors outside the borders are not made the user's."""

    @command
    def main(argv=None):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        main()


def test_a_line_is_bounded_and_has_no_control_characters(refused):
    @command
    def main(argv=None):
        raise UserError("begin\n\x1b[31m" + "x" * 10**6 + " end")

    line = refused(main)
    assert len(line) <= 501
    assert line.startswith("error: begin [31mxx")
    assert line.endswith("x end\n")


def test_the_error_of_a_thread_is_shown_unless_it_is_handed_on(monkeypatch):
    shown = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(str(args.exc_value)))

    class Writer(threading.Thread):
        """As TensorBoard's: whoever writes next gets the error."""

        exception = None

        def run(self):
            error = OSError(self.name)
            self.exception = error if self.name == "handed on" else None
            raise error

    @command
    def main(argv=None):
        for name in ("handed on", "alone"):
            thread = Writer(name=name)
            thread.start()
            thread.join()
        return 0

    assert main() == 0
    assert shown == ["alone"]


def test_a_border_takes_only_the_errors_it_names():
    with pytest.raises(UserError, match=r"^file: no 'x' here$"), user_input(KeyError, about="file"):
        raise KeyError("no 'x' here")
    with pytest.raises(pickle.PickleError), user_input(ValueError):
        raise pickle.PickleError


def test_output_that_nobody_reads_to_its_end_is_no_mistake():
    listing = [sys.executable, "-c", "from rpp_rl.cli.list_agents import main; raise SystemExit(main(['--json']))"]
    with subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE
