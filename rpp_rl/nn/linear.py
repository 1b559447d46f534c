"""Linear maps with a residual pathway prior: an equivariant map plus a free one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor, nn

from rpp_rl.nn.matrix import EquivariantMatrix, invariant_basis
from rpp_rl.symmetry import Rep

Mode = Literal["rpp", "emlp", "mlp"]
"""``rpp``: equivariant and residual pathway; ``emlp``: equivariant only; ``mlp``: residual only, a plain linear map."""


def require_mode(mode: str) -> None:
    """Refuse an unknown mode.

    Raises:
        ValueError: If ``mode`` is not one of `Mode`.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")


class RPPLinear(nn.Module):
    """y = (A + B) x + (a + b): A and a are equivariant, B and b free (Finzi, Benton & Wilson 2021, arXiv:2112.01388).

    The mode decides which pathways exist. A fresh layer has the scale of ``nn.Linear``: in the rows of every output
    summand the entries of W have variance 1/(3 in) on average. In ``rpp`` mode the residual pathway starts at zero, the
    most probable value of its prior. In ``mlp`` mode the layer draws exactly what ``nn.Linear`` would draw. A step of
    the same size in every parameter changes the entries of A, of B and of a plain W by the same root mean square.

    Args:
        rep_in: How the input transforms; ``in = rep_in.size``.
        rep_out: How the output transforms; ``out = rep_out.size``.
        mode: Which pathways exist, see `Mode`.
        ensemble: Number of independent maps computed together: every parameter, input and output gets a leading member
            axis of this length. None for one map without that axis.

    Attributes:
        equiv_weight: Coefficients of A (see `EquivariantMatrix`), shape ``(n_weight,)``; None in ``mlp`` mode.
        equiv_bias: Coefficients of a in a basis of invariant vectors, shape ``(n_bias,)``; None in ``mlp`` mode.
        residual_weight: B, shape ``(out, in)``; None in ``emlp`` mode.
        residual_bias: b, shape ``(out,)``; None in ``emlp`` mode.
        shared: W and the sum of both biases, made before; while they are there, `forward` computes with them.

    Raises:
        ValueError: If the reps belong to different groups or the mode is unknown.

    >>> from rpp_rl.symmetry import cyclic, vector
    >>> V = vector(cyclic(2))  # (right, left), swapped by the mirror
    >>> layer = RPPLinear(3 * V, V)
    >>> layer.equiv_weight.shape, layer.residual_weight.shape
    (torch.Size([6]), torch.Size([2, 6]))
    >>> x = torch.tensor([1.0, 0.0, 2.0, 5.0, 0.0, 0.0])
    >>> mirrored = torch.tensor([0.0, 1.0, 5.0, 2.0, 0.0, 0.0])
    >>> torch.allclose(layer(mirrored), layer(x).flip(0))
    True
    """

    equiv_weight: nn.Parameter | None
    equiv_bias: nn.Parameter | None
    residual_weight: nn.Parameter | None
    residual_bias: nn.Parameter | None
    bias_basis: Tensor
    bias_norms: Tensor

    _version = 2
    """Of the state dict: before 2 the coefficients were those of orthonormal bases."""

    def __init__(self, rep_in: Rep, rep_out: Rep, *, mode: Mode = "rpp", ensemble: int | None = None) -> None:
        super().__init__()
        require_mode(mode)
        members = member_axis(ensemble)
        if rep_in.group != rep_out.group:
            names = [f"{rep.name} of {rep.group}" for rep in (rep_in, rep_out)]
            raise ValueError(f"no common group: rep_in is {names[0]}, rep_out is {names[1]}")
        self.rep_in, self.rep_out, self.mode, self.ensemble = rep_in, rep_out, mode, ensemble
        self.shared: tuple[Tensor, Tensor] | None = None
        names = ("equiv_weight", "equiv_bias", "residual_weight", "residual_bias")
        for name in names:
            self.register_parameter(name, None)
        if mode != "mlp":
            self.weight_matrix = EquivariantMatrix(rep_in, rep_out)
            bias_basis, bias_norms, is_saved = invariant_basis(rep_out)
            self.register_buffer("bias_basis", bias_basis, is_saved)
            self.register_buffer("bias_norms", bias_norms, persistent=False)
            self.equiv_weight = nn.Parameter(torch.empty(*members, self.weight_matrix.n_coefficients))
            self.equiv_bias = nn.Parameter(torch.empty(*members, self.bias_basis.shape[1]))
        if mode != "emlp":
            self.residual_weight = nn.Parameter(torch.empty(*members, rep_out.size, rep_in.size))
            self.residual_bias = nn.Parameter(torch.empty(*members, rep_out.size))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw fresh parameters at the scale of ``nn.Linear``; the residual of an ``rpp`` layer is zero."""
        bound = self.rep_in.size**-0.5
        for parameter in (self.equiv_weight, self.equiv_bias, self.residual_weight, self.residual_bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)
        if self.equiv_weight is not None:
            self.equiv_weight.mul_(self.weight_matrix.unit_scales())
        if self.mode == "rpp":
            for residual in (self.residual_weight, self.residual_bias):
                nn.init.zeros_(_present(residual))

    def weight(self) -> Float[Tensor, "*members out in"]:
        """W = A + B."""
        if self.equiv_weight is None:
            return _present(self.residual_weight)
        return self.weight_matrix(self.equiv_weight, self.residual_weight)

    def bias(self) -> Float[Tensor, "*members out"]:
        """The sum of both biases."""
        if self.equiv_bias is None:
            return _present(self.residual_bias)
        bias = self.equiv_bias @ self.bias_basis.T
        return bias if self.residual_bias is None else bias + self.residual_bias

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Map vectors of type ``rep_in`` to vectors of type ``rep_out``; ensembles map members first."""
        weight, bias = self.shared or (self.weight(), self.bias())
        return linear(x, weight, bias)

    @torch.no_grad()
    def merge(self) -> nn.Linear | RPPLinear:
        """A plain layer that computes the same, detached from this one; torch has none for ensembles."""
        weight, bias = self.weight(), self.bias()
        # What has no memory yet draws no random numbers for it.
        with torch.device("meta"):
            if self.ensemble is None:
                plain = nn.Linear(self.rep_in.size, self.rep_out.size)
            else:
                plain = RPPLinear(self.rep_in, self.rep_out, mode="mlp", ensemble=self.ensemble)
        plain = plain.to(weight.dtype).to_empty(device=weight.device)
        for parameter, value in zip(plain.parameters(), (weight, bias), strict=True):
            parameter.copy_(value)
        return plain

    def equiv_norms(self) -> tuple[Tensor, Tensor]:
        """Factors that turn the coefficients of both equivariant pathways into those of orthonormal bases."""
        return self.weight_matrix.norms, self.bias_norms

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if self.mode != "mlp" and local_metadata.get("version", self._version) < 2:
            for name, norms in zip(("equiv_weight", "equiv_bias"), self.equiv_norms(), strict=True):
                _scale(state_dict, prefix + name, 1 / norms)
            _scale(state_dict, f"{prefix}bias_basis", self.bias_norms)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def shapes(self) -> tuple[torch.Size, torch.Size]:
        """Shapes of the weight and of the bias."""
        members = member_axis(self.ensemble)
        return torch.Size((*members, self.rep_out.size, self.rep_in.size)), torch.Size((*members, self.rep_out.size))

    def equivariant_operator(self) -> sparse.csr_array:
        """The linear map from all coefficients to A and a, as a sparse matrix.

        Its columns belong to ``equiv_weight``, member by member, and then to ``equiv_bias``; its rows to A of each
        member, row by row, and then to a.
        """
        bias_basis = sparse.csr_array(self.bias_basis.detach().cpu().double().numpy())
        n_members = self.ensemble or 1
        blocks = [self.weight_matrix.operator()] * n_members + [bias_basis] * n_members
        return sparse.csr_array(sparse.block_diag(blocks))

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        n_equiv = 0 if self.equiv_weight is None else self.equiv_weight.numel()
        n_residual = 0 if self.residual_weight is None else self.residual_weight.numel()
        ensemble = "" if self.ensemble is None else f"ensemble={self.ensemble}, "
        return (
            f"{self.rep_in.name} -> {self.rep_out.name}, group={self.rep_in.group}, mode={self.mode}, {ensemble}"
            f"n_equiv={n_equiv}, n_residual={n_residual}"
        )


