"""Build networks from untrusted plain data: check first, then build, then load the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.utils import get_device
from torch import Tensor

from rpp_rl.agents.errors import AgentError, refusing
from rpp_rl.envs.spec_file import MAX_COORDINATES, check_spec_size
from rpp_rl.nn import of_version
from rpp_rl.sac import RPPSACPolicy
from rpp_rl.sac.config import NETWORK_SETTINGS, NetworkSettings

POLICY_ARGUMENTS = ("spec", *NETWORK_SETTINGS)
"""The arguments of a policy in a file; all of them say what the networks are."""

LATER = {name: NetworkSettings(mode="rpp").policy_kwargs()[name] for name in ("subgroup", "subgroup_decay")}
"""Settings that older files do not have, with the values that make the networks of then."""

DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
WEIGHTS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_LAYERS = 32
MAX_WEIGHTS = 2**27
"""Most entries of all matrices together: 0.5 GB."""
MAX_INFLATION = 128
"""Most entries of matrices per stored number: a strictly equivariant layer makes |G| of one, and has a scalar head."""


def build_policy(
    kwargs: Mapping[str, Any],
    observation_space: Box,
    action_space: Box,
    weights: Mapping[str, Tensor],
    device: str,
    *,
    version: int,
) -> RPPSACPolicy:
    """A policy with given weights.

    Args:
        kwargs: Arguments of `RPPSACPolicy`, those in `POLICY_ARGUMENTS`.
        observation_space: The observation space.
        action_space: The action space.
        weights: The policy's state dict.
        device: Device of the networks.
        version: That of the layers in the state dict, see `rpp_rl.nn.of_version`.

    Raises:
        AgentError: If arguments, spaces and weights do not fit each other, or they ask for more memory than any
            sensible agent.
    """
    kwargs = {**LATER, **kwargs}
    _check_kwargs(kwargs)
    _check_sizes(kwargs, observation_space, action_space, sum(tensor.numel() for tensor in weights.values()))
    kinds = (ValueError, TypeError, KeyError, IndexError, RuntimeError, AttributeError, MemoryError, ArithmeticError)
    with refusing("the agent's settings make no networks", *kinds):
        policy = RPPSACPolicy(observation_space, action_space, _no_schedule, **kwargs)
    _check_weights(policy.state_dict(), weights)
    policy.load_state_dict(of_version(policy, weights, version))
    policy.set_training_mode(False)
    return policy.to(get_device(device))


def _no_schedule(_: float) -> float:
    """The learning rate of optimisers that are never used."""
    return 0.0


def space_to_dict(space: Box) -> dict[str, Any]:
    """Plain values from which `space_from_dict` makes an equal space; null stands for no bound."""

    def bounds(values: np.ndarray) -> list[float | None]:
        return [float(value) if np.isfinite(value) else None for value in values]

    return {"dtype": str(space.dtype), "low": bounds(space.low), "high": bounds(space.high)}


def space_from_dict(data: Mapping[str, Any]) -> Box:
    """The space that `space_to_dict` described.

    Raises:
        AgentError: If the values make no space.
    """
    kinds = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, AssertionError)
    with refusing("the agent's spaces are damaged", *kinds), np.errstate(all="raise"):
        dtype, low, high = str(data["dtype"]), data["low"], data["high"]
        if dtype not in DTYPES or not 1 <= len(low) == len(high) <= MAX_COORDINATES:
            raise AgentError(f"expected spaces of 1 to {MAX_COORDINATES} numbers, got {len(low)} of {dtype[:20]}")
        lowest = np.array([-np.inf if value is None else float(value) for value in low])
        highest = np.array([np.inf if value is None else float(value) for value in high])
        if not (lowest <= highest).all():
            raise AgentError("the agent's spaces are damaged: a lower bound lies above the upper one")
        kind = np.dtype(dtype).type
        return Box(lowest.astype(kind), highest.astype(kind), dtype=kind)


def _check_kwargs(kwargs: Mapping[str, Any]) -> None:
    if set(kwargs) != set(POLICY_ARGUMENTS):
        wrong = sorted(set(kwargs) ^ set(POLICY_ARGUMENTS))
        raise AgentError(
            f"expected the policy's settings {', '.join(POLICY_ARGUMENTS)}; missing or unknown: {wrong[:5]}"
        )
    if not isinstance(kwargs["spec"], dict | None):
        raise AgentError(f"spec: expected a specification or none, got {_short(kwargs['spec'])}")
    settings = {name: kwargs[name] for name in NETWORK_SETTINGS}
    with refusing("the agent's settings make no networks", ValueError, TypeError, ArithmeticError):
        for arch in _archs(kwargs["net_arch"]):
            NetworkSettings(**{**settings, "net_arch": arch})


def _archs(net_arch: Any) -> Sequence[Any]:  # noqa: ANN401
    """The widths of actor and critics."""
    if not isinstance(net_arch, dict):
        return net_arch, net_arch
    if set(net_arch) != {"pi", "qf"}:
        raise AgentError(f"net_arch: expected widths under 'pi' and 'qf', got {sorted(map(str, net_arch))[:5]}")
    return net_arch["pi"], net_arch["qf"]


def _check_sizes(kwargs: Mapping[str, Any], observation_space: Box, action_space: Box, n_stored: int) -> None:
    """Refuse what would take more memory than the weights in the file justify."""
    widths_pi, widths_qf = _archs(kwargs["net_arch"])
    for widths in (widths_pi, widths_qf):
        if not isinstance(widths, list) or len(widths) > MAX_LAYERS or not all(map(_is_width, widths)):
            raise AgentError(
                f"net_arch: expected at most {MAX_LAYERS} widths of 1 to {MAX_COORDINATES}, got {_short(widths)}"
            )
    n_critics = kwargs["n_critics"]
    if type(n_critics) is not int or not 1 <= n_critics <= MAX_LAYERS:
        raise AgentError(f"n_critics: expected 1 to {MAX_LAYERS}, got {_short(n_critics)}")
    if kwargs["spec"] is not None:
        _check_spec_sizes(kwargs["spec"])
    n_obs, n_actions = prod(observation_space.shape), prod(action_space.shape)
    n_weights = _entries([n_obs, *widths_pi, 2 * n_actions]) + 2 * n_critics * _entries(
        [n_obs + n_actions, *widths_qf, 1]
    )
    if n_weights > min(MAX_WEIGHTS, MAX_INFLATION * n_stored):
        raise AgentError(
            f"the settings ask for matrices of {n_weights} entries, but only {n_stored} numbers are stored"
        )


def _short(value: object) -> str:
    return repr(value)[:80]


def _is_width(width: object) -> bool:
    return type(width) is int and 1 <= width <= MAX_COORDINATES


def _entries(sizes: Sequence[int]) -> int:
    return sum(a * b for a, b in pairwise(sizes))


def _check_spec_sizes(spec: Mapping[str, Any]) -> None:
    with refusing("the agent's specification is damaged", KeyError, TypeError, ValueError, AttributeError):
        check_spec_size(spec)


def _check_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    wrong = sorted(set(own) ^ set(weights))
    if wrong:
        side = "missing" if wrong[0] in own else "too many"
        raise AgentError(f"the weights do not fit the settings: {wrong[0]} is {side} (and {len(wrong) - 1} others)")
    for name, expected in own.items():
        got = weights[name]
        if got.shape != expected.shape or got.dtype not in WEIGHTS:
            raise AgentError(
                f"the weights do not fit the settings: expected {name} of shape {tuple(expected.shape)}, "
                f"got {tuple(got.shape)} of {got.dtype}"
            )
        if not torch.isfinite(got).all():
            raise AgentError(f"{name} holds numbers that are not finite: the training has diverged")
