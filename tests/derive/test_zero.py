"""A robot measured from another pose is the same robot; an arm that rests lying has its mirror standing upright."""

import mujoco
import numpy as np
import pytest

from rpp_rl.cli.derive_spec import main as derive_spec
from rpp_rl.derive import BareModel, derive, survey
from rpp_rl.derive.zero import measure_from, mirrored_pose

ARM = """<mujoco><option timestep=".002"/>
<default><joint armature=".1" damping=".5"/><geom contype="0" conaffinity="0" density="800"/></default><worldbody>
<body pos="0 0 .1"><joint name="base" axis="0 0 1"/><geom size=".08"/>
<body pos="0 .1 .1"><joint name="shoulder" axis="0 1 0" range="-190 10" limited="true" stiffness="2" springref="-90"/>
<geom type="capsule" fromto="0 0 0 .4 0 0" size=".05"/>
<body pos=".4 -.03 0"><joint name="elbow" axis="0 1 0" damping=".5"/>
<geom type="capsule" fromto="0 0 0 .3 0 0" size=".04"/>
<body pos=".3 .05 0"><joint name="w1" axis="0 1 0"/><geom size=".04" pos="0 .03 0"/>
<body pos="0 .06 0"><joint name="w2" axis="0 0 1"/><geom size=".03" pos="0 0 .04"/>
<body pos="0 0 .1"><joint name="w3" axis="0 1 0"/><geom size=".03" pos="{side} {tool} .05"/>
</body></body></body></body></body></body></worldbody>
<actuator><motor joint="base" gear="5"/><motor joint="shoulder" gear="9"/><motor joint="elbow" gear="7"/>
<motor joint="w1"/><motor joint="w2"/><motor joint="w3"/></actuator></mujoco>"""
UPRIGHT = (0, -90, 0, -90, 0, 0)
"""Joints 2 and 4 by a quarter turn make the chain stand in one plane."""

ODD = """<mujoco><compiler angle="radian"/><worldbody><body pos=".1 .2 1" euler="10 20 30">
<joint name="lift" type="slide" axis="0 1 1" ref=".1" stiffness="5" springref=".2"/>
<joint name="a" pos=".1 0 .2" axis="1 2 0" ref=".3" range="-1 2" limited="true"/>
<joint name="b" axis="0 1 3" pos="0 .1 0"/>
<geom type="box" size=".1 .2 .3"/>
<body pos=".4 0 0" quat="1 2 3 4"><joint name="c" axis="1 0 1" stiffness="3"/>
<geom type="box" size=".1 .1 .2" pos=".2 0 0"/>
<body pos=".3 0 0"><joint type="ball"/><geom type="box" size=".1 .05 .05" pos=".1 0 0"/></body></body></body>
<body><freejoint/><geom size=".1"/></body></worldbody>
<actuator><motor joint="lift"/><position joint="a" kp="20" kv="1"/><position joint="c" kp="3" gear="2"/></actuator>
<keyframe><key name="k" qpos=".1 .2 .3 .4 1 0 0 0 0 0 0 1 0 0 0"/></keyframe></mujoco>"""


@pytest.fixture
def path(tmp_path):
    def path(tool=0.0, side=0.0):
        (tmp_path / "arm.xml").write_text(ARM.format(tool=tool, side=side), encoding="utf-8")
        return tmp_path / "arm.xml"

    return path


def test_the_robot_stays_the_same(rng):
    """Accelerations, places of all bodies and of the keyframe; slides, several joints of a body, servos and springs."""
    before, after = (mujoco.MjModel.from_xml_string(ODD) for _ in range(2))
    pose = np.array([0.2, 40.0, -70.0, 110.0])
    shift = np.array([0.2, *np.radians(pose[1:])])
    measure_from(after, pose)
    np.testing.assert_allclose(after.key_qpos[0, :4] + shift, before.key_qpos[0, :4])
    for _ in range(20):
        data = [mujoco.MjData(model) for model in (before, after)]
        coordinates, velocities = rng.normal(size=before.nq), rng.normal(size=before.nv)
        controls = rng.normal(size=before.nu)
        for d, off in zip(data, (0.0, shift), strict=True):
            d.qpos[:] = coordinates
            d.qpos[:4] -= off
            d.qvel[:], d.ctrl[:] = velocities, controls
            mujoco.mj_forward(d.model, d)
        np.testing.assert_allclose(data[1].xpos, data[0].xpos, atol=1e-12)
        np.testing.assert_allclose(data[1].qacc, data[0].qacc, rtol=1e-8, atol=1e-8)


def test_an_arm_that_rests_lying_has_its_mirror_standing(path, step_error):
    lying = survey(BareModel(path()))
    assert not [finding for finding in lying.findings if finding.is_exact]
    (hint,) = [warning for warning in lying.warnings if "--zero" in warning]
    pose = [float(word) for word in hint.split("--zero ")[1].partition(" measures")[0].split()]
    assert sorted(np.abs(pose)) == sorted(np.abs(UPRIGHT))
    standing = survey(BareModel(path(), zero=pose))
    best = standing.findings[0]
    assert best.is_exact
    assert best.element.meaning.startswith("the world mirrors")
    derivation = derive(standing, [best], n_states=5)
    assert step_error(standing, derivation.spec, 0) < 1e-9
    assert derivation.spec.error < 1e-9


def test_a_tool_at_the_side_breaks_it(path):
    """Negative control: the axes still mirror each other, the masses do not."""
    (best, *_) = survey(BareModel(path(tool=0.02), zero=UPRIGHT)).findings
    assert best.is_exact
    (best, *_) = survey(BareModel(path(side=0.02), zero=UPRIGHT)).findings
    assert not best.is_exact
    assert any("mass" in str(violation) for violation in best.violations)


def test_an_arm_with_an_offset_has_no_such_pose(path):
    """As of a Sawyer: its second axis passes the first one at a distance, and it has offsets to the side."""
    model = mujoco.MjModel.from_xml_path(str(path()))
    assert mirrored_pose(model) is not None
    model.body_pos[2, 0] = 0.081
    assert mirrored_pose(model) is None
    assert mirrored_pose(mujoco.MjModel.from_xml_string(ODD)) is None


@pytest.mark.parametrize(
    ("pose", "message"),
    [([0, 90], "expected a pose of 4 hinges and slides, got 2 numbers"), ([0, 0, 0, 1], "a tendon depends")],
)
def test_what_cannot_be_measured_so_is_refused(pose, message):
    string = '<tendon><fixed><joint joint="c" coef="1"/></fixed></tendon><keyframe>'
    model = mujoco.MjModel.from_xml_string(ODD.replace("<keyframe>", string))
    with pytest.raises(ValueError, match=message):
        measure_from(model, pose)


def test_the_command_takes_a_pose(path, capsys):
    assert derive_spec(["--mjcf", str(path()), "--zero", *map(str, UPRIGHT)]) == 0
    assert "exact" in capsys.readouterr().out
