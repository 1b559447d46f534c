"""``train-model``: what it leaves in its folder, that it goes on bit for bit, and mistakes that end in one line."""

import dataclasses
import inspect
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer

import envs_reps
from rpp_rl.cli.evaluate_model import main as evaluate_model
from rpp_rl.cli.train_model import main
from rpp_rl.dynamics import Episodes, TransitionModel, load_model, read_episodes, write_episodes
from rpp_rl.dynamics.config import ModelConfig
from rpp_rl.dynamics.model_file import read_model, save_model
from rpp_rl.dynamics.training import PAPER_PRIOR, Trainer
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.nn import Prior
from rpp_rl.runs import train_dynamics as module
from rpp_rl.runs.callbacks import Interrupted, StopRequest
from rpp_rl.settings import merged_settings
from rpp_rl.shipped_configs import config_file

ENV = "Hopper-v4"
TINY = ["--seed", "3", "--epochs", "6", "--save-freq", "2", "--device", "cpu", "-params", "n_test:4", "test_length:20"]
TINY += ["net_arch:[16,16]", "batch_size:20", "chunk_length:5"]


def write(path, seed=0, n=12, length=45, obs=11, env_id=ENV):
    """Episodes of a random walk."""
    rng = np.random.default_rng(seed)
    states = 0.1 * rng.normal(size=(n, length + 1, obs)).cumsum(1).astype(np.float32)
    actions = rng.uniform(-1, 1, size=(n, length, 3)).astype(np.float32)
    write_episodes(Episodes(tuple(states), tuple(actions), env_id), path)
    return path


@pytest.fixture
def flags(tmp_path):
    """Flags of a training of a second, writing into the test's own folder."""
    return ["--env", ENV, "--buffer", str(write(tmp_path / "data.npz")), "-f", str(tmp_path / "logs"), *TINY]


@pytest.fixture
def folder(tmp_path):
    """Where an RPP run with those flags ends up."""
    return tmp_path / "logs" / "rpp_model" / f"{ENV}_1"


def test_the_folder_holds_all_that_is_needed_to_use_and_repeat_the_run(flags, folder, capsys):
    assert main([*flags, "--rpp"]) == 0
    numbers = f"{load_model(folder).n_parameters} parameters, widths [16, 16]"
    assert f"training rpp_model (Z2) of Hopper-v4 with seed 3, {numbers}, in {folder}" in capsys.readouterr().out
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    events = {name for name in names if "tfevents" in name}
    settings = {f"{ENV}/{name}" for name in ("args.yml", "command.txt", "config.yml", "versions.jsonl")}
    assert len(events) == 1
    assert names - events == {"model.safetensors", "test.npz", ENV, *settings}
    config = merged_settings(ModelConfig, {}, RunFolder.open(folder).config)
    assert (config.mode, config.group, config.seed, config.n_epochs, config.n_test) == ("rpp", "Z2", 3, 6, 4)
    assert load_model(folder).mode == "rpp"


def test_the_held_out_trajectories_are_pieces_of_episodes_that_no_chunk_comes_from(
    flags, folder, tmp_path, monkeypatch
):
    made = []
    monkeypatch.setattr(module, "Trainer", lambda *args, **options: made.append(args) or Trainer(*args, **options))
    main([*flags, "--rpp"])
    _, train, test = made[0]
    starts = {episode[t].tobytes() for episode in read_episodes(tmp_path / "data.npz").states for t in range(46)}
    kept = read_episodes(folder / "test.npz")
    np.testing.assert_array_equal(np.stack(kept.states), test.states)
    in_train, in_test = ({row.tobytes() for row in part.states.reshape(-1, 11)} for part in (train, test))
    assert in_test | in_train <= starts
    assert in_test.isdisjoint(in_train)
    assert test.states.shape == (4, 21, 11)


class BufferOfOnesOwn(ReplayBuffer):
    """A pickle of it has to be run."""


def test_a_buffer_of_ones_own_class_needs_trust(flags, refused, tmp_path):
    box, actions = (Box(-high, high, (size,), np.float32) for high, size in ((np.inf, 11), (1.0, 3)))
    buffer, rng = BufferOfOnesOwn(400, box, actions, device="cpu"), np.random.default_rng(0)
    for step in range(400):
        obs, after = 0.1 * rng.normal(size=(2, 1, 11)) + step
        buffer.add(obs, after, rng.uniform(-1, 1, (1, 3)), np.zeros(1), np.zeros(1), [{}])
        buffer.observations[step] = buffer.next_observations[step - 1] if step % 40 else obs
    (tmp_path / "own.pkl").write_bytes(pickle.dumps(buffer))
    own = [*flags, "--buffer", str(tmp_path / "own.pkl")]
    assert "let it run with --trust" in refused(main, *own)
    assert main([*own, "--trust"]) == 0
    model = tmp_path / "logs" / "mlp_model" / f"{ENV}_1"
    write(tmp_path / "other.npz", seed=1)
    assert "--trust" in refused(evaluate_model, model, "--buffer", tmp_path / "own.pkl")
    assert evaluate_model([str(model), "--buffer", str(tmp_path / "other.npz")]) == 0


