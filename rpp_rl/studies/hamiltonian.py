"""Hamiltonian networks: a scalar function of positions and momenta, its flow, and differentiable rollouts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Hamiltonian = Callable[[Tensor], Tensor]
"""From states ``(*batch, 2 n)``, positions before momenta, to energies ``(*batch,)`` or ``(*batch, 1)``."""
Field = Callable[[Tensor], Tensor]


def hamiltonian_field(hamiltonian: Hamiltonian) -> Field:
    """The vector field dz/dt = (∂H/∂p, −∂H/∂x) of z = (x, p), differentiable where gradients are on.

    >>> field = hamiltonian_field(lambda z: z.square().sum(-1) / 2)
    >>> field(torch.tensor([[1.0, 0.0]]))
    tensor([[0., -1.]])
    """

    def field(z: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        is_trained = torch.is_grad_enabled()
        with torch.enable_grad():
            z = z if z.requires_grad else z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(hamiltonian(z).sum(), z, create_graph=is_trained)
        by_x, by_p = gradient.chunk(2, dim=-1)
        return torch.cat([by_p, -by_x], dim=-1)

    return field


def rollout(
    field: Field, z: Float[Tensor, "*batch size"], *, n_steps: int, dt: float, n_substeps: int = 1
) -> Float[Tensor, "*batch time_1 size"]:
    """The states at 0, dt, ..., n_steps · dt, by the classical Runge-Kutta method of order four.

    Args:
        field: Gives dz/dt.
        z: Initial states.
        n_steps: Number of states after the first.
        dt: Time between states.
        n_substeps: Steps of the method between two states.
    """
    h = dt / n_substeps
    states = [z]
    for _ in range(n_steps):
        for _ in range(n_substeps):
            z = _runge_kutta_step(field, z, h)
        states.append(z)
    return torch.stack(states, dim=-2)


def _runge_kutta_step(field: Field, z: Tensor, h: float) -> Tensor:
    k1 = field(z)
    k2 = field(z + h / 2 * k1)
    k3 = field(z + h / 2 * k2)
    k4 = field(z + h * k3)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
