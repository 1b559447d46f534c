"""Environments seen by their symmetry: specifications, coordinates, and the simulator's verdict on them."""

from rpp_rl.envs.layout import Block, Layout
from rpp_rl.envs.spec import EnvSpec, Generator
from rpp_rl.envs.spec_file import read_spec, write_spec
from rpp_rl.envs.transform import ObsToRep, from_rep, to_rep

__all__ = ["Block", "EnvSpec", "Generator", "Layout", "ObsToRep", "from_rep", "read_spec", "to_rep", "write_spec"]
