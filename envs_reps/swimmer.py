"""Swimmer-v4 and Swimmer-v5: a chain of three links, left/right and front/back.

Left/right (l) is exact, bit for bit. Front/back (b) is not a linear map of the observation, which describes the
first link; seen from the middle link it is, so Z2xZ2 is given in its coordinates (`rpp_rl.envs.coordinates`):

    φ, α1, α2 = heading and the two bends seen from the middle; v = velocity of the middle's centre; φ', α1', α2'
    l: all change sign but v_x.    b: the ends change places, α1 <-> α2, and v -> -v.

With torques t = (-a1, a2) that bend the chain alike at both joints, b exchanges t1 and t2. The root joints have an
inertia of their own, carried by the first link only, so b is approximate; it reverses the swimmer, and with it the
reward.
Indices: the tables of https://gymnasium.farama.org/environments/mujoco/swimmer/.
"""

from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import cyclic, product, sign, signed_permutation, trivial

MIRROR = cyclic(2)
EVEN, ODD = trivial(MIRROR), sign(MIRROR)
TURNS = ("heading", "first joint", "second joint")
LINKS = (
    Block("heading and joint angles", (0, 1, 2), 3 * ODD, kind="angle", unit="rad", labels=TURNS),
    Block(
        "velocity y of the first link; heading and joint rates",
        (4, 5, 6, 7),
        4 * ODD,
        kind=("velocity", *3 * ("rate",)),
        unit=("m/s", *3 * ("rad/s",)),
        labels=("first link y", *TURNS),
    ),
    Block("velocity x of the first link", (3,), EVEN, kind="velocity", unit="m/s"),
)
PAPER_LINKS = (
    Block("heading and joint angles", (0, 1, 2), 3 * ODD, kind="angle", unit="rad", labels=TURNS),
    Block("heading and joint rates", (5, 6, 7), 3 * ODD, kind="rate", unit="rad/s", labels=TURNS),
    Block("velocity of the first link", (3, 4), 2 * EVEN, kind="velocity", unit="m/s", labels=("x", "y")),
)
ACTION = Layout((Block("joint torques", (0, 1), 2 * ODD, kind="action", unit="1", labels=TURNS[1:]),))

BOTH = product(cyclic(2), cyclic(2))
L = signed_permutation(BOTH, ((0,), (0,)), ((-1,), (1,)), name="L")
B = signed_permutation(BOTH, ((0,), (0,)), ((1,), (-1,)), name="B")
ENDS = signed_permutation(BOTH, ((0, 1), (1, 0)), ((-1, -1), (1, 1)), name="ends")
TORQUES = signed_permutation(BOTH, ((0, 1), (1, 0)), ((-1, -1), (-1, -1)), name="torques")
CHAIN = Block(
    "heading, bends, velocity and rates of the middle link",
    tuple(range(8)),
    L + ENDS + B + L * B + L + ENDS,
    "middle_link",
    kind=(*3 * ("angle",), *2 * ("velocity",), *3 * ("rate",)),
    unit=(*3 * ("rad",), *2 * ("m/s",), *3 * ("rad/s",)),
    labels=("heading", "first bend", "second bend", "x", "y", "heading", "first bend", "second bend"),
)

LEFT_RIGHT = "left and right are exchanged"
FRONT_BACK = "the first and the last link are exchanged and the swimmer moves the other way"
PAPER_NOTE = "the authors' representation: wrong, because the sideways velocity must change sign"
LEFT_RIGHT_EVIDENCE = Generator("l", LEFT_RIGHT, True, 0.0, 0.0, 0.0, 0)
FRONT_BACK_EVIDENCE = Generator(
    "b", FRONT_BACK, False, 0.015, 0.017, 6.0, 0, "the reward for moving forward changes sign"
)
PAPER_EVIDENCE = Generator("l", LEFT_RIGHT, True, 0.77, 0.41, 1.5, 0, PAPER_NOTE)


def _specs(env_id: str) -> tuple[EnvSpec, ...]:
    torques = Layout((Block("joint torques", (0, 1), TORQUES, kind="action", unit="1", labels=TURNS[1:]),))
    return (
        EnvSpec(env_id, "Z2", MIRROR, Layout(LINKS), ACTION, (LEFT_RIGHT_EVIDENCE,)),
        EnvSpec(env_id, "Z2xZ2", BOTH, Layout((CHAIN,)), torques, (LEFT_RIGHT_EVIDENCE, FRONT_BACK_EVIDENCE)),
        EnvSpec(env_id, "paper-Z2", MIRROR, Layout(PAPER_LINKS), ACTION, (PAPER_EVIDENCE,)),
    )


SPECS = tuple(spec for env_id in ("Swimmer-v4", "Swimmer-v5") for spec in _specs(env_id))
