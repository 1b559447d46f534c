"""Mistakes of the user end in one line and status 2; mistakes of the program keep their traceback.

Errors become a :class:`UserError` only at the borders where input enters (settings, environments, files), by
:func:`user_input`. A ``ValueError`` from anywhere else is a bug and is shown as one. ``OSError`` needs no border: a
missing file, a forbidden folder and a full disk are never the program's fault.
"""

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

MISTAKE, INTERRUPTED = 2, 130
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UserError(Exception):
    """Something the user can mend; its text says what was expected, what was got and what to do."""


@contextmanager
def user_input(*kinds: type[Exception], about: str = "") -> Iterator[None]:
    """A border at which input enters: within it, errors of these kinds are the fault of the input.

    Args:
        kinds: Classes of errors by which the code inside refuses its input.
        about: What is being read, put before the message.

    Raises:
        UserError: In place of every error of these kinds.
    """
    try:
        yield
    except kinds as error:
        # A KeyError prints its message in quotes, so take the message itself.
        message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        raise UserError(f"{about}: {message}" if about else message) from error


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Make a command report mistakes of the user in one line on stderr, with status 2."""

    @functools.wraps(main)
    def reporting(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except UserError as error:
            message = str(error)
        except OSError as error:
            message = _describe(error)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
        return MISTAKE

    return reporting


def _describe(error: OSError) -> str:
    """What the system refused, without Python's error number."""
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    hint = "; what was saved before is intact: make room and go on with --resume" if error.errno in FULL else ""
    return f"{name}{error.strerror or error}{hint}"
