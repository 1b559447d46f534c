"""A training from the command line: what it leaves in its folder, and what its flags do."""

import csv
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from rpp_rl.cli.train_sac import main
from rpp_rl.envs import Generator
from rpp_rl.experiments.reading import read_scalars
from rpp_rl.runs.checkpoint import load_agent
from rpp_rl.runs.train_sac import _inexact
from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import load_yaml


def evaluations(folder):
    with np.load(folder / "evaluations.npz") as file:
        return {key: file[key] for key in file}


def test_the_log_says_how_far_the_robot_moved(trained):
    moved = read_scalars(trained.path)["rollout/x_displacement"]
    assert moved
    assert 0 < max(map(abs, moved.values())) < 10


def test_the_folder_has_the_zoos_layout(trained):
    names = {path.relative_to(trained.path).as_posix() for path in trained.path.rglob("*")}
    events = {name for name in names if "tfevents" in name}
    assert len(events) == 1
    assert names - events == {
        "0.monitor.csv",
        "best_model.zip",
        "evaluations.npz",
        "replay_buffer.safetensors",
        "rl_model_80_steps.zip",
        "rl_model_160_steps.zip",
        "rl_model_200_steps.zip",
        "Walker2d-v5.zip",
        "Walker2d-v5",
        "Walker2d-v5/args.yml",
        "Walker2d-v5/command.txt",
        "Walker2d-v5/config.yml",
        "Walker2d-v5/versions.jsonl",
    }


def test_the_settings_are_recorded_so_that_the_run_can_be_repeated(trained):
    config = sac_config({}, trained.config)
    assert (config.mode, config.n_timesteps, config.seed, config.net_arch) == ("rpp", 200, 1, (16, 16))
    assert config.group == "Z2"
    assert (trained.settings / "command.txt").read_text().startswith("train-sac --env Walker2d-v5")
    (versions,) = (json.loads(line) for line in (trained.settings / "versions.jsonl").read_text().splitlines())
    assert versions["torch"] == torch.__version__
    assert versions["from_step"] == 0


def test_evaluations_are_kept_with_their_steps(trained):
    found = evaluations(trained.path)
    assert found["timesteps"].tolist() == [100, 200]
    assert found["results"].shape == found["ep_lengths"].shape == (2, 2)
    assert np.isfinite(found["results"]).all()


def test_the_best_agent_is_the_one_of_the_best_evaluation(trained):
    found = evaluations(trained.path)
    best = found["timesteps"][found["results"].mean(axis=1).argmax()]
    assert load_agent(trained.best_agent, "cpu").num_timesteps == best


def test_the_monitor_has_the_episodes_in_order(trained):
    lines = (trained.path / "0.monitor.csv").read_text().splitlines()
    assert json.loads(lines[0].removeprefix("#"))["env_id"] == "Walker2d-v5"
    lengths = [int(row["l"]) for row in csv.DictReader(lines[1:])]
    assert lengths
    assert sum(lengths) <= 200


@pytest.mark.parametrize(("flag", "algorithm"), [("--rpp", "rpp_sac"), ("--emlp", "emlp_sac"), ("--mlp", "sac")])
def test_every_mode_has_its_folder(tiny, tmp_path, flag, algorithm):
    assert main([*tiny, flag, "-n", "60", "--no-save-replay-buffer", "-tb", "off"]) == 0
    folder = tmp_path / "logs" / algorithm / "Walker2d-v5_1"
    assert load_agent(folder / "Walker2d-v5.zip", "cpu").policy.mode == flag.removeprefix("--")
    assert not (folder / "replay_buffer.safetensors").exists()
    assert not list(folder.glob("*tfevents*"))


def test_a_run_too_short_to_learn_says_so(tmp_path, capsys):
    settings = ["learning_starts:50", "buffer_size:100", "net_arch:[8]"]
    for steps, is_said in (("50", True), ("51", False)):
        main(["--env", "Pendulum-v1", "-n", steps, "-f", str(tmp_path), "-params", *settings])
        assert ("nothing will be learned" in capsys.readouterr().out) == is_said


