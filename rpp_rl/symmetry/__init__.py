"""Groups, representations and bases of equivariant maps: NumPy in float64, no torch."""

from rpp_rl.symmetry.basis import BasisBlock, basis_blocks, equivariant_basis
from rpp_rl.symmetry.constructors import matrix_rep, regular, sign, signed_permutation, trivial, vector
from rpp_rl.symmetry.families import (
    cyclic,
    dihedral,
    dihedral_permutation,
    orthogonal,
    product,
    pseudo_orthogonal,
    special_linear,
    special_orthogonal,
    symmetric,
    trivial_group,
)
from rpp_rl.symmetry.groups import Element, Group
from rpp_rl.symmetry.irreps import irrep, irreps
from rpp_rl.symmetry.reps import Rep, direct_sum, tensor_product
from rpp_rl.symmetry.testing import assert_equivariant, equivariance_error, equivariance_errors, relative_error

__all__ = [
    "BasisBlock",
    "Element",
    "Group",
    "Rep",
    "assert_equivariant",
    "basis_blocks",
    "cyclic",
    "dihedral",
    "dihedral_permutation",
    "direct_sum",
    "equivariance_error",
    "equivariance_errors",
    "equivariant_basis",
    "irrep",
    "irreps",
    "matrix_rep",
    "orthogonal",
    "product",
    "pseudo_orthogonal",
    "regular",
    "relative_error",
    "sign",
    "signed_permutation",
    "special_linear",
    "special_orthogonal",
    "symmetric",
    "tensor_product",
    "trivial",
    "trivial_group",
    "vector",
]
