"""Training: what is minimised, that it goes on bit for bit, and that a soft prior helps or at least does no harm."""

import dataclasses

import numpy as np
import pytest
import torch

from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.model_file import read_model, save_model
from rpp_rl.dynamics.training import PAPER_PRIOR, Trainer, rollout_loss
from rpp_rl.dynamics.trajectories import Trajectories
from rpp_rl.nn import Prior, RPPLinear, pathways
from tests.kit.toy_models import POINTS


def springs(n, time, rng, stiffness=(3.0, 3.0), action_scale=1.0):
    """Two damped, hardening springs that push each other; the mirror exchanges them where the stiffnesses are equal."""
    q, v = 2 * rng.normal(size=(2, n, 2))
    states, actions = [np.concatenate([q, v], 1)], rng.normal(size=(n, time, 2))
    for u in np.moveaxis(actions, 1, 0):
        force = -np.array(stiffness) * (q + 0.3 * q**3) - 0.5 * v + np.tanh(2 * v[:, ::-1]) + np.sin(3 * q[:, ::-1])
        v = v + 0.05 * (force + action_scale * u)
        q = q + 0.05 * v
        states.append(np.concatenate([q, v], 1))
    arrays = (np.stack(states, 1), actions)
    return Trajectories(*(array.astype(np.float32) for array in arrays))


def make_model(mode="rpp", seed=0, widths=(16, 16), **options):
    torch.manual_seed(seed)
    return TransitionModel(POINTS, mode=mode, widths=widths, **options)


def make_trainer(model, n=40, data=springs, **options):
    rng = np.random.default_rng(0)
    parts = [data(n, 5, rng), data(20, 20, rng)]
    options = {"batch_size": 10, "n_epochs": 6, "validation": data(10, 5, rng)} | options
    return Trainer(model, *parts, **options)


def run(trainer, n_epochs=None):
    for _ in range(n_epochs or trainer.n_epochs - trainer.epoch):
        trainer.run_epoch()
    return trainer


@pytest.mark.parametrize(
    "options",
    [{"mode": "mlp"}, {"mode": "emlp"}, {"mode": "rpp"}, {"head": "gaussian"}, {"ensemble": 3, "head": "gaussian"}],
)
def test_the_loss_falls(options):
    trainer = run(make_trainer(make_model(**options), n_epochs=30, learning_rate=1e-2))
    assert trainer.history.shape == (30, 3)
    assert trainer.epoch == 30
    first, last = trainer.history[[0, -1]][:, [0, 2]]
    assert (last < first - 0.3 * np.abs(first)).all()


@torch.no_grad()
def test_the_loss_by_hand():
    trainer = make_trainer(make_model())
    states, actions, scale = trainer.states, trainer.actions, trainer.model.state_scale
    total, x = 0.0, states[:, 0]
    for t in range(5):
        x = trainer.model(x, actions[:, t])
        total += float((x - states[:, t + 1]).abs().div(scale).sum())
    expected = total / (5 * len(states))
    assert float(rollout_loss(trainer.model, states, actions)) == pytest.approx(expected, rel=1e-5)


def test_a_gaussian_adds_the_likelihood_of_one_step_and_leaves_the_mean_alone():
    trainer = make_trainer(make_model(head="gaussian"))
    model, states, actions = trainer.model, trainer.states, trainer.actions
    loss = rollout_loss(model, states, actions)
    mean, std = model.distribution(states[:, :-1], actions)
    nll = -torch.distributions.Normal(mean, std).log_prob(states[:, 1:]).sum(-1).mean()
    n = states.shape[-1]
    plain = (model.rollout(states[:, 0], actions) - states[:, 1:]).div(model.state_scale).abs().sum(-1).mean()
    assert loss.item() == pytest.approx((plain + nll).item() - 0.5 * n * np.log(2 * np.pi), rel=1e-4)
    head = model.net.head.residual_bias
    (gradient,) = torch.autograd.grad(loss - plain, [head])
    assert gradient[:n].abs().max() < 1e-6 < gradient[n:].abs().max()


def test_the_standard_deviation_finds_the_noise():
    def noisy(n, time, rng):
        data = springs(n, time, rng)
        return dataclasses.replace(data, states=data.states + 0.05 * rng.normal(size=data.states.shape).astype("f4"))

    trainer = make_trainer(
        make_model(head="gaussian"), n=400, data=noisy, batch_size=40, n_epochs=40, learning_rate=1e-2
    )
    run(trainer)
    with torch.no_grad():
        mean, std = trainer.model.distribution(trainer.test_states[:, :-1], trainer.test_actions)
        z = (trainer.test_states[:, 1:] - mean) / std
    assert 0.7 < float(z.square().mean().sqrt()) < 1.4


