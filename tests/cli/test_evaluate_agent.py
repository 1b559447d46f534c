"""Evaluating a saved agent: which one, where, how, and what is printed."""

import json
import shutil

import numpy as np
import pytest

from rpp_rl.agents.find import find_agent
from rpp_rl.agents.load import load_agent
from rpp_rl.cli.evaluate_agent import main


def evaluate(capsys, *argv):
    assert main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_best_agent_of_a_run_is_taken(trained, capsys):
    result = evaluate(capsys, trained.path, "--episodes", "3")
    assert result["agent"] == str(trained.best_agent)
    assert result["env"] == "Walker2d-v5"
    assert len(result["returns"]) == len(result["lengths"]) == 3
    assert result["mean_return"] == pytest.approx(np.mean(result["returns"]))
    assert result["std_return"] == pytest.approx(np.std(result["returns"]))


def test_without_a_best_agent_the_last_one_is_taken(copied):
    copied.best_agent.unlink()
    assert find_agent(copied.path) == copied.agent
    copied.agent.unlink()
    assert find_agent(copied.path) == copied.checkpoint(200)


def test_an_agent_outside_a_run_knows_its_environment_by_its_specification(trained, tmp_path, capsys):
    shutil.copy(trained.agent, tmp_path / "mine.zip")
    assert evaluate(capsys, tmp_path / "mine.zip", "--episodes", "1")["env"] == "Walker2d-v5"


def test_the_agent_of_a_run_knows_its_evaluations(trained):
    """So that plot-agent draws them."""
    curve = load_agent(trained.path).card["learning_curve"]
    _, returns, _ = trained.load_evaluations()
    assert curve["steps"] == [100, 200]
    assert curve["mean_return"] == returns.mean(axis=1).tolist()


def test_the_seed_decides_the_returns(trained, capsys):
    results = [evaluate(capsys, trained.path, "--episodes", "2", "--seed", seed)["returns"] for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]


def test_a_stochastic_policy_differs_and_repeats_by_seed(trained, capsys):
    flags = (trained.path, "--episodes", "2")
    first, second = (evaluate(capsys, *flags, "--stochastic")["returns"] for _ in range(2))
    assert first == second != evaluate(capsys, *flags, "--deterministic")["returns"]


def test_arguments_of_the_environment_are_those_of_the_training(tiny, tmp_path, capsys):
    from rpp_rl.cli.train_sac import main as train_sac

    assert train_sac([*tiny, "-n", "60", "--env-kwargs", "healthy_reward:1000.0"]) == 0
    capsys.readouterr()
    folder = tmp_path / "logs" / "sac" / "Walker2d-v5_1"
    assert evaluate(capsys, folder, "--episodes", "1")["mean_return"] > 1000
    kwargs = ["--env-kwargs", "healthy_reward:0.0"]
    assert evaluate(capsys, folder, "--episodes", "1", *kwargs)["mean_return"] < 1000


def test_an_agent_of_several_environments_is_played_in_one(tiny, tmp_path, capsys):
    from rpp_rl.cli.train_sac import main as train_sac

    assert train_sac([*tiny, "-n", "60", "-params", "n_envs:2"]) == 0
    assert "best mean return" not in capsys.readouterr().out  # there was no evaluation
    assert len(evaluate(capsys, tmp_path / "logs" / "sac" / "Walker2d-v5_1", "--episodes", "1")["returns"]) == 1


def test_the_equivariance_error_tells_a_law_from_no_symmetry(tiny, tmp_path, capsys):
    from rpp_rl.cli.train_sac import main as train_sac

    errors = {}
    for mode in ("emlp", "mlp"):
        assert train_sac([*tiny, f"--{mode}", "-n", "60"]) == 0
        capsys.readouterr()
        folder = tmp_path / "logs" / {"emlp": "emlp_sac", "mlp": "sac"}[mode] / "Walker2d-v5_1"
        result = evaluate(capsys, folder, "--episodes", "1")
        assert result["group"] == "Z2"
        errors[mode] = max(error["mean"] for error in result["equivariance_error"].values())
    assert errors["emlp"] < 1e-4
    assert errors["mlp"] > 0.05


def test_what_is_printed_for_people(trained, capsys):
    assert main([str(trained.path), "--episodes", "2"]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith("steps on Walker2d-v5")
    assert "in 2 episodes (deterministic)" in second
    assert third.startswith("equivariance error of the policy under")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--episodes", "0"], "expected at least 1"),
        (["--seed", "-1"], "expected at least 0"),
        (["--seed", "4294967296"], "expected at most 4294967295"),
        (["--episodes", "x"], "invalid integer value: 'x'"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(trained, capsys, flags, message):
    with pytest.raises(SystemExit, match="2"):
        main([str(trained.path), *flags])
    assert message in capsys.readouterr().err
