"""HalfCheetah-v4 and HalfCheetah-v5: three weak symmetries of a robot whose front and back resemble each other.

    Z2: forward and backward are exchanged, each leg stays where it is.
    Z2-swap: forward and backward are exchanged, and the front leg with the back leg.
    Z2-legs: the legs are exchanged and nothing else; the only one under which the reward stays.

Indices: the tables of https://gymnasium.farama.org/environments/mujoco/half_cheetah/.
"""

from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import Rep, cyclic, sign, trivial, vector

MIRROR = cyclic(2)
EVEN, ODD, LEGS = trivial(MIRROR), sign(MIRROR), vector(MIRROR)

ANGLES, RATES, TORQUES = (2, 5, 3, 6, 4, 7), (11, 14, 12, 15, 13, 16), (0, 3, 1, 4, 2, 5)
"""Thigh, shin, foot: each time the back one, then the front one."""
JOINTS = tuple(f"{leg} {joint}" for joint in ("thigh", "shin", "foot") for leg in ("back", "front"))


def _layouts(torso: Rep, legs: Rep) -> tuple[Layout, Layout]:
    """Observation and action, given how pitch and forward velocity and how pairs (back, front) of joints transform."""
    observation = (
        Block("torso height", (0,), EVEN, kind="position", unit="m"),
        Block("torso velocity z", (9,), EVEN, kind="velocity", unit="m/s"),
        Block("torso pitch", (1,), torso, kind="angle", unit="rad", labels=("torso",)),
        Block("torso velocity x and pitch rate", (8, 10), 2 * torso, kind=("velocity", "rate"), unit=("m/s", "rad/s")),
        Block("thigh, shin, foot angles", ANGLES, 3 * legs, kind="angle", unit="rad", labels=JOINTS),
        Block("thigh, shin, foot rates", RATES, 3 * legs, kind="rate", unit="rad/s", labels=JOINTS),
    )
    torques = Block("thigh, shin, foot torques", TORQUES, 3 * legs, kind="action", unit="1", labels=JOINTS)
    return Layout(observation), Layout((torques,))


LAYOUTS = {"Z2": _layouts(ODD, 2 * ODD), "Z2-swap": _layouts(ODD, ODD * LEGS), "Z2-legs": _layouts(EVEN, LEGS)}

KEPT = "forward and backward are exchanged, every leg stays"
SWAPPED = "forward and backward are exchanged, and the front leg with the back leg"
LEGS_ONLY = "the front leg and the back leg are exchanged, forward stays forward"
FLIPS = "the reward for moving forward changes sign"
EVIDENCE = {
    "Z2": Generator("p", KEPT, False, 0.29, 0.38, 7.8, 0, FLIPS),
    "Z2-swap": Generator("p", SWAPPED, False, 0.27, 0.44, 8.8, 0, FLIPS),
    "Z2-legs": Generator("s", LEGS_ONLY, True, 0.33, 0.45, 3.5, 0),
}

SPECS = tuple(
    EnvSpec(env_id, variant, MIRROR, *LAYOUTS[variant], (record,))
    for env_id in ("HalfCheetah-v4", "HalfCheetah-v5")
    for variant, record in EVIDENCE.items()
)
