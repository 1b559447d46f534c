"""The networks of an agent: equivariant in strict mode, not otherwise, and the same after merging."""

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import envs_reps
from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.nn import RPPLinear, merge
from rpp_rl.sac import RPPSACPolicy, actor_equivariance_errors, critic_equivariance_errors
from rpp_rl.sac.config import NETWORK_SETTINGS

SPECS = [("Ant-v4", None), ("Ant-v5", None), ("Ant-v4", "Z4"), ("Walker2d-v5", None), ("Walker2d-v4", None)]


def make_policy(env_id, group=None, **kwargs):
    """A policy as SB3 builds it, without an algorithm around it."""
    spec = envs_reps.load(env_id, group)
    n_obs, n_actions = spec.observation.size, spec.action.size
    torch.manual_seed(0)
    policy = RPPSACPolicy(
        spaces.Box(-np.inf, np.inf, (n_obs,), np.float64),
        spaces.Box(-1, 1, (n_actions,), np.float32),
        lambda _: 3e-4,
        **{"spec": spec.to_dict(), "net_arch": [64, 64], "head_scale": 1.0, **kwargs},
    )
    return policy, spec


def perturb(module, std=0.3):
    """Move every parameter away from its initial value, where biases and residuals may vanish."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(std * torch.randn_like(parameter))


def errors(policy, spec, rng):
    """Largest relative errors of mean, log-std and critics over all generators on random inputs."""
    obs = rng.normal(size=(64, spec.observation.size))
    actions = rng.uniform(-1, 1, size=(64, spec.action.size))
    actor = actor_equivariance_errors(policy, obs, spec).values()
    critic = critic_equivariance_errors(policy, obs, actions, spec).values()
    return max(e["mean"] for e in actor), max(e["log_std"] for e in actor), max(critic)


@pytest.mark.parametrize(("env_id", "group"), SPECS)
@pytest.mark.parametrize("options", [{}, {"hidden": "uniform"}, {"layer_norm": True}, {"normalize_obs": True}], ids=str)
def test_strict_networks_are_equivariant(env_id, group, options, rng):
    policy, spec = make_policy(env_id, group, mode="emlp", **options)
    perturb(policy, std=0.03)
    assert max(errors(policy, spec, rng)) < 1e-5


@pytest.mark.parametrize(("env_id", "group"), SPECS)
def test_residual_pathways_break_equivariance(env_id, group, rng):
    """Negative control: the test above can fail, for the mean, the log-std and the critics alike."""
    policy, spec = make_policy(env_id, group, mode="rpp")
    perturb(policy)
    assert min(errors(policy, spec, rng)) > 1e-2


def test_fresh_rpp_networks_are_equivariant(rng):
    policy, spec = make_policy("Ant-v4", mode="rpp")
    assert max(errors(policy, spec, rng)) < 1e-5


def test_plain_critic_of_policy_only_is_not_equivariant(rng):
    policy, spec = make_policy("Ant-v4", mode="emlp", policy_only=True)
    mean, log_std, critic = errors(policy, spec, rng)
    assert max(mean, log_std) < 1e-5 < 1e-2 < critic


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_merging_keeps_the_outputs(mode, rng):
    policy, spec = make_policy("Ant-v5", mode=mode)
    perturb(policy)
    obs = torch.as_tensor(rng.normal(size=(32, spec.observation.size)), dtype=torch.float32)
    merged = merge(policy.actor)
    assert not any(isinstance(module, RPPLinear) for module in merged.modules())
    for plain, original in zip(
        merged.get_action_dist_params(obs), policy.actor.get_action_dist_params(obs), strict=True
    ):
        if isinstance(plain, torch.Tensor):
            assert (plain - original).norm() <= 1e-5 * original.norm()


def test_plain_mode_has_the_networks_of_sb3():
    from stable_baselines3.sac.policies import SACPolicy

    policy, _ = make_policy("Ant-v4", mode="mlp", head_scale=1.0)
    torch.manual_seed(0)
    reference = SACPolicy(policy.observation_space, policy.action_space, lambda _: 3e-4, net_arch=[64, 64])
    assert [p.shape for p in policy.actor.parameters()] == [p.shape for p in reference.actor.parameters()]
    ours, theirs = (list(p.actor.parameters()) for p in (policy, reference))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for own, *others in zip(
        policy.critic.parameters(), *(q.parameters() for q in reference.critic.q_networks), strict=True
    ):
        assert own.shape == (2, *others[0].shape)
        if own.ndim == 3:  # drawn from torch's own distribution, in another order
            bound = own.shape[-1] ** -0.5
            assert bound * (0.99 if own.numel() > 1000 else 0.5) < own.abs().max() <= bound


def test_softplus_std_is_finite_with_finite_gradients():
    policy, _ = make_policy("Walker2d-v5", mode="rpp", std="softplus")
    with torch.no_grad():
        policy.actor.log_std.residual_bias.fill_(-300.0)
    _, log_std, _ = policy.actor.get_action_dist_params(torch.randn(8, 17))
    assert torch.equal(log_std, torch.full_like(log_std, -10.0))
    log_std.sum().backward()
    assert all(p.grad.isfinite().all() for p in policy.actor.log_std.parameters() if p.grad is not None)


@pytest.mark.parametrize("mode", ["rpp", "mlp"])
@pytest.mark.parametrize("policy_only", [False, True])
def test_every_network_normalises_its_own_coordinates(mode, policy_only, rng):
    policy, spec = make_policy("Ant-v4", mode=mode, policy_only=policy_only, normalize_obs=True)
    obs = torch.as_tensor(3 + 5 * rng.normal(size=(512, spec.observation.size)))
    for network, is_plain in ((policy.actor, mode == "mlp"), (policy.critic, mode == "mlp" or policy_only)):
        network.features_extractor.update(obs)
        x = network.features_extractor(obs.float())
        assert x.shape[1] == (spec.observation.size if is_plain else spec.obs_rep.size)
        assert x.square().mean() < 1.5 if is_plain else x.square().mean() < 3


def test_the_sign_of_a_quaternion_is_no_breaking_of_the_symmetry(rng):
    """A plain network sees the sign, but no generator has made it."""
    policy, spec = make_policy("Ant-v4", mode="mlp")
    obs, actions = rng.normal(size=(64, 27)), rng.uniform(-1, 1, size=(64, 8))
    flipped = np.where((np.arange(27) >= 1) & (np.arange(27) < 5), -obs, obs)
    assert actor_equivariance_errors(policy, obs, spec) == actor_equivariance_errors(policy, flipped, spec)
    errors = [critic_equivariance_errors(policy, x, actions, spec) for x in (obs, flipped)]
    assert errors[0] == errors[1]


def test_networks_of_a_large_robot_are_built_in_less_than_a_second():
    """In CPU time of a fresh process, without torch's import of its compiler for the first optimiser of any kind."""
    code = (
        "import time, numpy as np, torch, envs_reps; from gymnasium.spaces import Box;"
        "from rpp_rl.sac import RPPSACPolicy; torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]);"
        "obs, actions = Box(-np.inf, np.inf, (105,)), Box(-1, 1, (8,)); start = time.process_time();"
        "spec = envs_reps.load('Ant-v5').to_dict();"
        "RPPSACPolicy(obs, actions, lambda _: 3e-4, spec=spec, net_arch=[256, 256]);"
        "print(time.process_time() - start)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(result.stdout) < 1.0


def test_policy_arguments_are_json():
    policy, _ = make_policy("Ant-v4")
    assert json.loads(json.dumps(policy.network_kwargs)) == policy.network_kwargs


@pytest.mark.parametrize("net_arch", [[16], {"pi": [16], "qf": [24, 24]}], ids=str)
def test_a_policy_says_by_which_arguments_its_networks_are_made(net_arch):
    given = {"mode": "emlp", "layer_norm": True, "n_critics": 3, "net_arch": net_arch, "std": "softplus"}
    policy, _ = make_policy("Walker2d-v5", **given)
    assert {name: policy.network_kwargs[name] for name in given} == given
    again = RPPSACPolicy(policy.observation_space, policy.action_space, lambda _: 3e-4, **policy.network_kwargs)
    again.load_state_dict(policy.state_dict())
    assert again.network_kwargs == policy.network_kwargs
    assert policy.network_kwargs.keys() == {"spec", *NETWORK_SETTINGS}


def test_observations_are_acted_on_as_the_environment_gives_them(rng):
    """The image of an observation is an observation: the quaternion stays one."""
    spec = envs_reps.load("Ant-v4")
    obs = rng.normal(size=(8, 27))
    image = from_rep(spec.observation, to_rep(spec.observation, obs) @ spec.obs_rep.generators[0].T)
    assert np.allclose(np.linalg.norm(image[:, 1:5], axis=1), 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "soft"}, "mode: expected 'mlp' or 'rpp' or 'emlp'"),
        ({"spec": None}, "needs policy_kwargs"),
        ({"std": "tanh"}, "std: expected"),
        ({"use_sde": True}, "use_sde"),
        ({"activation_fn": torch.nn.ELU}, "have no activation_fn"),
        ({"activation": "gelu"}, "activation: expected"),
        ({"n_critics": 0}, "n_critics: expected at least 1"),
        ({"hidden": "5*V"}, "expected 64"),
        ({"net_arch": [4]}, "more than 4"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_policy("Ant-v4", **options)


def test_observations_that_are_no_vectors_are_refused():
    space = spaces.Dict({"joints": spaces.Box(-1, 1, (3,))})
    with pytest.raises(ValueError, match="expected observations in a Box, got Dict"):
        RPPSACPolicy(space, spaces.Box(-1, 1, (2,)), lambda _: 3e-4, mode="mlp")


def test_spec_of_another_environment_is_refused():
    env = gym.make("Walker2d-v5")
    with pytest.raises(ValueError, match="does not fit the observation space"):
        RPPSACPolicy(env.observation_space, env.action_space, lambda _: 3e-4, spec=envs_reps.load("Ant-v4").to_dict())
