"""Multilayer networks of RPP layers: strictly equivariant (EMLP), with residual pathways (RPP-EMLP), or plain."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from rpp_rl.nn.bilinear import Bilinear
from rpp_rl.nn.chain import ChainLinear, Subgroup
from rpp_rl.nn.conv import RPPConv2d
from rpp_rl.nn.linear import Mode, RPPLinear
from rpp_rl.nn.nonlinearity import nonlinearity
from rpp_rl.nn.norm import EquivariantLayerNorm
from rpp_rl.symmetry import Group, Rep, direct_sum, parse_rep, regular, trivial, vector

MAX_TENSOR_SIZE = 32
"""Largest tensor power of the heuristic ``uniform``: bases between two powers grow with the cube of their sizes."""


TENSOR_SCALE = 0.1
"""Factor of the bilinear layer in supervised learning, that of the paper's code."""

BilinearKind = bool | Literal["tensor"]


def hidden_rep(group: Group, width: int, kind: str = "regular") -> Rep:
    """A hidden representation of ``width`` coordinates.

    Args:
        group: The group that acts.
        width: Number of coordinates.
        kind: ``regular``: as many regular representations as fit, filled up with scalars (finite groups); ``uniform``:
            the heuristic of arXiv:2104.09459, section 5, equal numbers of coordinates for each tensor power of V, here
            of at most `MAX_TENSOR_SIZE` coordinates; or an expression such as ``"136*R + 30*V"`` whose size must be
            ``width``.

    Raises:
        ValueError: If the group has no regular representation, none fits, or the expression has another size.

    >>> from rpp_rl.symmetry import dihedral, special_orthogonal
    >>> hidden_rep(dihedral(4), 256)
    Rep(32*regular, group=D4, size=256)
    >>> hidden_rep(special_orthogonal(3), 128, "uniform")
    Rep(38*R + 12*V + 3*V*V + V*V*V, group=SO3, size=128)
    """
    if width < 1:
        raise ValueError(f"a hidden layer needs a positive width, got {width}")
    if kind == "uniform":
        return _uniform(group, width)
    if kind == "regular":
        if not group.is_finite:
            raise ValueError(f"{group} is infinite and has no regular representation; use hidden='uniform'")
        if width < group.order:
            raise ValueError(
                f"a regular representation of {group} has {group.order} coordinates, more than {width}; "
                "use wider layers or hidden='uniform'"
            )
        copies, rest = divmod(width, group.order)
        return copies * regular(group) + rest * trivial(group) if rest else copies * regular(group)
    rep = parse_rep(kind, group)
    if rep.size != width:
        raise ValueError(f"the hidden representation {kind!r} of {group} has {rep.size} coordinates, expected {width}")
    return rep


def _uniform(group: Group, width: int) -> Rep:
    """Share the width equally among tensor powers V^0..V^r with the largest r that fits; then share what is left."""
    counts: dict[int, int] = {}
    rest = width
    while rest > 0:
        rank = 0
        while (rank + 2) * group.d ** (rank + 1) <= rest and 1 < group.d ** (rank + 1) <= MAX_TENSOR_SIZE:
            rank += 1
        for k in range(rank + 1):
            counts[k] = counts.get(k, 0) + group.d ** (rank - k)
        rest -= (rank + 1) * group.d**rank
    powers = [trivial(group)]
    for _ in range(max(counts)):
        powers.append(powers[-1] * vector(group))
    return direct_sum(*(counts[k] * powers[k] for k in sorted(counts)))


def trunk(
    rep_in: Rep,
    hidden: Sequence[Rep],
    *,
    mode: Mode = "rpp",
    activation: str = "relu",
    bilinear: BilinearKind = False,
    layer_norm: bool = False,
    inner_residual: bool = True,
    subgroups: Sequence[Subgroup] = (),
    twins: bool = False,
    ensemble: int | None = None,
) -> Trunk:
    """Hidden layers: for each rep in ``hidden`` a linear map, the optional extras and a nonlinearity.

    Args:
        rep_in: How the input transforms.
        hidden: How the hidden vectors transform.
        mode: Which pathways the linear maps have.
        activation: One of ``relu``, ``silu``, ``tanh``.
        bilinear: Whether each linear map is followed by the bilinear layer (the paper's setting; not in ``mlp`` mode):
            True for products with scalars at the paper's scale for reinforcement learning, ``"tensor"`` for all
            products of summands at its scale for supervised learning.
        layer_norm: Whether each nonlinearity is preceded by `EquivariantLayerNorm`.
        inner_residual: Whether in ``rpp`` mode the maps between hidden layers have a residual pathway too. Without it
            the free parameters grow with the width and not with its square, and the first map can break the symmetry
            for all that follow.
        subgroups: Whether in ``rpp`` mode linear maps have levels between both pathways, see `ChainLinear`.
        twins: Whether in ``rpp`` mode gates and bilinear layers have residual pathways of their own, which start at
            zero and which the prior holds. Otherwise bilinear layers are strict, and gates leak a little: they add a
            small swish, whatever the prior says.
        ensemble: Number of independent networks computed together, see `RPPLinear`.

    Raises:
        ValueError: If the reps belong to different groups, or an option does not exist for the mode or the reps.
    """
    layers: list[nn.Module] = []
    inner_mode: Mode = "emlp" if mode == "rpp" and not inner_residual else mode
    is_twin = twins and mode == "rpp"
    for number, rep in enumerate(hidden):
        act = nonlinearity(rep, activation, mode, is_twin=is_twin, ensemble=ensemble)
        linear_mode = inner_mode if number else mode
        layers.append(linear_layer(rep_in, act.rep_in, mode=linear_mode, subgroups=subgroups, ensemble=ensemble))
        if bilinear and mode != "mlp":
            layers.append(_bilinear(act.rep_in, bilinear, is_twin=is_twin, ensemble=ensemble))
        if layer_norm:
            layers.append(EquivariantLayerNorm(act.rep_in))
        layers.append(act)
        rep_in = rep
    return Trunk(*layers)


