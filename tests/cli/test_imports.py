"""Nothing that a file names is imported, unless the user names it too."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import envs_reps
from rpp_rl.cli.check_spec import main as check_spec
from rpp_rl.cli.evaluate_agent import main as evaluate_agent
from rpp_rl.cli.pack_agent import main as pack_agent
from rpp_rl.cli.plot_agent import main as plot_agent
from rpp_rl.cli.record_agent import main as record_agent
from rpp_rl.cli.train_sac import main as train_sac
from rpp_rl.envs.spec_file import write_spec
from rpp_rl.io.border import UserError
from rpp_rl.runs.environments import environment_of

MODULE = "module_that_marks"


@pytest.fixture
def marking(tmp_path, monkeypatch):
    """A module in the current folder that leaves a mark when it is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{MODULE}.py").write_text("open('marker', 'w').close()\n")
    yield tmp_path / "marker"
    monkeypatch.delitem(__import__("sys").modules, MODULE, raising=False)


@pytest.fixture
def edited(copied):
    """A run whose settings name the module; its agents say nothing of it."""
    config = yaml.safe_load(copied.config.read_text())
    rewrite(copied, config | {"env": f"{MODULE}:{config['env']}", "mode": "mlp"})
    return copied


def rewrite(folder, config):
    """Change the settings of a run, whose folder has the name of the environment."""
    settings = folder.path / config["env"].replace(":", "-")
    folder.settings.rename(settings)
    (settings / "config.yml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (evaluate_agent, ["--episodes", "1"]),
        (record_agent, ["-o", "film.gif"]),
        (plot_agent, []),
        (pack_agent, ["--episodes", "2"]),
        (train_sac, ["-n", "300"]),
    ],
)
def test_a_runs_folder_imports_nothing(refused, edited, marking, command, flags):
    where = ["--resume-agent", edited.path] if command is train_sac else [edited.path]
    line = refused(command, *where, *flags)
    assert f"is for {MODULE}" in line
    assert not marking.exists()


@pytest.mark.parametrize("name", ["agent.zip", "agent.safetensors", "run/best_model.zip"])
def test_no_kind_of_file_names_a_module_for_the_user(name):
    agent = SimpleNamespace(path=Path(name), env_id="module:Id-v0", env_kwargs={"a": 1})
    with pytest.raises(UserError, match="say so with --env module:Id-v0"):
        environment_of(agent, None, {})
    assert environment_of(agent, "module:Id-v0", {}) == ("module:Id-v0", {"a": 1})
    assert environment_of(agent, "Other-v0", {}) == ("Other-v0", {})


def test_neither_does_a_zip_file_beside_settings(refused, edited, marking):
    refused(evaluate_agent, edited.best_agent, "--episodes", "1")
    assert not marking.exists()


def test_neither_does_a_specification(refused, marking, tmp_path):
    spec = envs_reps.load("Walker2d-v5")
    text = yaml.safe_dump(spec.to_dict() | {"env_id": f"{MODULE}:Walker2d-v5"})
    (tmp_path / "spec.yaml").write_text(text)
    assert "say so with --env" in refused(check_spec, "--spec", tmp_path / "spec.yaml", "--states", "1")
    assert not marking.exists()


def test_neither_do_settings(refused, marking, tmp_path):
    (tmp_path / "conf.yaml").write_text(f"env: {MODULE}:Walker2d-v5\n")
    assert "say so with --env" in refused(train_sac, "-conf", "conf.yaml", "-f", "logs")
    assert not marking.exists()


@pytest.mark.parametrize("value", ["module:Id-v0", ["module:Id-v0"], {"env_id": "module:Id-v0"}])
def test_neither_do_the_arguments_of_an_adapter(value):
    """Gymnasium's environments of other libraries take an id, which may have a module before it."""
    agent = SimpleNamespace(path=Path("a.zip"), env_id="GymV21Environment-v0", env_kwargs={"env_id": value, "n": 1})
    with pytest.raises(UserError, match="repeat it with --env-kwargs env_id:VALUE"):
        environment_of(agent, None, {})
    assert environment_of(agent, None, {"env_id": value})[1] == {"env_id": value, "n": 1}
    agent.env_kwargs["env_id"] = ["text", 3, None, {"x": "./hopper.xml"}]
    assert environment_of(agent, None, {})[1] == agent.env_kwargs


def test_the_environment_of_an_agents_symmetry_is_the_one_that_is_made(refused, copied):
    config = yaml.safe_load(copied.config.read_text())
    rewrite(copied, config | {"env": "Hopper-v5"})
    for path in copied.path.glob("*.zip"):
        assert "says that it is for Hopper-v5" in refused(evaluate_agent, path, "--episodes", "1")


@pytest.mark.mujoco
def test_a_user_who_repeats_the_name_gets_the_module(marking, tmp_path):
    """Negative control: the module would be imported, and is where it may."""
    write_spec(tmp_path / "spec.yaml", envs_reps.load("Walker2d-v5"))
    flags = ["--spec", str(tmp_path / "spec.yaml"), "--states", "1", "--env", f"{MODULE}:Walker2d-v5"]
    assert check_spec(flags) == 0
    assert marking.exists()
