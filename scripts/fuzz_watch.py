"""What the interpreter is asked to do while it reads a file that may come from anybody, see ``fuzz.py``."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpp_rl.io.minari_file import PROCESS as MINARI_PROCESS

WRITING = {
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "os.chdir", "os.putenv", "shutil.move", "shutil.rmtree", "shutil.copyfile",
}  # fmt: skip
RUNNING = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.kill", "subprocess.Popen",
    "pty.spawn", "ctypes.dlopen", "socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request",
    "pickle.find_class", "webbrowser.open",
}  # fmt: skip
TRUSTED = tuple(
    os.path.realpath(path)
    for path in (sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), Path(__file__).parents[1], "/proc", "/sys")
)
"""Where the code is, and what the system says about itself: it may be read and run."""


@dataclass
class Watch:
    """Listens to the interpreter, and notes what reading a file has no business to do.

    Attributes:
        folder: The only folder in which files may be read, besides those of the installed code.
        is_on: Whether it listens; a hook cannot be removed.
        events: What was noted.
    """

    folder: Path
    is_on: bool = False
    events: list[str] = field(default_factory=list)

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """For `sys.addaudithook`."""
        if self.is_on and self._is_wrong(event, args):
            self.events.append(f"{event} {args!r}"[:300])

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Watch what happens inside."""
        self.events, self.is_on = [], True
        try:
            yield self.events
        finally:
            self.is_on = False

    def _is_wrong(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            return self._is_wrong_file(*args)
        if event == "exec":  # installed code when it is imported; named tuples and checks of types are text
            name = args[0].co_filename
            return not name.startswith((*TRUSTED, "<frozen", "<string>", "<@beartype("))
        if event == "import":
            return args[1] is not None and not _is_trusted(args[1])
        if event == "subprocess.Popen" and str(MINARI_PROCESS) in args[1]:  # it reads, with less time and memory
            return False
        return event in WRITING or event in RUNNING

    def _is_wrong_file(self, path: Any, mode: str | None, flags: int) -> bool:  # noqa: ANN401
        if isinstance(path, int) or path == os.devnull:  # it was opened before, or is what another process may see
            return False
        is_to_write = bool(set(mode or "") & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        return is_to_write or not (_is_trusted(path) or self._is_inside(path))

    def _is_inside(self, path: Any) -> bool:  # noqa: ANN401
        return Path(os.path.realpath(os.fsdecode(path))).is_relative_to(os.path.realpath(self.folder))


def _is_trusted(path: Any) -> bool:  # noqa: ANN401
    return os.path.realpath(os.fsdecode(path)).startswith(TRUSTED)
