"""Updates that are replayed: the same as those that are made, although only numbers on the device can change."""

import copy
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parameters_to_vector

import envs_reps
from rpp_rl.nn import Weights
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.captured import N_WARM_UPS, CapturedUpdate
from rpp_rl.sac.device_replay import DeviceReplay

pytestmark = pytest.mark.mujoco

BATCH = 16
KINDS = {
    "rpp": {},
    "mlp": {"mode": "mlp"},
    "clipped": {"settings": {"max_grad_norm": 0.5}},
    "normalised": {"normalize_obs": True, "layer_norm": True},
    "fixed temperature": {"settings": {"ent_coef": 0.2}},
}


def frozen(step):
    """A step as a graph of tensor operations, in which every number of Python is what it was: as on a GPU."""
    captured = next(c.cell_contents for c in step.__closure__ if isinstance(c.cell_contents, CapturedUpdate))
    names = []

    def listed():
        losses = step()
        names[:] = losses
        return list(losses.values())

    # Unlike capturing, tracing makes the step.
    with as_before(captured.update.agent):
        graph = make_fx(listed)()
    return lambda: dict(zip(names, graph(), strict=True))


@contextmanager
def as_before(agent):
    """Undo what happens to the agent and to the random numbers inside."""
    optimizers = [o for o in (agent.actor.optimizer, agent.critic.optimizer, agent.ent_coef_optimizer) if o is not None]
    moments = [value for o in optimizers for state in o.state.values() for value in state.values()]
    temperature = [] if agent.log_ent_coef is None else [agent.log_ent_coef]
    tensors = [*agent.policy.parameters(), *agent.policy.buffers(), *moments, *temperature]
    copies, numbers = [tensor.detach().clone() for tensor in tensors], torch.get_rng_state()
    yield
    torch.set_rng_state(numbers)
    with torch.no_grad():
        for tensor, saved in zip(tensors, copies, strict=True):
            tensor.copy_(saved)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """The weights are told that they are not on the CPU, so that they and their passes go the way of a GPU."""

    class Elsewhere(Weights):
        def __init__(self, module):
            super().__init__(module)
            self.parameters.insert(0, torch.empty(0, device="meta"))

    monkeypatch.setattr("rpp_rl.sac.fast_update.Weights", Elsewhere)


def make_agent(settings=None, **policy_kwargs):
    """An agent with a few random transitions, the same at every call."""
    agent = RPPSAC(
        "RPPPolicy",
        "Walker2d-v5",
        policy_kwargs={"spec": envs_reps.load("Walker2d-v5").to_dict(), "net_arch": [16, 16], **policy_kwargs},
        **{"seed": 0, "device": "cpu", "buffer_size": 50, "actor_equiv_var": 1.0, **(settings or {})},
    )
    agent.set_logger(configure(None, []))
    add(agent, 30)
    return agent


