"""Environments seen by their symmetry: specifications, coordinates, and the simulator's verdict on them."""

from rpp_rl.envs.coordinates import from_rep, to_rep
from rpp_rl.envs.layout import Block, Layout
from rpp_rl.envs.spec import EnvSpec, Generator
from rpp_rl.envs.spec_file import read_spec, write_spec

__all__ = ["Block", "EnvSpec", "Generator", "Layout", "from_rep", "read_spec", "to_rep", "write_spec"]