def test_plain_is_the_default_and_works_without_a_specification(tmp_path):
    flags = ["--env", "Pendulum-v1", "-n", "30", "-f", str(tmp_path), "-params", "buffer_size:100", "net_arch:[8]"]
    assert main(flags) == 0
    config = sac_config({}, tmp_path / "sac" / "Pendulum-v1_1" / "Pendulum-v1" / "config.yml")
    assert (config.mode, config.group) == ("mlp", None)
    assert config.seed is not None  # drawn, and recorded


def test_runs_are_numbered_and_repeat_exactly_by_seed(tiny, tmp_path):
    for _ in range(2):
        assert main([*tiny, "--rpp", "-n", "120"]) == 0
    first, second = (tmp_path / "logs" / "rpp_sac" / f"Walker2d-v5_{i}" for i in (1, 2))
    for key, values in evaluations(first).items():
        np.testing.assert_array_equal(values, evaluations(second)[key])
    agents = [load_agent(folder / "Walker2d-v5.zip", "cpu").policy.state_dict() for folder in (first, second)]
    assert all(torch.equal(agents[0][key], agents[1][key]) for key in agents[0])


def test_another_seed_gives_another_run(tiny, tmp_path):
    for seed in ("2", "3"):
        assert main([*tiny, "--rpp", "-n", "100", "--seed", seed]) == 0
    runs = [evaluations(tmp_path / "logs" / "rpp_sac" / f"Walker2d-v5_{i}")["results"] for i in (1, 2)]
    assert not np.array_equal(*runs)


def test_flags_beat_the_file(tiny, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("default: {gamma: 0.9, tau: 0.5}\n")
    assert main([*tiny, "-n", "20", "-conf", str(path), "-params", "gamma:0.8", "net_arch:[4]"]) == 0
    config = load_yaml(tmp_path / "logs" / "sac" / "Walker2d-v5_1" / "Walker2d-v5" / "config.yml")
    assert (config["gamma"], config["tau"], config["net_arch"], config["seed"]) == (0.8, 0.5, [4], 1)


@pytest.mark.parametrize("vec_env", ["dummy", pytest.param("subproc", marks=pytest.mark.slow)])
def test_several_environments_at_once(tiny, tmp_path, vec_env):
    assert main([*tiny, "--rpp", "-n", "120", "--num-envs", "2", "--vec-env", vec_env, "--n-eval-envs", "2"]) == 0
    folder = tmp_path / "logs" / "rpp_sac" / "Walker2d-v5_1"
    assert len(list(folder.glob("*.monitor.csv"))) == 2
    assert evaluations(folder)["timesteps"].tolist() == [100]
    # Random actions for 50 steps, then as many updates per transition as with one environment.
    assert load_agent(folder / "Walker2d-v5.zip", "cpu")._n_updates == 70


def test_arguments_of_the_environment_reach_it(tiny, tmp_path):
    assert main([*tiny, "-n", "20", "--env-kwargs", "healthy_reward:0.0", "terminate_when_unhealthy:false"]) == 0
    recorded = load_yaml(tmp_path / "logs" / "sac" / "Walker2d-v5_1" / "Walker2d-v5" / "args.yml")
    assert recorded["env_kwargs"] == {"healthy_reward": 0.0, "terminate_when_unhealthy": False}


def test_without_a_terminal_every_evaluation_prints_a_line(tiny, capsys):
    assert main([*tiny, "--rpp", "-n", "200"]) == 0
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()[1:3]] == ["step 100/200", "step 200/200"]
    assert captured.err == ""


