"""A small disk for the runs of ``soak.py``, which can become full and read-only without anybody else noticing.

It is a tmpfs in a name space of mounts that vanishes with the process; that takes root, or a system that grants user
name spaces. Elsewhere there is none, and a full disk is imitated by a limit on the size of files, a read-only one by
the permission of the folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

N_BYTES = 2**23
IN_NAMESPACE = "RPP_RL_SOAK_NAMESPACE"


def enter_namespace(argv: list[str]) -> None:
    """Start this program again with mounts of its own, where the system lets us."""
    if IN_NAMESPACE in os.environ or not shutil.which("unshare"):
        return
    for options in (["-m"], ["-rm"]):
        if subprocess.run(["unshare", *options, "true"], capture_output=True).returncode == 0:
            os.environ[IN_NAMESPACE] = "1"
            os.execvp("unshare", ["unshare", *options, sys.executable, *argv])


def make_disk(folder: Path) -> Path | None:
    """A small file system; None if there may be none."""
    if IN_NAMESPACE not in os.environ:
        return None
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={N_BYTES}", "tmpfs", str(folder)]
    return folder if subprocess.run(command, capture_output=True).returncode == 0 else None


def mend(runs: Path, disk: Path | None) -> None:
    """Give the runs in a folder room and permission again, see `soak_process`."""
    for run in runs.glob("*/*_*"):
        if disk is None:
            run.chmod(0o755)
        while disk is not None and _is_mounted(run):
            subprocess.run(["umount", str(run)], check=True)
    if disk is not None:
        (disk / "ballast").unlink(missing_ok=True)


def unmount(disk: Path) -> None:
    """Let the file system go, if there is one."""
    subprocess.run(["umount", "-l", str(disk)], capture_output=True)


def _is_mounted(path: Path) -> bool:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(path) for line in mounts)
