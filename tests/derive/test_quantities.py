"""Observations described by quantities: a walking robot with velocity commands, its groups, and mistakes."""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box

from rpp_rl.derive import accepted, check_robot, derive, description, read_description, survey
from rpp_rl.derive.quantities import QUANTITIES
from rpp_rl.derive.robot import Robot
from rpp_rl.derive.symmetries import find_symmetries, identity
from rpp_rl.derive.vocabulary import QUANTITY_NAMES
from rpp_rl.symmetry import parse_group

pytestmark = pytest.mark.mujoco

LEGS = {"LF": (1, 1), "RF": (1, -1), "LH": (-1, 1), "RH": (-1, -1)}
LEG = """<body name="{name}" pos="{x} {y} 0">
  <joint name="{name}_HAA" axis="1 0 0" range="-.6 .6" damping="1"/>
  <geom type="capsule" fromto="0 0 0 0 {dy} 0" size=".03"/>
  <body pos="0 {dy} 0"><joint name="{name}_HFE" axis="0 1 0" range="-1.2 1.2" damping="1"/>
    <geom type="capsule" fromto="0 0 0 {dx} 0 -.2" size=".025"/>
    <body name="{name}_FOOT" pos="{dx} 0 -.2">
      <geom name="{name}_foot" type="sphere" size=".04" {foot}/></body></body></body>"""
MODEL = """<mujoco><compiler angle="radian" autolimits="true"/><option timestep=".004" cone="elliptic"/><worldbody>
  <geom type="plane" size="9 9 1"/><body name="base" pos="0 0 .28"><freejoint/><geom type="box" size=".25 .12 .05"/>
  <site name="imu" euler="0 0 1.5707963267948966"/>{legs}</body></worldbody><actuator>{servos}</actuator></mujoco>"""


def walker(*, order=("LF", "RF", "LH", "RH"), foot=""):
    legs = "".join(
        LEG.format(name=n, x=0.2 * x, y=0.1 * y, dy=0.05 * y, dx=-0.05 * x, foot=foot if n == "RH" else "")
        for n, (x, y) in LEGS.items()
    )
    joints = [f"{leg}_{joint}" for leg in order for joint in ("HAA", "HFE")]
    servos = "".join(f'<position name="{j}" joint="{j}" kp="30" kv=".5" ctrlrange="-1 1"/>' for j in joints)
    return MODEL.format(legs=legs, servos=servos)


class Walker(MujocoEnv):
    """Observes as legged robots do: 36 numbers; ``tells`` what it remembers, or keeps it to itself."""

    def __init__(self, path):
        self.command, self.last_action = np.zeros(3), np.zeros(8)
        super().__init__(str(path), 3, Box(-np.inf, np.inf, (36,), np.float64))

    def _obs(self):
        axes = self.data.qpos[3:7] * [1, -1, -1, -1]
        velocity, gravity = np.zeros(3), np.zeros(3)
        mujoco.mju_rotVecQuat(velocity, self.data.qvel[:3], axes)
        mujoco.mju_rotVecQuat(gravity, np.array([0.0, 0.0, -1.0]), axes)
        joints = self.data.qpos[7:], self.data.qvel[6:]
        return np.concatenate([velocity, self.data.qvel[3:6], gravity, self.command, *joints, self.last_action])

    def step(self, action):
        self.do_simulation(action, self.frame_skip)
        obs = self._obs()
        missed = np.array([obs[0], obs[1], obs[5]]) - self.command
        reward = float(np.exp(-missed @ missed) - 0.1 * np.sum((action - self.last_action) ** 2))
        self.last_action = np.array(action, dtype=float)
        return self._obs(), reward, bool(obs[8] > -0.3), False, {}

    def reset_model(self):
        self.set_state(self.init_qpos + 0.02 * self.np_random.normal(size=15), 0.1 * self.np_random.normal(size=14))
        self.command = self.np_random.uniform(-1, 1, size=3)
        self.last_action = np.zeros(8)
        return self._obs()


class Telling(Walker):
    task_quantities = {"command": "command_velocity", "last": "last_action"}  # noqa: RUF012

    def get_task_state(self):
        return {"command": self.command, "last": self.last_action}

    def set_task_state(self, state):
        self.command, self.last_action = state["command"], state["last"]


USUAL = {
    "base_lin_vel": "0:3",
    "base_ang_vel": "3:6",
    "projected_gravity": "6:9",
    "command_velocity": "9:12",
    "joint_pos": "12:20",
    "joint_vel": "20:28",
    "last_action": "28:36",
}


@pytest.fixture
def robot(tmp_path):
    def robot(kind=Telling, **changes):
        path = tmp_path / "walker.xml"
        path.write_text(walker(**changes))
        return kind(path)

    return robot