def test_every_chunk_is_used_once_in_an_epoch_and_in_another_order():
    trainer = make_trainer(make_model())
    orders = [trainer._order().flatten().tolist()]
    trainer.epoch = 1
    orders.append(trainer._order().flatten().tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(40))
    assert orders[0] != orders[1] != list(range(40))
    ensemble = make_trainer(make_model(ensemble=3))._order()
    assert ensemble.shape == (4, 3, 10)
    members = ensemble.transpose(0, 1).flatten(1).tolist()
    assert all(sorted(member) == list(range(40)) for member in members)
    assert members[0] != members[1] != members[2]


def test_an_ensemble_trains_its_members_as_if_alone():
    """With all data in one batch their order has no effect, so the first member is a model of its own."""
    ensemble, alone = make_model(ensemble=3), make_model()
    weights = {name: value[0] for name, value in ensemble.net.state_dict().items()}
    alone.net.load_state_dict(weights)
    trainers = [run(make_trainer(model, batch_size=40, prior=Prior(1e-2, 1e-2))) for model in (ensemble, alone)]
    for name, value in trainers[1].model.net.state_dict().items():
        torch.testing.assert_close(trainers[0].model.net.state_dict()[name][0], value, rtol=1e-3, atol=1e-5)
    x, u = torch.randn(5, 4), torch.randn(5, 7, 2)
    first, second, _ = trainers[0].model.rollout(x, u)
    torch.testing.assert_close(first, alone.rollout(x, u), rtol=1e-3, atol=1e-4)
    assert (first - second).abs().max() > 1e-2


def test_the_prior_is_part_of_what_is_minimised():
    """One step of Adam from a fresh state is minus the learning rate times the gradient's sign."""
    prior = Prior(equiv_var=1e-7, residual_var=1e-7)
    trainer = make_trainer(make_model(), prior=prior, n_epochs=1, learning_rate=1e-4, batch_size=40)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.run_epoch()
    shrunk = [
        float(((after.abs() < start.abs()) | (start == 0)).float().mean())
        for start, after in zip(before, trainer.model.parameters(), strict=True)
    ]
    assert min(shrunk) > 0.9
    assert make_trainer(make_model("mlp"), prior=prior).prior == Prior()
    assert make_trainer(make_model("emlp"), prior=prior).prior == Prior(equiv_var=1e-7)
    assert make_trainer(make_model()).prior == Prior()
    assert Prior(equiv_var=1e6, residual_var=3) == PAPER_PRIOR


def test_the_residual_pathway_decays_and_nothing_else_does():
    """In the limit of many steps against the gradient's sign, entries of B stay below 1 / λ."""
    trainer = make_trainer(make_model(), residual_decay=50.0, n_epochs=40, learning_rate=1e-2)
    decays = {id(p): group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    equiv, residual, *_ = pathways(trainer.model)
    assert {decays[id(p)] for p in equiv} == {0.0}
    assert {decays[id(p)] for p in residual} == {50.0}
    run(trainer)
    free = run(make_trainer(make_model(), n_epochs=40, learning_rate=1e-2))
    largest, largest_free = (
        max(float(p.detach().abs().max()) for p in pathways(t.model).residual) for t in (trainer, free)
    )
    assert largest < 1 / 50 < largest_free


def test_the_epoch_that_validates_best_is_kept():
    trainer = make_trainer(make_model(), n=5, n_epochs=60, learning_rate=3e-2, batch_size=5)
    kept = {}
    while not trainer.is_complete:
        trainer.run_epoch()
        kept[trainer.epoch] = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    best = int(np.argmin(trainer.history[:, 1])) + 1
    assert trainer.best_epoch == best < 60
    trainer.finish()
    assert all(torch.equal(value, kept[best][name]) for name, value in trainer.model.state_dict().items())
    assert not all(torch.equal(value, kept[60][name]) for name, value in trainer.model.state_dict().items())
    assert trainer._loss_on(trainer.validation) == pytest.approx(trainer.history[best - 1, 1], rel=1e-5)


def test_an_epoch_whose_validation_is_no_number_is_never_the_best(monkeypatch):
    """A rollout that leaves the data may end in inf - inf, while the training itself goes on."""
    trainer = make_trainer(make_model(), n_epochs=5)
    losses = iter([np.nan, 3.0, np.nan, 2.0, np.nan])
    monkeypatch.setattr(trainer, "_loss_on", lambda data: next(losses) if data is trainer.validation else 0.0)
    best = []
    while not trainer.is_complete:
        trainer.run_epoch()
        best.append(trainer.best_epoch)
    assert best == [0, 2, 2, 4, 4]
    resumed = make_trainer(make_model(), n_epochs=5)
    resumed.load_state(trainer.state())
    assert resumed.best_epoch == 4


def test_training_ends_when_no_better_epoch_comes():
    trainer = make_trainer(make_model(), n=5, n_epochs=500, learning_rate=3e-2, batch_size=5, patience=10)
    while not trainer.is_complete:
        trainer.run_epoch()
    assert trainer.epoch == trainer.best_epoch + 10 < 500
    with pytest.raises(ValueError, match="set validation above 0"):
        make_trainer(make_model(), validation=None, patience=3)


def test_without_validation_the_last_epoch_remains():
    trainer = run(make_trainer(make_model(), validation=None))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.finish()
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert np.isnan(trainer.history[:, 1]).all()


def test_the_state_of_a_former_version_goes_on():
    """It has no column of the validation and no best weights."""
    former = run(make_trainer(make_model(), validation=None), 2)
    state = {**former.state(), "history": torch.from_numpy(former.history[:, [0, 2]])}
    model = make_model()
    model.load_state_dict(former.model.state_dict())
    resumed = make_trainer(model, validation=None)
    resumed.load_state(state)
    np.testing.assert_array_equal(run(resumed).history, run(former).history)


@pytest.mark.parametrize("mode", ["emlp", "mlp"])
def test_weights_move_as_far_with_a_symmetry_as_without(mode):
    """The first step of Adam moves every parameter by the learning rate, times what makes up for small bases."""
    trainer = make_trainer(make_model(mode), learning_rate=1e-3, batch_size=40, prior=Prior())
    layers = [layer for layer in trainer.model.modules() if isinstance(layer, RPPLinear)]
    before = [(layer.weight().detach().clone(), layer.bias().detach().clone()) for layer in layers]
    trainer.run_epoch()
    for layer, (weight, bias) in zip(layers, before, strict=True):
        for change in (layer.weight() - weight, layer.bias() - bias):
            assert float(change.detach().square().mean().sqrt()) == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("options", [{}, {"head": "gaussian"}, {"ensemble": 2, "mode": "emlp"}])
def test_a_training_that_stops_and_goes_on_repeats_every_bit(tmp_path, options):
    whole = run(make_trainer(make_model(**options)))
    interrupted = run(make_trainer(make_model(**options)), 2)
    save_model(interrupted.model, tmp_path / "model.safetensors", extra=interrupted.state())
    model, _, state = read_model(tmp_path)
    resumed = make_trainer(model)
    resumed.load_state(state)
    assert resumed.epoch == 2
    run(resumed)
    np.testing.assert_array_equal(resumed.history, whole.history)
    weights = whole.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(resumed.state().values(), whole.state().values(), strict=True))


