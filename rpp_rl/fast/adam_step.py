"""Adam's step without the bookkeeping of optimiser objects, which takes as long as its arithmetic on small networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from rpp_rl.nn.prior import Decay, add_decays

operators: Any = torch  # torch's stubs do not know the operators that its optimisers are made of


def is_plain(optimizer: Optimizer) -> bool:
    """Whether `step` can do without ``optimizer.step()``: a fused Adam or AdamW of torch without hooks."""
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    return type(optimizer) in (Adam, AdamW) and not hooks and all(map(_is_plain_group, optimizer.param_groups))


def _is_plain_group(group: dict[str, Any]) -> bool:
    return bool(group["fused"] and isinstance(group["lr"], float)) and not (group["maximize"] or group["capturable"])


@torch.no_grad()
def step(optimizer: Optimizer, decays: Sequence[Decay] = (), learning_rate: Tensor | None = None) -> None:
    """Step like ``optimizer.step()``, after adding to the gradients of some parameters multiples of these parameters.

    Args:
        optimizer: The optimiser.
        decays: Parameters, and the factor with which they are added to their gradients.
        learning_rate: In place of that of the optimiser, as a number on the device.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    has_states = all(optimizer.state.get(parameter) for parameter in parameters)
    # The first step makes the states.
    if not is_plain(optimizer) or not has_states or any(parameter.grad is None for parameter in parameters):
        add_decays(decays)
        optimizer.step()
        return
    # A Gaussian prior is coupled weight decay where its factor is one number for all, and the step is not decoupled.
    may_couple = learning_rate is None and not any(g.get("decoupled_weight_decay") for g in optimizer.param_groups)
    is_coupled = [may_couple and decay.norms is None for decay in decays]
    coupled = list(compress(decays, is_coupled))
    add_decays(decay for decay, may in zip(decays, is_coupled, strict=True) if not may)
    factors = {id(parameter): decay.factor for decay in coupled for parameter in decay.parameters}
    for group in optimizer.param_groups:
        own = group if learning_rate is None else {**group, "lr": learning_rate}
        for factor in dict.fromkeys(factors.get(id(parameter), 0.0) for parameter in group["params"]):
            stepped = [parameter for parameter in group["params"] if factors.get(id(parameter), 0.0) == factor]
            _fused_step(own, optimizer.state, stepped, group["weight_decay"] + factor)


def _fused_step(group: dict[str, Any], states: Any, parameters: Sequence[Tensor], weight_decay: float) -> None:  # noqa: ANN401
    """One step of some parameters."""
    own = [states[parameter] for parameter in parameters]
    steps = [state["step"] for state in own]
    # A number would be made into a tensor, and that into a float32, for every one of them.
    operators._foreach_add_(steps, [torch.ones_like(steps[0])] * len(steps))
    step = operators._fused_adamw_ if group.get("decoupled_weight_decay") else operators._fused_adam_
    step(
        list(parameters),
        [parameter.grad for parameter in parameters],
        [state["exp_avg"] for state in own],
        [state["exp_avg_sq"] for state in own],
        [state["max_exp_avg_sq"] for state in own] if group["amsgrad"] else [],
        steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=weight_decay,
        eps=group["eps"],
        amsgrad=group["amsgrad"],
        maximize=False,
    )
