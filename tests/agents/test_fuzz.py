"""A few hundred of the files of ``scripts/fuzz_agents.py``, always the same ones; the script makes any number."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from agent_forge import Case
from agent_payloads import Payload
from fuzz_agents import Watch, fuzz, judge

pytestmark = pytest.mark.mujoco


@pytest.mark.slow
def test_no_damaged_or_malicious_file_does_more_than_be_refused():
    counts, wrong = fuzz(250, seed=0)
    assert wrong == []
    assert sum(counts.values()) == 250
    assert sum(count for (_, outcome), count in counts.items() if outcome == "refused") > 150
    assert sum(count for (_, outcome), count in counts.items() if outcome == "loaded") > 10


def test_the_fuzzer_would_notice(tmp_path, monkeypatch):
    """Negative control: loaders that crash, run a payload, write, or accept what is damaged are each caught."""
    watch = Watch()
    sys.addaudithook(watch.hook)
    (tmp_path / "in").mkdir()
    path, canary = tmp_path / "in" / "agent.zip", tmp_path / "canary"

    class Accepted:
        observation_space = type("Space", (), {"shape": (3,)})

        def predict(self, observation):
            return np.zeros(1), None

    def outcome(loader, data=b"x"):
        monkeypatch.setattr("fuzz_agents.load_agent", loader)
        return judge(Case("test", ".zip", data), path, canary, watch)

    assert outcome(lambda path, device: 1 / 0).startswith("CRASH ZeroDivisionError")
    assert outcome(lambda path, device: Accepted()) == "ACCEPTED"
    wrote = outcome(lambda path, device: Path(tmp_path / "new").write_text("x"))
    assert wrote in ("FILES CHANGED", "CRASH") or wrote.startswith("SIDE EFFECT")
    payload = pickle.dumps(Payload(canary))
    ran = outcome(lambda path, device: pickle.loads(path.read_bytes()), payload)
    assert ran == "PAYLOAD RUN" or ran.startswith("SIDE EFFECT os.system")
