"""Specifications derived from the MuJoCo model: which parts of the robot are images of each other, and is it true?"""

from typing import TYPE_CHECKING

from rpp_rl._lazy import lazy_names

if TYPE_CHECKING:
    from rpp_rl.derive.checking import check_environment, check_robot
    from rpp_rl.derive.describing import Description, description, read_description
    from rpp_rl.derive.specification import Derivation, NoSymmetryError, accepted, chosen, derive, left_out
    from rpp_rl.derive.surveying import Finding, Survey, relabelling, survey
    from rpp_rl.derive.trials import BareModel

__all__ = [
    "BareModel",
    "Derivation",
    "Description",
    "Finding",
    "NoSymmetryError",
    "Survey",
    "accepted",
    "check_environment",
    "check_robot",
    "chosen",
    "derive",
    "description",
    "left_out",
    "read_description",
    "relabelling",
    "survey",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "rpp_rl.derive.checking": ("check_environment", "check_robot"),
        "rpp_rl.derive.describing": ("Description", "description", "read_description"),
        "rpp_rl.derive.specification": ("Derivation", "NoSymmetryError", "accepted", "chosen", "derive", "left_out"),
        "rpp_rl.derive.surveying": ("Finding", "Survey", "relabelling", "survey"),
        "rpp_rl.derive.trials": ("BareModel",),
    },
)
