"""Transition models: what they compute, and how it transforms."""

import numpy as np
import pytest
import torch

import envs_reps
from rpp_rl.dynamics.model import TransitionModel, widths_of_equal_size

SPECS = ["Hopper-v4/Z2", "Ant-v4/D4", "Ant-v4/D4xyaw", "Swimmer-v4/Z2xZ2", "Humanoid-v4/O2"]
TIME = 100


def make_model(name, rng, **options):
    """A model with random weights in both pathways, normalised by random data of the size of real ones."""
    spec = envs_reps.load(*name.split("/"))
    torch.manual_seed(0)
    model = TransitionModel(spec, widths=(32, 32), **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = 0.1 * rng.normal(size=(50, 2, spec.obs_rep.size)).cumsum(1)
    u = rng.uniform(-1, 1, size=(50, 1, spec.action.size))
    model.fit_scaling(*(torch.as_tensor(array, dtype=torch.get_default_dtype()) for array in (x, u)))
    return model


def rolled(model, x0, actions):
    with torch.no_grad():
        arrays = (torch.as_tensor(array, dtype=torch.get_default_dtype()) for array in (x0, actions))
        return model.rollout(*arrays).numpy().astype(np.float64)


def rollout_errors(model, rng):
    """Relative error at every step between the trajectory from g-transformed states and the g-transformed one."""
    rep, action_rep = model.spec.obs_rep, model.spec.action_rep
    model.changes.scale.mul_(0.1)  # the state changes by some percent in each step, as that of a robot
    x0, actions = 0.1 * rng.normal(size=(8, rep.size)), rng.uniform(-1, 1, size=(8, TIME, action_rep.size))
    expected, errors = rolled(model, x0, actions), []
    assert np.linalg.norm(expected[:, -1] - x0) > 0.1 * np.linalg.norm(x0)
    for g in [*rep.group.generator_elements(), *(rep.group.sample(rng) for _ in range(2))]:
        of_moved = rolled(model, x0 @ rep.rho(g).T, actions @ action_rep.rho(g).T)
        moved = expected @ rep.rho(g).T
        distance, size = (np.linalg.norm(array, axis=(0, 2)) for array in (of_moved - moved, moved))
        errors.append(distance / size)
    return np.array(errors)


@pytest.mark.parametrize("name", SPECS)
def test_a_strict_model_keeps_the_symmetry_over_100_steps(name, rng):
    assert rollout_errors(make_model(name, rng, mode="emlp"), rng).max() < 1e-4


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("mode", ["rpp", "mlp"])
def test_a_model_with_free_weights_does_not(name, mode, rng):
    """Negative control."""
    errors = rollout_errors(make_model(name, rng, mode=mode), rng)
    assert errors[: len(envs_reps.load(*name.split("/")).generators), -1].max() > 1e-2


def test_a_fresh_rpp_model_is_equivariant(rng):
    model = make_model("Ant-v4/D4", rng, mode="rpp")
    for layer in (model.net.trunk[0], model.net.trunk[2], model.net.head):
        layer.reset_parameters()
    assert rollout_errors(model, rng).max() < 1e-4


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_a_rollout_is_repeated_steps(mode, rng, tolerance):
    model = make_model("Ant-v4/D4", rng, mode=mode)
    x = 0.1 * torch.randn(4, 32)
    actions = torch.randn(4, 5, 8)
    for predicted, u in zip(model.rollout(x, actions).unbind(1), actions.unbind(1), strict=True):
        x = model(x, u)
        torch.testing.assert_close(predicted, x, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("head", ["deterministic", "gaussian"])
def test_members_are_models_of_their_own(head, rng, tolerance):
    model = make_model("Ant-v4/D4", rng, ensemble=3, head=head)
    alone = make_model("Ant-v4/D4", rng, head=head)
    alone.load_state_dict({k: v[1] if k.startswith("net.") else v for k, v in model.state_dict().items()})
    x, actions = torch.randn(4, 32), torch.randn(4, 5, 8)
    assert model.n_parameters == alone.n_parameters
    shared = model.rollout(x, actions)
    assert shared.shape == (3, 4, 5, 32)
    for predicted in (shared, model.rollout(x.expand(3, 4, 32), actions.expand(3, 4, 5, 8))):
        torch.testing.assert_close(predicted[1], alone.rollout(x, actions), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(model(x, actions[:, 0])[1], alone(x, actions[:, 0]), rtol=tolerance, atol=tolerance)
    if head == "gaussian":
        for of_all, of_one in zip(
            model.distribution(x, actions[:, 0]), alone.distribution(x, actions[:, 0]), strict=True
        ):
            torch.testing.assert_close(of_all[1], of_one, rtol=tolerance, atol=tolerance)


def test_sharing_weights_changes_no_gradient(rng, tolerance):
    model = make_model("Hopper-v4/Z2", rng)
    x0, actions = torch.randn(4, 11), torch.randn(4, 3, 3)
    model.rollout(x0, actions)[:, -1].square().sum().backward()
    shared = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    x = x0
    for u in actions.unbind(1):
        x = model(x, u)
    x.square().sum().backward()
    for parameter, gradient in zip(model.parameters(), shared, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=10 * tolerance, atol=10 * tolerance)


def test_a_step_in_the_units_of_the_data(rng, tolerance):
    """x' = x + μ + σ f((x − μ_in) / σ_in), written out."""
    model = make_model("Hopper-v4/Z2", rng)
    x, u = torch.randn(4, 11), torch.randn(4, 3)
    normal = (torch.cat([x, u], 1) - model.inputs.mean) / model.inputs.scale
    expected = x + model.changes.mean + model.changes.scale * model.net(normal)
    torch.testing.assert_close(model(x, u), expected, rtol=tolerance, atol=tolerance)
    assert model.changes.scale.max() < 0.5 < 1.01 * model.inputs.scale.max()


@pytest.mark.parametrize("name", ["Ant-v4/D4", "Swimmer-v4/Z2xZ2"])
def test_decoding_undoes_encoding(name, rng, tolerance):
    model = make_model(name, rng)
    obs = rng.normal(size=(20, model.spec.observation.size))
    if name.startswith("Ant"):
        obs[:, 1:5] /= np.linalg.norm(obs[:, 1:5], axis=1, keepdims=True) * np.sign(obs[:, 1:2])
    obs = torch.as_tensor(obs, dtype=torch.get_default_dtype())
    torch.testing.assert_close(model.decode(model.encode(obs)), obs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["Hopper-v4/Z2", "Ant-v4/D4", "Ant-v4/D4xyaw"])
def test_a_strict_gaussian_keeps_the_symmetry(name, rng, tolerance):
    """The Gaussian of a moved state is the moved Gaussian: its covariance is ρ Σ ρᵀ."""
    assert gaussian_error(make_model(name, rng, mode="emlp", head="gaussian"), rng) < tolerance


def test_a_gaussian_with_free_weights_does_not(rng):
    """Negative control."""
    assert gaussian_error(make_model("Ant-v4/D4", rng, mode="rpp", head="gaussian"), rng) > 0.01


@torch.no_grad()
def gaussian_error(model, rng):
    rep, action_rep = model.spec.obs_rep, model.spec.action_rep
    x, u = rng.normal(size=(8, rep.size)), rng.normal(size=(8, action_rep.size))

    def distribution(*arrays):
        tensors = (torch.as_tensor(array, dtype=torch.get_default_dtype()) for array in arrays)
        mean, std = (tensor.numpy().astype(np.float64) for tensor in model.distribution(*tensors))
        return mean, std[:, None] ** 2 * np.eye(rep.size)

    errors = []
    mean, covariance = distribution(x, u)
    assert np.ptp(np.diagonal(covariance, axis1=1, axis2=2), axis=0).max() > 0  # it depends on the state
    for g in [*rep.group.generator_elements(), *(rep.group.sample(rng) for _ in range(2))]:
        rho = rep.rho(g)
        moved_mean, moved_covariance = distribution(x @ rho.T, u @ action_rep.rho(g).T)
        errors.append(np.abs(moved_mean - mean @ rho.T).max())
        errors.append(np.abs(moved_covariance - rho @ covariance @ rho.T).max() / covariance.max())
    return max(errors)


def test_both_heads_have_means_of_the_same_kind(rng, tolerance):
    model = make_model("Hopper-v4/Z2", rng, head="gaussian")
    x, u = torch.randn(4, 11), torch.randn(4, 3)
    mean, std = model.distribution(x, u)
    torch.testing.assert_close(mean, model(x, u), rtol=tolerance, atol=tolerance)
    assert (std > 0).all()
    with pytest.raises(ValueError, match="a deterministic head has no distribution"):
        make_model("Hopper-v4/Z2", rng).distribution(x, u)


@pytest.mark.parametrize("name", ["Hopper-v4/Z2", "Ant-v4/D4", "Ant-v4/D4xyaw"])
@pytest.mark.parametrize("mode", ["rpp", "emlp"])
@pytest.mark.parametrize("head", ["deterministic", "gaussian"])
def test_equal_size_means_the_widest_that_is_not_larger(name, mode, head):
    spec = envs_reps.load(*name.split("/"))
    plain = TransitionModel(spec, mode="mlp", widths=(64, 64), head=head).n_parameters
    widths = widths_of_equal_size(spec, (64, 64), mode=mode, head=head)
    wider = [width + (spec.group.order if spec.group.is_finite else 1) for width in widths]
    sizes = [TransitionModel(spec, mode=mode, widths=w, head=head).n_parameters for w in (widths, wider)]
    assert sizes[0] <= plain < sizes[1]
    assert (widths[0] > 64) == (mode == "emlp")
    assert widths_of_equal_size(spec, (64, 64), mode="mlp") == (64, 64)


def test_options_are_refused_by_name():
    spec = envs_reps.load("Hopper-v4")
    with pytest.raises(ValueError, match="head must be one of deterministic, gaussian, got 'laplace'"):
        TransitionModel(spec, head="laplace")
    with pytest.raises(ValueError, match="mode must be one of"):
        TransitionModel(spec, mode="soft")
