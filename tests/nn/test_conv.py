"""Convolutions with residual pathways against their dense matrices."""

import pytest
import torch
from torch import nn

from rpp_rl.nn import Prior, RPPConv2d, merge, pathways

SHAPES = [((5, 4), 1), ((6, 6), 2), ((3, 2), 1)]


def toeplitz(layer: RPPConv2d) -> torch.Tensor:
    """The dense matrix of the convolution, entry by entry."""
    (n_in, h, w), (n_out, h_out, w_out) = layer.in_shape, layer.out_shape
    k = layer.equiv_weight.shape[-1]
    matrix = torch.zeros(n_out, h_out, w_out, n_in, h, w)
    for i in range(h_out):
        for j in range(w_out):
            for di in range(k):
                for dj in range(k):
                    row, column = i * layer.stride + di - layer.padding, j * layer.stride + dj - layer.padding
                    if 0 <= row < h and 0 <= column < w:
                        matrix[:, i, j, :, row, column] = layer.equiv_weight[:, :, di, dj]
    return matrix.reshape(layer.out_shape.numel(), layer.in_shape.numel())


@pytest.mark.parametrize(("size", "stride"), SHAPES)
@torch.no_grad()
def test_layer_is_its_dense_matrix(size, stride, dtype, tolerance, shake):
    layer = shake(RPPConv2d(2, 3, image_size=size, stride=stride))
    a = toeplitz(layer)
    x = torch.randn(4, 2, *size)
    bias = layer.equiv_bias.repeat_interleave(layer.out_shape[1:].numel()) + layer.residual_bias
    expected = x.flatten(1) @ (a + layer.residual_weight).T + bias
    torch.testing.assert_close(layer(x).flatten(1), expected, rtol=tolerance, atol=10 * tolerance)
    torch.testing.assert_close(layer.matrix()[0], a + layer.residual_weight, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(("size", "stride"), SHAPES)
@torch.no_grad()
def test_prior_is_that_of_the_dense_matrix(size, stride):
    layer = RPPConv2d(2, 3, image_size=size, stride=stride)
    a = layer.equiv_bias.repeat_interleave(layer.out_shape[1:].numel())
    expected = (toeplitz(layer).square().sum() + a.square().sum()) / (2 * 0.3)
    torch.testing.assert_close(Prior(0.3, None).energy(layer), expected)
    of_code = RPPConv2d(2, 3, image_size=size, stride=stride, prior_of_filters=True)
    of_code.load_state_dict(layer.state_dict())
    entries = (layer.equiv_weight.square().sum() + layer.equiv_bias.square().sum()) / (2 * 0.3)
    torch.testing.assert_close(Prior(0.3, None).energy(of_code), entries)
    assert entries < expected, "control: entries of filters occur in many places"


def test_gradient_of_the_prior_is_that_of_its_energy(shake):
    layer = shake(RPPConv2d(2, 3, image_size=(4, 4)))
    prior = Prior(0.3, 0.7)
    prior.energy(layer).backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad(set_to_none=False)
    prior.add_gradient(pathways(layer), 1)
    for parameter, grad in zip(layer.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@torch.no_grad()
def test_convolutions_commute_with_translations_away_from_the_rim_and_soft_ones_do_not(shake):
    x = torch.zeros(1, 2, 9, 9)
    x[..., 3:5, 3:5] = torch.randn(1, 2, 2, 2)
    errors = {}
    for mode in ("emlp", "rpp", "mlp"):
        layer = shake(RPPConv2d(2, 3, image_size=(9, 9), mode=mode))
        errors[mode] = float((layer(x.roll((2, 1), (2, 3))) - layer(x).roll((2, 1), (2, 3))).abs().max())
    assert errors["emlp"] < 1e-5
    assert min(errors["rpp"], errors["mlp"]) > 1e-2, "control"


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@torch.no_grad()
def test_members_and_merged_layers_compute_the_same(mode, shake, tolerance):
    ensemble = shake(RPPConv2d(2, 3, image_size=(5, 4), stride=2, mode=mode, ensemble=3))
    x = torch.randn(3, 6, 2, 5, 4)
    y = ensemble(x)
    for member in range(3):
        alone = RPPConv2d(2, 3, image_size=(5, 4), stride=2, mode=mode)
        alone.load_state_dict({name: value[member] for name, value in ensemble.state_dict().items()})
        torch.testing.assert_close(alone(x[member]), y[member], rtol=tolerance, atol=10 * tolerance)
        network = merge(nn.Sequential(alone, nn.ReLU()))
        assert not any(isinstance(layer, RPPConv2d) for layer in network.modules())
        torch.testing.assert_close(network(x[member]), y[member].relu(), rtol=tolerance, atol=10 * tolerance)
    with pytest.raises(ValueError, match="merge its members one by one"):
        ensemble.merge()


def test_fresh_layers_are_convolutions_and_impossible_sizes_are_refused():
    layer = RPPConv2d(1, 2, image_size=(4, 4))
    assert not layer.residual_weight.any()
    assert layer.equiv_weight.any()
    for kernel_size, size in ((4, (4, 4)), (3, (0, 4))):
        with pytest.raises(ValueError, match="filters must have an odd size and images a positive one, got"):
            RPPConv2d(1, 2, kernel_size, image_size=size)
