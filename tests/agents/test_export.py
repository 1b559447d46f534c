"""Exported agents act like the agent, in programs that do not know this package."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

import envs_reps
from rpp_rl.agents.acting_network import _Rescale, acting_network
from rpp_rl.agents.export import SUFFIXES, export_agent
from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.sac import RPPSACPolicy
from rpp_rl.symmetry import cyclic, matrix_rep, sign, trivial
from tests.kit.agents import untrained, visited
from tests.kit.tolerances import EXPORTED

ROBOTS = ("Ant-v4", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v5", "Swimmer-v5", "Walker2d-v5")

pytestmark = pytest.mark.mujoco


def run_onnx(path, obs):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'rpp_rl[onnx]'")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["action"], {"observation": obs.astype(np.float32)})[0]


def run_torch(path, obs):
    return torch.export.load(path).module()(torch.as_tensor(obs, dtype=torch.float32)).numpy()


RUN = {"onnx": run_onnx, "torch": run_torch}


def exported(agent, path, format):
    if format == "onnx":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(module, reason=f"{module} is not installed: pip install 'rpp_rl[onnx]'")
    path = path / f"agent{SUFFIXES[format]}"
    assert export_agent(agent, path, format) < EXPORTED
    return path


@pytest.mark.slow
@pytest.mark.parametrize("format", RUN)
@pytest.mark.parametrize("mode", ["rpp", "mlp"])
@pytest.mark.parametrize("env_id", ROBOTS)
def test_a_file_acts_like_its_agent(env_id, mode, format, tmp_path):
    """One observation and batches, on states that the robot visits; actions differ, so agreement means something."""
    agent, obs = untrained(env_id, mode, normalize_obs=env_id == "Humanoid-v5"), visited(env_id)
    actions, _ = agent.policy.predict(obs, deterministic=True)
    assert actions.std(axis=0).min() > 0.01 * agent.action_space.high.min()
    path = exported(agent, tmp_path, format)
    for batch in (obs, obs[:1], obs[-3:]):
        expected = agent.policy.predict(batch, deterministic=True)[0]
        np.testing.assert_allclose(RUN[format](path, batch), expected, rtol=0, atol=EXPORTED)
    single = agent.policy.predict(obs[5], deterministic=True)[0]
    np.testing.assert_allclose(RUN[format](path, obs[5][None])[0], single, rtol=0, atol=EXPORTED)


GROUPS = [(env_id, group) for env_id in ROBOTS for group in envs_reps.variants(env_id)]


@pytest.mark.parametrize("mode", ["rpp", "emlp"])
@pytest.mark.parametrize(("env_id", "group"), GROUPS, ids="-".join)
def test_the_chain_of_plain_modules_acts_like_the_policy(env_id, group, mode):
    hidden = "regular" if envs_reps.load(env_id, group).group.is_finite else "uniform"
    agent, obs = untrained(env_id, mode, group, hidden=hidden), visited(env_id)
    network = acting_network(agent.policy)
    expected, _ = agent.policy.predict(obs, deterministic=True)
    actions, exact = network(torch.as_tensor(obs).float()).numpy(), network.double()(torch.as_tensor(obs)).numpy()
    # Where observations are large the policy itself rounds by more than the tolerance.
    tolerance = max(EXPORTED, 2 * float(np.abs(expected - exact).max()))
    assert tolerance < 10 * EXPORTED
    np.testing.assert_allclose(actions, exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {"normalize_obs": True},
        {"layer_norm": True, "activation": "tanh"},
        {"bilinear": True, "hidden": "uniform", "activation": "silu", "normalize_obs": True},
        {"net_arch": []},
        {"std": "softplus", "net_arch": [24]},
    ],
    ids=str,
)
@pytest.mark.parametrize("format", RUN)
def test_every_part_of_a_network_is_exported(policy_kwargs, format, tmp_path):
    agent, obs = untrained("Ant-v4", **policy_kwargs), visited("Ant-v4")
    path = exported(agent, tmp_path, format)
    expected, _ = agent.policy.predict(obs, deterministic=True)
    np.testing.assert_allclose(RUN[format](path, obs), expected, rtol=0, atol=EXPORTED)


def test_lengths_of_quaternions_do_not_matter():
    """The Ant's orientation after a reset has not length one; length zero gives no NaN but R = 0, as in training."""
    agent, obs = untrained("Ant-v4"), visited("Ant-v4").copy()
    lengths = np.random.default_rng(0).uniform(0.1, 10.0, size=(len(obs), 1))
    lengths[:10] = 0.0
    obs[:, 1:5] *= lengths
    expected, _ = agent.policy.predict(obs, deterministic=True)
    np.testing.assert_allclose(
        acting_network(agent.policy)(torch.as_tensor(obs).float()), expected, rtol=0, atol=EXPORTED
    )


