"""Specifications derived from the MuJoCo model: which parts of the robot are images of each other, and is it true?"""

from rpp_rl.derive.checking import check_robot
from rpp_rl.derive.description import Description, description, read_description
from rpp_rl.derive.specification import Derivation, NoSymmetryError, accepted, chosen, derive, left_out
from rpp_rl.derive.survey import Finding, Survey, relabelling, survey
from rpp_rl.derive.trials import BareModel

__all__ = [
    "BareModel",
    "Derivation",
    "Description",
    "Finding",
    "NoSymmetryError",
    "Survey",
    "accepted",
    "check_robot",
    "chosen",
    "derive",
    "description",
    "left_out",
    "read_description",
    "relabelling",
    "survey",
]
