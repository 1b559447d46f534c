"""How a command ends: mistakes of the user in one line and status 2, mistakes of the program with their traceback."""

import errno
import functools
import os
import sys
from collections.abc import Callable, Sequence

from rpp_rl.io.border import UserError

MISTAKE, INTERRUPTED = 2, 130
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
