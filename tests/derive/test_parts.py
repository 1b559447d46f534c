"""Every property of a part is compared: one changed number on one side is named, and nothing else is."""

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rpp_rl.derive import BareModel, derive
from rpp_rl.derive.motions import cube_motions, in_words, polygon_motions
from rpp_rl.derive.named_group import closed
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.symmetries import find_symmetries
from rpp_rl.derive.trials import place_size
from rpp_rl.derive.violations import COMPARED_ELSEWHERE, WITHOUT_EFFECT, plain_fields
from rpp_rl.symmetry import parse_group

SIDE = """<body name="{s} arm" pos="0 {y} 0">
  <joint name="{s} slide" type="slide" axis="0 {t} 1" range="-.1 .2" limited="true" stiffness="3" springref=".05"/>
  <geom name="{s} upper" type="capsule" fromto="0 0 0 0 {y} -.3" size=".03"/>
  <body name="{s} hand" pos="0 {y} -.3">
    <joint name="{s} wrist" axis="1 0 0" range="{lo} {hi}" limited="true"
      damping=".3" armature=".01" frictionloss=".1"/>
    <geom name="{s} box" type="box" size=".05 .02 .03" friction=".8" pos=".03 0 0" euler="20 0 0"/>
    <geom name="{s} egg" type="ellipsoid" size=".05 .02 .03" pos="-.05 0 0"/>
  </body>
</body>"""
TWINS = """<mujoco><option timestep=".005"/><worldbody><geom name="floor" type="plane" size="5 5 1"/>
<body name="body" pos="0 0 1"><freejoint name="root"/><geom name="trunk" type="sphere" size=".1"/>
{left}{right}</body></worldbody>
<contact><exclude body1="left hand" body2="body"/><exclude body1="right hand" body2="body"/>
  <pair geom1="left upper" geom2="floor" friction=".5 .5 .1 .1 .1"/>
  <pair geom1="right upper" geom2="floor" friction=".5 .5 .1 .1 .1"/></contact>
<tendon>
  <fixed name="left string" stiffness="2">
    <joint joint="left slide" coef="1"/><joint joint="left wrist" coef="2"/></fixed>
  <fixed name="right string" stiffness="2">
    <joint joint="right slide" coef="1"/><joint joint="right wrist" coef="-2"/></fixed>
</tendon>
<actuator>
  <motor name="left pull" tendon="left string" gear="3"/>
  <motor name="right pull" tendon="right string" gear="3"/>
  <position name="left servo" joint="left slide" kp="7" kv="1" ctrlrange="-.1 .2"/>
  <position name="right servo" joint="right slide" kp="7" kv="1" ctrlrange="-.1 .2"/>
  <motor name="left twist" joint="left wrist" gear="4" ctrlrange="-1 .5"/>
  <motor name="right twist" joint="right wrist" gear="4" ctrlrange="-.5 1"/></actuator></mujoco>"""


def twins(old="", new=""):
    """Two arms that are images of each other, but for one piece of text on the left."""
    left = SIDE.format(s="left", y=0.2, t=0.1, lo=-20, hi=40)
    # The box is tilted by 20 degrees to the other side.
    right = SIDE.format(s="right", y=-0.2, t=-0.1, lo=-40, hi=20).replace("20 0 0", "-20 0 0")
    if old in left:
        return TWINS.format(left=left.replace(old, new, 1) if old else left, right=right)
    text = TWINS.format(left=left, right=right)
    assert old in text
    return text.replace(old, new, 1)


def mirror(text):
    robot = Robot(mujoco.MjModel.from_xml_string(text))
    return next(
        e for e in find_symmetries(robot) if e.meaning.startswith("the world mirrors y; body mirrors y; left arm")
    )


