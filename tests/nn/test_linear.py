"""RPP linear layers: what commutes, what does not, scales, and the plain layers they merge into."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from rpp_rl.nn import EquivariantMatrix, RPPLinear, merge
from rpp_rl.symmetry import Group, Rep, direct_sum, parse_group, parse_rep, regular, sign, trivial, vector

FINITE = ("Z2", "Z4", "D4", "D4perm", "Z2xZ2", "S3")
LIE = ("SO2", "O2", "SO3", "O3")
D4 = parse_group("D4")
SO3 = parse_group("SO3")


RUNS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["R", "P", "V", "V*V", "regular"])), min_size=1, max_size=3
)


def rep_of(group: Group, runs: list[tuple[int, str]]) -> Rep:
    """The sum of the runs; an infinite group has the vector where a finite one has the regular representation."""
    names = [(count, "V" if name == "regular" and not group.is_finite else name) for count, name in runs]
    return direct_sum(*(count * parse_rep(name, group) for count, name in names))


def strict(layer: RPPLinear) -> RPPLinear:
    """The layer with a random equivariant pathway and no residual."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.zero_() if name.startswith("residual") else parameter.normal_()
    return layer


@pytest.mark.parametrize("mode", ["rpp", "emlp"])
def test_equivariant_pathway_commutes_with_every_group(mode, group, error, equivariance_tolerance):
    rep_in, rep_out = parse_rep("2*R + P + 2*V", group), parse_rep("R + V + V*V", group)
    layer = strict(RPPLinear(rep_in, rep_out, mode=mode))
    assert layer.weight().norm() > 0.1
    assert error(layer, rep_in, rep_out) < equivariance_tolerance


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FINITE + LIE), runs_in=RUNS, runs_out=RUNS)
def test_equivariant_pathway_commutes_on_any_representation(name, runs_in, runs_out, error, equivariance_tolerance):
    group = parse_group(name)
    rep_in, rep_out = rep_of(group, runs_in), rep_of(group, runs_out)
    assert error(strict(RPPLinear(rep_in, rep_out)), rep_in, rep_out) < equivariance_tolerance


def test_residual_pathway_breaks_symmetry(group, error, dtype):
    """Negative control."""
    layer = strict(RPPLinear(2 * vector(group), vector(group)))
    nn.init.normal_(layer.residual_weight, std=0.1)
    assert error(layer, layer.rep_in, layer.rep_out) > 0.01


def test_plain_mode_is_not_equivariant(group, error):
    layer = RPPLinear(vector(group), vector(group) + trivial(group), mode="mlp")
    assert error(layer, layer.rep_in, layer.rep_out) > 0.01


def test_weights_are_an_isometry_of_scaled_coefficients_onto_all_equivariant_matrices(group, constraints, dtype):
    rep_in = parse_rep("V + R + V", group)
    rep_out = parse_rep("P + V*V + R + P + 2*R", group)
    matrix = EquivariantMatrix(rep_in, rep_out)
    system = constraints(rep_in, rep_out)
    assert matrix.n_coefficients == rep_in.size * rep_out.size - np.linalg.matrix_rank(system)
    rows = torch.diag(1 / matrix.norms)
    basis = torch.stack([matrix(row) for row in rows]).flatten(1).double().numpy()
    assert np.abs(basis @ basis.T - np.eye(len(basis))).max() < 1e-6
    assert np.abs(system @ basis.T).max() < 1e-6


