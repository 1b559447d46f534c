"""The files in configs/ and the defaults fit the library that they configure."""

import dataclasses
import inspect
import runpy
import shutil
import tomllib
from pathlib import Path

import pytest
from stable_baselines3 import SAC

import rpp_rl
from rpp_rl.cli import run_experiment, train_sac
from rpp_rl.experiments.plan import PlanError, read_plan
from rpp_rl.runs.environments import make_vec_env, specification
from rpp_rl.runs.train_sac import build_agent
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import (
    LEARNING_SETTINGS,
    AgentSettings,
    LearningSettings,
    NetworkSettings,
    RunSettings,
    SACConfig,
    sac_config,
)
from rpp_rl.settings import load_yaml
from rpp_rl.shipped_configs import config_file

FILES = sorted((Path(__file__).parents[2] / "configs" / "sac").glob("*.yaml"))
SECTIONS = [
    (path, name)
    for path in FILES
    for name in (load_yaml(path) if "default" in load_yaml(path) else ["Ant-v4"])
    if name != "default"
]


def test_there_are_files():
    assert {path.name for path in FILES} == {
        "base.yaml", "faithful.yaml", "mbpo.yaml", "model-based.yaml", "mujoco.yaml", "sb3.yaml",
    }  # fmt: skip


@pytest.mark.parametrize(("path", "env_id"), SECTIONS, ids=lambda value: getattr(value, "stem", value))
def test_an_agent_can_be_built_from_every_section(path, env_id):
    flags = {"env": env_id, "mode": "rpp", "seed": 0, "buffer_size": 10, "device": "cpu"}
    config = sac_config(flags, path)
    envs = make_vec_env(env_id, {}, n_envs=1, seed=0)
    spec = specification(config, envs)
    assert config.group in (None, spec.variant)
    model = build_agent(config, spec, envs)
    assert model.policy.mode == "rpp"
    assert model.policy.critic_mode == ("mlp" if config.policy_only else "rpp")
    assert (model.gamma, model.tau, model.max_grad_norm) == (config.gamma, config.tau, config.max_grad_norm)
    for optimizer in (model.actor.optimizer, model.critic.optimizer):
        assert tuple(optimizer.param_groups[0]["betas"]) == config.optimizer_betas
    if config.target_entropy == "half":
        assert model.target_entropy == -len(envs.action_space.low) / 2
    elif config.target_entropy != "auto":
        assert model.target_entropy == config.target_entropy


def test_the_settings_of_an_agent_are_arguments_of_it():
    """Those that are not Stable-Baselines3's are declared once, and what was not given has the same default."""
    of_sb3 = AgentSettings().agent_kwargs().keys() - set(LEARNING_SETTINGS)
    assert of_sb3 <= inspect.signature(SAC.__init__).parameters.keys()
    assert not inspect.signature(RPPSAC.__init__).parameters.keys() & set(LEARNING_SETTINGS)
    agent = RPPSAC("Walker2d-v5", buffer_size=10)
    own = LearningSettings().to_dict()
    assert {name: getattr(agent, name) for name in own if not name.endswith("_decay")}.items() <= own.items()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("actor_residual_decay", {"sac/config.py", "sac/policies.py"}),
        ("head_scale", {"sac/config.py", "sac/networks.py"}),
    ],
)
def test_only_the_declaration_and_the_use_name_a_setting(name, files):
    package = Path(rpp_rl.__file__).parent
    named = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if name in path.read_text()}
    assert named - {"agents/sb3_zip.py", "sac/callbacks.py"} == files, "neither reading a zip nor logging is on the way"


def test_every_setting_of_the_networks_reaches_them():
    """Through the settings of a run, and no other way; the mode alone has another default in a policy.

    A subgroup is for the mode ``rpp`` alone, see ``tests/sac/test_levels.py``.
    """
    changed = {
        "mode": "emlp", "policy_only": True, "net_arch": [16, 16], "n_critics": 3, "activation": "tanh",
        "hidden": "8*R + 4*V", "bilinear": True, "layer_norm": True, "normalize_obs": True, "head_scale": 0.5,
        "std": "softplus",
    }  # fmt: skip
    assert {*changed, "subgroup", "subgroup_decay"} == NetworkSettings().policy_kwargs().keys()
    config = SACConfig(env="Walker2d-v5", **changed)
    envs = make_vec_env("Walker2d-v5", {}, n_envs=1, seed=0)
    made = build_agent(config, specification(config, envs), envs).policy.network_kwargs
    assert {name: made[name] for name in changed} == changed


def test_every_setting_of_a_run_is_read():
    source = inspect.getsource(inspect.getmodule(build_agent)) + inspect.getsource(inspect.getmodule(specification))
    names = {field.name for field in dataclasses.fields(RunSettings)} | {"optimizer_betas", "model_based"}
    assert [name for name in names if f"config.{name}" not in source] == []


@pytest.mark.parametrize(
    ("name", "stem"), [("base", "base"), ("sb3", "sb3"), ("paper", "faithful"), ("mujoco", "mujoco")]
)
def test_shipped_settings_are_found_by_name_from_anywhere(tmp_path, monkeypatch, name, stem):
    (tmp_path / name).write_text("gamma: 0.5")
    monkeypatch.chdir(tmp_path)
    assert config_file(name, "sac") in FILES
    assert config_file(name, "sac").stem == stem
    assert config_file(f"./{name}", "sac").read_text() == "gamma: 0.5"


def test_a_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").write_text("gamma: 0.5")
    for path in ("own", "missing.yaml", "some/base", str(FILES[0])):
        assert config_file(path, "sac") == Path(path)
    assert config_file("some.yaml", "sac", tmp_path) == tmp_path / "some.yaml"


@pytest.mark.parametrize(
    ("main", "given", "known"),
    [
        (
            train_sac.main,
            ["--env", "Ant-v4", "-conf", "bass"],
            "known are base, faithful, mbpo, model-based, mujoco, paper",
        ),
        (run_experiment.main, ["-conf", "papers"], "known are model-based, model-data, paper-figures, paper-"),
    ],
)
def test_an_unknown_name_lists_the_known_ones_in_one_line(main, given, known, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert known in error


def test_an_experiment_is_found_by_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_experiment.main(["-conf", "paper-figures-small", "--status"]) == 0
    assert "Walker2d-v4" in capsys.readouterr().out


def test_a_file_of_an_experiment_may_name_shipped_settings(tmp_path):
    text = "seeds: 1\nenvironments: [Ant-v4]\nvariants: {a: {conf: NAME}}\n"
    (tmp_path / "x.yaml").write_text(text.replace("NAME", "sb3"))
    assert read_plan(tmp_path / "x.yaml").jobs[0].settings.learning_starts == 100
    (tmp_path / "x.yaml").write_text(text.replace("NAME", "sb4"))
    with pytest.raises(PlanError, match="no settings named 'sb4'; known are base"):
        read_plan(tmp_path / "x.yaml")


def test_the_wheel_holds_them(tmp_path):
    """Found in the package, once it is installed without the checkout."""
    root = Path(__file__).parents[2]
    targets = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"] == {"configs": "rpp_rl/configs"}
    package = tmp_path / "rpp_rl"
    shutil.copytree(root / "configs", package / "configs")
    shutil.copy(root / "rpp_rl" / "shipped_configs.py", package)
    found = runpy.run_path(str(package / "shipped_configs.py"))["config_file"]("base", "sac")
    assert found == package / "configs" / "sac" / "base.yaml"
