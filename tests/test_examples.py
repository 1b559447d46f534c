"""The files of examples/ run as they stand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py"))
IMPORTED = {"own_robot/my_robot.py", "own_robot/my_sensors.py"}


def run(*command: str, folder: Path) -> str:
    """The output of a Python process that sees this checkout."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.mujoco
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in IMPORTED])
def test_example_runs(name, tmp_path):
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder)
    run((folder / name).name, folder=(folder / name).parent)
