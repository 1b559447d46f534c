"""How far a function is from equivariant, with one random element of the group for every sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from rpp_rl.symmetry import Element, Rep, vector
from rpp_rl.symmetry.haar import haar_element

Form = Literal["sample", "batch"]
"""``sample``: arXiv:2112.01388, eq. 2, with elements uniform over the group; ``batch``: as in its code."""


def equivariance_error(
    function: Callable[[Tensor], Tensor],
    rep_in: Rep,
    rep_out: Rep,
    x: Float[Tensor, "members n in"],
    *,
    seed: int,
    form: Form = "sample",
) -> Float[ndarray, " members"]:
    """The equivariance error of each member of an ensemble.

    Both forms compare a = f(ρ_in(g) x) with b = ρ_out(g) f(x). Eq. 2 of the paper is the mean over samples of
    ‖a − b‖ / (‖a‖ + ‖b‖). The code takes rms(a − b) / (rms a + rms b + mean |g − 1|) over the whole batch, with
    elements that are not uniform: a product of exponentials of Gaussian angles and powers of the reflections.

    Args:
        function: The ensemble, from ``(members, n, in)`` to ``(members, n, out)``.
        rep_in: How the input transforms.
        rep_out: How the output transforms.
        x: Inputs of each member.
        seed: Decides the elements, the same for all members.
        form: Which of the two.
    """
    rng = np.random.default_rng(seed)
    group = rep_in.group
    elements = [haar_element(group, rng) if form == "sample" else group.sample(rng) for _ in range(x.shape[1])]
    with torch.no_grad():
        a = function(act(rep_in, elements, x)).double()
        b = act(rep_out, elements, function(x).double())
    if form == "sample":
        norms = a.norm(dim=-1) + b.norm(dim=-1)
        return ((a - b).norm(dim=-1) / norms.clamp_min(torch.finfo(torch.float64).tiny)).mean(-1).cpu().numpy()
    distance = float((element_matrices(vector(group), elements) - torch.eye(group.d)).abs().mean())
    return (_rms(a - b) / (_rms(a) + _rms(b) + distance)).cpu().numpy()


def element_matrices(rep: Rep, elements: Sequence[Element]) -> Float[Tensor, "n size size"]:
    """ρ of each element, in float64, computed together."""
    shape = (len(elements), len(rep.lie_algebra))
    angles = torch.tensor([g.angles for g in elements], dtype=torch.float64).reshape(shape)
    matrices = torch.linalg.matrix_exp(torch.tensordot(angles, torch.as_tensor(rep.lie_algebra.copy()), dims=1))
    for word in {g.word for g in elements} - {()}:
        chosen = [i for i, g in enumerate(elements) if g.word == word]
        matrices[chosen] = torch.as_tensor(rep.rho(Element(word, ()))) @ matrices[chosen]
    return matrices


def act(rep: Rep, elements: Sequence[Element], x: Float[Tensor, "*members n size"]) -> Float[Tensor, "*members n size"]:
    """ρ(g_i) x_i for the i-th sample of each member: in float64, then in the precision of ``x``."""
    pieces = x.double().split([count * part.size for count, part in rep.parts], dim=-1)
    moved = [
        (piece.unflatten(-1, (count, part.size)) @ element_matrices(part, elements).mT.to(x.device)).flatten(-2)
        for piece, (count, part) in zip(pieces, rep.parts, strict=True)
    ]
    return torch.cat(moved, dim=-1).to(x.dtype)


def _rms(x: Float[Tensor, "members n size"]) -> Float[Tensor, " members"]:
    return x.square().flatten(1).mean(1).sqrt()
