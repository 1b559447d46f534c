"""Residual pathway priors for reinforcement learning.

The symmetry of a robot enters its policy, its critic and its transition model as a soft prior: every linear map is the
sum of an equivariant map and a free one, and Gaussian priors make symmetry the default explanation and not a law
(Finzi, Benton & Wilson 2021, arXiv:2112.01388).
"""

from typing import TYPE_CHECKING, Any

from rpp_rl._version import __version__ as __version__

if TYPE_CHECKING:
    from rpp_rl.agents import load_agent as load_agent


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # torch is imported with the agents: whoever needs only the algebra or a version does not wait for it.
    if name == "load_agent":
        from rpp_rl.agents import load_agent

        return load_agent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
