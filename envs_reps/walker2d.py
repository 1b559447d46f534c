"""Walker2d-v4 and Walker2d-v5: exchanging the two legs leaves the planar walker unchanged.

In v5 both feet have friction 1.9; in v4 the right one has 0.9, so there the symmetry is only approximate: exact while
no foot touches the ground. Indices: the tables of https://gymnasium.farama.org/environments/mujoco/walker2d/.
"""

from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import cyclic, trivial, vector

MIRROR = cyclic(2)
BODY = trivial(MIRROR)
LEGS = vector(MIRROR)  # one (right, left) pair
JOINTS = tuple(f"{side} {joint}" for joint in ("thigh", "leg", "foot") for side in ("right", "left"))

OBSERVATION = Layout(
    (
        Block("torso height and pitch", (0, 1), 2 * BODY, kind=("position", "angle"), unit=("m", "rad")),
        Block(
            "torso velocity x, z and pitch rate, clipped",
            (8, 9, 10),
            3 * BODY,
            kind=("velocity", "velocity", "rate"),
            unit=("m/s", "m/s", "rad/s"),
        ),
        Block("thigh, leg, foot angles", (2, 5, 3, 6, 4, 7), 3 * LEGS, kind="angle", unit="rad", labels=JOINTS),
        Block(
            "thigh, leg, foot rates, clipped",
            (11, 14, 12, 15, 13, 16),
            3 * LEGS,
            kind="rate",
            unit="rad/s",
            labels=JOINTS,
        ),
    )
)
ACTION = Layout(
    (Block("thigh, leg, foot torques", (0, 3, 1, 4, 2, 5), 3 * LEGS, kind="action", unit="1", labels=JOINTS),)
)

MEANING = "the right and the left leg are exchanged"
NOTE = "the right foot slips more: friction 0.9, the left one has 1.9; exact without contact"
EVIDENCE = {
    "Walker2d-v4": Generator("f", MEANING, True, 0.059, 0.16, 0.82, 27, NOTE),
    "Walker2d-v5": Generator("f", MEANING, True, 2.3e-15, 4.5e-15, 7.0e-14, 0),
}

SPECS = tuple(EnvSpec(env_id, "Z2", MIRROR, OBSERVATION, ACTION, (EVIDENCE[env_id],)) for env_id in EVIDENCE)
