"""The format of agents: everything comes back bit for bit, and nothing that was changed does."""

import json

import numpy as np
import pytest
import torch

import rpp_rl
from rpp_rl.agents import AgentError, TrainedAgent, load_agent, save_agent
from rpp_rl.agents.agent_record import KIND, VERSION
from rpp_rl.io.tensor_file import read_document, read_weights, write_weights
from tests.kit.agents import untrained, visited

pytestmark = pytest.mark.mujoco

KINDS = [
    ("Ant-v4", {}),
    ("Walker2d-v5", {"mode": "emlp", "layer_norm": True}),
    ("Swimmer-v5", {"hidden": "uniform", "std": "softplus", "activation": "silu"}),
    ("Humanoid-v5", {"normalize_obs": True, "policy_only": True, "n_critics": 3}),
    ("HalfCheetah-v4", {"mode": "mlp", "net_arch": {"pi": [16], "qf": [24, 24]}}),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind[0])
def agent(request):
    return untrained(request.param[0], **request.param[1])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tiny.safetensors"


def test_an_agent_comes_back_bit_for_bit(agent, path):
    agent.config, agent.env_kwargs, agent.log_ent_coef = {"gamma": 0.5}, {"reset_noise_scale": 0.2}, -1.25
    save_agent(agent, path)
    loaded = load_agent(path, device="cpu")
    before, after = agent.policy.state_dict(), loaded.policy.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (loaded.observation_space, loaded.action_space) == (agent.observation_space, agent.action_space)
    for name in ("env_id", "env_kwargs", "config", "log_ent_coef", "n_steps"):
        assert getattr(loaded, name) == getattr(agent, name)
    assert loaded.spec.to_dict() == agent.spec.to_dict()
    assert loaded.card["versions"]["rpp_rl"] == rpp_rl.__version__
    obs = visited(agent.env_id)
    np.testing.assert_array_equal(loaded.predict(obs)[0], agent.predict(obs)[0])
    q_values = [a.policy.critic_target(torch.as_tensor(obs).float(), torch.zeros(256, agent.action_space.shape[0]))
                for a in (agent, loaded)]  # fmt: skip
    assert all(torch.equal(*pair) for pair in zip(*q_values, strict=True))