def test_other_seeds_and_forgotten_moments_do_not_repeat():
    """Negative control of the test above."""
    whole = run(make_trainer(make_model()))
    assert not np.array_equal(run(make_trainer(make_model(), seed=1)).history, whole.history)
    assert not np.array_equal(run(make_trainer(make_model(seed=1))).history, whole.history)
    forgetful = run(make_trainer(make_model()), 2)
    fresh = {name: torch.zeros_like(value) for name, value in forgetful.state().items() if name != "history"}
    forgetful.load_state({**fresh, "history": torch.as_tensor(forgetful.history)})
    assert not np.array_equal(run(forgetful).history, whole.history)


def test_the_state_of_another_model_is_refused():
    with pytest.raises(ValueError, match="does not belong to this model"):
        make_trainer(make_model("mlp")).load_state(make_trainer(make_model("rpp")).state())


def test_a_training_that_diverges_says_so():
    trainer = make_trainer(make_model(), learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"in epoch \d the loss is (nan|inf): the training has diverged"):
        run(trainer)


def test_few_chunks_make_one_batch():
    trainer = run(make_trainer(make_model(), n=3), 1)
    assert trainer.batch_size == 3
    assert np.isfinite(trainer.history).all()


def error(mode, stiffness):
    """Loss on test trajectories after training on few data of springs, mean over three members.

    The prior has to be as narrow as so few data need to be told what to prefer; it is the same for both laws.
    """
    trainer = make_trainer(
        make_model(mode, widths=(64, 64), ensemble=3),
        150,
        lambda n, time, rng: springs(n, time, rng, stiffness),
        n_epochs=300,
        batch_size=50,
        learning_rate=1e-2,
        prior=Prior(1e6, 1e-2),
    )
    return run(trainer).history[-1, 2]


@pytest.mark.slow
def test_a_soft_prior_is_as_good_as_a_law_where_the_law_holds():
    soft, strict, plain = (error(mode, (3.0, 3.0)) for mode in ("rpp", "emlp", "mlp"))
    assert soft < 1.1 * strict
    assert plain > 1.1 * strict  # or the law would be of no use, and the comparison of none


@pytest.mark.slow
def test_a_soft_prior_is_as_good_as_none_where_the_law_is_badly_broken():
    soft, strict, plain = (error(mode, (1.0, 8.0)) for mode in ("rpp", "emlp", "mlp"))
    assert soft < 1.1 * plain
    assert strict > 2 * plain


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"head": "gaussian"}, {"mode": "mlp"}, {"ensemble": 3}])
def test_the_captured_step_learns_what_the_cpu_learns(options):
    on_cpu = run(make_trainer(make_model(**options)))
    on_gpu = make_trainer(make_model(**options).cuda())
    assert on_gpu.graph is not None
    np.testing.assert_allclose(run(on_gpu).history, on_cpu.history, rtol=1e-2)