class Trunk(nn.Sequential):
    """The hidden layers of a network, one after the other.

    Attributes:
        stand_in: What computes the same in their place while their weights are ready, see `rpp_rl.fast.shared_weights`.
    """

    stand_in: Callable[[Tensor], Tensor] | None = None

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Apply the layers."""
        return super().forward(x) if self.stand_in is None else self.stand_in(x)

    def __getstate__(self) -> dict[str, Any]:
        # A copy computes by its own layers, which `merge` replaces.
        return {**vars(self), "stand_in": None}


def linear_layer(
    rep_in: Rep, rep_out: Rep, *, mode: Mode = "rpp", subgroups: Sequence[Subgroup] = (), ensemble: int | None = None
) -> RPPLinear:
    """A `ChainLinear` where there are subgroups and the mode is ``rpp``, an `RPPLinear` elsewhere."""
    if subgroups and mode == "rpp":
        return ChainLinear(rep_in, rep_out, subgroups=subgroups, ensemble=ensemble)
    return RPPLinear(rep_in, rep_out, mode=mode, ensemble=ensemble)


def _bilinear(rep: Rep, kind: BilinearKind, *, is_twin: bool, ensemble: int | None) -> Bilinear:
    if kind == "tensor":
        return Bilinear(rep, scale=TENSOR_SCALE, contractions=True, is_twin=is_twin, ensemble=ensemble)
    return Bilinear(rep, is_twin=is_twin, ensemble=ensemble)


class RPPEMLP(nn.Module):
    """A multilayer network from vectors of type ``rep_in`` to vectors of type ``rep_out``.

    Args:
        rep_in: How the input transforms.
        rep_out: How the output transforms.
        hidden: How the hidden vectors transform, one rep per layer.
        mode: ``rpp`` (soft equivariance), ``emlp`` (strict) or ``mlp`` (none).
        activation: One of ``relu``, ``silu``, ``tanh``.
        bilinear: See `trunk`.
        layer_norm: See `trunk`.
        inner_residual: See `trunk`.
        subgroups: See `trunk`.
        twins: See `trunk`.
        ensemble: Number of independent networks computed together; inputs and outputs then have a leading member axis.
            Members that share an input ``x`` take ``x.expand(ensemble, *x.shape)``, which copies nothing.

    Raises:
        ValueError: If the reps belong to different groups or an option is unknown.

    >>> import torch
    >>> from rpp_rl.symmetry import dihedral
    >>> D4 = dihedral(4)
    >>> net = RPPEMLP(4 * vector(D4), vector(D4), [hidden_rep(D4, 64)])
    >>> net(torch.zeros(10, 8)).shape
    torch.Size([10, 2])
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        hidden: Sequence[Rep],
        *,
        mode: Mode = "rpp",
        activation: str = "relu",
        bilinear: BilinearKind = False,
        layer_norm: bool = False,
        inner_residual: bool = True,
        subgroups: Sequence[Subgroup] = (),
        twins: bool = False,
        ensemble: int | None = None,
    ) -> None:
        super().__init__()
        self.rep_in, self.rep_out = rep_in, rep_out
        self.trunk = trunk(
            rep_in,
            hidden,
            mode=mode,
            activation=activation,
            bilinear=bilinear,
            layer_norm=layer_norm,
            inner_residual=inner_residual,
            subgroups=subgroups,
            twins=twins,
            ensemble=ensemble,
        )
        last = hidden[-1] if hidden else rep_in
        self.head = linear_layer(last, rep_out, mode=mode, subgroups=subgroups, ensemble=ensemble)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Map vectors of type ``rep_in`` to vectors of type ``rep_out``."""
        return self.head(self.trunk(x))


def merge(module: nn.Module) -> nn.Module:
    """A copy of ``module`` in which every `RPPLinear` and `RPPConv2d` is a plain layer that computes the same.

    >>> from rpp_rl.symmetry import cyclic
    >>> V = vector(cyclic(2))
    >>> merge(RPPEMLP(3 * V, V, [16 * V]))
    RPPEMLP(
      (trunk): Trunk(
        (0): Linear(in_features=6, out_features=32, bias=True)
        (1): Pointwise(16*V, relu)
      )
      (head): Linear(in_features=32, out_features=2, bias=True)
    )
    """
    # deepcopy takes what its memo already holds for a layer in place of a copy, wherever and however often it stands.
    return copy.deepcopy(
        module, {id(layer): layer.merge() for layer in module.modules() if isinstance(layer, (RPPLinear, RPPConv2d))}
    )
