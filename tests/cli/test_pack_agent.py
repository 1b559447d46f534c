"""From the folder of a run to a pretrained agent: packing, listing, reproducing its card, training it further."""

import dataclasses
import json
import shlex
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3.common.logger import configure

from rpp_rl.agents import load_agent, registry, save_agent
from rpp_rl.agents.card import evaluation_record, reproduces, to_markdown
from rpp_rl.agents.trained_agent import take_over
from rpp_rl.cli.arguments import RESUMABLE, settings_from, train_sac_parser
from rpp_rl.cli.evaluate_agent import main as evaluate_agent
from rpp_rl.cli.list_agents import main as list_agents
from rpp_rl.cli.pack_agent import main as pack_agent
from rpp_rl.cli.train_sac import main as train_sac
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.pack_agent import command_of
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import SACConfig

pytestmark = pytest.mark.mujoco

NAME = "rpp_sac-Walker2d-v5"


@pytest.fixture(scope="session")
def packed(trained, tmp_path_factory):
    """The file of a packed run."""
    path = tmp_path_factory.mktemp("packed") / f"{NAME}.safetensors"
    assert pack_agent([str(trained.path), "-o", str(path), "--episodes", "5"]) == 0
    return path


@pytest.fixture
def pretrained(packed, monkeypatch):
    monkeypatch.setattr(registry, "FOLDER", packed.parent)


