"""Equivariant normalisation against the statistics of the data set moved by the whole group."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import polyak_update
from torch import nn

from rpp_rl.nn import EquivariantLayerNorm, EquivariantNorm
from rpp_rl.nn.norm import EPSILON
from rpp_rl.symmetry import Element, Rep, parse_group, parse_rep, signed_permutation, trivial

SO2 = parse_group("SO2")
SO3 = parse_group("SO3")
D4 = parse_group("D4")


def data(rng, rep, n=200) -> np.ndarray:
    """Numbers with different means and scales in every coordinate."""
    return rng.normal(size=rep.size) + np.exp(rng.normal(size=rep.size)) * rng.normal(size=(n, rep.size))


def feed(norm: EquivariantNorm, x: np.ndarray, sizes=(50, 1, 149)) -> EquivariantNorm:
    for batch in np.split(x, np.cumsum(sizes)[:-1]):
        norm.update(torch.as_tensor(batch))
    return norm


def orbit(rep: Rep, x: np.ndarray) -> np.ndarray:
    """All data moved by all elements of a finite group, or by many of SO(2)."""
    group = rep.group
    elements = group.elements if group.is_finite else [Element((), (2 * np.pi * k / 64,)) for k in range(64)]
    return np.concatenate([x @ rep.rho(g).T for g in elements])


SIGNED = [
    (name, text)
    for name in ("Z2", "Z4", "D4", "Z2xZ2", "S3")
    for text in ("2*R + P + V", "2*V + V*V", "regular + 2*R + regular")
]


@pytest.mark.parametrize(("name", "text"), [*SIGNED, ("D3", "2*R + P + V + irrep(1)"), ("SO2", "2*R + 2*V")])
def test_statistics_are_those_of_all_data_moved_by_all_elements(name, text, rng, dtype, tolerance):
    rep = parse_rep(text, parse_group(name))
    x = data(rng, rep)
    norm, moved = feed(EquivariantNorm(rep), x), orbit(rep, x)
    np.testing.assert_allclose(norm.running_mean, moved.mean(0), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(norm.running_var, moved.var(0), rtol=tolerance)
    assert norm.running_count == len(x)


def test_variance_of_an_orbit_is_the_mean_over_the_moved_data(rng):
    rep = parse_rep("V*V", SO2)
    x = data(rng, rep)
    norm = feed(EquivariantNorm(rep), x)
    np.testing.assert_allclose(norm.running_var, np.full(4, orbit(rep, x).var(0).mean()), rtol=1e-4)


def test_orbits_of_an_infinite_group_do_not_mix_units(rng):
    """A sum that nobody split: joint angles stay apart from positions although the group is infinite."""
    whole = parse_rep("2*R + V", SO2).whole()
    x = data(rng, whole)
    norm = feed(EquivariantNorm(whole), x)
    first, second, third, fourth = norm.running_var.tolist()
    assert len({round(first, 6), round(second, 6), round(third, 6)}) == 3
    assert third == pytest.approx(fourth)


def test_normalised_data_have_unit_variance_and_zero_invariant_mean(rng, dtype):
    rep = parse_rep("3*R + 2*regular", D4)
    x = data(rng, rep, 4000)
    norm = feed(EquivariantNorm(rep), x, (4000,))
    y = norm(torch.as_tensor(orbit(rep, x), dtype=dtype)).numpy()
    assert np.abs(y.mean(0)).max() < 1e-3
    assert np.abs(y.var(0) - 1).max() < 1e-3


def test_norm_commutes_with_every_group(group, rng, error, equivariance_tolerance):
    rep = parse_rep("2*R + P + 2*V + V*V", group)
    norm = feed(EquivariantNorm(rep), data(rng, rep))
    assert norm.running_var.min() > 0
    assert error(norm, rep) < equivariance_tolerance


def test_statistics_of_single_coordinates_break_symmetry(rng, error):
    """Negative control."""
    rep = parse_rep("2*V + regular", D4)
    x = data(rng, rep)
    norm = feed(EquivariantNorm(rep), x)
    norm.running_var.copy_(torch.as_tensor(x.var(0)))
    assert error(norm, rep) > 0.01
    norm = feed(EquivariantNorm(rep), x)
    norm.running_mean.copy_(torch.as_tensor(x.mean(0)))
    assert error(norm, rep) > 0.01


def test_identity_before_the_first_batch_and_no_change_without_update():
    norm = EquivariantNorm(parse_rep("R + V", SO3)).train()
    x = torch.randn(5, 4)
    torch.testing.assert_close(norm(x), x / (1 + EPSILON) ** 0.5)
    assert norm.running_count == 0
    assert not list(norm.parameters())


def test_small_and_constant_coordinates(rng):
    rep = 3 * trivial(D4)
    x = np.stack([1e-3 * rng.normal(size=400), np.full(400, 7.0), 1e4 + rng.normal(size=400)], axis=1)
    norm = feed(EquivariantNorm(rep), x, (100, 300))
    assert norm.running_var[0] == pytest.approx(x[:, 0].var(), rel=1e-3)
    assert norm.running_var[1] == pytest.approx(0.0, abs=1e-9)
    assert norm.running_var[2] == pytest.approx(1.0, rel=0.1)
    assert norm(torch.as_tensor(x, dtype=torch.float32)).isfinite().all()


def test_nearly_constant_data_keep_their_variance(rng):
    """The variance starts at one; adding a small difference to it would round the data's away."""
    norm = EquivariantNorm(trivial(D4))
    x = 1e-4 * rng.normal(size=(100, 1))
    norm.update(torch.as_tensor(x))
    assert norm.running_var.item() == pytest.approx(x.var(), rel=1e-5)


