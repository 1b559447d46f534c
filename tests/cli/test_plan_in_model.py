"""``plan-in-model``: it plays what the planner plans, and mistakes end in one line."""

import json

import numpy as np
import pytest
import torch

import envs_reps
from rpp_rl.cli.plan_in_model import main
from rpp_rl.dynamics import Episodes, TransitionModel, save_model, write_episodes
from rpp_rl.dynamics.model_file import MODEL_FILE, TEST_FILE

TINY = ["--steps", "4", "--horizon", "3", "--plans", "6", "--iterations", "2"]


def make_run(folder, env_id="Swimmer-v5", **options):
    spec = envs_reps.load(env_id)
    torch.manual_seed(0)
    save_model(TransitionModel(spec, widths=(8,), **options), folder / MODEL_FILE)
    rng = np.random.default_rng(0)
    states = 0.1 * rng.normal(size=(2, 6, spec.observation.size)).astype(np.float32)
    actions = rng.uniform(-1, 1, size=(2, 5, spec.action.size)).astype(np.float32)
    write_episodes(Episodes(tuple(states), tuple(actions), env_id), folder / TEST_FILE)
    return str(folder)


@pytest.mark.mujoco
@pytest.mark.parametrize("method", ["cem", "mppi"])
def test_it_plans_with_every_method_and_repeats_itself(tmp_path, capsys, method):
    run, results = make_run(tmp_path, ensemble=3, head="gaussian"), []
    for seed in ("0", "0", "1"):
        flags = ["--episodes", "2", "--particles", "2", "--method", method, "--seed", seed, "--json"]
        assert main([run, *TINY, *flags]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1] != results[2]
    assert len(results[0]["planned"]) == len(results[0]["random"]) == 2
    assert results[0]["method"] == method


@pytest.mark.mujoco
def test_it_prints_the_returns(tmp_path, capsys):
    assert main([make_run(tmp_path), *TINY]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Swimmer-v5, planned: return of 4 steps ")
    assert second.startswith("Swimmer-v5, random actions: return of 4 steps ")


def test_mistakes_end_in_one_line(tmp_path, refused):
    assert "has no model.safetensors" in refused(main, tmp_path)
    assert "the reward of rpp_rl/AntCommand-v0 is not known" in refused(
        main, make_run(tmp_path, "rpp_rl/AntCommand-v0")
    )