def test_weight_is_linear_in_the_coefficients_and_has_the_norm_that_they_say(dtype, tolerance):
    matrix = EquivariantMatrix(3 * regular(D4) + 2 * vector(D4), 2 * regular(D4) + vector(D4))
    a, b = torch.randn(2, matrix.n_coefficients)
    torch.testing.assert_close(matrix(2 * a - b), 2 * matrix(a) - matrix(b), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(matrix(a).norm(), (matrix.norms * a).norm(), rtol=tolerance, atol=0)


def changes_of_one_step(layer: RPPLinear, scale: dict[str, torch.Tensor]) -> dict[str, float]:
    """By how much one step of Adam changes the entries that can change, in the root mean square and units of the step.

    Args:
        layer: The layer; its gradient is random.
        scale: For parameters by name, what they are multiplied by where the optimiser sees them.
    """
    lr = 1e-3
    seen = {name: nn.Parameter(p.detach() * scale.get(name, 1.0)) for name, p in layer.named_parameters()}

    def made(parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        own = {name: p / scale.get(name, 1.0) for name, p in parameters.items()}
        parts = {name: own[name] for name in ("residual_weight", "residual_bias") if name in own}
        if layer.equiv_weight is not None:
            parts |= {"A": layer.weight_matrix(own["equiv_weight"]), "a": layer.bias_basis @ own["equiv_bias"]}
        return parts

    parts = made(seen)
    sum((part * torch.randn_like(part)).sum() for part in parts.values()).backward()
    before = {name: part.detach() for name, part in parts.items()}
    torch.optim.Adam(seen.values(), lr=lr, eps=1e-30).step()
    support = {name: torch.ones_like(part, dtype=torch.bool) for name, part in before.items()}
    if layer.equiv_weight is not None:
        rows = torch.eye(layer.equiv_weight.numel())
        support["A"] = torch.stack([layer.weight_matrix(row) for row in rows]).abs().amax(0) > 1e-6
        support["a"] = layer.bias_basis.abs().sum(1) > 1e-6
    moved = {name: ((after.detach() - before[name]) / lr)[support[name]] for name, after in made(seen).items()}
    return {name: float(m.square().mean().sqrt()) for name, m in moved.items() if m.numel()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FINITE + LIE), runs_in=RUNS, runs_out=RUNS, mode=st.sampled_from(["rpp", "emlp", "mlp"]))
def test_one_step_moves_the_entries_of_all_pathways_alike(name, runs_in, runs_out, mode, dtype):
    group = parse_group(name)
    layer = RPPLinear(rep_of(group, runs_in), rep_of(group, runs_out), mode=mode)
    assume(layer.equiv_weight is None or layer.equiv_weight.numel() > 0)
    for part, change in changes_of_one_step(layer, {}).items():
        assert change == pytest.approx(1, rel=1e-3), part


@pytest.mark.parametrize("name", ["Z2", "D4", "SO3"])
def test_one_step_of_orthonormal_coefficients_moves_less(name, dtype):
    """Negative control: the parametrisation of format 1."""
    group = parse_group(name)
    rep = rep_of(group, [(2, "regular"), (1, "V")])
    layer = RPPLinear(rep, rep)
    changes = changes_of_one_step(layer, {"equiv_weight": layer.weight_matrix.norms, "equiv_bias": layer.bias_norms})
    assert changes["A"] < 0.8
    assert changes["residual_weight"] == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("name", ["D4", "SO3", "O3"])
def test_a_state_of_orthonormal_coefficients_is_loaded_as_the_same_weights(name, dtype, tolerance):
    rep_in, rep_out = parse_rep("2*R + V + V*V", parse_group(name)), parse_rep("R + 2*V", parse_group(name))
    layer, other = RPPLinear(rep_in, rep_out), RPPLinear(rep_in, rep_out)
    old = layer.state_dict()
    for key, norms in zip(("equiv_weight", "equiv_bias"), layer.equiv_norms(), strict=True):
        old[key] = old[key] * norms
    for key in [key for key in old if "basis" in key]:
        norms = layer.bias_norms if key == "bias_basis" else layer.get_submodule(key.rpartition(".")[0]).largest_norm
        old[key] = old[key] / norms
    for metadata in old._metadata.values():
        metadata["version"] = 1
    other.load_state_dict(old)
    for made, expected in zip((other.weight(), other.bias()), (layer.weight(), layer.bias()), strict=True):
        torch.testing.assert_close(made, expected, rtol=tolerance, atol=tolerance)
    del old._metadata
    other.load_state_dict(old)  # negative control: without a version it is taken as it is
    is_saved_with_its_bases = any("blocks" in key for key in old)
    assert torch.allclose(other.weight(), layer.weight(), rtol=1e-3) == is_saved_with_its_bases


def test_weight_and_bias_are_the_sums_of_both_pathways(dtype):
    layer = RPPLinear(2 * vector(D4), regular(D4))
    equiv_weight, equiv_bias = layer.weight().detach().clone(), layer.bias().detach().clone()
    residual_weight, residual_bias = torch.randn(8, 4), torch.randn(8)
    with torch.no_grad():
        layer.residual_weight.copy_(residual_weight)
        layer.residual_bias.copy_(residual_bias)
    torch.testing.assert_close(layer.weight(), equiv_weight + residual_weight)
    torch.testing.assert_close(layer.bias(), equiv_bias + residual_bias)


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_gradient_reaches_every_pathway(mode, group):
    layer = RPPLinear(2 * vector(group) + trivial(group), vector(group) + trivial(group), mode=mode)
    layer(torch.randn(4, layer.rep_in.size)).square().sum().backward()
    parameters = dict(layer.named_parameters())
    assert len(parameters) == (4 if mode == "rpp" else 2)
    assert all(parameter.grad.abs().sum() > 0 for parameter in parameters.values())


def test_gradients_are_those_of_autograd_on_the_dense_basis(dtype, tolerance):
    layer = RPPLinear(2 * regular(D4) + vector(D4), 2 * regular(D4) + trivial(D4))
    dense = torch.stack([layer.weight_matrix(row) for row in torch.eye(layer.equiv_weight.numel())]).detach()
    x = torch.randn(5, layer.rep_in.size)
    layer(x).square().sum().backward()
    grad_weight = 2 * layer(x).detach().T @ x
    torch.testing.assert_close(layer.residual_weight.grad, grad_weight, rtol=tolerance, atol=tolerance)
    expected = torch.einsum("koi,oi->k", dense, grad_weight)
    torch.testing.assert_close(layer.equiv_weight.grad, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_merged_layer_is_a_plain_linear_that_computes_the_same(mode, group, dtype, shake):
    layer = shake(RPPLinear(2 * vector(group) + sign(group), vector(group) + 3 * trivial(group), mode=mode))
    merged = merge(layer)
    assert type(merged) is nn.Linear
    x = torch.randn(7, 3, layer.rep_in.size)
    torch.testing.assert_close(merged(x), layer(x), rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-12)
    before = merged(x)
    shake(layer)
    assert torch.equal(merged(x), before), "a merged layer is detached"


def test_leading_axes_are_batch_axes():
    layer = RPPLinear(vector(D4), regular(D4))
    assert layer(torch.randn(2)).shape == (8,)
    assert layer(torch.randn(3, 5, 2)).shape == (3, 5, 8)
    assert layer(torch.randn(0, 2)).shape == (0, 8)


def test_no_equivariant_map_leaves_zero_and_still_trains():
    layer = RPPLinear(trivial(D4), vector(D4), mode="emlp")
    assert torch.equal(layer(torch.randn(3, 1)), torch.zeros(3, 2))
    soft = RPPLinear(trivial(D4), vector(D4))
    for optimizer in (torch.optim.Adam(soft.parameters(), fused=True), torch.optim.Adam(soft.parameters())):
        before = soft.weight().detach().clone()
        optimizer.zero_grad()
        soft(torch.randn(3, 1)).square().sum().backward()
        nn.utils.clip_grad_norm_(soft.parameters(), 0.5)
        (soft(torch.randn(3, 1)) - 1).square().sum().backward()
        optimizer.step()
        assert not torch.equal(soft.weight(), before)


def test_plain_mode_draws_what_torch_draws():
    """The plain baseline: the parameters of ``nn.Linear``, from the same random numbers."""
    for size_in, size_out in ((1, 1), (17, 256), (256, 256), (113, 8)):
        torch.manual_seed(1)
        plain = nn.Linear(size_in, size_out)
        torch.manual_seed(1)
        layer = RPPLinear(size_in * trivial(D4), size_out * trivial(D4), mode="mlp")
        assert [p.shape for p in layer.parameters()] == [p.shape for p in plain.parameters()]
        assert torch.equal(layer.weight(), plain.weight)
        assert torch.equal(layer.bias(), plain.bias)


@pytest.mark.parametrize("kind", ["32*regular", "16*R + 24*V + 24*regular", "10*V + 10*R"])
@pytest.mark.parametrize("name", ["D4", "S3"])
def test_outputs_start_with_the_variance_of_a_plain_layer(name, kind):
    group = parse_group(name)
    rep = parse_rep(kind, group)
    plain = nn.Linear(rep.size, rep.size)
    x = torch.randn(1000, rep.size)
    with torch.no_grad():
        nn.init.zeros_(plain.bias)
        expected = plain(x).var()
        layers = [RPPLinear(rep, rep, mode=mode) for mode in ("rpp", "emlp")]
        for layer in layers:
            assert 0.8 < (layer(x) - layer.bias()).var() / expected < 1.25
            if layer.mode == "rpp":
                assert not layer.residual_weight.any()
                assert not layer.residual_bias.any()


def test_every_summand_of_the_output_starts_with_the_variance_of_a_plain_layer():
    """Also where many maps lead to the scalars and few to the vectors."""
    rep_in, rep_out = parse_rep("136*R + 40*V", SO3), parse_rep("60*R + 40*V + 10*V*V", SO3)
    layer = RPPLinear(rep_in, rep_out, mode="emlp")
    with torch.no_grad():
        y = layer(torch.randn(2000, rep_in.size)) - layer.bias()
        for part in y.split([60, 120, 90], dim=1):
            assert 0.8 / 3 < part.var() < 1.25 / 3


def test_bias_starts_with_the_variance_of_a_plain_layer_where_it_may_be():
    layer = RPPLinear(parse_rep("100*R", SO3), parse_rep("400*R + 10*V", SO3), mode="emlp")
    scalars, vectors = layer.bias().split([400, 30])
    assert not vectors.any()
    assert 0.8 < 3 * 100 * scalars.var() < 1.25


def test_head_can_be_scaled_as_sac_does(error):
    layer = RPPLinear(3 * regular(D4), vector(D4))
    before = layer.weight().detach().clone()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.01)
    torch.testing.assert_close(layer.weight(), 0.01 * before)
    assert error(layer, layer.rep_in, layer.rep_out) < 1e-5


def test_copies_share_nothing_but_the_representations(shake):
    layer = RPPLinear(2 * vector(SO3), vector(SO3))
    twin = copy.deepcopy(layer)
    x = torch.randn(4, 6)
    expected = layer(x)
    shake(layer)
    assert torch.equal(twin(x), expected)
    assert twin.rep_in == layer.rep_in


def test_layers_say_what_they_map():
    text = repr(RPPLinear(2 * vector(D4), regular(D4)))
    assert "2*V -> regular, group=D4, mode=rpp, n_equiv=4, n_residual=32" in text


def test_unknown_mode_and_foreign_groups_are_refused():
    with pytest.raises(ValueError, match=r"mode must be one of rpp, emlp, mlp, got 'soft'"):
        RPPLinear(vector(D4), vector(D4), mode="soft")
    for mode in ("rpp", "emlp", "mlp"):
        with pytest.raises(ValueError, match=r"no common group: rep_in is V of D4, rep_out is V of SO3"):
            RPPLinear(vector(D4), vector(SO3), mode=mode)


def test_wider_precision_after_construction_stays_equivariant_to_single_precision(error):
    layer = strict(RPPLinear(2 * vector(parse_group("D3")), regular(parse_group("D3")))).double()
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert error(layer, layer.rep_in, layer.rep_out) < 1e-6
    finally:
        torch.set_default_dtype(before)
