"""The one error of this folder: why an agent cannot be loaded."""

from contextlib import AbstractContextManager

from rpp_rl.io.border import UserError, translating


class AgentError(UserError):
    """An agent's file is missing, damaged, foreign or of another version; the text says what to do."""


def refusing(about: object, *kinds: type[Exception]) -> AbstractContextManager[None]:
    """The border at which an untrusted file enters: errors of these kinds become an `AgentError` about it."""
    return translating(*kinds, into=AgentError, about=about)
