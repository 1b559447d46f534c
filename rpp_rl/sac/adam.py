"""Adam's step without the bookkeeping of optimiser objects, which takes as long as its arithmetic on small networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from rpp_rl.nn.prior import Decay, add_decays

operators: Any = torch  # torch's stubs do not know the operators that its optimisers are made of


def is_plain(optimizer: Optimizer) -> bool:
    """Whether `step` can do without ``optimizer.step()``: a fused Adam of torch with one group and without hooks."""
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    if type(optimizer) is not Adam or len(optimizer.param_groups) > 1 or hooks:
        return False
    group = optimizer.param_groups[0]
    variants = ("maximize", "capturable", "decoupled_weight_decay")
    return bool(group["fused"]) and isinstance(group["lr"], float) and not any(group.get(key) for key in variants)


@torch.no_grad()
def step(optimizer: Optimizer, decays: Sequence[Decay] = (), learning_rate: Tensor | None = None) -> None:
    """Step like ``optimizer.step()``, after adding to the gradients of some parameters multiples of these parameters.

    Args:
        optimizer: The optimiser.
        decays: Parameters, and the factor with which they are added to their gradients.
        learning_rate: In place of that of the optimiser, as a number on the device.
    """
    group = optimizer.param_groups[0]
    states = [optimizer.state.get(parameter) for parameter in group["params"]]
    # The first step makes the states.
    if not is_plain(optimizer) or not all(states) or any(parameter.grad is None for parameter in group["params"]):
        add_decays(decays)
        optimizer.step()
        return
    if learning_rate is not None:
        add_decays(decays)
        _fused_step({**group, "lr": learning_rate}, optimizer.state, group["params"], group["weight_decay"])
        return
    # Where norms count, decay is not the same for all numbers of a parameter and cannot be Adam's.
    add_decays(decay for decay in decays if decay.norms is not None)
    uniform = [(decay.parameters, decay.factor) for decay in decays if decay.norms is None]
    decayed = {id(parameter) for parameters, _ in uniform for parameter in parameters}
    rest = [parameter for parameter in group["params"] if id(parameter) not in decayed]
    for parameters, factor in (*uniform, (rest, 0.0)):
        if parameters:
            _fused_step(group, optimizer.state, parameters, group["weight_decay"] + factor)


def _fused_step(group: dict[str, Any], states: Any, parameters: Sequence[Tensor], weight_decay: float) -> None:  # noqa: ANN401
    """One step of some parameters; weight decay is added to gradients, as the gradient of a Gaussian prior is."""
    own = [states[parameter] for parameter in parameters]
    steps = [state["step"] for state in own]
    # A number would be made into a tensor, and that into a float32, for every one of them.
    operators._foreach_add_(steps, [torch.ones_like(steps[0])] * len(steps))
    operators._fused_adam_(
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
