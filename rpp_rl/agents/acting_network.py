"""The deterministic policy as one chain of plain modules: from the environment's observation to its action."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float, Int
from numpy import ndarray
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn

from rpp_rl.envs.coordinates import to_rep
from rpp_rl.envs.layout import Block, Layout
from rpp_rl.nn import merge
from rpp_rl.sac import RPPFeatures, RPPSACPolicy

SMALLEST = 1e-30
"""Smallest mean square of the forms of a quaternion: one of length zero gives zeros and not NaN."""

_FORMS = np.array(
    [
        [[1, 1, 0, 0], [1, -1, 0, 0], [-1, 0, -1, 0], [-1, 0, 1, 0], [0, 1, 1, 0], [0, 1, -1, 0]],
        [[0, -1, 0, -1], [0, -1, 0, 1], [0, 0, 1, 1], [0, 0, -1, 1], [-1, 0, 0, -1], [1, 0, 0, -1]],
    ]
).reshape(12, 4)
"""±(q_i ± q_j) for each pair, shape (12, 4): their squares sum to 6|q|² and span all quadratic forms of q.

The signs make the forms themselves sum to zero, so that a layer norm divides them by their root mean square only.
"""


def acting_network(policy: SACPolicy) -> nn.Sequential:
    """Change of coordinates, normalisation, merged layers, squashing and rescaling, one after the other.

    Leading linear steps are multiplied into the first layer: a change of coordinates without quaternions disappears,
    and the chain is that of a plain network.

    Args:
        policy: The policy; it is not changed.

    Returns:
        A module on the CPU that maps observations ``(batch, obs)`` in float32 to actions ``(batch, action)`` within the
        environment's bounds.
    """
    actor = merge(policy.actor)
    assert isinstance(actor, Actor)
    layers = [*_features(actor.features_extractor, policy), *_chain(actor.latent_pi), *_chain(actor.mu), nn.Tanh()]
    rescale = _Rescale(policy.action_space)
    network = nn.Sequential(*_fused(layers), rescale)
    return network.cpu().requires_grad_(False).eval()


def _chain(module: nn.Module) -> Iterable[nn.Module]:
    return module if isinstance(module, nn.Sequential) else [module]


def _features(extractor: nn.Module, policy: SACPolicy) -> Iterator[nn.Module]:
    """From the observation to the input of the first layer."""
    if not isinstance(extractor, RPPFeatures):
        yield extractor
        return
    if not isinstance(extractor.to_rep, nn.Flatten):
        assert isinstance(policy, RPPSACPolicy)
        assert policy.symmetry is not None
        yield from _coordinates(policy.symmetry.observation, extractor.to_rep)
    if extractor.norm is not None:
        # Not multiplied into its neighbours: x/σ − μ/σ loses the digits of (x − μ)/σ where σ is small.
        yield extractor.norm


def _coordinates(layout: Layout, module: nn.Module) -> Iterator[nn.Module]:
    """The change of coordinates: squares of linear forms, then one matrix; ``module`` itself where it is neither."""
    if any(block.transform not in ("identity", "rotation_matrix") for block in layout.blocks):
        yield module
        return
    rotations = [block for block in layout.blocks if block.transform == "rotation_matrix"]
    quaternions = np.reshape([index for block in rotations for index in block.indices], (-1, 4)).astype(int)
    if len(quaternions):
        yield _RotationSquares(quaternions, layout.size)
    matrix = np.zeros((layout.rep.size, layout.size + len(_FORMS) * len(quaternions)))
    n_before = layout.size
    for block, where in zip(layout.blocks, layout.slices, strict=True):
        rows = np.arange(where.start, where.stop)
        if block.transform == "identity":
            matrix[rows, block.indices] = 1.0
            continue
        for nine in rows.reshape(-1, 9):
            matrix[nine, n_before : n_before + len(_FORMS)] = _rotation_of_squares(block)
            n_before += len(_FORMS)
    yield _linear(matrix)


def _rotation_of_squares(block: Block) -> Float[ndarray, "9 12"]:
    """The matrix that makes R of the squares of `_FORMS`, read off from `to_rep`: R and squares are quadratic in q."""
    quaternions = np.random.default_rng(0).normal(size=(64, 4))
    layout = Layout((replace(block, indices=tuple(range(len(block.indices)))),))
    rotations = to_rep(layout, np.tile(quaternions, len(block.indices) // 4))[:, :9]
    squares = (quaternions @ _FORMS.T) ** 2
    return np.linalg.lstsq(squares / squares.mean(1, keepdims=True), rotations)[0].T


class _RotationSquares(nn.Module):
    """Append to an observation (q_i ± q_j)² / |q|² of each of its quaternions q, of which R is a linear function."""

    def __init__(self, quaternions: Int[ndarray, "count 4"], n_obs: int) -> None:
        super().__init__()
        self.count = len(quaternions)
        forms = np.zeros((self.count, len(_FORMS), n_obs))
        for k, indices in enumerate(quaternions):
            forms[k][:, indices] = _FORMS
        self.forms = _linear(forms.reshape(-1, n_obs))

    def forward(self, obs: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch obs_and_squares"]:
        values = self.forms(obs)
        if self.count > 1:
            values = values.unflatten(-1, (self.count, len(_FORMS)))
        # One operation for three; each takes as long as a layer.
        unit = nn.functional.layer_norm(values, (len(_FORMS),), eps=SMALLEST)
        squares = unit * unit
        return torch.cat([obs, squares.flatten(-2) if self.count > 1 else squares], dim=-1)


class _Rescale(nn.Module):
    """From [-1, 1] to the bounds of the actions, which rounding, and other libraries' tanh, would exceed by a bit."""

    center: Tensor
    half_range: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, space: object) -> None:
        super().__init__()
        assert isinstance(space, Box)
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        self.register_buffer("center", torch.as_tensor((low + high) / 2, dtype=torch.float32))
        self.register_buffer("half_range", torch.as_tensor((high - low) / 2, dtype=torch.float32))
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("high", torch.as_tensor(high, dtype=torch.float32))
        self.is_identity = bool((self.center == 0).all() and (self.half_range == 1).all())

    def forward(self, action: Float[Tensor, "batch action"]) -> Float[Tensor, "batch action"]:
        scaled = action if self.is_identity else self.center + self.half_range * action
        return torch.minimum(torch.maximum(scaled, self.low), self.high)


def _linear(weight: ndarray | Tensor, bias: Tensor | None = None) -> nn.Linear:
    weight = torch.as_tensor(weight)
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float32, device=weight.device)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return linear


def _fused(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Adjacent linear layers become one."""
    result: list[nn.Module] = []
    for layer in layers:
        layer = layer.cpu()
        before = result[-1] if result else None
        if isinstance(layer, nn.Linear) and isinstance(before, nn.Linear):
            weight = layer.weight.double()
            result[-1] = _linear(weight @ before.weight.double(), weight @ before.bias.double() + layer.bias)
        else:
            result.append(layer)
    return result