def test_in_a_terminal_a_bar_shows_the_return_and_the_time_left(tiny, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main([*tiny, "-n", "200"]) == 0
    bar = capsys.readouterr().err
    assert "200/200" in bar
    assert "return" in bar
    assert "step/s" in bar
    assert main([*tiny, "-n", "20", "--no-progress"]) == 0
    assert capsys.readouterr().err == ""


def test_the_table_of_the_log_is_printed_on_request(tiny, capsys):
    assert main([*tiny, "-n", "200", "--verbose", "1"]) == 0
    assert "critic_loss" in capsys.readouterr().out


def test_the_log_is_written_as_often_as_asked(tiny, capsys):
    counts = []
    for n_episodes in ("1", "1000"):
        assert main([*tiny, "-n", "200", "--verbose", "1", "--log-interval", n_episodes]) == 0
        counts.append(capsys.readouterr().out.count("critic_loss"))
    assert counts[0] > counts[1] + 3


def test_tensorboard_goes_where_it_is_told(tiny, tmp_path):
    assert main([*tiny, "-n", "100", "-tb", str(tmp_path / "board")]) == 0
    assert list((tmp_path / "board").rglob("*tfevents*"))


def test_torch_uses_one_thread_unless_asked(tiny):
    assert main([*tiny, "-n", "10", "--num-threads", "2"]) == 0
    assert torch.get_num_threads() == 2
    assert main([*tiny, "-n", "10"]) == 0
    assert torch.get_num_threads() == 1


def test_strict_float32_is_torchs_own_setting(tiny):
    products = getattr(torch.backends.mkldnn, "matmul", None)
    if products is None:
        pytest.skip("torch 2.8 has no such setting")
    assert main([*tiny, "-n", "10", "--strict-float32"]) == 0
    assert products.fp32_precision == "ieee"
    assert main([*tiny, "-n", "10"]) == 0
    assert products.fp32_precision == "none"


def test_help_names_every_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert "--n-timesteps" in text
    assert "1000000" in text


def test_the_written_settings_are_those_of_the_dataclass(trained):
    with trained.config.open() as file:
        assert SACConfig(**yaml.safe_load(file)) == sac_config({}, trained.config)


def test_the_commands_are_installed(tmp_path):
    command = os.path.join(os.path.dirname(sys.executable), "train-sac")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.startswith("rpp_rl ")


def test_a_symmetry_that_is_not_exact_says_how_far_it_is(tmp_path, capsys):
    flags = ["-n", "20", "--no-progress", "-f", str(tmp_path), "-params", "buffer_size:100", "net_arch:[16,16]"]
    assert main(["--env", "Walker2d-v4", "--rpp", *flags]) == 0
    out = capsys.readouterr().out
    assert "the symmetry f (" in out
    assert "is not exact: its error is 5.9 % of the state's change" in out
    assert main(["--env", "Walker2d-v5", "--rpp", *flags]) == 0
    assert "not exact" not in capsys.readouterr().out


def test_exact_dynamics_are_not_called_an_error_of_nothing():
    """The reward may be what breaks a symmetry; an error of 0.0 % would contradict "not exact"."""
    record = Generator("f2", "front and back", keeps_reward=False, error_1_step=0.0, error_20_steps=0.0)
    assert "is exact for the dynamics, but it changes reward or termination" in _inexact(record)
    assert "its error is 0.1 %" in _inexact(dataclasses.replace(record, error_1_step=0.001))


@pytest.mark.parametrize(("payload", "low", "high"), [("0.0", 29.9, 30.1), ("1.0", 4.0, 12.0)])
def test_the_prior_trusts_a_symmetry_as_far_as_it_holds_in_this_very_environment(tmp_path, capsys, payload, low, high):
    flags = ["--env", "rpp_rl/AntCommand-v0", "--env-kwargs", f"payload:{payload}", "--rpp", "-f", str(tmp_path)]
    small = ["-params", "net_arch:[8]", "buffer_size:100"]
    assert main([*flags, "-n", "10", "-tb", "off", "--eval-freq", "10", "--eval-episodes", "1", *small]) == 0
    agent = load_agent(next(tmp_path.rglob("best_model.zip")), "cpu")
    assert low < agent.actor.optimizer.param_groups[1]["weight_decay"] < high
    assert ("is not exact" in capsys.readouterr().out) == (payload != "0.0")
