"""The fast update against the plain one, and both parts against Stable-Baselines3."""

import copy
import pickle

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.logger import configure
from torch.nn.utils import parameters_to_vector

import envs_reps
from rpp_rl.fast import Weights, adam_step
from rpp_rl.fast.passes import AutogradPass
from rpp_rl.fast.squashed_sample import SquashedSample
from rpp_rl.nn.log_std import log_std_of
from rpp_rl.nn.prior import Decay
from rpp_rl.sac import RPPSAC

pytestmark = pytest.mark.mujoco


class SameBatches(ReplayBuffer):
    """A buffer whose batches follow each other in an order of its own."""

    def __init__(self, n_transitions, obs_dim, action_dim):
        rng = np.random.default_rng(0)
        box = spaces.Box(-np.inf, np.inf, (obs_dim,)), spaces.Box(-1, 1, (action_dim,))
        super().__init__(n_transitions, *box, device="cpu")
        for _ in range(n_transitions):
            obs, next_obs = rng.normal(size=(2, 1, obs_dim))
            action, reward = rng.uniform(-1, 1, (1, action_dim)), rng.normal(size=1)
            self.add(obs, next_obs, action, reward, rng.random(1) < 0.1, [{}])
        self.order = np.random.default_rng(1)

    def sample(self, batch_size, env=None):
        return self._get_samples(self.order.integers(self.size(), size=batch_size), env=env)


def make_agent(env_id="Walker2d-v5", mode="rpp", settings=None, **policy_kwargs):
    """An agent with a filled buffer, the same at every call."""
    spec = envs_reps.load(env_id)
    agent = RPPSAC(
        "RPPPolicy",
        env_id,
        policy_kwargs={"spec": spec.to_dict(), "mode": mode, "net_arch": [32, 32], **policy_kwargs},
        **{"seed": 0, "device": "cpu", "buffer_size": 1, "actor_equiv_var": 1.0, "critic_residual_var": 1e-2},
        **(settings or {}),
    )
    agent.replay_buffer = SameBatches(300, spec.observation.size, spec.action.size)
    agent.set_logger(configure(None, []))
    return agent


def parameters(agent):
    temperature = [] if agent.log_ent_coef is None else [agent.log_ent_coef]
    return parameters_to_vector([*agent.policy.parameters(), *temperature]).detach().clone()


def update(agent, n, *, fast, seed=1):
    """Parameters after so many updates on the same batches with the same noise."""
    torch.manual_seed(seed)
    for _ in range(n):
        if fast:
            agent.train(gradient_steps=1, batch_size=64)
        else:
            batch = agent.augmented(agent.replay_buffer.sample(64))
            agent.plain_update(batch, with_actor=agent._n_updates % agent.policy_delay == 0)
            agent.plain_follow_critic()
            agent._n_updates += 1
    return parameters(agent)