def evaluate(capsys, *argv):
    assert evaluate_agent([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_card_says_what_was_reached_and_with_what(trained, packed):
    agent = load_agent(packed)
    card = agent.card
    timesteps, returns, _ = trained.load_evaluations()
    best = int(timesteps[returns.mean(axis=1).argmax()])
    assert (card["method"], card["group"], card["choice"]) == ("rpp_sac", "Z2", "best")
    assert (card["steps"], card["run_steps"], card["seed"]) == (best, 200, 1)
    np.testing.assert_allclose(card["learning_curve"]["mean_return"], returns.mean(axis=1))
    assert card["learning_curve"]["steps"] == timesteps.tolist()
    assert card["versions"]["torch"] == torch.__version__
    assert len(card["evaluation"]["returns"]) == 5
    assert 0 < card["equivariance_error"]["f"]["mean"] < 1
    assert card["command"].startswith("train-sac --env Walker2d-v5 --rpp --group Z2 -n 200 --seed 1 -params ")
    assert (agent.env_id, agent.config["net_arch"]) == ("Walker2d-v5", [16, 16])


def test_a_card_says_nothing_of_the_machines_folders(trained, packed):
    assert str(trained.path.parent.parent).encode() not in packed.read_bytes()
    assert load_agent(packed).config["log_folder"] == "logs"


def test_the_command_of_a_card_makes_the_same_settings(trained, packed, monkeypatch, tmp_path):
    seen = []
    finished = SimpleNamespace(is_complete=True, status=0)
    monkeypatch.setattr("rpp_rl.runs.train_sac.train_sac", lambda config, *_, **__: seen.append(config) or finished)
    assert train_sac(shlex.split(load_agent(packed).card["command"])[1:]) == 0
    assert seen[0].to_dict() == load_agent(packed).config


@pytest.mark.parametrize("settings", [{}, {"mode": "emlp", "group": "Z2"}, {"layer_norm": True, "log_interval": 1}])
def test_a_command_says_what_the_base_would_change(settings):
    """A run of older settings, or of ``-conf sb3``, has a step that a new run does not begin with."""
    config = SACConfig(env="Walker2d-v5", learning_rate=3e-4, n_timesteps=10, seed=2, **settings)
    args = train_sac_parser().parse_args(shlex.split(command_of(config))[1:])
    assert settings_from(args, None, SACConfig, RESUMABLE) == config


def test_the_card_for_people_has_the_numbers(packed):
    text, card = packed.with_suffix(".md").read_text(), load_agent(packed).card
    assert text == to_markdown(NAME, "Walker2d-v5", card)
    assert f"**Return {card['evaluation']['mean_return']:.1f} ± {card['evaluation']['std_return']:.1f}**" in text
    assert card["command"] in text
    assert f"| 200 | {card['learning_curve']['mean_return'][-1]:.1f} |" in text
    assert f'rpp_rl.load_agent("{NAME}")' in text


def test_the_last_agent_of_a_run_can_be_packed_too(trained, tmp_path):
    path = tmp_path / "last.safetensors"
    assert pack_agent([str(trained.path), "-o", str(path), "--episodes", "2", "--last"]) == 0
    agent = load_agent(path)
    assert (agent.n_steps, agent.card["choice"]) == (200, "last")
    expected = RPPSAC.load(trained.agent).policy.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in agent.policy.state_dict().items())


def test_the_equivariance_error_over_training_is_read_from_the_logs(copied, tmp_path):
    """The tiny run is too short to log any; so write what a longer one would have."""
    logger = configure(str(copied.path), ["tensorboard"])
    for step in range(500):
        logger.record("rpp/actor_mean_error/f", step / 1000)
        logger.record("rpp/actor_mean_error/g", step / 500)
        logger.dump(1000 * step)
    logger.close()
    parent = tmp_path / "rpp_sac"
    parent.mkdir()
    copied.path.rename(parent / copied.path.name)
    run = RunFolder.open(parent / copied.path.name)
    run.config.write_text(yaml.safe_dump({**yaml.safe_load(run.config.read_text()), "tensorboard_log": None}))
    path = tmp_path / "agent.safetensors"
    assert pack_agent([str(run.path), "-o", str(path), "--episodes", "2"]) == 0
    curve = load_agent(path).card["equivariance_curve"]
    assert (curve["steps"][0], curve["steps"][-1], len(curve["steps"])) == (0, 499_000, 200)
    np.testing.assert_allclose(curve["error"], np.array(curve["steps"]) * 1.5e-6, atol=1e-4)
    assert "| 499000 | 0.7" in path.with_suffix(".md").read_text()


def test_a_pretrained_agent_reproduces_its_card(pretrained, packed, capsys):
    card = load_agent(packed).card["evaluation"]
    result = evaluate(capsys, NAME, "--episodes", "5")
    assert result["agent"] == NAME
    assert result["returns"] == card["returns"]
    assert result["reproduces_card"] is True
    assert result["card"]["interval"] == card["interval"]
    assert evaluate_agent([NAME, "--episodes", "2"]) == 0
    assert "the card says" in capsys.readouterr().out


def test_other_episodes_are_not_compared_with_the_card(pretrained, capsys):
    other = ["--env-kwargs", "healthy_reward:1000.0"]
    for flags in (["--stochastic"], other):
        assert evaluate(capsys, NAME, "--episodes", "1", *flags)["reproduces_card"] is None


def test_the_interval_holds_the_mean_of_other_episodes_as_often_as_it_says(rng):
    """Negative control: an interval for the true mean, narrower by sqrt(2), would hold it in 84 % only."""
    hits = []
    for _ in range(2000):
        first, second = rng.normal(100, 20, size=(2, 20))
        hits.append(reproduces(evaluation_record(first, [1] * 20, seed=0), second.mean()))
    assert 0.935 < np.mean(hits) < 0.965


def test_pretrained_agents_are_listed(pretrained, capsys):
    assert list_agents([]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "name",
        "environment",
        "method",
        "group",
        "steps",
        "return",
        "in",
        "20",
        "episodes",
        "size",
    ]
    assert row.startswith(f"{NAME}  Walker2d-v5  rpp_sac  Z2     ")
    assert "±" in row
    assert row.endswith("MB")
    assert list_agents(["--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["name"], card["env_id"], card["steps"]) == (NAME, "Walker2d-v5", load_agent(NAME).n_steps)
    assert list_agents([NAME]) == 0
    assert "## How it was made" in capsys.readouterr().out


def test_an_unknown_agent_names_the_nearest(pretrained, refused):
    assert f"did you mean {NAME}" in refused(list_agents, "rpp_sac-Walker2d-v4")
    assert f"did you mean {NAME}" in refused(evaluate_agent, "rpp_sac-Walker2d-v4")


def test_what_cannot_be_packed_is_one_line(refused, copied, tmp_path):
    assert "is not a run folder" in refused(pack_agent, tmp_path)
    assert "a file that ends in .safetensors" in refused(pack_agent, copied.path, "-o", tmp_path / "agent.zip")
    copied.evaluations.unlink()
    assert "has no evaluations yet" in refused(pack_agent, copied.path)


def test_a_module_that_a_file_names_is_not_run_unasked(refused, packed, tmp_path):
    agent = load_agent(packed)
    agent.env_id = "antigravity:Walker2d-v5"
    agent.policy.symmetry = dataclasses.replace(agent.policy.symmetry, env_id=agent.env_id)
    save_agent(agent, tmp_path / "theirs.safetensors")
    assert "runs the module before the colon" in refused(evaluate_agent, tmp_path / "theirs.safetensors")


def test_an_agent_is_trained_further(packed, tmp_path, monkeypatch):
    started = []

    def noting(model, agent):
        take_over(model, agent)
        weights = {name: value.clone() for name, value in model.policy.state_dict().items()}
        started.append((weights, model.log_ent_coef.item()))

    monkeypatch.setattr("rpp_rl.runs.train_sac.take_over", noting)
    agent = load_agent(packed)
    flags = ["-n", str(agent.n_steps + 120), "-f", str(tmp_path), "--seed", "5"]
    assert train_sac(["--resume-agent", str(packed), *flags]) == 0
    weights, log_ent_coef = started[0]
    assert all(torch.equal(weights[name], value) for name, value in agent.policy.state_dict().items())
    assert log_ent_coef == agent.log_ent_coef != 0
    run = RunFolder.open(tmp_path / "rpp_sac" / "Walker2d-v5_1")
    model = RPPSAC.load(run.agent)
    assert model.num_timesteps == agent.n_steps + 120
    assert model._n_updates == 120 - 50  # learning_starts: that many transitions first
    assert any(not torch.equal(weights[name], value) for name, value in model.policy.state_dict().items())
    assert train_sac(["--resume", str(run.path), "-n", str(agent.n_steps + 140)]) == 0


def test_a_trained_policy_fills_the_fresh_buffer_itself(packed, tmp_path, monkeypatch):
    """Without the box's own random actions; negative control: a fresh agent begins with them."""

    class Chance(Exception):  # noqa: N818
        pass

    def sample(self, *_):
        raise Chance

    monkeypatch.setattr("gymnasium.spaces.Box.sample", sample)
    flags = ["-f", str(tmp_path), "--eval-freq", "1000", "-params", "buffer_size:100", "learning_starts:20"]
    n_steps = load_agent(packed).n_steps + 30
    assert train_sac(["--resume-agent", str(packed), "-n", str(n_steps), *flags]) == 0
    with pytest.raises(Chance):
        train_sac(["--env", "Walker2d-v5", "--rpp", "-n", "30", *flags, "net_arch:[8]"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "cannot be trained further"),
        (["--emlp"], "keeps environment and networks, so mode cannot be given with it"),
        (["-params", "net_arch:[8]", "hidden:uniform"], "so hidden, net_arch cannot be given"),
        (["--env", "Ant-v5"], "so env cannot be given"),
        (["-conf", "x.yml"], "so --conf-file cannot be given"),
        (["-n", "5"], "steps already; give more with -n"),
        (["-n", "500", "-params", "gama:1"], "unknown setting 'gama'"),
        (["--resume", "logs"], "give one of them"),
    ],
)
def test_what_cannot_be_trained_further_is_one_line(refused, packed, trained, tmp_path, flags, message):
    if not flags:
        shutil.copy(trained.agent, tmp_path / "alone.zip")
        packed = tmp_path / "alone.zip"
    assert message in refused(train_sac, "--resume-agent", packed, *flags, "-f", tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