def test_the_twins_are_images_of_each_other():
    assert mirror(twins()).violations == ()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('range="-.1 .2" limited="true" s', 'range="-.1 .3" limited="true" s', "left slide range 0.3, right slide 0.2"),
        ('stiffness="3"', 'stiffness="4"', "left slide stiffness 4, right slide 3"),
        ('stiffness="3"', 'stiffness="3 1 0"', "left slide stiffness 1, right slide 0"),
        ('springref=".05"', 'springref=".06"', "left slide springref 0.06, right slide 0.05"),
        ('damping=".3"', 'damping=".4"', "left wrist damping 0.4, right wrist 0.3"),
        ('damping=".3"', 'damping=".3 .1"', "left wrist dampingpoly 0.1, right wrist 0"),
        ('armature=".01"', 'armature=".02"', "left wrist armature 0.02, right wrist 0.01"),
        ('frictionloss=".1"', 'frictionloss=".2"', "left wrist frictionloss 0.2, right wrist 0.1"),
        ("-20 40", "-20 45", "left wrist range (reversed) -0.785398, right wrist -0.698132"),
        ('axis="0 0.1 1"', 'axis="0 0.2 1"', "right slide axis is 5.6° from the image of left slide"),
        ('axis="1 0 0"', 'pos=".01 .01 0" axis="1 0 0"', "right wrist is 0.01 m from the image of left wrist"),
        ('friction=".8"', 'friction="1.2"', "left box friction 1.2, right box 0.8"),
        ('friction=".8"', 'friction=".8" solref=".03 1"', "left box solref 0.03, right box 0.02"),
        ('friction=".8"', 'friction=".8" contype="2"', "left box contype 2, right box 1"),
        ('friction=".8"', 'friction=".8" condim="4"', "left box condim 4, right box 3"),
        ('size=".05 .02 .03" f', 'size=".05 .02 .04" f', "left box size 0.04, right box 0.03"),
        ('pos=".03 0 0"', 'pos=".04 0 0"', "right box is 0.01 m from the image of left box"),
        ('euler="20 0 0"', 'euler="30 0 0"', "right box direction is 10° from the image of left box"),
        ('size=".05 .02 .03" pos', 'size=".05 .02 .035" pos', "left egg shape 0.001225, right egg 0.0009"),
        ('type="ellipsoid"', 'type="cylinder"', "left egg is a cylinder, right egg a ellipsoid"),
        ('<body name="left hand"', '<body name="left hand" gravcomp="1"', "left hand gravcomp 1, right hand 0"),
        ('coef="2"', 'coef="2.5"', "left string coefficients -2.5, right string -2"),
        ('string" stiffness="2"', 'string" stiffness="5"', "left string stiffness 5, right string 2"),
        ('name="left string"', 'name="left string" damping="5"', "left string damping 5, right string 0"),
        ('"left string" gear="3"', '"left string" gear="4"', "left pull gear 4, right pull 3"),
        ('kp="7" kv="1"', 'kp="8" kv="1"', "left servo gear times gain 8, right servo 7"),
        ('kp="7" kv="1"', 'kp="7" kv="2"', "left servo bias -2, right servo -1"),
        ('"left slide" kp', '"left slide" timeconst=".1" kp', "left servo dyntype"),
        ('ctrlrange="-.1 .2"', 'ctrlrange="-.1 .3"', "left servo ctrlrange 0.3, right servo 0.2"),
        ('ctrlrange="-1 .5"', 'ctrlrange="-1 1"', "left twist ctrlrange (reversed) -1, right twist -0.5"),
        ('<exclude body1="left hand" body2="body"/>', "", "contacts of body and right hand are excluded, of"),
        ('geom2="floor" friction=".5 .5 .1', 'geom2="floor" friction=".6 .5 .1', "floor and left upper friction 0.6"),
        ('<pair geom1="left upper" geom2="floor" friction=".5 .5 .1 .1 .1"/>', "", "the contact pair of floor and"),
    ],
)  # fmt: skip
def test_a_changed_number_is_named(old, new, text):
    violations = [str(violation) for violation in mirror(twins(old, new)).violations]
    assert any(violation.startswith(text) for violation in violations), violations