def derived(env, layout=USUAL, **kwargs):
    found = survey(env, observation=description({"observation": layout, **kwargs}))
    return derive(found, accepted(found), n_states=10)


def test_a_legged_robot_without_a_matrix_written(robot):
    """Left/right and front/back, exact with reward, command and last action."""
    derivation = derived(robot())
    spec = derivation.spec
    assert spec.group == parse_group("Z2xZ2")
    assert [check.verdict for check in derivation.checks] == ["exact", "exact"]
    assert spec.error < 1e-9
    assert spec.keeps_reward
    left_right = next(k for k, r in enumerate(spec.generators) if "base mirrors y" in r.meaning)
    signs = np.sign(np.abs(spec.obs_rep.generators[left_right]).sum(1))
    assert (signs == 1).all()


def test_a_foot_that_is_heavier_is_measured(robot):
    derivation = derived(robot(foot='density="1500"'))
    assert {check.verdict for check in derivation.checks} == {"approximate"}
    assert 1e-4 < derivation.spec.error < 0.2
    assert any("RH" in record.note for record in derivation.spec.generators)


@pytest.mark.parametrize(
    ("quantity", "wrong"),
    [("base_ang_vel", "base_lin_vel"), ("projected_gravity", "imu"), ("command_velocity", "3 scalars")],
)
def test_a_quantity_under_a_wrong_name_is_noticed(robot, quantity, wrong):
    """Negative control: polar for axial, the axes of a turned sensor, a command that nothing mirrors."""
    at = USUAL[quantity]
    layout = {key: value for key, value in USUAL.items() if key != quantity}
    if wrong == "3 scalars":
        start = int(at.split(":")[0])
        layout |= {f"c{i}": {"quantity": "scalar", "at": start + i} for i in range(3)}
    elif wrong == "imu":
        layout["g"] = {"quantity": "imu_gyro", "at": at, "site": "imu"}
    else:
        layout["w"] = {"quantity": wrong, "at": at}
    env = robot()
    found = survey(env, observation=description({"observation": layout}))
    with pytest.raises(ValueError, match=r"the simulator refuses .*points the wrong way"):
        derive(found, accepted(found), n_states=10)


def test_what_is_not_told_is_not_mirrored(robot):
    """A command that cannot be set: the mirror does not keep the reward, and nothing is called exact."""
    found = survey(robot(Walker), observation=description({"observation": USUAL}))
    assert not any(finding.keeps_reward for finding in found.findings if "mirrors" in finding.element.meaning)


def test_a_derived_specification_passes_through_wrappers(robot):
    spec = derived(robot()).spec
    (first, _) = check_robot(spec, gymnasium.wrappers.TransformReward(robot(), lambda r: 2 * r), n_states=5)
    assert first.verdict == "exact"
    with pytest.raises(ValueError, match="expected observations in a Box of one dimension"):
        check_robot(spec, gymnasium.wrappers.FrameStackObservation(robot(), 1), n_states=5)


def matrices(robot_text, layout, **kwargs):
    """The maps of an observation by the meaning of the symmetries."""
    robot = Robot(mujoco.MjModel.from_xml_string(robot_text))
    parts = description({"observation": layout, **kwargs}).observation_parts(robot)
    return {
        e.meaning.split(";")[1].strip(): parts.matrix(e) for e in find_symmetries(robot) if parts.is_closed_under(e)
    }


def test_joints_are_read_in_any_order():
    isaac = [f"{leg}_{joint}" for joint in ("HAA", "HFE") for leg in LEGS]
    mirror = matrices(walker(), {"joint_pos": {"at": "0:8", "joints": isaac}})["base mirrors y"]
    # Abduction joints, about x, change sign and side; the others only side.
    np.testing.assert_array_equal(mirror @ np.arange(1, 9), [-2, -1, -4, -3, 6, 5, 8, 7])
    front_back = matrices(walker(), {"joint_pos": {"at": "0:8", "joints": isaac}})["base mirrors x"]
    np.testing.assert_array_equal(front_back @ np.arange(1, 9), [3, 4, 1, 2, -7, -8, -5, -6])


