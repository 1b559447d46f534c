"""Groups, representations and bases of equivariant maps: NumPy in float64, no torch."""

from rpp_rl.symmetry.basis import BasisBlock, basis_blocks, equivariant_basis, nearly_equivariant_blocks
from rpp_rl.symmetry.constructors import (
    complex_rep,
    matrix_rep,
    on_product,
    regular,
    sign,
    signed_permutation,
    trivial,
    vector,
)
from rpp_rl.symmetry.families import (
    cyclic,
    dihedral,
    dihedral_permutation,
    general_linear,
    orthogonal,
    polyhedral,
    product,
    pseudo_orthogonal,
    special_linear,
    special_orthogonal,
    symmetric,
    symplectic,
    trivial_group,
    unitary,
)
from rpp_rl.symmetry.groups import Element, Group
from rpp_rl.symmetry.irreps import irrep, irreps
from rpp_rl.symmetry.plain_data import group_from_dict, group_to_dict, rep_from_dict, rep_to_dict
from rpp_rl.symmetry.reps import Rep, direct_sum, tensor_product
from rpp_rl.symmetry.testing import assert_equivariant, equivariance_error, equivariance_errors, relative_error
from rpp_rl.symmetry.text import parse_group, parse_rep

__all__ = [
    "BasisBlock",
    "Element",
    "Group",
    "Rep",
    "assert_equivariant",
    "basis_blocks",
    "complex_rep",
    "cyclic",
    "dihedral",
    "dihedral_permutation",
    "direct_sum",
    "equivariance_error",
    "equivariance_errors",
    "equivariant_basis",
    "general_linear",
    "group_from_dict",
    "group_to_dict",
    "irrep",
    "irreps",
    "matrix_rep",
    "nearly_equivariant_blocks",
    "on_product",
    "orthogonal",
    "parse_group",
    "parse_rep",
    "polyhedral",
    "product",
    "pseudo_orthogonal",
    "regular",
    "relative_error",
    "rep_from_dict",
    "rep_to_dict",
    "sign",
    "signed_permutation",
    "special_linear",
    "special_orthogonal",
    "symmetric",
    "symplectic",
    "tensor_product",
    "trivial",
    "trivial_group",
    "unitary",
    "vector",
]
