"""From a user's own MuJoCo model to a training: derive-spec, the file it writes, and the commands that read it."""

import json

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box

from rpp_rl.cli.check_spec import main as check_spec
from rpp_rl.cli.derive_spec import main as derive_spec
from rpp_rl.cli.train_sac import main as train_sac
from rpp_rl.envs.spec_file import read_spec, write_spec
from rpp_rl.runs.checkpoint import load_agent
from rpp_rl.settings import load_yaml

pytestmark = pytest.mark.mujoco

HOPPING_BENCH = """
<mujoco model="bench">
  <option timestep="0.005"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <body name="seat" pos="0 0 .5">
      <freejoint/>
      <geom type="box" size=".3 .1 .03" mass="2"/>
      <body name="left leg" pos="0 .1 0">
        <joint name="hüfte: links" axis="0 1 0" range="-40 70" limited="true" damping=".5"/>
        <geom type="capsule" fromto="0 0 0 0 .05 -.4" size=".03" mass=".5"/>
      </body>
      <body name="right leg" pos="0 -.1 0">
        <joint name="no" axis="0 -1 0" range="-70 40" limited="true" damping=".5"/>
        <geom type="capsule" fromto="0 0 0 0 -.05 -.4" size=".03" mass=".5"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="1e3" joint="hüfte: links" gear="8" ctrllimited="true" ctrlrange="-1 1"/>
    <motor name="[x, y]" joint="no" gear="8" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""


class Bench(MujocoEnv):
    """A user's environment: run forward; the observation leaves out x and y."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, path, extra=0, dtype="float64", wiring=(1, 1), **kwargs):
        self.extra, self.dtype, self.wiring = extra, dtype, wiring
        super().__init__(str(path), 4, Box(-np.inf, np.inf, (15 + extra,), np.dtype(dtype).type), **kwargs)

    def step(self, action):
        before = self.data.qpos[0]
        self.do_simulation(action * self.wiring, self.frame_skip)
        return self._obs(), float(self.data.qpos[0] - before) / self.dt, bool(self.data.qpos[2] < 0.1), False, {}

    def reset_model(self):
        self.set_state(self.init_qpos + self.np_random.normal(scale=0.02, size=9), self.init_qvel)
        return self._obs()

    def _obs(self):
        parts = [self.data.qpos[2:], self.data.qvel, np.full(self.extra, self.data.time)]
        return np.concatenate(parts).astype(self.dtype)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "bench.xml"
    path.write_text(HOPPING_BENCH, encoding="utf-8")
    return path


@pytest.fixture
def env_id(model):
    gymnasium.register("Bench-v0", Bench, max_episode_steps=50, kwargs={"path": model})
    yield "Bench-v0"
    gymnasium.registry.pop("Bench-v0")


def test_from_the_model_to_a_trained_agent(env_id, model, tmp_path, capsys):
    """The whole way: derive in the user's environment, check, train with the derived symmetry."""
    path = tmp_path / "bench.yaml"
    assert derive_spec(["--env", env_id, "-o", str(path), "--states", "20"]) == 0
    out = capsys.readouterr().out
    assert "left leg ↔ right leg" in out
    assert f"written to {path}" in out
    spec = read_spec(path)
    assert (spec.env_id, spec.variant, spec.group.order) == (env_id, "Z2", 2)
    np.testing.assert_array_equal(spec.action_rep.generators[0], [[0, -1], [-1, 0]])
    assert spec.generators[0].keeps_reward
    assert spec.generators[0].error_1_step < 1e-12

    assert check_spec(["--spec", str(path), "--states", "5", "--json"]) == 0
    assert [check["verdict"] for check in json.loads(capsys.readouterr().out)] == ["exact"]

    flags = ["--env", env_id, "--spec", str(path), "--rpp", "-n", "80", "-f", str(tmp_path / "logs"), "--seed", "0"]
    flags += ["--eval-freq", "80", "--eval-episodes", "1", "-tb", "off"]
    assert (
        train_sac([*flags, "-params", "learning_starts:20", "net_arch:[8,8]", "buffer_size:100", "batch_size:8"]) == 0
    )
    folder = tmp_path / "logs" / "rpp_sac" / f"{env_id}_1"
    agent = load_agent(folder / f"{env_id}.zip", "cpu")
    assert agent.policy.symmetry == spec
    recorded = load_yaml(folder / env_id / "config.yml")
    assert (recorded["spec"], recorded["group"]) == (str(path), "Z2")


