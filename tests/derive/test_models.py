"""Small robots, each with one thing that decides a symmetry: names, constraints, corners, obstacles, shapes."""

import dataclasses

import numpy as np
import pytest

from rpp_rl.derive import BareModel, accepted, chosen, derive, left_out, survey
from rpp_rl.symmetry import parse_group

pytestmark = pytest.mark.mujoco

LEG = """<body name="{name}" pos="{x} {y} 0">
<joint name="{name} hip" axis="{axis} 0" range="-40 40" limited="true" damping="1"/>
<geom type="capsule" fromto="0 0 0 0 0 -.3" size=".03" contype="{contact}"/></body>"""


def legged(places, *, world="", extra="", contact=1, motor='<motor joint="{name} hip" gear="10"/>', names=None):
    """A floating plate with legs at some places, each of which swings in the direction of its place."""
    names = names or [f"leg {i}" for i in range(len(places))]
    bodies, motors = "", ""
    for name, (x, y) in zip(names, places, strict=True):
        axis = f"{-y / np.hypot(x, y):.17g} {x / np.hypot(x, y):.17g}"
        bodies += LEG.format(name=name, x=x, y=y, axis=axis, contact=contact)
        motors += motor.format(name=name)
    return f"""<mujoco><option timestep=".005" cone="elliptic"/>
  <worldbody><geom type="plane" size="5 5 1"/>{world}
    <body name="plate" pos="0 0 .4"><freejoint/><geom type="cylinder" size=".2 .03" mass="3"/>{bodies}</body>
  </worldbody>
  <actuator>{motors}</actuator>{extra}
</mujoco>"""


def polygon(n, radius=0.2):
    return [(radius * np.cos(2 * np.pi * k / n), radius * np.sin(2 * np.pi * k / n)) for k in range(n)]


RECTANGLE = [(0.2, 0.1), (-0.2, 0.1), (-0.2, -0.1), (0.2, -0.1)]


def staying(robot):
    """The elements under which the world does not move."""
    return [f for f in robot.findings if np.allclose(f.element.world, np.eye(3)) and f.verdict != "weak"]


def element(robot, meaning):
    return next(f for f in robot.findings if f.element.meaning.startswith(meaning))


LEFT_RIGHT = "the world mirrors y; plate mirrors y"


def test_a_quadruped_with_odd_names(surveyed, step_error):
    robot = surveyed(legged(RECTANGLE, names=["no", "1e3", "hüfte: links", "[x, &quot;y&quot;]"]))
    exact = [f for f in robot.findings if f.is_exact and f.element.turn is None]
    # World motions D4, shapes {1, mirror x, mirror y, half turn}, equal determinants, without the identity.
    assert len(exact) == 15
    # Turns of the world alone say nothing about the robot: its own four relabellings are taken, the others are named.
    taken = accepted(robot)
    assert (len(taken), len(left_out(robot, taken))) == (3, 12 + 2)  # and turns by 45° and by any angle
    assert derive(robot, taken, n_states=5).spec.group == parse_group("Z2xZ2")
    spec = derive(robot, exact, n_states=10).spec
    assert spec.group.order == 16
    assert all(step_error(robot, spec, k) < 1e-9 for k in range(len(spec.group.generators)))
    names = " ".join(block.name for block in spec.action.blocks)
    assert all(name in names for name in ("no hip", "1e3 hip", "hüfte: links hip", '[x, "y"] hip'))


@pytest.mark.parametrize(("n", "group"), [(3, "D3"), (4, "D4"), (5, "D5"), (6, "D6")])
def test_robots_with_corners(surveyed, step_error, n, group):
    """The world stays for a turn of the shape, and is mirrored for a mirrored one."""
    robot = surveyed(legged(polygon(n)))
    task = [f for f in robot.findings if f.is_exact and np.allclose(np.abs(f.element.world), np.eye(3))]
    task = [f for f in task if np.allclose(f.element.world[0, 0], 1.0)]
    assert len(task) == 2 * n - 1
    spec = derive(robot, task, n_states=5).spec
    assert spec.group == parse_group(group)
    assert max(step_error(robot, spec, k, n_states=5) for k in range(2)) < 1e-9


def test_a_pyramid_at_oblique_contacts_is_suspected(surveyed):
    """The legs touch the plate at an angle: no part differs, but quarter turns of the world are off by 1e-4."""
    robot = surveyed(legged(RECTANGLE).replace('cone="elliptic"', 'cone="pyramidal"'))
    finding = element(robot, "the world turns 90° about z; plate stays")
    assert (finding.element.violations, finding.verdict) == ((), "approximate")
    (remark,) = finding.remarks
    assert remark.startswith("no part differs from its image, but the simulator does not agree: a pyramidal")
    assert element(robot, LEFT_RIGHT).remarks == ()