def test_saving_again_makes_the_same_file(agent, path, tmp_path):
    save_agent(agent, path)
    save_agent(load_agent(path), tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_acting_with_merged_weights_is_the_policys_own_acting(agent):
    obs = visited(agent.env_id)
    expected, _ = agent.policy.predict(obs, deterministic=True)
    actions, state = agent.predict(obs)
    np.testing.assert_allclose(actions, expected, atol=1e-5)
    assert state is None
    assert np.abs(expected).max() > 1e-2  # negative control: the actions are not all zero
    one, _ = agent.predict(obs[3], deterministic=True)
    assert one.shape == agent.action_space.shape
    np.testing.assert_allclose(one, expected[3], atol=1e-5)
    torch.manual_seed(0)
    noisy, _ = agent.predict(obs, deterministic=False)
    assert np.abs(noisy - actions).max() > 1e-2
    assert agent.action_space.contains(noisy[0])


def test_loading_draws_no_random_number(agent, path):
    save_agent(agent, path)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_agent(path)
    assert torch.equal(before, torch.get_rng_state())


def test_any_flipped_bit_of_a_file_is_noticed(path, rng):
    save_agent(untrained("Swimmer-v5"), path)
    data = path.read_bytes()
    for at in rng.integers(len(data), size=100):
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(AgentError, match=str(path)):
            load_agent(path)
    path.write_bytes(data)
    assert isinstance(load_agent(path), TrainedAgent)  # negative control: it was the bit


@pytest.fixture
def forge(path):
    """Writes a file with a correct checksum whose document or tensors were changed."""
    save_agent(untrained("Swimmer-v5"), path)

    def forge(change, version=VERSION, kind=KIND):
        document, tensors = read_weights(path, KIND, VERSION)
        change(document, tensors)
        write_weights(path, kind, version, document, tensors)
        return path

    return forge


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, t: t.pop("policy.actor.mu.residual_bias"), "actor.mu.residual_bias is missing"),
        (lambda d, t: t.update(more=torch.zeros(1)), "more is too many"),
        (lambda d, t: t.update({"policy.actor.mu.residual_bias": torch.zeros(7)}), "shape (2,), got (7,)"),
        (lambda d, t: t.update({(k := "policy.actor.mu.residual_bias"): t[k].to(torch.float8_e4m3fn)}), "float8"),
        (lambda d, t: t["policy.actor.mu.residual_bias"].fill_(np.nan), "not finite: the training has diverged"),
        (lambda d, t: d["policy"].update(net_arch=[4000, 4000]), "but only"),
        (lambda d, t: d["policy"].update(net_arch=[10**9]), "widths of 1 to 4096"),
        (lambda d, t: d["policy"].update(n_critics=10**9), "n_critics: expected 1 to 32"),
        (lambda d, t: d["policy"].update(mode="free"), "mode: expected"),
        (lambda d, t: d["policy"].update(layer_norm="yes"), "layer_norm: expected true or false, got 'yes'"),
        (lambda d, t: d["policy"].update(optimizer_class="os.system"), "missing or unknown"),
        (lambda d, t: d["policy"].pop("spec"), "missing or unknown"),
        (lambda d, t: d["policy"].update(subgroup=["l"]), "levels.0"),
        (lambda d, t: d["policy"].update(subgroup=[["f"]]), "subgroup: expected"),
        (lambda d, t: d["policy"].update(subgroup=["r"] * 10**5), "subgroup"),
        (lambda d, t: d["policy"]["spec"]["reps"][0]["parts"][0].update(count=10**9), "the most are"),
        (lambda d, t: d["policy"]["spec"].update(group={}), "specification is damaged"),
        (lambda d, t: d["env"].update(id="Ant-v4"), "its specification is for Swimmer-v5"),
        (lambda d, t: d["env"].update(id=["Ant-v4"]), "expected the id of an environment"),
        (lambda d, t: d["action_space"].update(high=[1.0]), "spaces"),
        (lambda d, t: d["action_space"].update(high=[1e308, 1.0]), "spaces are damaged"),
        (lambda d, t: d["observation_space"].update(dtype="int8"), "spaces"),
        (lambda d, t: d["observation_space"].update(low=[None] * 9, high=[None] * 9), "does not fit the observation"),
        (lambda d, t: d["card"].update(steps="many"), "card is damaged"),
        (lambda d, t: d["card"].update(evaluation={"interval": [0]}), "card is damaged"),
        (lambda d, t: d.pop("config"), "expected a mapping under 'config'"),
    ],
)
def test_what_does_not_fit_is_named(forge, change, message):
    with pytest.raises(AgentError) as error:
        load_agent(forge(change), device="cpu")
    assert message in str(error.value)


def test_a_forged_file_without_a_change_loads(forge):
    """Negative control of the test above."""
    assert load_agent(forge(lambda d, t: None)).env_id == "Swimmer-v5"


def test_files_of_later_versions_and_of_other_kinds_say_so(forge):
    with pytest.raises(AgentError, match="has version 3 of the format, this rpp_rl reads up to 2: use a newer one"):
        load_agent(forge(lambda d, t: None, version=VERSION + 1))


def test_a_model_is_no_agent(path):
    write_weights(path, "a model of rpp_rl", 1, {}, {"w": torch.zeros(3)})
    with pytest.raises(AgentError, match="expected an agent of rpp_rl, got a model of rpp_rl"):
        load_agent(path)


def test_the_header_is_plain_json_that_other_programs_can_read(path):
    save_agent(untrained("Walker2d-v5"), path)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    document = json.loads(header["__metadata__"]["rpp_rl"])
    assert document["env"] == {"id": "Walker2d-v5", "kwargs": {}}
    assert document["policy"]["spec"]["variant"] == "Z2"
    assert document == read_document(path, KIND, VERSION)


def test_a_file_that_cannot_be_written_leaves_the_old_one(path, monkeypatch):
    save_agent(untrained("Swimmer-v5"), path)
    before = path.read_bytes()
    agent = untrained("Swimmer-v5")
    agent.card["note"] = object()
    with pytest.raises(AgentError, match="expected plain values"):
        save_agent(agent, path)
    agent.card["note"] = float("nan")
    with pytest.raises(AgentError, match="not JSON compliant"):
        save_agent(agent, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
