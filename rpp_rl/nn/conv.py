"""Convolutions with a residual pathway prior: a convolution plus a dense map of the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn.linear import Mode, linear, member_axis, require_mode


class RPPConv2d(nn.Module):
    """y = A x + B x + a + b with a convolution A and a dense map B (arXiv:2112.01388, section 5.4).

    Convolutions commute with translations, up to the zeros around the image. Coefficients of A are the entries of its
    filters. In the dense matrix of A such an entry stands wherever its place in the filter meets a place of the image:
    that number of times for each pair of channels, fewer at the rim. So the filters with a single entry 1, each divided
    by the root of that count, are an orthonormal basis of A, on which `Prior` is defined.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of a filter, odd; images are padded with zeros to keep their size.
        image_size: Height and width of the input.
        stride: Steps between the places at which filters are applied.
        mode: Which pathways exist; ``emlp`` is a plain convolution, ``mlp`` a plain dense map.
        prior_of_filters: Whether `Prior` is that of the paper's code: each entry of a filter counts once, however large
            the image is.
        ensemble: Number of independent maps computed together, see `RPPLinear`.

    Attributes:
        equiv_weight: Filters, shape ``(out_channels, in_channels, kernel_size, kernel_size)``; None in ``mlp`` mode.
        equiv_bias: a, one number for each channel; None in ``mlp`` mode.
        residual_weight: B, shape ``(out_channels · height · width, in_channels · height · width)`` with the sizes of
            the images; None in ``emlp`` mode.
        residual_bias: b, one number for each pixel; None in ``emlp`` mode.

    Raises:
        ValueError: If the mode is unknown, the filter's size is even, or the images are empty.

    >>> layer = RPPConv2d(1, 4, image_size=(6, 5))
    >>> layer(torch.zeros(2, 1, 6, 5)).shape
    torch.Size([2, 4, 6, 5])
    >>> layer.merge()[1]
    Linear(in_features=30, out_features=120, bias=True)
    """

    equiv_weight: nn.Parameter | None
    equiv_bias: nn.Parameter | None
    residual_weight: nn.Parameter | None
    residual_bias: nn.Parameter | None
    weight_norms: Tensor
    bias_norms: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        image_size: Sequence[int],
        stride: int = 1,
        mode: Mode = "rpp",
        prior_of_filters: bool = False,
        ensemble: int | None = None,
    ) -> None:
        super().__init__()
        require_mode(mode)
        members = member_axis(ensemble)
        if kernel_size % 2 == 0 or min(image_size) < 1:
            raise ValueError(
                f"filters must have an odd size and images a positive one, got {kernel_size} and {tuple(image_size)}"
            )
        self.padding = kernel_size // 2
        height, width = ((size + 2 * self.padding - kernel_size) // stride + 1 for size in image_size)
        self.mode, self.ensemble, self.stride = mode, ensemble, stride
        self.in_shape = torch.Size((in_channels, *image_size))
        self.out_shape = torch.Size((out_channels, height, width))
        for name in ("equiv_weight", "equiv_bias", "residual_weight", "residual_bias"):
            self.register_parameter(name, None)
        if mode != "mlp":
            self.equiv_weight = nn.Parameter(torch.empty(*members, out_channels, in_channels, kernel_size, kernel_size))
            self.equiv_bias = nn.Parameter(torch.empty(*members, out_channels))
            counts = torch.ones(kernel_size, kernel_size) if prior_of_filters else self._places(kernel_size)
            places = torch.tensor(1.0 if prior_of_filters else float(height * width))
            self.register_buffer("weight_norms", counts.sqrt(), persistent=False)
            self.register_buffer("bias_norms", places.sqrt(), persistent=False)
        if mode != "emlp":
            self.residual_weight = nn.Parameter(torch.empty(*members, self.out_shape.numel(), self.in_shape.numel()))
            self.residual_bias = nn.Parameter(torch.empty(*members, self.out_shape.numel()))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw fresh parameters at the scale of torch's layers; the residual of an ``rpp`` layer is zero."""
        if self.equiv_weight is not None and self.equiv_bias is not None:
            bound = math.prod(self.equiv_weight.shape[-3:]) ** -0.5
            nn.init.uniform_(self.equiv_weight, -bound, bound)
            nn.init.uniform_(self.equiv_bias, -bound, bound)
        if self.residual_weight is not None and self.residual_bias is not None:
            bound = 0.0 if self.mode == "rpp" else self.in_shape.numel() ** -0.5
            nn.init.uniform_(self.residual_weight, -bound, bound)
            nn.init.uniform_(self.residual_bias, -bound, bound)

    def equiv_norms(self) -> tuple[Tensor, Tensor]:
        """Factors that turn filters and biases of channels into coefficients of orthonormal bases."""
        return self.weight_norms, self.bias_norms

    def forward(self, x: Float[Tensor, "*members batch in h w"]) -> Float[Tensor, "*members batch out h2 w2"]:
        """Map images; ensembles map members first."""
        terms = []
        if self.equiv_weight is not None and self.equiv_bias is not None:
            terms.append(self._convolved(x, self.equiv_weight, self.equiv_bias))
        if self.residual_weight is not None and self.residual_bias is not None:
            y = linear(x.flatten(-3), self.residual_weight, self.residual_bias)
            terms.append(y.unflatten(-1, self.out_shape))
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    @torch.no_grad()
    def matrix(self) -> tuple[Float[Tensor, "*members out in"], Float[Tensor, "*members out"]]:
        """The dense matrix and the bias of the same map between flattened images."""
        eye = torch.eye(self.in_shape.numel()).to(next(self.parameters()))
        zero = torch.zeros_like(eye[:1])
        images = torch.cat([zero, eye]).unflatten(-1, self.in_shape)
        if self.ensemble is not None:
            images = images.expand(self.ensemble, *images.shape)
        y = self(images).flatten(-3)
        bias = y[..., 0, :]
        return (y[..., 1:, :] - bias.unsqueeze(-2)).transpose(-1, -2), bias

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """Plain layers that compute the same, detached from this one: a convolution, or one dense map.

        Raises:
            ValueError: If this is an ensemble, for which torch has no layers.
        """
        if self.ensemble is not None:
            raise ValueError("an ensemble of convolutions has no plain layer; merge its members one by one")
        if self.equiv_weight is not None and self.equiv_bias is not None and self.mode == "emlp":
            out_channels, in_channels, kernel_size, _ = self.equiv_weight.shape
            plain = nn.Conv2d(in_channels, out_channels, kernel_size, self.stride, self.padding).to(self.equiv_weight)
            for parameter, value in zip(plain.parameters(), (self.equiv_weight, self.equiv_bias), strict=True):
                parameter.copy_(value)
            return plain
        weight, bias = self.matrix()
        dense = nn.Linear(self.in_shape.numel(), self.out_shape.numel()).to(weight)
        dense.weight.copy_(weight)
        dense.bias.copy_(bias)
        return nn.Sequential(nn.Flatten(-3), dense, nn.Unflatten(-1, self.out_shape))

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        shapes = f"{tuple(self.in_shape)} -> {tuple(self.out_shape)}"
        return shapes + f", mode={self.mode}" + ("" if self.ensemble is None else f", ensemble={self.ensemble}")

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.ensemble is None:
            return nn.functional.conv2d(x, weight, bias, self.stride, self.padding)
        # The members side by side as groups of channels.
        images = x.transpose(0, 1).flatten(1, 2)
        y = nn.functional.conv2d(
            images, weight.flatten(0, 1), bias.flatten(), self.stride, self.padding, groups=self.ensemble
        )
        return y.unflatten(1, (self.ensemble, -1)).transpose(0, 1)

    def _places(self, kernel_size: int) -> Float[Tensor, "k k"]:
        """How often each entry of a filter stands in the dense matrix, for one pair of channels."""
        ones = torch.ones(1, 1, *self.in_shape[1:])
        columns = nn.functional.unfold(ones, kernel_size, padding=self.padding, stride=self.stride)
        return columns.sum((0, 2)).view(kernel_size, kernel_size)