def test_a_leg_that_is_out_of_place_leaves_one_mirror(surveyed):
    places = polygon(6)
    places[0] = (0.25, 0.0)
    exact = [f for f in surveyed(legged(places)).findings if f.is_exact and f.element.match.shapes]
    assert {tuple(np.diag(shape).round(9)) for f in exact for _, shape in f.element.match.shapes} == {
        (1.0, 1.0, 1.0),
        (1.0, -1.0, 1.0),
    }


JOINT_CONSTRAINT = '<joint joint1="leg {} hip" joint2="leg {} hip" polycoef="0 {} 0 0 0"/>'


CONSTRAINTS = {
    "coupling": (JOINT_CONSTRAINT.format(0, 1, 1), JOINT_CONSTRAINT.format(3, 2, 1)),
    "pin": tuple(f'<connect body1="leg {i}" body2="plate" anchor="0 0 -.3"/>' for i in (0, 3)),
    "weld": tuple(f'<weld body1="leg {i}" body2="plate"/>' for i in (0, 3)),
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_equality_constraints_have_to_go_to_others(surveyed, kind):
    """With its mirror image a constraint breaks nothing; alone it does, and the simulator agrees."""
    both = element(surveyed(legged(RECTANGLE, extra=f"<equality>{''.join(CONSTRAINTS[kind])}</equality>")), LEFT_RIGHT)
    assert (both.violations, both.warnings, both.verdict) == ((), (), "exact")
    alone = element(surveyed(legged(RECTANGLE, extra=f"<equality>{CONSTRAINTS[kind][0]}</equality>")), LEFT_RIGHT)
    (violation,) = alone.violations
    assert str(violation).startswith(f"{kind} of ")
    assert str(violation).endswith("has no counterpart")
    assert alone.verdict == "weak" or kind == "weld"


def test_a_coupling_with_another_ratio_is_named(surveyed):
    constraints = JOINT_CONSTRAINT.format(0, 1, 1) + JOINT_CONSTRAINT.format(3, 2, 0.8)
    finding = element(surveyed(legged(RECTANGLE, extra=f"<equality>{constraints}</equality>")), LEFT_RIGHT)
    assert "polycoef 1, coupling of leg 3 hip and leg 2 hip 0.8" in str(finding.violations[0])


def test_constraints_between_sites_are_left_to_the_simulator(surveyed):
    """Both models have no difference between parts; only stepping shows which one is symmetric."""
    sites = "".join(f'<site name="s{i}" pos="{x} {y} .3"/>' for i, (x, y) in enumerate(RECTANGLE))
    tied = '<connect site1="s{i}" site2="l{i}"/>'
    for which, verdict in (((0, 3), "exact"), ((0,), "weak")):
        text = legged(RECTANGLE, extra=f"<equality>{''.join(tied.format(i=i) for i in which)}</equality>")
        text = text.replace("<freejoint/>", "<freejoint/>" + sites, 1)
        for i in range(4):
            text = text.replace(
                f'<joint name="leg {i} hip"', f'<site name="l{i}" pos="0 0 -.3"/><joint name="leg {i} hip"'
            )
        finding = element(surveyed(text), LEFT_RIGHT)
        assert finding.violations == ()
        assert finding.warnings == (f"{len(which)} equality constraints are not compared",)
        assert finding.trial.error_n_steps is not None or verdict != "exact"
        assert finding.verdict == verdict


def test_without_the_constraint_the_same_robot_is_exact(surveyed):
    """Negative control: it is the constraint that the simulator refused."""
    finding = element(surveyed(legged(RECTANGLE)), LEFT_RIGHT)
    assert (finding.is_exact, finding.warnings) == (True, ())


def worlds(robot):
    """How the world may move, by the diagonal of the motion where it is diagonal."""
    return {tuple(np.diag(f.element.world).round(9)) for f in robot.findings if f.element.turn is None}


def test_obstacles_wind_and_slopes_stay_where_they_are(surveyed):
    free = worlds(surveyed(legged(RECTANGLE)))
    assert {(1.0, 1.0, 1.0), (1.0, -1.0, 1.0), (-1.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (0.0, 0.0, 1.0)} <= free
    wall = '<geom name="wall" type="box" size=".1 1 1" pos="3 0 1"/>'
    assert worlds(surveyed(legged(RECTANGLE, world=wall))) == {(1.0, 1.0, 1.0), (1.0, -1.0, 1.0)}
    windy = legged(RECTANGLE).replace("timestep", 'density="1.2" wind="0 3 0" timestep')
    assert worlds(surveyed(windy)) == {(1.0, 1.0, 1.0), (-1.0, 1.0, 1.0)}
    tilted = legged(RECTANGLE).replace("timestep", 'gravity="2 0 -9" timestep')
    assert worlds(surveyed(tilted)) == {(1.0, 1.0, 1.0), (1.0, -1.0, 1.0)}
    ramp = legged(RECTANGLE).replace('type="plane"', 'type="plane" euler="0 10 0"')
    assert worlds(surveyed(ramp)) == {(1.0, 1.0, 1.0), (1.0, -1.0, 1.0)}


def test_a_body_of_the_world_is_an_obstacle_too(surveyed):
    post = '<body name="post" pos="2 1 0"><geom type="cylinder" size=".1 1"/></body>'
    assert worlds(surveyed(legged(RECTANGLE, world=post))) == {(1.0, 1.0, 1.0)}
    both = post + '<body name="other" pos="2 -1 0"><geom type="cylinder" size=".1 1"/></body>'
    assert worlds(surveyed(legged(RECTANGLE, world=both))) == {(1.0, 1.0, 1.0), (1.0, -1.0, 1.0)}


ARM = """<body name="finger {i}" pos="{x:.17g} {y:.17g} .2">
<joint name="finger {i}" axis="{ax:.17g} {ay:.17g} 0" range="-30 60" limited="true"/>
<geom type="capsule" fromto="0 0 0 0 0 .2" size=".02" contype="0" conaffinity="0"/></body>"""


def gripper(n):
    """Fingers in a circle on a palm that stands on the ground."""
    arms = "".join(
        ARM.format(i=i, x=0.1 * c, y=0.1 * s, ax=-s, ay=c)
        for i, (c, s) in enumerate((np.cos(2 * np.pi * k / n), np.sin(2 * np.pi * k / n)) for k in range(n))
    )
    motors = "".join(f'<position joint="finger {i}" kp="5" kv=".5"/>' for i in range(n))
    palm = f"<body name='palm' pos='.5 -.2 0'>{arms}</body>"
    return f"<mujoco><worldbody>{palm}</worldbody><actuator>{motors}</actuator></mujoco>"


@pytest.mark.parametrize("n", [3, 4])
def test_a_robot_attached_to_the_world_turns_with_it(surveyed, step_error, n):
    """Also where it does not stand in the middle of the world."""
    robot = surveyed(gripper(n))
    spec = derive(robot, accepted(robot), n_states=5).spec
    assert spec.group == parse_group(f"D{n}")
    assert spec.observation.size == 2 * n
    assert max(step_error(robot, spec, k) for k in range(2)) < 1e-9


def test_colliding_meshes_are_compared_by_their_hulls(surveyed):
    """In whatever frame and with whatever triangles: the even wedge has its tip in the plane of the mirror."""
    even = '<asset><mesh name="wedge" vertex="0 -.1 0 .1 0 0 0 .1 0 0 0 .1 .02 .02 .02"/></asset>'
    mesh = '<asset><mesh name="wedge" vertex="0 0 0 .1 0 0 0 .1 0 0 0 .1"/></asset>'
    horn = '<geom name="horn" type="mesh" mesh="wedge" pos=".1 0 .05" mass="0"/>'
    text = legged(RECTANGLE, extra=mesh).replace('<geom type="cylinder"', horn + '<geom type="cylinder"')
    finding = element(surveyed(text), LEFT_RIGHT)
    assert finding.warnings == ()
    (violation,) = finding.violations
    assert str(violation).startswith("the hull of horn is up to 0.09")
    assert element(surveyed(text.replace(mesh, even)), LEFT_RIGHT).violations == ()
    seen = text.replace('mesh="wedge"', 'mesh="wedge" contype="0" conaffinity="0"')
    assert element(surveyed(seen), LEFT_RIGHT).warnings == ()


STRINGS = """<tendon>
  <spatial name="left" springlength="0 .1" stiffness="40"><site site="plate 0"/><geom geom="pin 0" sidesite="side 0"/>
    <site site="leg 0"/></spatial>
  <spatial name="right" springlength="0 .1" stiffness="40"><site site="{last}"/><geom geom="pin 3" sidesite="side 3"/>
    <site site="{first}"/></spatial></tendon>"""


def stringed(first="plate 3", last="leg 3", shift=0.0, gear=5):
    """Strings from the plate over a pin to the two legs on one side of it, with a winch on each."""
    text = legged(RECTANGLE).replace(
        "</actuator>",
        f'<motor name="left winch" tendon="left" gear="5"/><motor name="right winch" tendon="right" gear="{gear}"/>'
        f"</actuator>{STRINGS.format(first=first, last=last)}",
    )
    for i, sign in ((0, 1), (3, -1)):
        x, y = RECTANGLE[i]
        off = shift if i == 3 else 0.0
        place = f"{x + 0.05 + off} {y} -.05"
        pin = f'<geom name="pin {i}" type="cylinder" size=".02 .05" pos="{place}" euler="90 0 0" mass=".1"/>'
        sites = (
            f'<site name="plate {i}" pos="{x} {y - sign * 0.03} .05"/><site name="side {i}" pos="{x + 0.1} {y} -.05"/>'
        )
        text = text.replace("<freejoint/>", f"<freejoint/>{sites}{pin}", 1)
        joint = f'<joint name="leg {i} hip"'
        text = text.replace(joint, f'<site name="leg {i}" pos=".02 0 -.2"/>{joint}')
    return text


def test_strings_in_space_are_followed_by_their_paths(surveyed):
    """Whichever end comes first; muscles pull on such strings."""
    for ends in ({}, {"first": "leg 3", "last": "plate 3"}):
        finding = element(surveyed(stringed(**ends)), LEFT_RIGHT)
        assert (finding.violations, finding.warnings, finding.verdict) == ((), (), "exact")
    winches = {(m.actuator, m.image): m.sign for m in finding.element.actuators}
    assert winches[4, 5] == winches[5, 4] == 1.0


def test_what_differs_in_strings_is_named(surveyed):
    moved = element(surveyed(stringed(shift=0.03)), LEFT_RIGHT)
    assert any("the path of" in str(violation) for violation in moved.violations)
    stronger = element(surveyed(stringed(gear=6)), LEFT_RIGHT)
    assert [str(violation) for violation in stronger.violations] == ["left winch gear 5, right winch 6"]


def test_a_string_without_a_counterpart_cannot_be_followed(surveyed):
    sites = '<site name="a" pos="0 .05 .1"/><site name="b" pos="0 0 .2"/>'
    text = legged(RECTANGLE).replace("<freejoint/>", "<freejoint/>" + sites, 1)
    tendon = '<tendon><spatial name="string"><site site="a"/><site site="b"/></spatial></tendon>'
    alone = element(surveyed(text.replace("</actuator>", f"</actuator>{tendon}")), LEFT_RIGHT)
    assert str(alone.violations[0]).startswith("the path of string is 0.1 m from")
    slider = '<general name="crank" cranksite="a" slidersite="b" cranklength=".1"/>'
    finding = element(surveyed(text.replace("</actuator>", f"{slider}</actuator>")), LEFT_RIGHT)
    assert finding.verdict == "unusable"
    assert "crank acts on no joint, tendon, body or site alone: not comparable" in map(str, finding.element.violations)


ROTOR = '<site name="r{i}" pos="{x} {y} .02"/>'
DRONE = """<mujoco><option timestep=".005"/><worldbody><body name="frame" pos="0 0 1"><freejoint/>
<geom type="box" size=".1 .1 .02" mass="1"/>{sites}</body></worldbody><actuator>{thrusters}</actuator></mujoco>"""


def test_thrusters_are_followed_by_force_and_torque(surveyed, step_error):
    """Opposite rotors turn alike, so a quarter turn of the shape needs a mirror to be a symmetry."""
    places = [(0.1, 0), (0, 0.1), (-0.1, 0), (0, -0.1)]
    sites = "".join(ROTOR.format(i=i, x=x, y=y) for i, (x, y) in enumerate(places))
    thrusters = "".join(
        f'<motor name="rotor {i}" site="r{i}" gear="0 0 4 0 0 {0.2 if i % 2 else -0.2}" ctrlrange="0 1"/>'
        for i in range(4)
    )
    robot = surveyed(DRONE.format(sites=sites, thrusters=thrusters))
    turn = element(robot, "the world stays; frame turns 90° about z")
    assert not turn.is_exact
    assert any("rotor 0 gear" in str(v) for v in turn.element.violations)
    half = element(robot, "the world stays; frame turns 180° about z")
    diagonal = element(robot, "the world mirrors y; frame mirrors (0.707 -0.707 0)")
    assert (half.is_exact, diagonal.is_exact) == (True, True)
    spec = derive(robot, [half, diagonal], n_states=5).spec
    assert spec.group == parse_group("Z2xZ2")
    assert max(step_error(robot, spec, k) for k in range(2)) < 1e-9


def test_symmetries_of_the_dynamics_can_be_chosen_by_name(surveyed):
    robot = surveyed(legged(polygon(4)))
    names = [f.name for f in staying(robot) if f.is_exact]
    assert derive(robot, chosen(robot, names), n_states=5).spec.group == parse_group("Z4")


BALL = '<body name="{name}" pos="{x} {y} .3"><freejoint/><geom type="{kind}" size=".1 .1 .1" mass="{mass}"/></body>'


def test_loose_things_follow_the_world(surveyed, step_error):
    """A ball's own symmetries are not listed, a box keeps to the corners it has, equal boxes may change places."""
    alone = surveyed(legged(RECTANGLE))
    ball = surveyed(
        legged(RECTANGLE, extra="").replace(
            "</worldbody>", BALL.format(name="ball", x=1, y=0, kind="sphere", mass=1) + "</worldbody>"
        )
    )
    assert len([f for f in ball.findings if f.is_exact]) == len([f for f in alone.findings if f.is_exact])
    assert element(ball, LEFT_RIGHT).is_exact
    spec = derive(ball, [element(ball, LEFT_RIGHT)], n_states=5).spec
    assert step_error(ball, spec, 0) < 1e-9
    boxes = "".join(BALL.format(name=f"box {i}", x=1, y=i - 1, kind="box", mass=1 + (i == 2)) for i in range(3))
    three = surveyed(legged(RECTANGLE).replace("</worldbody>", boxes + "</worldbody>"))
    swap = element(three, "the world stays; plate stays; box 0 stays; box 1 stays; box 2 stays; box 0 ↔ box 1")
    assert swap.is_exact
    assert not any("box 2 ↔" in f.element.meaning for f in three.findings if f.is_exact)


BARE = """<mujoco><worldbody><body name="rod" pos="0 0 1"><freejoint/><geom type="box" size=".3 .1 .1"/>
<body name="arm" pos=".3 0 0"><joint axis="0 1 0" range="-40 40" limited="true"/><geom type="box" size=".1 .05 .05"/>
</body></body></worldbody></mujoco>"""


def test_a_model_without_ground_and_actuators_gets_them_on_request(tmp_path):
    path = tmp_path / "rod.xml"
    path.write_text(BARE)
    with pytest.raises(ValueError, match="--motors gives every joint a motor"):
        BareModel(path)
    floating = survey(BareModel(path, motors=True))
    assert "there is no ground, nothing stands on anything: --ground adds one" in floating.warnings
    standing = survey(BareModel(path, motors=True, ground=True))
    assert not any("ground" in warning for warning in standing.warnings)
    assert element(standing, "the world mirrors y; rod mirrors y").is_exact
    assert [atom.owner for atom in standing.action_parts.atoms] == ["motor of joint 1"]


OVAL = legged(RECTANGLE, extra="").replace('type="cylinder" size=".2 .03"', 'type="ellipsoid" size=".22 .18 .05"')
ROUGH = OVAL.replace('<geom type="plane" size="5 5 1"/>', '<geom type="hfield" hfield="flat"/>').replace(
    "<worldbody>", '<asset><hfield name="flat" nrow="41" ncol="41" size="5 5 1 .1"/></asset><worldbody>'
)


def test_a_flat_height_field_breaks_no_symmetry_of_the_robot(surveyed):
    """It is cut into triangles along one diagonal, so that contacts differ a little under a mirror: this is said."""
    robot = surveyed(ROUGH)
    finding = element(robot, LEFT_RIGHT)
    assert (finding.violations, finding.verdict) == ((), "approximate")
    assert finding.remarks == () or "triangles" in finding.remarks[-1]
    assert {f.element.meaning.partition(";")[0] for f in accepted(robot)} >= {"the world mirrors y"}


def test_a_table_has_one_row_for_each_relabelling(surveyed):
    """The most useful ones first; what the world does besides is told on request."""
    from rpp_rl.derive.report import survey_table

    robot = surveyed(OVAL)
    text = survey_table(robot)
    names = [line.split()[0] for line in text.splitlines() if line.startswith("e") and "plate" in line]
    assert names[:3] == ["e1", "e2", "e3"]
    assert len([line for line in text.splitlines() if "; plate " in line and "broken by" not in line]) == 4
    assert "--worlds tells them" in text
    assert len([line for line in survey_table(robot, worlds=True).splitlines() if "plate" in line]) > 12


EYE = '<geom name="eye {y}" type="cylinder" size=".02 .05" pos=".25 {y} .06" mass="0"/>'
EYES = EYE.format(y=-0.05) + EYE.format(y=0.05)
SEEING = OVAL.replace('<geom type="ellipsoid"', EYES + '<geom type="ellipsoid"')


def test_eyes_make_a_front_even_if_they_seldom_touch_anything(surveyed):
    """Front and back differ in no state but those in which the robot lies on its eyes, so where these are decides."""
    robot = surveyed(SEEING)
    back = element(robot, "the world mirrors y; plate mirrors x")
    assert back.verdict == "approximate"
    assert back.violations[0].text.startswith("eye")
    assert derive(robot, accepted(robot), n_states=3).spec.group == parse_group("Z2")
    assert back in left_out(robot, accepted(robot))
    without = surveyed(OVAL)
    assert derive(without, accepted(without), n_states=3).spec.group == parse_group("Z2xZ2")


def test_a_symmetry_that_is_exact_in_most_states_is_none_of_the_weak_ones(surveyed):
    """As of an arm whose links have no even hulls: how many of the states touch one must not decide."""
    found = element(surveyed(SEEING), "the world mirrors y; plate mirrors x")
    for median, verdict in ((1e-15, "approximate"), (0.3, "weak")):
        trial = dataclasses.replace(found.trial, error_1_step=0.6, typical=0.3, median=median)
        assert dataclasses.replace(found, trial=trial).verdict == verdict


def test_joints_that_turn_opposite_ways_are_no_images(surveyed):
    """Two small flaps that open to one side each can change places without a state that shows it in the whole robot."""
    flap = """<body name="flap {i}" pos="{x} 0 .04"><joint name="flap {i}" axis="1 0 0" range="{range}" limited="true"
    damping=".1"/><geom size=".004" pos="0 0 .01" contype="0" conaffinity="0"/></body>"""
    group = {}
    for name, ranges in (("apart", ("-60 1", "-1 60")), ("equal", ("-60 1", "-60 1"))):
        flaps = "".join(
            flap.format(i=i, x=x, range=r) for i, (x, r) in enumerate(zip((0.005, -0.005), ranges, strict=True))
        )
        text = legged(RECTANGLE).replace("<freejoint/>", "<freejoint/>" + flaps, 1)
        motors = "".join(f'<motor joint="flap {i}" gear=".01"/>' for i in range(2))
        robot = surveyed(text.replace("</actuator>", motors + "</actuator>"))
        group[name] = [f.element.meaning for f in accepted(robot)]
    exchange = "the world stays; plate stays; flap 0 ↔ flap 1"
    assert exchange not in group["apart"]
    assert exchange in group["equal"]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "group"), [(OVAL, "Z2xZ2"), (ROUGH, "Z2xZ2"), (SEEING, "Z2"),
                                             (legged(polygon(6)), "D6"), (gripper(3), "D3")])  # fmt: skip
def test_ten_seeds_give_the_same_group(surveyed, monkeypatch, text, group):
    """Of the states in which symmetries are tried, which are always the same in use, and of the check's.

    A third of the usual states is enough work, and the harder task: the fewer they are, the more seeds differ.
    """
    monkeypatch.setattr("rpp_rl.derive.trials.N_STATES", 20)
    monkeypatch.setattr("rpp_rl.derive.trials.N_WILD", 20)
    for seed in range(10):
        monkeypatch.setattr("rpp_rl.derive.trials.SEED", seed)
        robot = surveyed(text)
        assert derive(robot, accepted(robot), n_states=3, seed=seed).spec.group == parse_group(group), seed


def test_a_keyframe_is_where_a_model_begins(tmp_path):
    path = tmp_path / "robot.xml"
    key = '<keyframe><key name="low" qpos="0 0 .2 1 0 0 0 .1 .1 .1 .1"/></keyframe>'
    path.write_text(legged(RECTANGLE, extra=key))
    env = BareModel(path, keyframe="low")
    env.reset(seed=0)
    assert abs(env.data.qpos[2] - 0.2) < 0.2
    with pytest.raises(ValueError, match="the model has no keyframe 'high'; there are low"):
        BareModel(path, keyframe="high")
