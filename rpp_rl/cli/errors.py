"""How a command ends: mistakes of the user in one line and status 2, mistakes of the program with their traceback."""

import errno
import functools
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rpp_rl.io.border import UserError, one_line

MISTAKE, INTERRUPTED = 2, 130
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Terminated(BaseException):
    """A signal that asks the command to end, raised where it is.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Make a command report mistakes of the user in one line on stderr, with status 2."""

    @functools.wraps(main)
    def reporting(argv: Sequence[str] | None = None) -> int:
        try:
            with _signals_as_exceptions(), _errors_of_threads_once():
                status = main(argv)
                sys.stdout.flush()
                return status
        except UserError as error:
            message = str(error)
        except OSError as error:
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                return 128 + signal.SIGPIPE
            message = _describe(error)
        except (KeyboardInterrupt, Terminated) as error:
            print("interrupted", file=sys.stderr)
            return 128 + error.number if isinstance(error, Terminated) else INTERRUPTED
        print(f"error: {one_line(message)}", file=sys.stderr)
        return MISTAKE

    return reporting


def _nobody_reads() -> bool:
    """Whether whoever read the output has seen enough, as ``head`` does; the rest of it goes nowhere then."""
    output = select.poll()
    output.register(1, 0)
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind what has begun, as Ctrl-C does; a training listens for them itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # the second one must not break off the unwinding
        raise Terminated(number)

    handlers: dict[signal.Signals, Any] = {signal.SIGTERM: end, signal.SIGHUP: end, signal.SIGUSR1: signal.SIG_IGN}
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        # Whoever starts a command with nohup wants it to ignore the end of the session.
        if before[number] != signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _errors_of_threads_once() -> Iterator[None]:
    """Be silent about the error of a thread that hands it to the main one too, as TensorBoard's writer does."""
    before = threading.excepthook

    def tell(args: threading.ExceptHookArgs) -> None:
        if getattr(args.thread, "exception", None) is not args.exc_value:
            before(args)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def _describe(error: OSError) -> str:
    """What the system refused, without Python's error number."""
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    hint = "; what was saved before is intact: make room, and continue with --resume if a checkpoint was reached"
    return f"{name}{error.strerror or error}{hint if error.errno in FULL else ''}"
