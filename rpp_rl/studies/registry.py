"""All studies by name."""

from types import MappingProxyType

from rpp_rl.studies import inertia, pendulum, posterior, prior

STUDIES = MappingProxyType(
    {study.name: study for study in (inertia.STUDY, pendulum.STUDY, prior.STUDY, posterior.STUDY)}
)
