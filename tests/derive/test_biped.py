"""A biped on ball joints whose bodies have axes turned at random: accepted as it is, refused when it is spoilt."""

import numpy as np
import pytest

from rpp_rl.derive import accepted, chosen, derive

pytestmark = pytest.mark.mujoco


def left_right(robot):
    """The element that mirrors the world in y and exchanges the legs."""
    return next(
        f
        for f in robot.findings
        if np.allclose(f.element.world, np.diag([1.0, -1.0, 1.0])) and f.element.bodies[2] != 2
    )


@pytest.mark.parametrize("seed", range(3))
def test_left_and_right_are_found_in_odd_frames(surveyed, biped, step_error, seed):
    robot = surveyed(biped(seed))
    finding = left_right(robot)
    assert finding.element.violations == ()
    assert finding.is_exact
    spec = derive(robot, [finding], n_states=10).spec
    assert (spec.variant, spec.generators[0].name) == ("Z2", "f")
    assert step_error(robot, spec, 0) < 1e-10


def test_the_turns_of_the_world_come_with_an_elliptic_cone(surveyed, biped, step_error):
    robot = surveyed(biped())
    turned = [f for f in robot.findings if f.element.turn is not None]
    assert [f.is_exact for f in turned] == [True, True]
    assert all(f.element.turn is None for f in accepted(robot))
    spec = derive(robot, chosen(robot, [turned[0].name]), n_states=10).spec
    assert spec.group.order == 8
    assert step_error(robot, spec, 0) < 1e-10


def test_a_crossed_axis_is_refused(surveyed, biped):
    robot = surveyed(biped(knee_axis=(1.0, 0.0, 0.0)))
    finding = left_right(robot)
    assert (finding.verdict, finding.is_exact, finding.trial) == ("unusable", False, None)
    assert "left knee axis is 90° from the image of right knee" in map(str, finding.element.violations)
    with pytest.raises(ValueError, match=r"has no linear map of the observation: .*left knee axis"):
        chosen(robot, [finding.name])


def test_a_tilted_axis_is_a_near_symmetry(surveyed, biped, step_error):
    robot = surveyed(biped(knee_axis=(np.sin(0.05), np.cos(0.05), 0.0)))
    finding = left_right(robot)
    assert finding.verdict == "approximate"
    assert [str(v) for v in finding.element.violations] == ["left knee axis is 2.86° from the image of right knee"]
    spec = derive(robot, [finding], n_states=10).spec
    assert 1e-3 < step_error(robot, spec, 0) < 1


def test_the_sign_of_an_axis_is_followed(surveyed, biped, step_error):
    """The same robot, its left knee counting the other way, has another map and is as exact."""
    robot = surveyed(biped(knee_axis=(0.0, -1.0, 0.0)).replace('"-1 2"', '"-1 1"'))
    finding = left_right(robot)
    assert finding.is_exact
    plain = surveyed(biped().replace('"-1 2"', '"-1 1"'))
    assert left_right(plain).is_exact
    assert not np.array_equal(finding.element.control, left_right(plain).element.control)
    assert step_error(robot, derive(robot, [finding], n_states=10).spec, 0) < 1e-10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knee_gear": 25.0}, "right knee gear 20, left knee 25"),
        ({"foot": 0.06}, "right foot size 0.05, left foot 0.06"),
    ],
)
def test_unequal_parts_are_named(surveyed, biped, step_error, change, message):
    robot = surveyed(biped(**change))
    finding = left_right(robot)
    assert not finding.is_exact
    assert message in map(str, finding.element.violations)
    assert step_error(robot, derive(robot, [finding], n_states=10).spec, 0) > 1e-4