def test_several_quaternions_are_normalised_one_by_one(rng):
    z2 = cyclic(2)
    mirror = np.diag([1.0, -1.0, 1.0])
    hips = matrix_rep(z2, [np.kron([[0.0, 1.0], [1.0, 0.0]], np.kron(mirror, mirror))], name="hips")
    blocks = (Block("height", (4,), trivial(z2)), Block("hips", (0, 1, 2, 3, 5, 6, 7, 8), hips, "rotation_matrix"))
    action = Layout((Block("torques", (0, 1), 2 * sign(z2)),))
    spec = EnvSpec("Hips-v0", "Z2", z2, Layout(blocks), action, (Generator("m", "mirror", True),))
    spaces = Box(-np.inf, np.inf, (9,), np.float64), Box(-1, 1, (2,))
    policy = RPPSACPolicy(*spaces, lambda _: 0.0, spec=spec.to_dict(), net_arch=[32], head_scale=1.0)
    obs = rng.normal(size=(64, 9))
    obs[:, :4] *= 10.0
    expected, _ = policy.predict(obs, deterministic=True)
    assert expected.std() > 0.01
    actions = acting_network(policy)(torch.as_tensor(obs).float())
    np.testing.assert_allclose(actions, expected, rtol=0, atol=EXPORTED)


def test_without_a_quaternion_nothing_is_left_of_the_change_of_coordinates():
    agent = untrained("Walker2d-v5")
    kinds = [type(module).__name__ for module in acting_network(agent.policy)]
    assert kinds == ["Linear", "Pointwise", "Linear", "Pointwise", "Linear", "Tanh", "_Rescale"]


def test_actions_are_rescaled_inside():
    """Negative control: the Humanoid's bounds are ±0.4, and without the last module the actions are others."""
    agent, obs = untrained("Humanoid-v5", normalize_obs=True), torch.as_tensor(visited("Humanoid-v5")).float()
    network = acting_network(agent.policy)
    expected, _ = agent.policy.predict(obs.numpy(), deterministic=True)
    assert np.abs(network[:-1](obs).numpy() - expected).max() > 0.1


@pytest.mark.parametrize("format", RUN)
def test_a_file_needs_nothing_of_this_package_and_tells_nothing_of_this_machine(format, tmp_path):
    agent, obs = untrained("Ant-v4"), visited("Ant-v4")
    path = exported(agent, tmp_path, format)
    expected, _ = agent.policy.predict(obs[:4], deterministic=True)
    np.save(tmp_path / "obs.npy", obs[:4].astype(np.float32))
    run = {
        "onnx": "import onnxruntime as o; s = o.InferenceSession(str(p)); a = s.run(None, {'observation': x})[0]",
        "torch": "import torch as t; a = t.export.load(p).module()(t.as_tensor(x)).numpy()",
    }[format]
    code = f"""
import json, sys, numpy, pathlib
sys.modules['rpp_rl'] = sys.modules['stable_baselines3'] = None  # importing them fails
p, x = pathlib.Path({str(path)!r}), numpy.load({str(tmp_path / "obs.npy")!r})
{run}
print(json.dumps(a.tolist()))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    np.testing.assert_allclose(json.loads(out), expected, rtol=0, atol=EXPORTED)
    assert b"acting.py" not in path.read_bytes()


@pytest.mark.parametrize("format", RUN)
def test_actions_of_a_file_stay_within_the_bounds(format, tmp_path):
    """Other libraries' tanh exceeds one by a bit, and the products of the Humanoid's bounds round; observations are
    so large that most actions lie at the bounds."""
    agent, obs = untrained("Humanoid-v5"), 100 * visited("Humanoid-v5")
    actions = RUN[format](exported(agent, tmp_path, format), obs)
    space = agent.action_space
    assert ((actions == space.low) | (actions == space.high)).mean() > 0.5
    assert all(space.contains(action) for action in actions)


def test_what_exceeds_the_bounds_by_a_bit_is_clipped():
    space = Box(np.array([-0.4, -1.0], np.float32), np.array([0.4, 1.0], np.float32))
    actions = _Rescale(space)(torch.tensor([[1.0000001, 1.0000001], [-1.0000001, -1.0000001]])).numpy()
    assert all(space.contains(action) for action in actions)


def test_onnx_files_say_what_they_are(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'rpp_rl[onnx]'")
    model = onnx.load(exported(untrained("Ant-v4"), tmp_path, "onnx"))
    onnx.checker.check_model(model, full_check=True)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert {"env_id": "Ant-v4", "group": "D4", "steps": "7"}.items() <= facts.items()


def test_the_agent_is_left_as_it_was():
    agent = untrained("Ant-v4")
    before = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    acting_network(agent.policy)
    assert all(torch.equal(before[name], tensor) for name, tensor in agent.policy.state_dict().items())
    assert all(parameter.requires_grad for parameter in agent.policy.actor.parameters())