KINDS = {
    "rpp": {},
    "quaternion": {"env_id": "Ant-v4"},
    "mlp": {"mode": "mlp"},
    "emlp": {"mode": "emlp"},
    "policy only": {"policy_only": True},
    "three critics": {"n_critics": 3, "std": "softplus", "activation": "silu"},
    "one critic, no hidden layer": {"n_critics": 1, "net_arch": []},
    "tanh": {"activation": "tanh", "settings": {"max_grad_norm": 0.5}},
    "bilinear": {"hidden": "16*R + 8*V", "bilinear": True},
    "normalised": {"layer_norm": True, "normalize_obs": True},
    "normalised, silu": {"layer_norm": True, "activation": "silu"},
    "delayed": {"layer_norm": True, "settings": {"policy_delay": 2, "scale_rewards": True}},
    "augmented": {"mode": "mlp", "settings": {"augment": True}},
    "augmented quaternion": {"env_id": "Ant-v4", "mode": "mlp", "settings": {"augment": True}},
    "mirror loss": {"mode": "mlp", "settings": {"mirror_loss": 1.0}},
    "strong decay": {"settings": {"actor_residual_decay": 30.0, "critic_residual_decay": 100.0}},
    "fixed temperature": {"settings": {"ent_coef": 0.2}},
    "other optimiser": {"optimizer_class": torch.optim.RMSprop},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_fast_updates_are_those_of_the_formulas(kind):
    fast, plain = make_agent(**KINDS[kind]), make_agent(**KINDS[kind])
    before = parameters(fast)
    ours, expected = update(fast, 100, fast=True), update(plain, 100, fast=False)
    assert (ours - expected).norm() < 1e-4 * (expected - before).norm()


@pytest.mark.parametrize("kind", ["rpp", "mlp", "emlp", "policy only", "normalised"])
def test_updates_on_another_device_are_those_of_the_formulas(kind, monkeypatch):
    """The weights are only told that they are elsewhere, so that the way of accelerators is tested without one."""
    monkeypatch.setattr(Weights, "on_cpu", False)
    fast, plain = make_agent(**KINDS[kind]), make_agent(**KINDS[kind])
    before = parameters(fast)
    ours, expected = update(fast, 30, fast=True), update(plain, 30, fast=False)
    assert isinstance(fast._fast_update.actor_pass, AutogradPass), "control: the other way"
    assert (ours - expected).norm() < 1e-4 * (expected - before).norm()


def test_other_noise_makes_other_agents():
    """Negative control: the agreement above is not for want of movement."""
    before = parameters(make_agent())
    ours, other = update(make_agent(), 100, fast=True), update(make_agent(), 100, fast=False, seed=2)
    assert (ours - other).norm() > 1e-2 * (other - before).norm()


def test_plain_mode_learns_what_sb3_learns():
    ours = make_agent(mode="mlp")
    theirs = SAC("MlpPolicy", "Walker2d-v5", policy_kwargs={"net_arch": [32, 32]}, device="cpu", buffer_size=1)
    theirs.set_logger(configure(None, []))
    theirs.replay_buffer = SameBatches(300, 17, 6)
    critics = [torch.stack(pair) for pair in zip(*(q.parameters() for q in theirs.critic.q_networks), strict=True)]
    with torch.no_grad():
        for network, values in (
            (ours.actor, theirs.actor.parameters()),
            (ours.critic, critics),
            (ours.critic_target, critics),
        ):
            for parameter, value in zip(network.parameters(), values, strict=True):
                parameter.copy_(value)
        theirs.critic_target.load_state_dict(theirs.critic.state_dict())
    before = parameters_to_vector(theirs.actor.parameters()).detach().clone()
    update(ours, 50, fast=True)
    torch.manual_seed(1)
    theirs.train(gradient_steps=50, batch_size=64)
    expected = parameters_to_vector(theirs.actor.parameters())
    difference = parameters_to_vector(ours.actor.parameters()) - expected
    assert difference.norm() < 1e-4 * (expected - before).norm()
    targets = [torch.stack(p) for p in zip(*(q.parameters() for q in theirs.critic_target.q_networks), strict=True)]
    for ours_target, target in zip(ours.critic_target.parameters(), targets, strict=True):
        torch.testing.assert_close(ours_target, target, rtol=1e-4, atol=1e-5)


def test_losses_are_means_since_the_last_log():
    agent = make_agent()
    torch.manual_seed(1)
    losses = []
    for _ in range(3):
        losses.append(float(agent._fast_update(agent.replay_buffer.sample(64))["critic_loss"]))
        agent._fast_update.follow_critic()
    watched = make_agent()
    update(watched, 3, fast=True)
    assert watched._losses.means()["critic_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert watched._losses.means() == {}


def test_loaded_parameters_are_noticed():
    agent = make_agent()
    obs = np.random.default_rng(0).normal(size=(5, 17))
    before, _ = agent.predict(obs, deterministic=True)
    loaded = {key: value + 0.1 for key, value in agent.policy.state_dict().items()}
    agent.policy.load_state_dict(loaded)
    after, _ = agent.predict(obs, deterministic=True)
    expected, _ = agent.policy.predict(obs, deterministic=True)
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert not np.allclose(after, before, atol=1e-3)


def test_steps_of_others_are_noticed():
    """Fused optimisers leave the versions of parameters as they are."""
    agent = make_agent()
    obs = np.random.default_rng(0).normal(size=(5, 17))
    before, _ = agent.predict(obs, deterministic=True)
    for _ in range(20):
        agent.plain_update(agent.replay_buffer.sample(64))
        after, _ = agent.predict(obs, deterministic=True)
        expected, _ = agent.policy.predict(obs, deterministic=True)
        np.testing.assert_allclose(after, expected, atol=1e-6)
    assert not np.allclose(after, before, atol=1e-3)


@pytest.mark.parametrize("kind", ["rpp", "bilinear"])
def test_acting_in_inference_mode_does_not_touch_the_training(kind):
    watched = make_agent(**KINDS[kind])
    with torch.inference_mode():
        watched.predict(np.zeros((1, 17)), deterministic=True)
    assert torch.equal(update(watched, 3, fast=True), update(make_agent(**KINDS[kind]), 3, fast=True))


@pytest.mark.parametrize("kind", ["rpp", "mlp", "bilinear"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent))])
def test_copies_of_agents_learn_as_they_do(kind, copied):
    agent = make_agent(**KINDS[kind])
    update(agent, 3, fast=True)
    agent.env = None
    twin = copied(agent)
    assert torch.equal(update(twin, 3, fast=True), update(agent, 3, fast=True))


