"""Observations that do not begin with the state: specifications of such environments are checked all the same.

The simulator's state is moved by the symmetries of the model, whatever the observation is made of.
"""

import dataclasses

import gymnasium
import pytest

from rpp_rl.derive import check_robot
from rpp_rl.envs import Block, EnvSpec, Generator, Layout
from rpp_rl.symmetry import cyclic, sign, trivial

pytestmark = pytest.mark.mujoco

Z2 = cyclic(2)
PLAIN, TURNED = trivial(Z2), sign(Z2)


def mirror(env_id, observation, action, turned=()):
    """Blocks of one number each from signs such as ``"++--"``; the numbers ``turned`` get the wrong sign."""
    reps = [TURNED if (sign_ == "-") != (i in turned) else PLAIN for i, sign_ in enumerate(observation)]
    layout = Layout(tuple(Block(f"o{i}", (i,), rep) for i, rep in enumerate(reps)))
    controls = Layout(tuple(Block(f"a{i}", (i,), {"-": TURNED, "+": PLAIN}[s]) for i, s in enumerate(action)))
    return EnvSpec(env_id, "Z2", Z2, layout, controls, (Generator("f", "mirror", keeps_reward=True),))


# Reacher: cosines and sines of two angles, the target, two rates, fingertip less target. Double pendulum: place, two
# sines, two cosines, three rates, the force of the rail.
SPECS = {
    "Reacher-v5": mirror("Reacher-v5", "++--+---+-", "--"),
    "InvertedDoublePendulum-v5": mirror("InvertedDoublePendulum-v5", "---++----", "-"),
}


def test_the_mirror_of_the_reacher_is_exact():
    (check,) = check_robot(SPECS["Reacher-v5"], n_states=20)
    assert (check.verdict, check.unexercised) == ("exact", ())


def test_the_mirror_of_the_double_pendulum_is_off_by_its_gravity():
    """Which points 1e-5 m/s² to one side, in Gymnasium's model."""
    (check,) = check_robot(SPECS["InvertedDoublePendulum-v5"], n_states=20)
    assert check.verdict == "approximate"
    assert 1e-8 < check.error_1_step < 1e-5


@pytest.mark.parametrize("env_id", SPECS)
def test_every_wrong_sign_is_noticed(env_id):
    """Negative control: of the observation and of the action."""
    env = gymnasium.make(env_id)
    spec = SPECS[env_id]
    observation = ["-" if block.rep == TURNED else "+" for block in spec.observation.blocks]
    action = ["-" if block.rep == TURNED else "+" for block in spec.action.blocks]
    exercised = range(len(observation) - (env_id.startswith("Inverted")))  # the rail is seldom hit
    for i in exercised:
        (check,) = check_robot(mirror(env_id, observation, action, turned=(i,)), env, n_states=10)
        assert check.verdict != "exact", i
    for i in range(len(action)):
        wrong = [*action]
        wrong[i] = "+"
        (check,) = check_robot(mirror(env_id, observation, wrong), env, n_states=10)
        assert check.verdict != "exact", i


def test_the_pusher_has_no_mirror():
    """Its shoulder turns further to one side, so a mirror of it is not called exact."""
    observation = "-+--+-+" * 2 + "-++" * 3
    (check,) = check_robot(mirror("Pusher-v5", observation, "-+--+-+"), n_states=10)
    assert check.verdict in ("approximate", "weak", "wrong")


def test_a_wrapper_that_changes_the_observation_is_part_of_the_environment():
    """The check looks at what the agent sees."""
    spec = SPECS["Reacher-v5"]
    env = gymnasium.make("Reacher-v5")
    crossed = gymnasium.wrappers.TransformObservation(env, lambda obs: obs + 0.1 * obs[2], env.observation_space)
    (check,) = check_robot(dataclasses.replace(spec), crossed, n_states=10)
    assert check.verdict != "exact"
