"""All studies by name."""

from types import MappingProxyType

from rpp_rl.studies import inertia

STUDIES = MappingProxyType({study.name: study for study in (inertia.STUDY,)})