@pytest.mark.parametrize("kind", ["rpp", "mlp", "bilinear", "normalised"])
def test_frozen_parameters_stay(kind):
    fast, plain = make_agent(**KINDS[kind]), make_agent(**KINDS[kind])
    for agent in (fast, plain):
        agent.predict(np.zeros((1, 17)))
        for network in (agent.actor.latent_pi, agent.critic.q_ensemble.head):
            network.requires_grad_(False)
    frozen = [*fast.actor.latent_pi.parameters(), *fast.critic.q_ensemble.head.parameters()]
    values, before = [parameter.clone() for parameter in frozen], parameters(fast)
    ours, expected = update(fast, 20, fast=True), update(plain, 20, fast=False)
    assert all(torch.equal(parameter, value) for parameter, value in zip(frozen, values, strict=True))
    assert (ours - expected).norm() < 1e-4 * (expected - before).norm()


@pytest.mark.parametrize("std", ["exp", "softplus"])
def test_squashed_samples_are_those_of_sb3_with_their_gradients(std):
    torch.manual_seed(0)
    heads = (3 * torch.randn(64, 6)).double()
    heads[0, 3:] = torch.tensor([-30.0, 30.0, 5.0])  # beyond the bounds of the standard deviation
    heads.requires_grad_()
    mean, head = heads.chunk(2, dim=1)
    distribution = SquashedDiagGaussianDistribution(3)
    torch.manual_seed(1)
    actions, log_prob = distribution.log_prob_from_params(mean, log_std_of(head, std))
    torch.manual_seed(1)
    sample = SquashedSample(heads.detach(), std, torch.randn(64, 3, dtype=torch.float64))
    torch.testing.assert_close(sample.actions, actions)
    torch.testing.assert_close(sample.log_prob.squeeze(1), log_prob)
    grad_actions = torch.randn(20, 3, dtype=torch.float64)
    ((actions[:20] * grad_actions).sum() + 0.3 * log_prob[:20].sum()).backward()
    ours = sample.backward(grad_actions, torch.tensor(0.3, dtype=torch.float64))
    # SB3 recovers the noise from the action, which costs digits where the action is near ±1.
    torch.testing.assert_close(ours, heads.grad[:20], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"decoupled_weight_decay": True}], ids=str)
def test_steps_are_those_of_adam_with_the_prior_in_the_gradient(options):
    torch.manual_seed(0)
    start = [torch.randn(5, 3), torch.randn(7)]
    pairs = []
    for is_ours in (True, False):
        parameters = [torch.nn.Parameter(value.clone()) for value in start]
        optimizer = torch.optim.Adam(parameters, fused=True, weight_decay=0.1, **options)
        torch.manual_seed(1)
        for _ in range(5):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            if is_ours:
                adam_step.step(optimizer, [Decay(parameters[:1], 0.5)])
            else:
                parameters[0].grad.add_(parameters[0].detach(), alpha=0.5)
                optimizer.step()
        pairs.append(parameters)
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_hooks_of_optimisers_are_called():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], fused=True)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    for _ in range(2):
        parameter.grad = torch.ones(3)
        adam_step.step(optimizer)
    assert len(calls) == 2