def test_surprising_values_are_clipped_without_breaking_symmetry(group, rng, error, equivariance_tolerance):
    """Contact forces are zero in all early data."""
    rep = parse_rep("R + P + 2*V", group)
    norm = EquivariantNorm(rep)
    norm.update(torch.zeros(100, rep.size))
    assert error(norm, rep) < equivariance_tolerance
    y = norm(torch.as_tensor(rng.normal(size=(50, rep.size)), dtype=torch.get_default_dtype()))
    rms = (y.square() @ norm.orbit_average).sqrt()
    assert 9.9 < rms.max() <= 10 + 1e-4
    if rep.is_signed_permutation:
        assert y.abs().max() == 10
    with pytest.raises(ValueError, match=r"clip must be positive, got 0\.0"):
        EquivariantNorm(rep, clip=0.0)


def test_clipping_coordinates_would_break_rotations(rng, error):
    """Negative control: what signed permutations allow."""
    assert error(lambda x: (100 * x).clamp(-10, 10), parse_rep("2*V", SO2)) > 0.01


def test_ordinary_values_are_not_clipped(rng):
    for name in ("D4", "SO2"):
        rep = parse_rep("2*R + V", parse_group(name))
        x = data(rng, rep)
        norm = feed(EquivariantNorm(rep), x)
        x = torch.as_tensor(x, dtype=torch.float32)
        expected = (x - norm.running_mean) / (norm.running_var + EPSILON).sqrt()
        torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-4)


def test_update_takes_other_precisions_and_keeps_its_own(rng):
    norm = EquivariantNorm(parse_rep("R + V", SO3))
    norm.update(torch.randn(8, 4, dtype=torch.float64))
    norm.double().update(torch.randn(8, 4))
    assert {buffer.dtype for buffer in norm.buffers()} == {torch.float64}
    assert norm.float().running_count == 16


def test_every_buffer_moves_with_the_module():
    moved = EquivariantNorm(parse_rep("R + V", SO3)).to("meta")
    assert {tensor.device.type for tensor in (*moved.buffers(), *moved.parameters())} == {"meta"}


def test_sb3_copies_the_statistics_of_critics_to_their_targets(rng):
    rep = parse_rep("R + V", SO3)
    norm, target = feed(EquivariantNorm(rep), data(rng, rep)), EquivariantNorm(rep)
    running = [[value for key, value in each.state_dict().items() if "running_" in key] for each in (norm, target)]
    assert len(running[0]) == 3
    polyak_update(*running, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(*running, strict=True))


def test_empty_and_foreign_batches_are_refused():
    norm = EquivariantNorm(parse_rep("R + V", SO3))
    for shape in ((0, 4), (3, 5), (4,)):
        with pytest.raises(ValueError, match=r"expected a batch of shape \(batch, 4\), got \("):
            norm.update(torch.zeros(shape))


def test_norms_need_orthogonal_representations():
    rep = parse_rep("R + V", parse_group("SL2"))
    with pytest.raises(ValueError, match=r"equivariant normalisation needs an orthogonal representation, got R \+ V"):
        EquivariantNorm(rep)
    with pytest.raises(ValueError, match=r"equivariant layer norm needs an orthogonal representation, got R \+ V"):
        EquivariantLayerNorm(rep)


def test_large_observations_are_cheap():
    """Humanoid has some 370 coordinates; here one representation that nobody split, with two orbits."""
    swap, flip = list(range(369, -1, -1)), list(range(370))
    rep = signed_permutation(parse_group("Z2xZ2"), [swap, flip], [[1] * 370, [1, *[-1] * 368, 1]])
    norm = EquivariantNorm(rep)
    norm.update(torch.randn(64, 370))
    assert len(norm.running_var.unique()) == 185
    assert norm.running_mean.nonzero().flatten().tolist() == [0, 369]


def test_layer_norm_is_equivariant(group, error, equivariance_tolerance):
    rep = parse_rep("2*R + P + 2*V + V*V", group)
    layer = EquivariantLayerNorm(rep)
    assert error(layer, rep) < equivariance_tolerance
    assert layer(torch.randn(2, 3, rep.size)).shape == (2, 3, rep.size)


def test_layer_norm_divides_by_the_root_mean_square(dtype):
    x = torch.randn(4, 7)
    expected = nn.RMSNorm(7, eps=EPSILON, elementwise_affine=False)(x)
    torch.testing.assert_close(EquivariantLayerNorm(parse_rep("R + 2*V", SO3))(x), expected)


def test_layer_norm_that_subtracts_the_mean_breaks_symmetry(error):
    """Negative control: torch's own."""
    rep = parse_rep("R + 2*V", SO3)
    assert error(nn.LayerNorm(rep.size), rep) > 0.01
