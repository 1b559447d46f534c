"""Finding agents, and the border between what is read and what would have to be run."""

import base64
import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC

import envs_reps
import rpp_rl
from rpp_rl.agents import AgentError, load_agent, registry, save_agent
from rpp_rl.sac import RPPSAC
from tests.kit.agents import untrained, visited

pytestmark = pytest.mark.mujoco

ENV = "Walker2d-v5"


class Payload:
    """Its unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def own(tmp_path):
    """A zip file of this package, and the agent in it."""
    kwargs = {"spec": envs_reps.load(ENV).to_dict(), "net_arch": [16, 16]}
    model = RPPSAC("RPPPolicy", ENV, buffer_size=10, seed=0, policy_kwargs=kwargs)
    model.num_timesteps = 123
    model.save(tmp_path / "own.zip")
    return tmp_path / "own.zip", model


@pytest.fixture
def plain(tmp_path):
    model = SAC("MlpPolicy", ENV, buffer_size=10, seed=0, policy_kwargs={"net_arch": [16]})
    model.save(tmp_path / "plain.zip")
    return tmp_path / "plain.zip", model


def change(path, **members):
    """The same archive with other members; a function changes the JSON of ``data``."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, new in members.items():
        if callable(new):
            data = json.loads(content[name])
            new(data)
            new = json.dumps(data).encode()
        content[{"policy": "policy.pth", "variables": "pytorch_variables.pth"}.get(name, name)] = new
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_an_own_zip_file_loads_and_becomes_a_safe_file(own, tmp_path):
    path, model = own
    agent = load_agent(path, device="cpu")
    obs = visited(ENV)
    expected, _ = model.predict(obs, deterministic=True)
    np.testing.assert_allclose(agent.predict(obs)[0], expected, atol=1e-6)
    assert (agent.env_id, agent.n_steps) == (ENV, 123)
    assert (agent.observation_space, agent.action_space) == (model.observation_space, model.action_space)
    assert agent.log_ent_coef == model.log_ent_coef.item()
    save_agent(agent, tmp_path / "own.safetensors")
    again = load_agent(tmp_path / "own.safetensors", device="cpu")
    np.testing.assert_array_equal(again.predict(obs)[0], agent.predict(obs)[0])


def test_bounds_of_actions_come_out_of_the_text_of_a_zip_file(tmp_path):
    """The Humanoid's are +-0.4, and a space may have a different one for each number."""
    low, high = np.array([-0.4, -1 / 3, -np.pi], np.float32), np.array([0.4, 1e-3, 12345.678], np.float32)

    class Odd(gym.Env):
        observation_space = gym.spaces.Box(np.array([-np.inf, -1.5]), np.array([np.inf, 2.25]), dtype=np.float64)
        action_space = gym.spaces.Box(low, high)

        def reset(self, *, seed=None, options=None):
            return np.zeros(2), {}

    model = RPPSAC("RPPPolicy", Odd(), buffer_size=10, policy_kwargs={"mode": "mlp", "net_arch": [4]})
    model.save(tmp_path / "odd.zip")
    agent = load_agent(tmp_path / "odd.zip")
    assert agent.observation_space == model.observation_space
    np.testing.assert_allclose(agent.action_space.low, low, rtol=1e-6)
    np.testing.assert_allclose(agent.action_space.high, high, rtol=1e-5)
    assert agent.env_id is None


def test_no_pickle_of_an_own_zip_file_runs(own, tmp_path):
    """Payloads in place of everything that Stable-Baselines3 pickles; negative control: it would run them."""
    path, _ = own
    text = base64.b64encode(pickle.dumps(Payload(tmp_path / "run"))).decode()

    def poison(data):
        poisoned = [entry for entry in data.values() if isinstance(entry, dict) and ":serialized:" in entry]
        assert len(poisoned) >= 5
        for entry in poisoned:
            entry[":serialized:"] = text

    change(path, data=poison)
    assert load_agent(path).env_id == ENV
    assert not (tmp_path / "run").exists()
    with pytest.raises(Exception):  # noqa: B017, PT011
        RPPSAC.load(path)
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("member", ["policy", "variables"])
@pytest.mark.parametrize("new_format", [False, True])
def test_no_pickle_in_the_place_of_tensors_runs(own, tmp_path, member, new_format):
    path, _ = own
    payload = io.BytesIO()
    torch.save({"w": Payload(tmp_path / "run")}, payload, _use_new_zipfile_serialization=new_format)
    change(path, **{member: payload.getvalue()})
    with pytest.raises(AgentError, match=r"is damaged|expected tensors by name, got __builtin__ getattr"):
        load_agent(path)
    assert not (tmp_path / "run").exists()
    payload.seek(0)
    torch.load(payload, weights_only=False)
    assert (tmp_path / "run").exists()  # negative control


def test_an_own_zip_file_that_needs_its_pickles_is_refused(own):
    path, _ = own
    change(path, data=lambda data: data["policy_kwargs"].update(optimizer_class={":serialized:": "gASV"}))
    with pytest.raises(AgentError, match=r"its policy has the argument optimizer_class.* pickled code .* trust=True"):
        load_agent(path)


