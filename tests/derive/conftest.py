"""Robots of our own as MJCF, an independent test of a symmetry by stepping, and the way from a text to a survey."""

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rpp_rl.derive import BareModel, survey
from rpp_rl.envs import from_rep, to_rep

MIRROR = np.diag([1.0, -1.0, 1.0])


@pytest.fixture
def surveyed(tmp_path):
    """Surveys the robot in an MJCF text."""

    def surveyed(text, **kwargs):
        path = tmp_path / "robot.xml"
        path.write_text(text, encoding="utf-8")
        return survey(BareModel(path), **kwargs)

    return surveyed


@pytest.fixture
def step_error():
    """The error of a generator over some steps of plain MuJoCo, relative to the change; no code of the check."""

    def step_error(robot, spec, k, *, n_states=10, n_steps=30, seed=0):
        model, skip = robot.robot.model, robot.simulator.n_skipped
        rng = np.random.default_rng(seed)
        rho, action_rho = spec.obs_rep.generators[k], spec.action_rep.generators[k]
        error = change = 0.0
        for _ in range(n_states):
            data = mujoco.MjData(model)
            mujoco.mj_resetData(model, data)
            qpos = data.qpos + rng.normal(scale=0.2, size=model.nq)
            qpos[:skip] = 0.0
            velocity = rng.normal(size=model.nv)
            actions = rng.uniform(-1, 1, size=(n_steps, model.nu)) * model.actuator_ctrlrange[:, 1]
            start = to_rep(spec.observation, np.concatenate([qpos[skip:], velocity]))
            ends = []
            for x, controls in ((start, actions), (rho @ start, actions @ action_rho.T)):
                mujoco.mj_resetData(model, data)
                state = from_rep(spec.observation, x)
                data.qpos[:skip], data.qpos[skip:], data.qvel[:] = (
                    0.0,
                    state[: model.nq - skip],
                    state[model.nq - skip :],
                )
                for control in controls:
                    data.ctrl[:] = control
                    mujoco.mj_step(model, data)
                ends.append(to_rep(spec.observation, np.concatenate([data.qpos[skip:], data.qvel])))
            error += ((rho @ ends[0] - ends[1]) ** 2).sum()
            change += ((ends[0] - start) ** 2).sum()
        return float(np.sqrt(error / change))

    return step_error


class Body:
    """A body of an MJCF that is being written, placed in the world; its own axes are turned at random."""

    def __init__(self, name, origin, rng, parent=None):
        self.name, self.origin, self.content = name, origin, []
        self.frame = Rotation.random(random_state=rng).as_matrix()
        outer, place = (np.eye(3), np.zeros(3)) if parent is None else (parent.frame, parent.origin)
        x, y, z, w = Rotation.from_matrix(outer.T @ self.frame).as_quat()
        self.head = f'<body name="{name}" pos="{text(outer.T @ (origin - place))}" quat="{text((w, x, y, z))}">'
        if parent is not None:
            parent.content.append(self)

    def point(self, where):
        return text(self.frame.T @ (where - self.origin))

    def direction(self, vector):
        return text(self.frame.T @ vector)

    def __str__(self):
        return "\n".join([self.head, *map(str, self.content), "</body>"])


def text(numbers):
    return " ".join(f"{number:.17g}" for number in numbers)


@pytest.fixture
def biped():
    """Writes a biped with ball hips and hinge knees in odd frames; ``change`` spoils the left side."""

    def biped(seed=0, *, knee_axis=(0.0, 1.0, 0.0), knee_gear=20.0, foot=0.05):
        rng = np.random.default_rng(seed)
        torso = Body("torso", np.array([0.0, 0.0, 1.0]), rng)
        torso.content.append("<freejoint/>")
        ends = [torso.point(np.array([0.02, y, 1.1])) for y in (-0.12, 0.12)]
        torso.content.append(f'<geom type="capsule" size=".07" fromto="{" ".join(ends)}"/>')
        motors = []
        torques = [Rotation.random(random_state=rng).as_matrix()[0] for _ in range(3)]
        for side, m in (("right", np.eye(3)), ("left", MIRROR)):
            hip, knee, ankle = (m @ np.array(p) for p in ((0, -0.12, 0.95), (0.05, -0.15, 0.5), (0, -0.13, 0.1)))
            thigh = Body(f"{side} thigh", hip + rng.normal(scale=0.03, size=3), rng, torso)
            thigh.content.append(f'<joint name="{side} hip" type="ball" pos="{thigh.point(hip)}" damping="1"/>')
            thigh.content.append(f'<geom type="capsule" size=".05" fromto="{thigh.point(hip)} {thigh.point(knee)}"/>')
            shin = Body(f"{side} shin", knee + rng.normal(scale=0.03, size=3), rng, thigh)
            is_left = side == "left"
            # An axis is axial: the mirror image of y is y itself.
            axis = np.array(knee_axis if is_left else (0.0, 1.0, 0.0))
            shin.content.append(
                f'<joint name="{side} knee" pos="{shin.point(knee)}" axis="{shin.direction(axis)}" range="-1 2" '
                f'limited="true" damping=".5"/>'
            )
            shin.content.append(f'<geom type="capsule" size=".04" fromto="{shin.point(knee)} {shin.point(ankle)}"/>')
            size = foot if is_left else 0.05
            shin.content.append(f'<geom name="{side} foot" type="sphere" size="{size}" pos="{shin.point(ankle)}"/>')
            for i, torque in enumerate(torques):
                # A torque is an axial vector; every second motor of the left side is mounted the other way round.
                turn = np.linalg.det(m) * m * (-1 if is_left and i % 2 else 1)
                gear = thigh.direction(turn @ torque * 15)
                motors.append(f'<motor name="{side} hip {i}" joint="{side} hip" gear="{gear} 0 0 0"/>')
            gear = knee_gear if is_left else 20.0
            motors.append(f'<motor name="{side} knee" joint="{side} knee" gear="{gear}"/>')
        return f"""<mujoco>
  <compiler angle="radian"/>
  <option timestep=".002" cone="elliptic"/>
  <worldbody><geom type="plane" size="5 5 1"/>{torso}</worldbody>
  <actuator>{"".join(motors)}</actuator>
</mujoco>"""

    return biped
