"""Hopper-v4 and Hopper-v5: the planar hopper seen in a mirror that exchanges forward and backward.

A very weak symmetry: the knee bends one way only and the foot reaches further forward than back. In free flight the
error is 3 %. Indices: the tables of https://gymnasium.farama.org/environments/mujoco/hopper/.
"""

from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import cyclic, sign, trivial

MIRROR = cyclic(2)
EVEN, ODD = trivial(MIRROR), sign(MIRROR)
JOINTS = ("thigh", "leg", "foot")

OBSERVATION = Layout(
    (
        Block("torso height", (0,), EVEN, kind="position", unit="m"),
        Block("torso velocity z, clipped", (6,), EVEN, kind="velocity", unit="m/s"),
        Block(
            "torso pitch; thigh, leg, foot angles",
            (1, 2, 3, 4),
            4 * ODD,
            kind="angle",
            unit="rad",
            labels=("torso", *JOINTS),
        ),
        Block(
            "torso velocity x; pitch, thigh, leg, foot rates, clipped",
            (5, 7, 8, 9, 10),
            5 * ODD,
            kind=("velocity", *4 * ("rate",)),
            unit=("m/s", *4 * ("rad/s",)),
            labels=("torso x", "torso", *JOINTS),
        ),
    )
)
ACTION = Layout((Block("thigh, leg, foot torques", (0, 1, 2), 3 * ODD, kind="action", unit="1", labels=JOINTS),))

MEANING = "forward and backward are exchanged"
NOTE = "joint limits are one-sided, and the reward for moving forward changes sign"
EVIDENCE = {
    "Hopper-v4": Generator("p", MEANING, False, 2.3, 1.6, 8.7, 3396, NOTE),
    "Hopper-v5": Generator("p", MEANING, False, 2.3, 1.6, 9.7, 3396, NOTE),
}

SPECS = tuple(EnvSpec(env_id, "Z2", MIRROR, OBSERVATION, ACTION, (EVIDENCE[env_id],)) for env_id in EVIDENCE)
