"""AntCommand-v0: the Ant that follows commands, with observations in the axes of its torso.

The group and the action are those of `envs_reps.ant`. Vectors in the axes of the torso turn with it, and so does the
commanded velocity: under r the legs exchange their parts and the command turns by a quarter, under f left and right
are exchanged in both. Angular velocities are axial. The world does not occur in the observation, and following a turned
command by turned legs earns the same.

The placebo is D4 with one mistake, the signs of the ankles: a group of the same size that the simulator refutes.
"""

from envs_reps.ant import ANKLE_SIGNS, D4, LEFT_RIGHT, LEG_NAMES, LEGS, QUARTER_TURN, P, R, V, torques
from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import Rep, cyclic

ENV_ID = "rpp_rl/AntCommand-v0"


def _layouts(ankles: Rep) -> tuple[Layout, Layout]:
    hips = LEGS * P
    observation = (
        Block("torso height", (0,), R, kind="position", unit="m"),
        Block("direction of gravity, body axes", (1, 2, 3), V + R, kind="direction", unit="1"),
        Block("torso velocity, body axes", (4, 5, 6), V + R, kind="velocity", unit="m/s"),
        Block("torso angular velocity, body axes", (7, 8, 9), (V + R) * P, kind="rate", unit="rad/s"),
        Block("hip angles", (10, 12, 14, 16), hips, kind="angle", unit="rad", labels=LEG_NAMES),
        Block("ankle angles", (11, 13, 15, 17), ankles, kind="angle", unit="rad", labels=LEG_NAMES),
        Block("hip rates", (18, 20, 22, 24), hips, kind="rate", unit="rad/s", labels=LEG_NAMES),
        Block("ankle rates", (19, 21, 23, 25), ankles, kind="rate", unit="rad/s", labels=LEG_NAMES),
        Block("commanded velocity, body axes", (26, 27), V, kind="command", unit="m/s"),
    )
    return Layout(observation), torques(hips, ankles)


EVIDENCE = (
    Generator("r", f"{QUARTER_TURN}, and the command turns with the legs", True, 6.1e-16, 8.2e-14, 2.0e-12, 0),
    Generator("f", f"{LEFT_RIGHT}, and in the command", True, 6.9e-16, 1.5e-13, 3.1e-12, 0),
)
PLACEBO_EVIDENCE = (
    Generator("r", "as in D4, with the signs of the ankles left out", False, 0.58, 0.68, 0.96, 132),
    Generator("f", f"{LEFT_RIGHT}, and in the command", True, 6.9e-16, 1.5e-13, 3.1e-12, 0),
)

_full = EnvSpec(ENV_ID, "D4", D4, *_layouts(ANKLE_SIGNS), EVIDENCE)
SPECS = (
    _full,
    _full.restrict("Z4", [(0,)], cyclic(4)),
    _full.restrict("Z2", [(1,)], cyclic(2)),
    EnvSpec(ENV_ID, "placebo-D4", D4, *_layouts(LEGS), PLACEBO_EVIDENCE),
)