def of_version(module: nn.Module, state: Mapping[str, Tensor], version: int) -> OrderedDict[str, Tensor]:
    """A state dict for ``module.load_state_dict`` that says its version, which plain mappings of tensors do not.

    Args:
        module: What is going to load it.
        state: The tensors by name.
        version: That of the layers when they were saved, see `RPPLinear`.
    """
    versioned = OrderedDict(state)
    metadata = {name: {"version": version} for name, _ in module.named_modules()}
    vars(versioned)["_metadata"] = metadata
    return versioned


def _scale(tensors: dict[str, Any], name: str, factor: Tensor) -> None:
    if name in tensors:
        tensors[name] = tensors[name] * factor.to(tensors[name].device)


def linear(
    x: Float[Tensor, "*batch in"],
    weight: Float[Tensor, "*members out in"],
    bias: Float[Tensor, "*members out"] | None = None,
) -> Float[Tensor, "*batch out"]:
    """W x + b for every vector of a batch; where W has a member axis, the batch begins with that axis."""
    if weight.ndim == 2:
        return nn.functional.linear(x, weight, bias)
    batch = x if x.ndim == 3 else x.reshape(len(x), -1, x.shape[-1])
    transposed = weight.transpose(1, 2)
    y = torch.bmm(batch, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), batch, transposed)
    return y.view(*x.shape[:-1], weight.shape[1])


def beside_batch(vectors: Float[Tensor, "*members size"], x: Float[Tensor, "*batch size"]) -> Tensor:
    """The vectors with axes of length 1 for the batch, which begins with the member axis where they have one."""
    return vectors if vectors.ndim == 1 else vectors.view(len(vectors), *[1] * (x.ndim - 2), vectors.shape[-1])


def member_axis(ensemble: int | None) -> tuple[int, ...]:
    """The leading axis of the parameters of an ensemble.

    Raises:
        ValueError: If the ensemble has no members.
    """
    if ensemble is not None and ensemble < 1:
        raise ValueError(f"an ensemble has at least one member, got ensemble={ensemble}")
    return () if ensemble is None else (ensemble,)


def _present(parameter: nn.Parameter | None) -> nn.Parameter:
    assert parameter is not None
    return parameter
