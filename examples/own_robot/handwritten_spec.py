"""Write the left/right symmetry of ``my_sensors.py`` by hand: sensors.yaml."""

from pathlib import Path

from rpp_rl.envs import Block, EnvSpec, Generator, Layout, write_spec
from rpp_rl.symmetry import parse_group, parse_rep

mirror = parse_group("Z2")
# A number that stays, one that changes sign, and a pair (right, left).
R, P, V = (parse_rep(text, mirror) for text in "RPV")


# Legs FR, FL, RR, RL with the joints abduction, hip, knee: the pairs are (FR, FL) and (RR, RL).
def legs(name, start, **what):
    abduction = Block(f"abduction {name}", (start, start + 3, start + 6, start + 9), 2 * (P * V), **what)
    swing = Block(f"hip, knee {name}", tuple(start + i for i in (1, 4, 2, 5, 7, 10, 8, 11)), 4 * V, **what)
    return abduction, swing


# A vector: its sideways part changes sign. A pseudovector: the others do.
gravity = Block("gravity x, y, z", (0, 1, 2), R + P + R, kind="direction")
gyro = Block("angular velocity x, y, z", (3, 4, 5), P + R + P, kind="rate", unit="rad/s")
angles, rates = legs("angles", 6, kind="angle", unit="rad"), legs("rates", 18, kind="rate", unit="rad/s")
observation = Layout((gravity, gyro, *angles, *rates, *legs("last torques", 30, kind="action")))
action = Layout(legs("torques", 0, kind="action"))
f = Generator("f", "left and right are exchanged", keeps_reward=True)
spec = EnvSpec("my_sensors:MySensors-v0", "Z2", mirror, observation, action, (f,))
write_spec(Path("sensors.yaml"), spec)