def test_grids_histories_and_sensors():
    scan = {"height_scan": {"at": "0:6", "x": [-0.1, 0.1], "y": {"from": -0.2, "to": 0.2, "n": 3}}}
    mirror = matrices(walker(), scan)["base mirrors y"]
    np.testing.assert_array_equal(mirror @ np.arange(6), [2, 1, 0, 5, 4, 3])
    stack = matrices(walker(), {"base_ang_vel": "0:3"}, history=2)["base mirrors y"]
    np.testing.assert_array_equal(stack, np.diag([-1.0, 1, -1, -1, 1, -1]))
    # The sensor is turned by 90 degrees about the vertical: its x axis is the robot's y axis.
    imu = {
        "acc": {"quantity": "imu_acc", "at": "0:3", "site": "imu"},
        "gyro": {"quantity": "imu_gyro", "at": "3:6", "site": "imu"},
    }
    np.testing.assert_array_equal(matrices(walker(), imu)["base mirrors y"], np.diag([-1.0, 1, 1, 1, -1, -1]))
    feet = {"contact": {"at": "0:2", "bodies": ["LF_FOOT", "RF_FOOT"]}}
    np.testing.assert_array_equal(matrices(walker(), feet)["base mirrors y"], [[0.0, 1], [1, 0]])
    # Front and back cannot be exchanged if only the front feet are seen.
    assert "base mirrors x" not in matrices(walker(), feet)
    lopsided = {"height_scan": {"at": "0:2", "x": [0.0], "y": [-0.1, 0.2]}}
    assert "base mirrors y" not in matrices(walker(), lopsided)


def test_every_quantity_is_moved_by_the_identity():
    robot = Robot(mujoco.MjModel.from_xml_string(walker()))
    about = {"bodies": ["LF", "RF"], "site": "imu", "x": [0.0], "y": [0.1, -0.1]}
    assert tuple(QUANTITIES) == QUANTITY_NAMES
    for name, quantity in QUANTITIES.items():
        options = {key: about[key] for key in (*quantity.needs, *quantity.takes[:1]) if key in about}
        slot = description({"observation": {"q": {"quantity": name, "at": "0:400", **options}}}).slots[0]
        size = len(quantity.names(robot, slot.options))
        matrix = quantity.matrix(identity(robot), slot.options)
        np.testing.assert_array_equal(matrix, np.eye(9 if quantity.is_rotation else size))


def test_files_are_read_with_ranges_as_they_are_written(tmp_path):
    """YAML takes 6:9 for the number 369, to base 60."""
    path = tmp_path / "layout.yaml"
    path.write_text(
        "observation:\n  base_lin_vel: 0:3\n  base_ang_vel: [3, 4, 5]\n  projected_gravity: 6:9\n  scalar: 9\n"
    )
    assert [slot.indices for slot in read_description(path).slots] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)]


GRID_OF_ALL_MEMORY = {"at": "0:6", "x": {"from": 0, "to": 1, "n": 10**12}, "y": [0.0]}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "with the key 'observation'"),
        ({"observation": {"base_linvel": "0:3"}}, "unknown quantity 'base_linvel', did you mean base_lin_vel"),
        ({"observation": {"scalar": "zero"}}, "scalar: expected numbers such as 0:3"),
        ({"observation": {"scalar": "0:999999999"}}, r"all below 100000, got range\(0, 999999999\)"),
        ({"observation": {"scalar": f"0:{10**30}"}}, "all below 100000, got '0:1000"),
        ({"observation": {"scalar": [5] * 10**6}}, r"all below 100000, got \[5, 5, 5, 5, 5, 5, ...\]"),
        ({"observation": {"height_scan": GRID_OF_ALL_MEMORY}}, "height_scan: expected numbers for x"),
        ({"observation": {"scalar": 0}, "history": 10**9}, "history: expected a positive number"),
        ({"observation": {"base_lin_vel": "0:3", "scalar": 4}}, r"no quantity has the numbers \[3\]"),
        ({"observation": {"base_lin_vel": "0:3", "scalar": 2}}, "number 2 is in base_lin_vel and in scalar"),
        ({"observation": {"contact": "0:2"}}, "contact: expected the names of bodies or geoms"),
        ({"observation": {"imu_acc": "0:3"}}, "imu_acc: expected site, got no site"),
        ({"observation": {"scalar": {"at": 0, "joints": []}}}, "unknown option of scalar: 'joints'"),
        ({"observation": {"scalar": 0}, "history": 0}, "history: expected a positive number"),
        ({"observation": {"scalar": 0}, "actions": 0}, "unknown key: 'actions'; known are observation, action"),
    ],
)
def test_mistakes_end_in_one_line(layout, message):
    with pytest.raises(ValueError, match=message):
        description(layout)


def test_mistakes_about_the_robot_end_in_one_line(robot):
    env = robot()
    for layout, message in (
        ({**USUAL, "joint_pos": {"at": "12:20", "joints": ["LF_HAA", "knee"]}}, "no joint 'knee'; there are LF_HAA"),
        ({"joint_pos": "0:36"}, r"joint_pos: expected 8 numbers \(joint position: LF_HAA.*got 36"),
        ({"base_lin_vel": "0:3"}, "3 numbers of the observation are described, it has"),
    ):
        with pytest.raises(ValueError, match=message):
            survey(env, observation=description({"observation": layout}))
