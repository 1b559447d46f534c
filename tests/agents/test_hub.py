"""Agents go to the hub and come back, without a line of anybody's code on the way."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import yaml

import rpp_rl
from rpp_rl.agents import AgentError, save_agent
from rpp_rl.agents.card import evaluation_record
from rpp_rl.agents.hub import push_agent, write_repository
from rpp_rl.cli.evaluate_agent import main as evaluate
from rpp_rl.cli.push_agent import main
from rpp_rl.io.extras import MissingExtraError
from rpp_rl.sac import RPPSAC
from tests.kit import hub_stub
from tests.kit.agents import untrained, visited

pytestmark = pytest.mark.mujoco

REPO = "somebody/rpp_sac-Walker2d-v5"
NAME = "rpp_sac-Walker2d-v5"
LAYOUT = {f"{NAME}.safetensors", f"{NAME}.zip", "config.yml", "args.yml", "results.json", "README.md"}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants", reason="not installed: pip install 'rpp_rl[hub]'")
    with hub_stub.running() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield server


@pytest.fixture
def agent():
    agent = untrained("Walker2d-v5")
    agent.config = {"env": "Walker2d-v5", "mode": "rpp"}
    agent.card = {
        "method": "rpp_sac",
        "group": "Z2",
        "steps": 7,
        "run_steps": 9,
        "choice": "best",
        "seed": 1,
        "evaluation": evaluation_record([1.0, 2.0], [3, 4], 0),
        "measured_group": "Z2",
        "equivariance_error": {},
        "learning_curve": {"steps": [7], "mean_return": [1.5], "std_return": [0.5]},
        "equivariance_curve": None,
        "command": "train-sac --env Walker2d-v5 --rpp",
        "versions": {"rpp_rl": "0"},
    }
    return agent


def test_an_agent_comes_back_as_it_went(hub, agent):
    address = push_agent(agent, REPO)
    assert address.startswith(f"{hub.url}/{REPO}/commit/")
    assert hub.repositories.keys() == {REPO}
    assert hub.repositories[REPO].keys() >= LAYOUT
    back = rpp_rl.load_agent(f"hf://{REPO}")
    assert (back.env_id, back.n_steps) == ("Walker2d-v5", 7)
    obs = visited("Walker2d-v5")
    np.testing.assert_array_equal(back.predict(obs)[0], agent.predict(obs)[0])
    assert set(hub.downloads) == {f"{NAME}.safetensors"}
    push_agent(agent, REPO)
    assert rpp_rl.load_agent(f"hf://{REPO}@{hub_stub.COMMIT}").n_steps == 7


def test_the_layout_is_that_of_the_zoo(agent, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    folder = tmp_path / "repository"
    folder.mkdir()
    write_repository(agent, REPO, folder, video=tmp_path / "film.mp4")
    assert {path.name for path in folder.iterdir()} == LAYOUT | {"replay.mp4"}
    obs = visited("Walker2d-v5")
    model = RPPSAC.load(folder / f"{NAME}.zip", device="cpu")
    np.testing.assert_allclose(model.predict(obs, deterministic=True)[0], agent.predict(obs)[0], atol=1e-6)
    assert model.num_timesteps == 7
    results = json.loads((folder / "results.json").read_text())
    assert (results["mean_reward"], results["std_reward"], results["n_eval_episodes"]) == (1.5, 0.5, 2)
    assert yaml.safe_load((folder / "config.yml").read_text()) == agent.config
    _, header, card = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    metric = yaml.safe_load(header)["model-index"][0]["results"][0]["metrics"][0]
    assert metric["value"] == "1.50 +/- 0.50"
    assert f'rpp_rl.load_agent("hf://{REPO}")' in card
    assert "train-sac --env Walker2d-v5 --rpp" in card


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("trust", [False, True])
def test_nothing_in_a_repository_is_executed(hub, tmp_path, trust):
    """Neither a zip file beside the safe file, nor a pickle or a zip file under the safe file's name."""
    fuse = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(fuse))
    pickle.loads(bomb).close()
    assert fuse.exists(), "negative control: this would have exploded"
    fuse.unlink()
    hub.repositories[REPO] = {f"{NAME}.zip": bomb, f"{NAME}.pkl": bomb, "rpp_rl.py": b"open('exploded', 'w')"}
    with pytest.raises(AgentError, match=r"no such file; only rpp_sac-Walker2d-v5\.safetensors is ever loaded"):
        rpp_rl.load_agent(f"hf://{REPO}", trust=trust)
    hub.repositories[REPO][f"{NAME}.safetensors"] = bomb
    with pytest.raises(AgentError):
        rpp_rl.load_agent(f"hf://{REPO}", trust=trust)
    assert not fuse.exists()


def test_a_zip_file_under_the_safe_name_is_refused_even_when_trusted(hub, agent, tmp_path):
    write_repository(agent, REPO, tmp_path)
    hub.repositories[REPO] = {f"{NAME}.safetensors": (tmp_path / f"{NAME}.zip").read_bytes()}
    with pytest.raises(AgentError, match="zip"):
        rpp_rl.load_agent(f"hf://{REPO}", trust=True)


def test_what_is_not_there(hub, agent):
    with pytest.raises(AgentError, match="no such repository"):
        rpp_rl.load_agent(f"hf://{REPO}")
    push_agent(agent, REPO)
    with pytest.raises(AgentError, match="no such revision"):
        rpp_rl.load_agent(f"hf://{REPO}@v7")
    for name in ("hf://", "hf://name", "hf://a/b/c", "hf://../../etc", "hf://a/..", "hf://a b/c"):
        with pytest.raises(AgentError, match="org/name"):
            rpp_rl.load_agent(name)


def test_without_the_hub_what_was_downloaded_still_loads(hub, agent, monkeypatch):
    push_agent(agent, REPO)
    rpp_rl.load_agent(f"hf://{REPO}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert rpp_rl.load_agent(f"hf://{REPO}").n_steps == 7
    with pytest.raises(AgentError, match="cannot be reached"):
        rpp_rl.load_agent("hf://somebody/else")
    with pytest.raises(AgentError, match="cannot be reached"):
        push_agent(agent, REPO)


def test_an_agent_without_card_is_not_pushed(hub):
    with pytest.raises(AgentError, match="pack-agent"):
        push_agent(untrained("Walker2d-v5"), REPO)
    assert hub.repositories == {}


def test_without_the_extra(agent, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"rpp_rl\[hub\]"):
        push_agent(agent, REPO)
    assert evaluate([f"hf://{REPO}"]) == 2
    assert "rpp_rl[hub]" in capsys.readouterr().err


def test_the_command_and_the_environment_variable(hub, agent, tmp_path):
    """HF_ENDPOINT is read when the client is imported, so in another process."""
    save_agent(agent, tmp_path / "agent.safetensors")
    home = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    run = "import sys; from rpp_rl.cli.{} import main; sys.exit(main(sys.argv[1:]))"
    for command, *argv in (
        ("push_agent", str(tmp_path / "agent.safetensors"), "--repo", REPO),
        ("evaluate_agent", f"hf://{REPO}", "--episodes", "1"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", run.format(command), *argv], env=home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert REPO in done.stdout or "Walker2d-v5" in done.stdout


def test_the_command_refuses_in_one_line(hub, agent, tmp_path, capsys):
    save_agent(agent, tmp_path / "agent.safetensors")
    assert main([str(tmp_path / "agent.safetensors"), "--repo", "no name"]) == 2
    line = capsys.readouterr().err
    assert "org/name" in line
    assert line.count("\n") == 1
