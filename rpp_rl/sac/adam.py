"""Adam's step without the bookkeeping of optimiser objects, which takes as long as its arithmetic on small networks."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Adam, Optimizer
from torch.optim.adam import adam


@torch.no_grad()
def step(optimizer: Optimizer) -> None:
    """Do what ``optimizer.step()`` does; faster for a `torch.optim.Adam` with one group and without hooks."""
    group = optimizer.param_groups[0]
    parameters, grads = group["params"], [parameter.grad for parameter in group["params"]]
    states: list[Any] = [optimizer.state.get(parameter) for parameter in parameters]
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    is_plain = type(optimizer) is Adam and len(optimizer.param_groups) == 1 and not hooks
    # The first step makes the states.
    if not is_plain or not all(states) or any(grad is None for grad in grads):
        optimizer.step()
        return
    beta1, beta2 = group["betas"]
    adam(
        parameters,
        grads,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
        [state["step"] for state in states],
        foreach=group["foreach"],
        fused=group["fused"],
        capturable=group["capturable"],
        amsgrad=group["amsgrad"],
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
        decoupled_weight_decay=group.get("decoupled_weight_decay", False),
    )
