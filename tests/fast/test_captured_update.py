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
from rpp_rl.fast import CapturedUpdate, DeviceReplay, Weights
from rpp_rl.fast.captured_update import N_WARM_UPS, _cuda_graph
from rpp_rl.sac import RPPSAC

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
    monkeypatch.setattr(Weights, "on_cpu", False)


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
        agent.num_timesteps += 1


def parameters(agent):
    temperature = [] if agent.log_ent_coef is None else [agent.log_ent_coef]
    return parameters_to_vector([*agent.policy.parameters(), *temperature]).detach().clone()


def train(agent, n, *, capture, learning_rates=(3e-4, 1e-3)):
    """Parameters after so many steps, in the middle of which transitions and another learning rate come in."""
    update, replay = agent._fast_update, DeviceReplay(agent.replay_buffer)
    captured = CapturedUpdate(update, agent.replay_buffer, BATCH, capture)
    torch.manual_seed(1)
    for step in range(n):
        if step == n // 2:
            add(agent, 30, seed=1)
        for optimizer in (agent.actor.optimizer, agent.critic.optimizer, agent.ent_coef_optimizer):
            if optimizer is not None:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rates[step >= n // 2]
        follow = step % 3 != 2
        if capture is not None:
            captured(with_actor=True, follow=follow)
            continue
        replay.follow(agent.num_timesteps)
        update(replay.draw(BATCH))
        if follow:
            update.follow_critic()
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


def changed(agent, change):
    """How many captures steps before and after a change take."""
    captures = []

    def counted(step):
        captures.append(step)
        return step

    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, counted)
    counts = []
    for _ in range(2):
        for _ in range(N_WARM_UPS + 2):
            captured(with_actor=True, follow=True)
        counts.append(len(captures))
        change(agent)
    return counts


def load_fresh_temperature(agent):
    agent.log_ent_coef.data = agent.log_ent_coef.detach().clone()


@pytest.mark.parametrize(
    "change",
    [
        lambda agent: agent.set_parameters(copy.deepcopy(agent.get_parameters())),
        load_fresh_temperature,
        lambda agent: setattr(agent, "tau", 0.1),
        lambda agent: setattr(agent, "actor_residual_var", 3.0),
    ],
    ids=["parameters", "temperature", "tau", "prior"],
)
def test_steps_are_captured_anew_when_what_is_fixed_changes(change):
    assert changed(make_agent(), change) == [1, 2]


def test_steps_are_captured_once_when_nothing_changes():
    """Negative control."""
    assert changed(make_agent(), lambda agent: None) == [1, 1]


def test_an_optimiser_without_its_state_is_warmed_up_before_it_is_captured(monkeypatch):
    agent = make_agent()
    fresh, inside, steps = copy.deepcopy(agent.get_parameters()), [False], []
    own = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *args: steps.append(inside[0]) or own(*args))

    def watched(step):
        def replay():
            inside[0] = True
            losses = step()
            inside[0] = False
            return losses

        return replay

    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, watched)
    for _ in range(2):
        for _ in range(N_WARM_UPS + 2):
            captured(with_actor=True, follow=True)
        agent.set_parameters(copy.deepcopy(fresh))
    assert steps, "control: optimisers make their own first step"
    assert not any(steps)


def failing(step):
    """What a GPU does: nothing is computed while capturing, and then it fails."""
    step()
    raise RuntimeError("operation not permitted\nwhen stream is capturing")


def test_after_a_failure_training_goes_on_with_one_warning():
    agent = make_agent()
    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, failing)
    for _ in range(N_WARM_UPS):
        assert captured(with_actor=True, follow=True) is not None
    with pytest.warns(UserWarning, match=r"cannot be captured .* does not try\): operation not permitted$"):
        assert captured(with_actor=True, follow=True) is None
    assert captured.has_failed
    assert agent._fast_update.critic_weights.is_stale or not agent._fast_update.step_counts
    assert agent._fast_update.target_weights.is_stale
    agent.train(3, BATCH)
    assert torch.isfinite(parameters(agent)).all()


@pytest.mark.parametrize(
    "policy_kwargs", [{"optimizer_class": torch.optim.RMSprop}, {"optimizer_kwargs": {"capturable": True}}], ids=str
)
def test_other_optimisers_are_not_captured(policy_kwargs):
    agent = make_agent(**policy_kwargs)
    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, lambda step: step)
    with pytest.warns(UserWarning, match="with these options is not made for it"):
        assert captured(with_actor=True, follow=True) is None


def test_on_a_cpu_nothing_is_captured():
    agent = make_agent()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.train(N_WARM_UPS + 1, BATCH)
    assert agent._captured is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_of_a_gpu_makes_the_same_steps(kind):
    agents = [
        make_agent(**{**KINDS[kind], "settings": {**KINDS[kind].get("settings", {}), "device": "cuda"}}) for _ in "12"
    ]
    before = parameters(agents[0])
    made, replayed = train(agents[0], 12, capture=lambda step: step), train(agents[1], 12, capture=_cuda_graph)
    assert (replayed - made).norm() < 1e-3 * (made - before).norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_survives_a_capture_that_waits_for_it():
    agent = make_agent({"device": "cuda"})

    def waiting(step):
        return _cuda_graph(lambda: {name: loss.clone().fill_(loss.item()) for name, loss in step().items()})

    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, BATCH, waiting)
    for _ in range(N_WARM_UPS):
        captured(with_actor=True, follow=True)
    with pytest.warns(UserWarning, match="cannot be captured"):
        captured(with_actor=True, follow=True)
    agent.compile = False
    agent.train(3, BATCH)
    assert torch.isfinite(parameters(agent)).all()
