"""The pendulum: its Hamiltonian, data whose generator drifts nowhere, check numbers, and networks that have a flow."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from rpp_rl.nn import RPPLinear
from rpp_rl.nn.chain import Level
from rpp_rl.studies import pendulum
from rpp_rl.studies.equivariance import equivariance_error
from rpp_rl.studies.hamiltonian import hamiltonian_field, rollout
from rpp_rl.studies.pendulum import WIND, WIND_STRENGTH, energy, initial_states, network, pieces, reps, rollout_error
from rpp_rl.studies.representations import orthogonal_about_z
from rpp_rl.studies.study import Context, Job, StudySettings
from rpp_rl.symmetry import Element, special_orthogonal, vector

N = 400


@pytest.fixture(scope="module", autouse=True)
def _coarse_data():
    """Two steps between the states of the data: their number, not that of the trajectories, takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pendulum, "N_FINE", 2)
        pieces.cache_clear()
        yield
    pieces.cache_clear()


@pytest.fixture(scope="module")
def calm():
    return pieces(0.0, N, 1)


@pytest.fixture(scope="module")
def windy():
    return pieces(WIND_STRENGTH, N, 1)


def by_hand(_, z):
    """The forces written out, an oracle that takes no gradient."""
    x1, x2, p1, p2 = z.reshape(4, 3)
    d1, d2 = np.linalg.norm(x1), np.linalg.norm(x1 - x2)
    pull = 2 * (d2 - 1) * (x1 - x2) / d2
    down = np.array([0.0, 0.0, -1.0]) + WIND_STRENGTH * np.array(WIND)
    return np.concatenate([p1, p2, -(d1 - 1) * x1 / d1 - pull + down, pull + down])


def test_field_and_rollout_agree_with_forces_written_out_and_another_integrator():
    z = initial_states(1, torch.Generator().manual_seed(0))[0]
    field = hamiltonian_field(lambda z: energy(z, WIND_STRENGTH))
    np.testing.assert_allclose(field(z).detach().numpy(), by_hand(0, z.numpy()), atol=1e-12)
    states = rollout(field, z, n_steps=10, dt=0.2, n_substeps=20).detach().numpy()
    found = solve_ivp(by_hand, (0, 2.0), z.numpy(), rtol=1e-10, atol=1e-12, t_eval=np.linspace(0, 2, 11))
    np.testing.assert_allclose(states, found.y.T, atol=1e-6)


def test_energy_does_not_drift_over_a_trajectory():
    z = initial_states(20, torch.Generator().manual_seed(0))
    drifts = []
    for n_substeps in (5, 1):
        with torch.no_grad():
            end = rollout(hamiltonian_field(energy), z, n_steps=30, dt=0.2, n_substeps=n_substeps)[:, -1]
        drifts.append(float((energy(end) - energy(z)).abs().max()))
    assert drifts[0] < 2e-6, "a fifth of a trajectory"
    assert drifts[1] > 1e-4, "control"


def test_check_numbers(calm, windy):
    """No motion, and the windless dynamics on windy data; few pieces here, hence the tolerance."""
    assert float((calm[:, :1] - calm).square().mean()) == pytest.approx(0.0726, rel=0.1)
    with torch.no_grad():
        predicted = rollout(hamiltonian_field(energy), windy[:, 0].double(), n_steps=4, dt=0.2)
    assert float((predicted - windy).square().mean()) == pytest.approx(pendulum.STRICT_FLOOR, rel=0.1)


def test_one_step_between_states_is_enough_to_learn_from(calm):
    with torch.no_grad():
        predicted = rollout(hamiltonian_field(energy), calm[:, 0].double(), n_steps=4, dt=0.2)
    assert float((predicted - calm).square().mean()) < 1e-7


def test_the_cache_of_data_knows_the_wind_and_the_seed(calm, windy):
    assert not torch.allclose(calm, windy)
    assert torch.equal(pieces(0.0, N, 1), calm)
    assert not torch.equal(pieces(0.0, N, 2), calm)


