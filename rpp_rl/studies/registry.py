"""All studies by name."""

from types import MappingProxyType

from rpp_rl.studies import cifar10, digits, inertia, pendulum, posterior, prior, uci

STUDIES = MappingProxyType(
    {
        study.name: study
        for study in (
            inertia.STUDY,
            pendulum.STUDY,
            prior.STUDY,
            posterior.STUDY,
            uci.STUDY,
            digits.STUDY,
            cifar10.STUDY,
        )
    }
)