def test_stepping_the_twins_confirms_it(surveyed, step_error):
    """Ranges, springs, tendons, servos and reversed motors: all signs are right together, and one wrong one shows."""
    text = twins().replace('"right twist" joint="right wrist" gear="4" ctrlrange="-.5 1"',
                           '"right twist" joint="right wrist" gear="-4" ctrlrange="-1 .5"')  # fmt: skip
    for model, sign in ((twins(), -1.0), (text, 1.0)):
        robot = surveyed(model)
        finding = next(f for f in robot.findings if f.element.meaning.startswith("the world mirrors y; body mirrors y"))
        assert finding.is_exact
        assert finding.element.control[5, 4] == sign
        assert step_error(robot, derive(robot, [finding], n_states=5).spec, 0) < 1e-9


def test_a_change_of_what_is_for_the_eye_breaks_nothing():
    assert mirror(twins('friction=".8"', 'friction=".8" rgba="1 0 0 1" group="3"')).violations == ()
    ghost = '<geom type="sphere" size=".1" contype="0" conaffinity="0" mass="0"/><geom name="left box"'
    assert mirror(twins('<geom name="left box"', ghost)).violations == ()


def test_a_spring_with_an_even_power_has_no_mirror_image():
    """F = -(k0 x + k1 x² + k2 x³): the middle term does not change sign with x, as stepping shows."""
    text = twins().replace('damping=".3"', 'damping=".3" stiffness="1 2 3"')
    violations = [str(violation) for violation in mirror(text).violations]
    assert violations == ["left wrist stiffness (reversed) -2, right wrist 2"]
    assert mirror(text.replace('"1 2 3"', '"1 0 3"')).violations == ()


def test_friction_below_that_of_everything_else_is_not_felt():
    """Of two geoms that touch the larger friction counts, and everything else here has 1."""
    assert mirror(twins('friction=".8"', 'friction=".9"')).violations == ()


@pytest.mark.parametrize(("old", "new", "is_felt"), [("<freejoint", "<freejoint", True),
    ('<freejoint name="root"/>', "", False), ('<freejoint name="root"/>', '<joint axis="1 0 0"/>', True)])  # fmt: skip
def test_the_inertia_of_what_only_slides_is_not_felt(old, new, is_felt):
    """It is where the trunk floats or turns, and in water, whose drag MuJoCo takes from the inertia."""
    for density, named in ((0.0, is_felt), (1000.0, True)):
        model = mujoco.MjModel.from_xml_string(twins(old, new))
        model.opt.density = density
        model.body_inertia[model.body("left arm").id] *= 1.1
        left, right = model.body("left arm").id, model.body("right arm").id
        (found,) = [e for e in find_symmetries(Robot(model)) if e.bodies[left] == right and e.world[1, 1] == -1
                    and e.world[0, 0] == 1 and all(shape[1, 1] == -1 for _, shape in e.match.shapes)]  # fmt: skip
        assert any("inertia" in str(violation) for violation in found.violations) == named


def test_a_mass_out_of_place_is_told_in_metres():
    violations = [str(v) for v in mirror(twins('pos="-.05 0 0"', 'pos="-.05 .01 0"')).violations]
    assert any(text.startswith("the mass of right hand is 0.00") for text in violations)
    assert any(text.startswith("right egg is 0.01 m from the image of left egg") for text in violations)


@pytest.mark.parametrize("kind", COMPARED_ELSEWHERE)
def test_every_field_of_the_model_is_compared_or_known_to_have_no_effect(kind):
    """The lists name only fields that exist here, and plain comparison takes all the others."""
    model = mujoco.MjModel.from_xml_string(twins())
    size = {"body": model.nbody, "jnt": model.njnt, "dof": model.nv, "geom": model.ngeom, "tendon": model.ntendon,
            "actuator": model.nu}[kind]  # fmt: skip
    fields = {name.partition("_")[2] for name in dir(model) if name.startswith(f"{kind}_")}
    arrays = {f for f in fields if isinstance(getattr(model, f"{kind}_{f}"), np.ndarray)}
    assert all(len(getattr(model, f"{kind}_{f}")) == size for f in arrays)
    assert COMPARED_ELSEWHERE[kind] | WITHOUT_EFFECT[kind] <= arrays
    assert not COMPARED_ELSEWHERE[kind] & WITHOUT_EFFECT[kind]
    assert set(plain_fields(Robot(model), kind)) == arrays - COMPARED_ELSEWHERE[kind] - WITHOUT_EFFECT[kind]


