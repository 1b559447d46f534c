"""What a run was made with: versions of the software, the commit, the machine."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from rpp_rl._version import __version__

PACKAGES = ("torch", "stable-baselines3", "gymnasium", "mujoco", "numpy", "scipy")


def versions() -> dict[str, object]:
    """Everything that another machine would have to agree on to repeat a run."""
    return {
        "rpp_rl": __version__,
        "commit": git_commit(Path(__file__).parents[1]),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
    }


def git_commit(package: Path) -> str | None:
    """The commit of a checkout, with ``-dirty`` if files differ from it; None for an installed package."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(package), *args], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        # An environment folder inside somebody's repository is not a checkout of this package.
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
