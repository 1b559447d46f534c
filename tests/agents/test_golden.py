"""Agents that earlier versions saved still load and act as they did; ``scripts/make_golden_agent.py`` made them."""

import json
from pathlib import Path

import numpy as np
import pytest

from rpp_rl.agents import load_agent
from rpp_rl.cli.train_sac import main as train_sac

pytestmark = pytest.mark.mujoco

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_agent_acts_as_it_did(path):
    record, agent = json.loads(path.with_suffix(".json").read_text()), load_agent(path, device="cpu")
    actions, _ = agent.predict(np.array(record["observations"]))
    np.testing.assert_allclose(actions, record["actions"], atol=1e-5)
    assert (agent.env_id, agent.n_steps) == (record["env_id"], record["steps"])
    assert agent.log_ent_coef == record["log_ent_coef"]
    mirrored = agent.predict(np.array(record["observations"])[::-1].copy())[0]
    assert np.abs(mirrored - actions).max() > 1e-3  # negative control: other observations have other actions


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_agent_can_be_trained_further(path, tmp_path):
    n_steps = json.loads(path.with_suffix(".json").read_text())["steps"] + 60
    flags = ["-n", str(n_steps), "-f", str(tmp_path), "-params", "buffer_size:100", "eval_freq:1000"]
    assert train_sac(["--resume-agent", str(path), *flags]) == 0


def test_every_mode_has_a_golden_agent():
    assert {path.stem.split("_")[0] for path in GOLDEN} == {"rpp", "emlp", "mlp"}