def test_a_zip_file_from_elsewhere_needs_trust(plain, tmp_path):
    path, model = plain
    with pytest.raises(AgentError, match=r"has a policy of stable_baselines3.*pickled code.*anything.*trust=True"):
        load_agent(path)
    agent = load_agent(path, trust=True)
    obs = visited(ENV)
    np.testing.assert_allclose(agent.predict(obs)[0], model.predict(obs, deterministic=True)[0], atol=1e-6)
    with pytest.raises(AgentError, match="only policies of this package can be saved"):
        save_agent(agent, tmp_path / "plain.safetensors")


def test_trust_does_not_make_another_algorithm_an_agent_of_sac(tmp_path):
    PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8).save(tmp_path / "ppo.zip")
    with pytest.raises(AgentError, match="expected an agent of SAC"):
        load_agent(tmp_path / "ppo.zip", trust=True)


def test_an_archive_that_would_unpack_to_too_much_is_refused_unopened(own):
    path, _ = own
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as file:
        for _ in range(33):
            file.write(bytes(2**24))
    with pytest.raises(AgentError, match="got an archive of 9 files and 5"):
        load_agent(path)


def replaced(path, name, data, compression=zipfile.ZIP_STORED):
    """The archive with other bytes as one of its members."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()} | {name: data}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def test_a_small_archive_may_not_unpack_to_a_large_one(own):
    path, _ = own
    replaced(path, "policy.pth", bytes(2**26), zipfile.ZIP_DEFLATED)
    with pytest.raises(AgentError, match="got an archive of"):
        load_agent(path)


def test_tensors_are_as_large_as_the_numbers_in_the_file(own):
    """One number with strides of zero would pass for all weights of a large network."""
    path, _ = own
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1).expand(2**20)}, buffer)
    replaced(path, "policy.pth", buffer.getvalue())
    with pytest.raises(AgentError, match="bytes and tensors of 4194304"):
        load_agent(path)


def pickled(data):
    """A file of torch whose pickle is this one."""
    made, changed = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.zeros(1)}, made)
    with zipfile.ZipFile(made) as archive, zipfile.ZipFile(changed, "w") as other:
        for member in archive.namelist():
            other.writestr(member, data if member.endswith("data.pkl") else archive.read(member))
    return changed.getvalue()


def saved(tensor):
    buffer = io.BytesIO()
    torch.save({"w": tensor}, buffer)
    return buffer.getvalue()


PAIRS = b"\x80\x02)q\x00" + 40 * b"h\x00h\x00\x86q\x00"
"""Pairs of pairs of pairs, which are printed and hashed 2^40 times."""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickled(PAIRS + b"}h\x00K\x01s."), "got something that is used twice"),
        (pickled(b"\x80\x02ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R."), "got torch FloatTensor"),
        (saved(torch.empty(1, device="meta")), "_rebuild_meta_tensor"),
        (saved(torch.zeros(1).to_sparse()), "_rebuild_sparse_tensor"),
        (saved(torch.zeros(1, dtype=torch.complex64)), "got torch ComplexFloatStorage"),
        (saved(torch.zeros(1).to(torch.float8_e4m3fn)), "_rebuild_tensor_v3"),
    ],
)
@pytest.mark.parametrize("name", ["policy.pth", "pytorch_variables.pth"])
def test_what_is_no_plain_tensor_is_refused_before_torch_reads_it(own, data, message, name):
    replaced(own[0], name, data)
    with pytest.raises(AgentError, match=f"{name}: expected tensors by name, .*{message}"):
        load_agent(own[0])


def test_a_file_of_tensors_has_one_pickle(own):
    buffer = io.BytesIO(saved(torch.zeros(1)))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/DATA.PKL", PAIRS)
    replaced(own[0], "policy.pth", buffer.getvalue())
    with pytest.raises(AgentError, match=r"expected one data\.pkl, got 2"):
        load_agent(own[0])


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """A registry with two agents, in another place."""
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "pretrained")
    registry.FOLDER.mkdir()
    for name, env_id in (("rpp_sac-Swimmer-v5", "Swimmer-v5"), ("sac-Walker2d-v5", ENV)):
        save_agent(untrained(env_id), registry.FOLDER / f"{name}.safetensors")


def test_a_pretrained_agent_is_found_by_name_before_a_file_of_that_name(pretrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rpp_sac-Swimmer-v5").mkdir()
    assert rpp_rl.load_agent("rpp_sac-Swimmer-v5").env_id == "Swimmer-v5"
    with pytest.raises(AgentError, match="did you mean rpp_sac-Swimmer-v5"):
        load_agent("rpp_sac-Swimmer-v4")


def test_names_do_not_lead_out_of_the_registry(pretrained, tmp_path):
    save_agent(untrained(ENV), tmp_path / "outside.safetensors")
    for name in ("../outside", "rpp_sac-Swimmer-v5/../../outside", "*"):
        with pytest.raises(AgentError, match="no such file, folder"):
            load_agent(name)


def test_the_import_of_the_package_stays_light():
    code = "import sys, rpp_rl; assert 'torch' not in sys.modules; rpp_rl.load_agent; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = rpp_rl.no_such_name