def add(agent, n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        obs, next_obs = rng.normal(size=(2, 1, 17))
        reward, done = rng.normal(size=1), rng.random(1) < 0.3
        infos = [{"TimeLimit.truncated": bool(rng.random() < 0.5)}]
        agent.replay_buffer.add(obs, next_obs, rng.uniform(-1, 1, (1, 6)), reward, done, infos)


def parameters(agent):
    temperature = [] if agent.log_ent_coef is None else [agent.log_ent_coef]
    return parameters_to_vector([*agent.policy.parameters(), *temperature]).detach().clone()


def train(agent, n, *, capture, learning_rates=(3e-4, 1e-3)):
    """Parameters after so many steps, in the middle of which transitions and another learning rate come in."""
    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, capture)
    torch.manual_seed(1)
    for step in range(n):
        if step == n // 2:
            add(agent, 30, seed=1)
        for optimizer in (agent.actor.optimizer, agent.critic.optimizer, agent.ent_coef_optimizer):
            if optimizer is not None:
                optimizer.param_groups[0]["lr"] = learning_rates[step >= n // 2]
        follow = step % 3 != 2
        if capture is not None:
            captured(follow=follow)
            continue
        captured._ready(follow=follow)
        agent._fast_update(captured.replay.draw(BATCH))
        captured.n_warm_ups = 0
        if follow:
            agent._fast_update.follow_critic()
    return parameters(agent)


@pytest.mark.parametrize("kind", KINDS)
def test_replayed_steps_are_those_that_are_made(kind):
    before = parameters(make_agent(**KINDS[kind]))
    expected = train(make_agent(**KINDS[kind]), 12, capture=None)
    replayed = train(make_agent(**KINDS[kind]), 12, capture=frozen)
    assert (replayed - expected).norm() < 1e-4 * (expected - before).norm()


def test_another_learning_rate_makes_another_agent():
    """Negative control: what changes in the middle has an effect."""
    before = parameters(make_agent())
    expected = train(make_agent(), 12, capture=None)
    other = train(make_agent(), 12, capture=frozen, learning_rates=(3e-4, 3e-4))
    assert (other - expected).norm() > 1e-2 * (expected - before).norm()


def test_replayed_steps_are_noticed_by_acting():
    agent = make_agent()
    obs = np.random.default_rng(0).normal(size=(5, 17))
    before, _ = agent.predict(obs, deterministic=True)
    train(agent, 12, capture=frozen)
    after, _ = agent.predict(obs, deterministic=True)
    expected, _ = agent.policy.predict(obs, deterministic=True)
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert not np.allclose(after, before, atol=1e-4)


def test_steps_are_captured_anew_when_optimisers_are_loaded():
    agent, captures = make_agent(), []

    def counted(step):
        captures.append(step)
        return step

    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, counted)
    for _ in range(N_WARM_UPS + 2):
        captured(follow=True)
    assert len(captures) == 1
    agent.set_parameters(copy.deepcopy(agent.get_parameters()))
    captured(follow=True)
    assert len(captures) == 2


def test_a_failure_is_one_warning():
    def failing(step):
        raise RuntimeError("operation not permitted when stream is capturing")

    agent = make_agent()
    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, failing)
    for _ in range(N_WARM_UPS):
        assert captured(follow=True) is not None
    with pytest.warns(UserWarning, match="cannot be captured as a CUDA graph, training goes on without one: operation"):
        assert captured(follow=True) is None
    assert captured.error is not None


def test_on_a_cpu_nothing_is_captured():
    agent = make_agent()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.train(N_WARM_UPS + 1, BATCH)
    assert agent._captured is None


def test_the_copy_follows_the_buffer_around_its_end():
    agent = make_agent()
    replay = DeviceReplay(agent.replay_buffer)
    for seed, n in enumerate((0, 15, 25, 1, 49)):
        add(agent, n, seed)
        replay.follow()
        buffer = agent.replay_buffer
        assert replay.n_rows == buffer.size()
        for columns, array in ((slice(17), buffer.observations), (slice(-3, -2), buffer.rewards[..., None])):
            expected = torch.from_numpy(array[: buffer.size(), 0]).float()
            torch.testing.assert_close(replay.rows[: buffer.size(), columns], expected, rtol=0, atol=0)


def test_what_is_drawn_are_transitions_of_the_buffer():
    agent = make_agent()
    replay, buffer = DeviceReplay(agent.replay_buffer), agent.replay_buffer
    batch = replay.draw(400)
    observations = buffer.observations[:, 0].astype(np.float32)
    rows = [int((observations == obs).all(1).argmax()) for obs in batch.observations.numpy()]
    assert set(rows) == set(range(30)), "all rows that are filled, and no others"
    expected = buffer._get_samples(np.array(rows))
    for name in ("observations", "actions", "next_observations", "rewards", "dones"):
        torch.testing.assert_close(getattr(batch, name), getattr(expected, name).float(), rtol=0, atol=0)
    assert 0 < float(batch.dones.mean()) < float(torch.as_tensor(buffer.dones[:30]).float().mean()), "time-outs count"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_of_a_gpu_makes_the_same_steps(kind, monkeypatch):
    results = []
    for capture in (lambda step: step, None):
        agent = make_agent(**{**KINDS[kind], "settings": {**KINDS[kind].get("settings", {}), "device": "cuda"}})
        captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, capture)
        torch.manual_seed(1)
        before = parameters(agent)
        for _ in range(20):
            assert captured(follow=True) is not None, captured.error
        results.append(parameters(agent))
    assert (results[1] - results[0]).norm() < 1e-3 * (results[0] - before).norm()