def test_true_energies_are_as_symmetric_as_the_cases_say():
    z = initial_states(300, torch.Generator().manual_seed(0))[None]
    errors = {
        (name, wind): equivariance_error(lambda z, w=wind: energy(z, w)[..., None], *reps(group), z, seed=0)[0]
        for name, group in (("O2z", orthogonal_about_z()), ("SO3", special_orthogonal(3)))
        for wind in (0.0, 0.1)
    }
    assert errors["O2z", 0.0] < 1e-12
    assert errors["O2z", 0.1] > 1e-2
    assert errors["SO3", 0.0] > 0.1


def test_the_level_between_is_what_the_wind_leaves_and_what_is_true_of_all_rotations():
    z = initial_states(300, torch.Generator().manual_seed(0))
    mirror = pendulum.CHAINS["approximate"].restrict(4 * vector(orthogonal_about_z()))
    mirrored = z @ torch.as_tensor(mirror.rho(Element((0,), ()))).T
    np.testing.assert_allclose(energy(mirrored, 0.1), energy(z, 0.1), atol=1e-12)
    across = z @ torch.as_tensor((4 * vector(orthogonal_about_z())).rho(Element((0,), (0.0,)))).T
    assert float((energy(across, 0.1) - energy(z, 0.1)).abs().max()) > 0.1, "control: a mirror across the wind"
    turn = pendulum.CHAINS["misspecified"].restrict(4 * vector(special_orthogonal(3)))
    turned = z @ torch.as_tensor(turn.rho(Element((), (0.7,)))).T
    np.testing.assert_allclose(energy(turned), energy(z), atol=1e-12)
    assert float((turned - z).abs().max()) > 0.1, "control"


@pytest.mark.parametrize("case", ["approximate", "misspecified"])
def test_levels_commute_with_their_subgroup_alone(case):
    torch.manual_seed(0)
    group, subgroup = pendulum.GROUPS[case], pendulum.CHAINS[case]
    net = network(group, "rpp", width=12, subgroups=[subgroup], twins=True).double()
    for module in net.modules():
        if isinstance(module, Level):
            torch.nn.init.normal_(module.equiv_weight, std=0.3)
    z = initial_states(50, torch.Generator().manual_seed(0))[None]
    restricted = [subgroup.restrict(rep) for rep in reps(group)]
    assert equivariance_error(net, *restricted, z, seed=0)[0] < 1e-6
    assert equivariance_error(net, *reps(group), z, seed=0)[0] > 1e-3, "control"


def test_sizes_of_the_paper_s_networks():
    net = network(orthogonal_about_z(), "emlp")
    assert next(layer for layer in net.modules() if isinstance(layer, RPPLinear)).equiv_weight.numel() == 400
    bilinear = sum(p.numel() for name, p in net.named_parameters() if "to_" in name or "contracted" in name)
    assert bilinear == 3 * 5472
    free = network(orthogonal_about_z(), "rpp")
    residual = sum(p.numel() for name, p in free.named_parameters() if "residual" in name)
    assert residual + bilinear == 55_569
    assert sum(p.numel() for p in network(orthogonal_about_z(), "mlp").parameters()) == 34_817


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_gradients_pass_through_rollouts_of_every_mode(mode, calm):
    net = network(orthogonal_about_z(), mode, width=12, members=2)
    data = calm[:10].expand(2, -1, -1, -1)
    rollout_error(net, data[..., 0, :], data).sum().backward()
    for name, parameter in net.named_parameters():
        # A constant of the energy moves nothing.
        assert parameter.grad is None or parameter.grad.any() or "head" in name or not parameter.numel()


@pytest.mark.parametrize("model", ["rpp", "chain", "twins", "per", "mixed", "subspace"])
def test_a_job_in_small(model):
    settings = StudySettings(trials=2, epochs=3, width=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pendulum, "N_TRAJECTORIES", N)
        patch.setattr(pendulum, "N_TRAIN", 40)
        ticks = []
        context = Context(torch.device("cpu"), None, ticks.append)
        rows = pendulum.run(Job("approximate", model), settings, context)
        train, test = pendulum.split(Job("approximate", model), settings, N)
    assert sum(ticks) == 3
    assert {(row.metric, row.trial) for row in rows} == {(m, t) for m in ("train", "test") for t in (0, 1)}
    assert all(0 < row.value < 1 for row in rows)
    assert not (train[0, :, None] == test[0]).all((-1, -2)).any(), "no piece is in both"
