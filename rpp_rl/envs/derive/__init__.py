"""Specifications derived from the MuJoCo model: which parts of the robot are images of each other, and is it true?"""

from rpp_rl.envs.derive.simulation import BareModel
from rpp_rl.envs.derive.specification import Derivation, NoSymmetryError, accepted, chosen, derive
from rpp_rl.envs.derive.survey import Finding, Survey, survey

__all__ = ["BareModel", "Derivation", "Finding", "NoSymmetryError", "Survey", "accepted", "chosen", "derive", "survey"]
