"""Write the left/right symmetry of ``my_sensors.py`` by hand: sensors.yaml."""

from pathlib import Path

from rpp_rl.envs import Block, EnvSpec, Generator, Layout, write_spec
from rpp_rl.symmetry import Group, Rep

mirror = Group.parse("Z2")
# A number that stays, one that changes sign, and a pair (right, left).
R, P, V = (Rep.parse(text, mirror) for text in "RPV")


def legs(name, start):  # legs FR, FL, RR, RL with the joints abduction, hip, knee: the pairs are (FR, FL) and (RR, RL)
    abduction = Block(f"abduction {name}", (start, start + 3, start + 6, start + 9), 2 * (P * V))
    swing = Block(f"hip, knee {name}", tuple(start + i for i in (1, 4, 2, 5, 7, 10, 8, 11)), 4 * V)
    return abduction, swing


gravity = Block("gravity x, y, z [1]", (0, 1, 2), R + P + R)  # a vector: its sideways part changes sign
gyro = Block("angular velocity x, y, z [rad/s]", (3, 4, 5), P + R + P)  # a pseudovector: the others do
joints = (*legs("angles [rad]", 6), *legs("rates [rad/s]", 18), *legs("last torques [1]", 30))
f = Generator("f", "left and right are exchanged", keeps_reward=True)
spec = EnvSpec(
    "my_sensors:MySensors-v0", "Z2", mirror, Layout((gravity, gyro, *joints)), Layout(legs("torques [1]", 0)), (f,)
)
write_spec(Path("sensors.yaml"), spec)