def test_every_setting_is_read():
    """A setting that is read nowhere would have no effect."""
    source = inspect.getsource(module)
    assert [f.name for f in dataclasses.fields(ModelConfig) if f"config.{f.name}" not in source] == []


def test_the_defaults_are_those_of_the_library():
    config = ModelConfig(env=ENV)
    others = ("mode", "seed", "prior", "validation", "residual_decay")
    for kind, names in ((Trainer, {}), (TransitionModel, {"widths": "net_arch"})):
        for name, parameter in inspect.signature(kind).parameters.items():
            field = names.get(name, name)
            if parameter.default is not parameter.empty and field not in others:
                assert getattr(config, field) == parameter.default
    assert (config.equiv_var, config.residual_var) == (None, None)
    faithful = merged_settings(ModelConfig, {"env": ENV}, config_file("faithful", "model"))
    assert Prior(faithful.equiv_var, faithful.residual_var) == PAPER_PRIOR


class Died(BaseException):
    """The process is gone: nothing after this runs."""


@pytest.mark.parametrize(
    "options", [["--rpp"], ["--rpp", "--augment"], ["--rpp", "--ensemble", "2", "-params", "head:gaussian"]]
)
def test_a_killed_run_goes_on_to_the_same_bits(flags, folder, monkeypatch, options, capsys):
    assert main([*flags, *options]) == 0
    run_epoch = Trainer.run_epoch

    def dying(self):
        if self.epoch == 5:
            raise Died
        run_epoch(self)

    monkeypatch.setattr(Trainer, "run_epoch", dying)
    with pytest.raises(Died):
        main([*flags, *options])
    monkeypatch.undo()
    killed = folder.with_name(f"{ENV}_2")
    assert len(read_model(killed)[2]["history"]) == 4
    assert main(["--resume", str(killed)]) == 0
    assert "after 4 of 6 epochs" in capsys.readouterr().out
    (whole, about, state), (resumed, about_resumed, state_resumed) = map(read_model, (folder, killed))
    for a, b in ((whole.state_dict(), resumed.state_dict()), (state, state_resumed)):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert about == about_resumed
    assert len((killed / ENV / "command.txt").read_text().splitlines()) == 2


def test_a_run_of_a_former_version_goes_on_without_validation(flags, folder, monkeypatch, capsys):
    monkeypatch.setattr(Trainer, "is_complete", property(lambda self: self.epoch == 2))
    assert main([*flags, "--rpp", "-params", "validation:0", "n_test:4"]) == 0
    monkeypatch.undo()
    model, about, _ = read_model(folder)
    config = RunFolder.open(folder).config
    settings = yaml.safe_load(config.read_text())
    del settings["validation"], about["validation"], about["is_complete"]
    config.write_text(yaml.safe_dump(settings))
    rng = np.random.default_rng(0)
    state = {f"optimizer.{name}.step": torch.zeros(()) for name, _ in model.named_parameters()}
    for key in ("exp_avg", "exp_avg_sq"):
        state |= {f"optimizer.{name}.{key}": torch.zeros_like(p.detach()) for name, p in model.named_parameters()}
    history = torch.from_numpy(rng.normal(size=(2, 2)))
    save_model(model, folder / "model.safetensors", about=about, extra={**state, "history": history})
    capsys.readouterr()
    assert main(["--resume", str(folder)]) == 0
    assert "after 2 of 6 epochs" in capsys.readouterr().out
    _, about, state = read_model(folder)
    assert (about["validation"], len(state["history"])) == (0, 6)
    assert merged_settings(ModelConfig, {}, config).validation == 0


def test_an_interrupted_run_is_saved_where_it_is(flags, folder, monkeypatch, capsys):
    wishes = iter([False, False, False, True])

    def check(self):
        if next(wishes):
            self.number = signal.SIGINT
            raise Interrupted

    monkeypatch.setattr(StopRequest, "check", check)
    assert main([*flags, "--rpp"]) == 130
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"continue with: train-model --resume {folder}")
    assert len(read_model(folder)[2]["history"]) == 3


@pytest.mark.slow
def test_a_run_that_is_killed_for_real_goes_on_to_the_same_loss_curve(flags, folder):
    flags = [*flags, "--rpp", "--epochs", "60"]
    assert main(flags) == 0
    code = "import sys; from rpp_rl.cli.train_model import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", code, *flags], start_new_session=True)
    killed = folder.with_name(f"{ENV}_2")
    for _ in range(1200):
        if (killed / "model.safetensors").exists():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(read_model(killed)[2]["history"]) < 60
    assert main(["--resume", str(killed)]) == 0
    histories = [read_model(path)[2]["history"] for path in (folder, killed)]
    assert torch.equal(*histories)


