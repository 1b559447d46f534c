"""Where input enters: there, and only there, an error of the code becomes a mistake of the user.

Errors become a :class:`UserError` only at the borders where input enters (settings, environments, files), by
:func:`user_input`. A ``ValueError`` from anywhere else is a bug and is shown as one. ``OSError`` needs no border: a
missing file, a forbidden folder and a full disk are never the program's fault.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

LONGEST = 1000
"""Characters of a message that are shown: a file from a stranger can make it as long as it likes."""


LONGEST_LINE = 500
"""Characters of the line in which a command ends."""


class UserError(ValueError):
    """Something the user can mend; its text says what was expected, what was got and what to do."""


@contextmanager
def translating(*kinds: type[Exception], into: type[UserError] = UserError, about: object = "") -> Iterator[None]:
    """A border at which input enters: within it, errors of these kinds are the fault of the input.

    Args:
        kinds: Classes of errors by which the code inside refuses its input.
        into: What they become.
        about: What is being read, put before the message unless it begins so.

    Raises:
        UserError: ``into``, in place of every error of these kinds.
    """
    try:
        yield
    except into:
        raise
    except kinds as error:
        # A KeyError prints its message in quotes, so take the message itself.
        message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        line = " ".join(message.split())[:LONGEST] or type(error).__name__
        raise into(f"{about}: {line}" if str(about) and not line.startswith(str(about)) else line) from error


def user_input(*kinds: type[Exception], about: object = "") -> AbstractContextManager[None]:
    """`translating` into a plain `UserError`."""
    return translating(*kinds, about=about)


def one_line(message: str) -> str:
    """The message without breaks and control characters, and abridged in the middle if it is long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in message).split())
    room = LONGEST_LINE - len("error:  ... ")
    return line if len(line) <= room else f"{line[: room * 2 // 3]} ... {line[-room // 3 :]}"