def test_observations_in_single_precision_are_known_again(env_id, capsys):
    assert derive_spec(["--env", env_id, "--env-kwargs", "dtype:float32", "--json"]) == 0
    assert any(element["exact"] and element["keeps_reward"] for element in json.loads(capsys.readouterr().out))


def test_an_environment_that_turns_an_action_round_is_found_out(env_id, tmp_path, refused):
    """Negative control: the model is symmetric, but what the environment does with the actions is not."""
    path = tmp_path / "bench.yaml"
    crossed = ["--env", env_id, "--env-kwargs", "wiring:[1,-1]", "-o", path]
    assert "found no symmetry that is exact enough" in refused(derive_spec, *crossed)
    line = refused(derive_spec, *crossed, "--elements", "e1", "--states", "20")
    assert "the simulator refuses Bench-v0/Z2: under f the prediction for response to action" in line
    assert not path.exists()


def test_a_refuted_specification_is_trained_with_only_by_force(env_id, tmp_path, refused, capsys):
    """The same specification for an environment that turns an action round."""
    path = tmp_path / "bench.yaml"
    assert derive_spec(["--env", env_id, "-o", str(path), "--states", "10"]) == 0
    flags = ["--env", env_id, "--env-kwargs", "wiring:[1,-1]", "--spec", str(path), "--rpp", "-n", "10", "-tb", "off"]
    flags += [
        "-f",
        str(tmp_path / "logs"),
        "--eval-freq",
        "10",
        "--eval-episodes",
        "1",
        "-params",
        "net_arch:[8,8]",
        "buffer_size:99",
    ]
    line = refused(train_sac, *flags)
    assert "the simulator refutes the symmetry f: the prediction for response to action" in line
    assert "--force-spec" in line
    assert not list((tmp_path / "logs").rglob("*.zip"))
    assert train_sac([*flags, "--force-spec"]) == 0


def test_the_bare_model_gives_the_same_maps_without_a_task(env_id, model, tmp_path, capsys):
    path, other = tmp_path / "bare.yaml", tmp_path / "task.yaml"
    assert derive_spec(["--mjcf", str(model), "--states", "10", "--json"]) == 0
    elements = json.loads(capsys.readouterr().out)
    mirror = next(e for e in elements if e["meaning"].startswith("the world mirrors y; seat mirrors y"))
    assert (mirror["exact"], mirror["keeps_reward"], mirror["violations"]) == (True, None, [])
    assert mirror["bodies"] == {"left leg": "right leg", "right leg": "left leg"}
    assert derive_spec(["--mjcf", str(model), "-o", str(path), "--elements", mirror["element"], "--states", "10"]) == 0
    assert derive_spec(["--env", env_id, "-o", str(other), "--states", "10"]) == 0
    assert "note: reward and termination were not tested: a model has none" in capsys.readouterr().out
    bare, task = read_spec(path), read_spec(other)
    assert bare.env_id == "bench.xml"
    assert (bare.observation, bare.action) == (task.observation, task.action)
    assert (bare.generators[0].keeps_reward, bare.generators[0].reward_max) == (False, None)
    assert "reward and termination were not tested" in bare.generators[0].note


def test_every_element_of_the_bare_model_is_a_symmetry_of_the_dynamics(model, capsys):
    assert derive_spec(["--mjcf", str(model), "--json"]) == 0
    elements = json.loads(capsys.readouterr().out)
    exact = [e for e in elements if e["exact"]]
    assert all(e["error_1_step"] < 1e-12 for e in exact)
    assert {e["verdict"] for e in elements} <= {"exact", "approximate", "weak", "unusable"}
    assert any(not e["exact"] and e["violations"] for e in elements)