def test_modes_are_compared_at_equal_parameters(flags, tmp_path, capsys):
    sizes = {}
    for mode in ("mlp", "emlp", "rpp"):
        assert main([*flags, f"--{mode}", "--equal-parameters", "--epochs", "1"]) == 0
        sizes[mode] = load_model(tmp_path / "logs" / f"{mode}_model" / f"{ENV}_1").n_parameters
    assert 0.8 * sizes["mlp"] < min(sizes.values()) <= max(sizes.values()) == sizes["mlp"]


def test_a_replay_buffer_of_train_sac_will_do(trained, tmp_path):
    flags = ["--env", trained.env_id, "--buffer", str(trained.replay_buffer), "-f", str(tmp_path), *TINY]
    assert main([*flags, "--emlp", "-params", "n_test:2", "test_length:10"]) == 0
    model = load_model(tmp_path / "emlp_model" / f"{trained.env_id}_1")
    assert model.spec.to_dict() == envs_reps.load(trained.env_id).to_dict()


def test_test_trajectories_may_come_from_another_file(flags, tmp_path, folder, refused):
    other = write(tmp_path / "other.npz", seed=1)
    assert main([*flags, "--rpp", "--test-buffer", str(other)]) == 0
    kept = {state.tobytes() for state in read_episodes(other).states[0]}
    kept |= {row.tobytes() for states in read_episodes(other).states for row in states}
    assert {row.tobytes() for states in read_episodes(folder / "test.npz").states for row in states} <= kept
    assert "a transition that is also" in refused(main, *flags, "--test-buffer", tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--env", "Ant-v4"], "data.npz: expected data of Ant-v4, got data of Hopper-v4"),
        (["--env", "Dog-v0"], "no specification for environment 'Dog-v0'"),
        (["--group", "Z4"], "Hopper-v4 has no group 'Z4'"),
        (["--buffer", "none.pkl"], "none.pkl: No such file"),
        (["--device", "cuda:9"], "device 'cuda:9' cannot be used"),
        (
            ["-params", "test_length:100"],
            "4 test trajectories of 100 steps, but 12 episodes of at most 45 steps hold 0",
        ),
        (["-params", "n_test:24"], "leave none to learn from"),
        (["-params", "chunk_length:21"], "test trajectories must be as long as the chunks, got 20 and 21 steps"),
        (["-params", "widths:[3]"], "unknown setting 'widths'"),
        (["-params", "hidden:cubic"], "cubic"),
        (["-params", "residual_var:-1"], "residual_var must be positive"),
        (["--ensemble", "0"], "ensemble: expected at least 1"),
        (["-params", "residual_decay:-1"], "residual_decay: expected at least 0"),
        (["-params", "validation:0", "patience:3"], "patience needs chunks to validate on"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(flags, tmp_path, refused, extra, message):
    assert message in refused(main, *flags, "--rpp", *extra)
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env_id": ""}, None),
        ({"env_id": "", "obs": 12}, "expected observations of 11 and actions of 3 numbers as in Hopper-v4/Z2, got 12"),
        ({"n": 1}, "4 test trajectories of 20 steps, but 1 episodes"),
    ],
)
def test_data_that_do_not_fit_are_refused(flags, tmp_path, refused, change, message):
    write(tmp_path / "data.npz", **change)
    if message is None:
        assert main([*flags, "--epochs", "1"]) == 0
    else:
        assert message in refused(main, *flags)
        assert not (tmp_path / "logs").exists()


def test_a_training_that_diverges_ends_in_one_line(flags, refused):
    line = refused(main, *flags, "-params", "learning_rate:1e30")
    assert "the training has diverged" in line
    assert "use a lower learning_rate" in line


def test_runs_that_cannot_go_on_say_why(flags, folder, tmp_path, refused):
    assert main([*flags, "--rpp"]) == 0
    assert "has made its 6 epochs" in refused(main, "--resume", folder)
    assert "n_epochs cannot be given" in refused(main, "--resume", folder, "--epochs", "9")
    model, about, state = read_model(folder)
    unfinished = {"about": {**about, "is_complete": False}, "extra": {**state, "history": state["history"][:2]}}
    save_model(model, folder / "model.safetensors", **unfinished)
    write(tmp_path / "data.npz", seed=1)
    assert "is not what" in refused(main, "--resume", folder)
    (folder / "model.safetensors").write_bytes(b"")
    write(tmp_path / "data.npz")
    assert "is damaged" in refused(main, "--resume", folder)
    (folder / "model.safetensors").unlink()
    assert "no checkpoint was reached" in refused(main, "--resume", folder)
    assert "is not a run folder" in refused(main, "--resume", tmp_path)


def test_a_run_whose_data_were_divided_otherwise_is_refused(flags, folder, refused):
    assert main([*flags, "--rpp"]) == 0
    model, about, state = read_model(folder)
    unfinished = {"about": {**about, "is_complete": False}, "extra": {**state, "history": state["history"][:2]}}
    save_model(model, folder / "model.safetensors", **unfinished)
    write(folder / "test.npz", length=20, n=4)
    assert "an earlier version divided the data" in refused(main, "--resume", folder)


def test_no_data_is_said(refused):
    assert "add --buffer FILE" in refused(main, "--env", ENV)
