"""Training of ensembles: the penalty is a projection penalty on W, and members do not see one another."""

import pytest
import torch

from rpp_rl.nn import RPPLinear
from rpp_rl.studies.training import PAPER_PENALTY, Penalty, Recipe, epochs_of_training, evaluated, squared_error
from rpp_rl.studies.training import weight_pathways as weights
from rpp_rl.symmetry import dihedral, equivariant_basis, vector

V = vector(dihedral(4))


def test_penalty_is_that_of_the_paper_without_half_and_number_of_data():
    layer = RPPLinear(2 * V, V).double().requires_grad_(False)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    penalty = Penalty(equiv=0.3, residual=0.7)
    a, b = layer.weight() - layer.residual_weight, layer.residual_weight
    bias_a, bias_b = layer.bias() - layer.residual_bias, layer.residual_bias
    expected = 0.3 * (a.square().sum() + bias_a.square().sum()) + 0.7 * (b.square().sum() + bias_b.square().sum())
    assert float(penalty.prior("rpp").energy(layer)) == pytest.approx(float(expected))


def test_best_split_of_a_matrix_is_a_penalty_on_its_projection():
    """min ‖A‖²/σa² + ‖B‖²/σb² over A + B = W is ‖PW‖²/(σa² + σb²) + ‖(1 − P)W‖²/σb²."""
    basis = torch.as_tensor(equivariant_basis(3 * V, 2 * V)).flatten(1)
    w = torch.randn(basis.shape[1], dtype=torch.float64)
    var_a, var_b = 2.5, 0.4
    # Quadratic in the coefficients of A: solved exactly.
    n = len(basis)
    beta = torch.linalg.solve(torch.eye(n, dtype=torch.float64) * (1 / var_a + 1 / var_b), basis @ w / var_b)
    smallest = beta.square().sum() / var_a + (w - beta @ basis).square().sum() / var_b
    projected = (basis @ w) @ basis
    expected = projected.square().sum() / (var_a + var_b) + (w - projected).square().sum() / var_b
    torch.testing.assert_close(smallest, expected)
    without = (w.square().sum() / var_b).item()
    assert smallest.item() < without, "control: sharing with A helps"


def test_covariance_of_w_under_the_prior_is_larger_on_the_equivariant_subspace():
    basis = torch.as_tensor(equivariant_basis(V, V), dtype=torch.float64).flatten(1)
    n, n_draws = basis.shape[1], 200_000
    a = 2.0 * torch.randn(n_draws, len(basis), dtype=torch.float64) @ basis
    w = a + 0.5 * torch.randn(n_draws, n, dtype=torch.float64)
    projector = basis.T @ basis
    expected = (4.0 + 0.25) * projector + 0.25 * (torch.eye(n, dtype=torch.float64) - projector)
    torch.testing.assert_close(w.T @ w / n_draws, expected, atol=0.05, rtol=0)


def test_baselines_carry_the_weak_penalty_and_none_in_the_codes_variant():
    for mode in ("emlp", "mlp"):
        layer = RPPLinear(2 * V, V, mode=mode)
        assert float(PAPER_PENALTY.prior(mode).energy(layer).detach()) > 0
        assert float(PAPER_PENALTY.prior(mode, of_baselines=False).energy(layer).detach()) == 0


def test_free_biases_are_those_of_the_code():
    layer = RPPLinear(2 * V, V)
    kept = weights(layer)
    assert [id(p) for p in kept.equiv] == [id(layer.equiv_weight)]
    assert [id(p) for p in kept.residual] == [id(layer.residual_weight)]
    assert len(kept.norms) == 1


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_members_learn_what_they_would_alone(mode):
    x, y = torch.randn(2, 40, 4), torch.randn(2, 40, 2)
    recipe = Recipe(3, 40, 1e-2, Penalty(1e-3, 1e-1).prior(mode))
    torch.manual_seed(3)
    both = RPPLinear(2 * V, V, mode=mode, ensemble=2)
    alone = RPPLinear(2 * V, V, mode=mode, ensemble=1)
    with torch.no_grad():
        for one, two in zip(alone.parameters(), both.parameters(), strict=True):
            one.copy_(two[1:])
    for net, data in ((both, (x, y)), (alone, (x[1:], y[1:]))):
        losses = list(epochs_of_training(net, *data, squared_error, recipe, seed=0))
        assert len(losses) == 3
        assert losses[-1].mean() < losses[0].mean()
    torch.testing.assert_close(both(x)[1], alone(x[1:])[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        evaluated(both, x, y, squared_error, batch_size=7), squared_error(both, x, y), atol=1e-5, rtol=1e-5
    )


def test_a_diverging_training_is_reported():
    net = RPPLinear(2 * V, V, ensemble=2)
    x = torch.full((2, 8, 4), torch.inf)
    with pytest.raises(FloatingPointError, match="the loss of every trial"):
        list(
            epochs_of_training(
                net, x, x[..., :2], squared_error, Recipe(1, 8, 1e-3, PAPER_PENALTY.prior("rpp")), seed=0
            )
        )