def test_no_file_is_written_when_there_is_no_symmetry(model, tmp_path, refused):
    lopsided = HOPPING_BENCH.replace('"-70 40"', '"-10 80"').replace('gear="8" ctrllimited', 'gear="2" ctrllimited', 1)
    model.write_text(lopsided.replace('mass=".5"', 'mass="3"', 1), encoding="utf-8")
    path = tmp_path / "bench.yaml"
    line = refused(derive_spec, "--mjcf", model, "--accept", "exact", "--elements", "e77", "-o", path)
    assert "unknown element 'e77'" in line
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<mujoco", "XML"),
        ("<mujoco><worldbody/></mujoco>", "expected a robot with joints and actuators, got 0 joints and 0 controls"),
    ],
)
def test_what_is_no_robot_is_refused(model, refused, text, message):
    model.write_text(text)
    assert message in refused(derive_spec, "--mjcf", model)


def test_missing_files_and_unknown_environments_are_refused(tmp_path, refused):
    assert "no file" in refused(derive_spec, "--mjcf", tmp_path / "nothing.xml")
    assert "unknown environment 'Benhc-v0'" in refused(derive_spec, "--env", "Benhc-v0")
    assert "expected an environment on gymnasium's MujocoEnv" in refused(derive_spec, "--env", "Pendulum-v1")
    assert "nothing.yaml" in refused(train_sac, "--env", "Ant-v5", "--rpp", "--spec", tmp_path / "nothing.yaml")
    assert "nothing.yaml" in refused(check_spec, "--env", "Ant-v5", "--spec", tmp_path / "nothing.yaml")


def test_an_observation_that_cannot_be_derived_is_refused_by_its_numbers(env_id, refused):
    line = refused(derive_spec, "--env", env_id, "--env-kwargs", "extra:2")
    assert "the numbers of the observation from 15 on are none of qpos, qvel, cinert" in line


def test_a_specification_that_does_not_fit_is_refused(model, tmp_path, refused):
    path = tmp_path / "bench.yaml"
    assert derive_spec(["--mjcf", str(model), "-o", str(path), "--elements", "e1", "--states", "5"]) == 0
    line = refused(train_sac, "--env", "Ant-v5", "--rpp", "--spec", path, "-f", tmp_path / "logs")
    assert "does not fit the observation space: expected 15 numbers" in line
    line = refused(train_sac, "--env", "Ant-v5", "--rpp", "--spec", path, "--group", "D4", "-f", tmp_path / "logs")
    assert "is for the group Z2, so --group D4 cannot be given" in line
    assert "--group chooses among" in refused(check_spec, "--env", "Ant-v5", "--spec", path, "--group", "Z2")
    assert "expected --env ID" in refused(check_spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: 1\nenv_id: x", "damaged environment specification: KeyError: 'group'"),
        ("[1, 2]", "expected an environment specification in format 1, got 'list'"),
        ("a: [", "cannot read YAML"),
        ("a: !!python/object:os.system x", "cannot read YAML"),
        ("", "expected an environment specification in format 1, got 'NoneType'"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, refused, text, message):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    assert message in refused(train_sac, "--env", "Ant-v5", "--rpp", "--spec", path, "-f", tmp_path / "logs")
    path.write_bytes(b"\xff\xfe\x00")
    assert "expected a specification in YAML" in refused(check_spec, "--spec", path)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(model, tmp_path, monkeypatch):
    path = tmp_path / "bench.yaml"
    assert derive_spec(["--mjcf", str(model), "-o", str(path), "--elements", "e1", "--states", "5"]) == 0
    before = path.read_text()
    spec = read_spec(path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_spec(path, spec)
    assert path.read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bench.xml", "bench.yaml"]


def test_odd_names_survive_the_file(model, tmp_path):
    path = tmp_path / "bench.yaml"
    assert derive_spec(["--mjcf", str(model), "-o", str(path), "--elements", "e1", "--states", "5"]) == 0
    names = " ".join(
        block["name"] for key in ("observation", "action") for block in yaml.safe_load(path.read_text())[key]
    )
    for name in ("hüfte: links", "no", "1e3", "[x, y]"):
        assert name in names


def test_the_table_explains_what_breaks_a_symmetry(capsys):
    assert derive_spec(["--env", "Walker2d-v4"]) == 0
    out = capsys.readouterr().out
    assert "e1 broken by: foot_geom friction 0.9, foot_left_geom 1.9" in out
    assert out.splitlines()[2].split()[0] == "element"