@pytest.mark.parametrize(
    "name",
    [
        "Z2",
        "Z4",
        "Z6",
        "D3",
        "D4",
        "D6",
        "Z2xZ2",
        "Z4xZ2",
        "D4xZ2",
        "D4xD4",
        "Z2xZ2xZ2",
        "T",
        "Th",
        "O",
        "Oh",
        "I",
        "Ih",
        "OxZ3",
    ],
)
def test_a_group_in_disguise_is_recognised(name, rng):
    """Products of the generators in another basis, given in another order with repetitions."""
    group = parse_group(name)
    basis = np.linalg.qr(rng.normal(size=(group.d, group.d)))[0]
    elements = [basis @ np.linalg.multi_dot([np.eye(group.d), np.eye(group.d), *(group.generators[k] for k in g.word)])
                @ basis.T for g in group.elements]  # fmt: skip
    closure = closed([elements[i] for i in rng.permutation(len(elements))])
    assert closure.group == group
    for k, matrix in enumerate(closure.matrices):
        assert np.abs(matrix - elements[0]).max() > 1e-3
        order = next(n for n in range(1, 100) if np.allclose(np.linalg.matrix_power(matrix, n), elements[0]))
        assert order == next(
            n for n in range(1, 100) if np.allclose(np.linalg.matrix_power(group.generators[k], n), np.eye(group.d))
        )


def test_motions_of_the_cube_are_called_by_their_name():
    motions = cube_motions()
    rotations = [motion for motion in motions if np.linalg.det(motion) > 0]
    assert [closed(chosen).group.name for chosen in (motions, rotations)] == ["Oh", "O"]
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    of_tetrahedron = [m for m in motions if all((corners == corner).all(axis=1).any() for corner in corners @ m.T)]
    assert (len(of_tetrahedron), closed(of_tetrahedron).group.name) == (24, "O")


def test_a_group_without_a_name_keeps_its_matrices():
    """The quaternions' eight units."""
    i, j = np.kron([[0.0, -1], [1, 0]], np.diag([1.0, -1])), np.kron(np.eye(2), [[0.0, -1], [1, 0]])
    closure = closed([i, j, i @ j])
    assert (str(closure.group), closure.group.order) == ("order8", 8)
    assert len(closure.words) == 2


def test_motions_in_words():
    words = [in_words(motion) for motion in cube_motions()]
    assert len(set(words)) == 48
    assert {"stays", "turns 90° about z", "mirrors y", "inverts all axes", "turns 180° about x"} <= set(words)
    assert "mirrors z and turns 90° about it" in words
    sixth = polygon_motions(np.array([0.0, 0.0, 1.0]), 6)
    assert len(sixth) == 12
    assert in_words(sixth[1]) == "turns 60° about z"
    assert in_words(Rotation.from_rotvec([0, 0, np.radians(-45)]).as_matrix()) == "turns -45° about z"


PLANAR = (
    '<mujoco><worldbody><body>{}<geom size=".1"/></body></worldbody><actuator><motor joint="a"/></actuator></mujoco>'
)


@pytest.mark.parametrize(
    ("joints", "size"),
    [
        ('<freejoint name="a"/>', 2),
        ('<joint name="a" type="slide" axis="1 0 0"/><joint type="slide" axis="0 0 1"/><joint axis="0 1 0"/>', 1),
        ('<joint name="a" type="slide" axis="1 0 0"/><joint type="slide" axis="0 1 0"/><joint axis="0 0 1"/>', 2),
        ('<joint name="a" type="slide" axis="1 0 0" range="-1 1" limited="true"/>', 0),
        ('<joint name="a" axis="0 1 0"/>', 0),
    ],
)
def test_only_the_place_on_the_ground_is_left_out(tmp_path, joints, size):
    path = tmp_path / "robot.xml"
    path.write_text(PLANAR.format(joints))
    env = BareModel(path)
    assert place_size(Robot(env.model)) == env.n_skipped == size
    assert env.observation_space.shape == (env.model.nq - size + env.model.nv,)
