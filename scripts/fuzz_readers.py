"""The readers that ``fuzz.py`` gives its files to, each with good files and ways to spoil them."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

import envs_reps
from rpp_rl.agents import AgentError, load_agent
from rpp_rl.derive.describing import read_description
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.model_file import read_model, save_model
from rpp_rl.dynamics.readers import read_episodes
from rpp_rl.envs.spec_file import read_spec, write_spec
from rpp_rl.experiments.plan import read_plan
from rpp_rl.experiments.reading import read_run
from rpp_rl.io.replay_file import replay_arrays, write_replay
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.checkpoint import read_checkpoint, save_checkpoint
from rpp_rl.runs.environments import make_vec_env
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import load_yaml
from scripts.agent_forge import Case, Forge
from scripts.fuzz_changes import changed_bytes, changed_hdf5, changed_header, changed_npz, changed_value, changed_yaml

Change = Callable[[bytes, np.random.Generator], bytes]


@dataclass
class Reader:
    """A reader with a way to make files for it.

    Attributes:
        name: What it reads.
        good: A file that it has to read.
        case: Makes a file; its name is a path below the folder of the fuzzer.
        read: Reads the file of this path.
        errors: How it may refuse.
    """

    name: str
    good: Case
    case: Callable[[np.random.Generator], Case]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...] = (ValueError, OSError)


def of_files(
    name: str, where: str, good: Iterable[bytes], read: Callable[[Path], object], change: Change | None = None
) -> Reader:
    """A reader whose files are good ones with changes, most of them in their values if there is a way to do that."""
    files = list(good)

    def case(rng: np.random.Generator) -> Case:
        data = files[int(rng.integers(len(files)))]
        spoil = change if change is not None and rng.integers(3) else changed_bytes
        return Case(name, where, spoil(data, rng), may_load=True)

    return Reader(name, Case(name, where, files[0], may_load=True), case, read)


def make_readers(folder: Path) -> list[Reader]:
    """All readers, and the good files that they need in the folder."""
    seeds = folder / "good"
    seeds.mkdir()
    buffer = _buffer()
    write_replay(seeds / "buffer", replay_arrays(buffer, "Toy-v0"), {}, {})
    episodes = io.BytesIO()
    np.savez(episodes, states=np.zeros((8, 3)), actions=np.zeros((6, 1)), lengths=np.array([2, 4]), env_id="T")
    write_spec(seeds / "spec", envs_reps.load("Hopper-v5"))
    save_model(TransitionModel(envs_reps.load("Hopper-v5"), widths=(8,)), seeds / "model")
    settings = yaml.safe_dump(SACConfig("Hopper-v5").to_dict()).encode()
    plan = {
        "seeds": 2,
        "settings": {"n_timesteps": 100},
        "environments": ["Hopper-v5"],
        "variants": {"a": {"tau": 0.1}},
    }
    described = (Path(__file__).parents[1] / "examples" / "quadruped" / "layout.yaml").read_bytes()
    (folder / "files").mkdir()
    return [
        *_of_agents(folder),
        of_files("buffers", "files/b.safetensors", [(seeds / "buffer").read_bytes()], read_episodes, changed_header),
        of_files("pickled buffers", "files/b.pkl", (pickle.dumps(buffer, n) for n in (3, 4, 5)), read_episodes),
        of_files("npz", "files/b.npz", [episodes.getvalue()], read_episodes, changed_npz),
        of_files("models", "files/m.safetensors", [(seeds / "model").read_bytes()], read_model, changed_header),
        of_files("specifications", "files/spec.yaml", [(seeds / "spec").read_bytes()], read_spec, changed_yaml),
        of_files("settings", "files/conf.yaml", [settings], lambda path: sac_config(load_yaml(path)), changed_yaml),
        of_files("experiments", "files/plan.yaml", [yaml.safe_dump(plan).encode()], read_plan, changed_yaml),
        of_files("observations", "files/o.yaml", [described], read_description, changed_yaml),
        *_of_runs(folder),
        *_of_minari(folder),
    ]


def _buffer() -> ReplayBuffer:
    box = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    buffer = ReplayBuffer(20, box, spaces.Box(-2, 2, (1,)), device="cpu")
    rng = np.random.default_rng(0)
    for step in range(15):
        obs = rng.normal(size=(2, 1, 3))
        buffer.add(obs[0], obs[1], np.zeros((1, 1)), np.zeros(1), np.array([step == 7]), [{}])
    return buffer


def _of_agents(folder: Path) -> list[Reader]:
    """Files and archives; forged ones that must not load are as many as those with changes."""
    (folder / "forge").mkdir()
    forge = Forge(folder / "forge", np.random.default_rng(0))

    def case(rng: np.random.Generator) -> Case:
        forge.rng = rng
        made = forge.case()
        return Case(made.kind, f"files/agent{made.name}", made.data, made.may_load)

    good = Case("good", "files/agent.safetensors", forge.files[0], may_load=True)
    return [Reader("agents", good, case, _load_and_act, (AgentError,))] * 2


def _load_and_act(path: Path) -> None:
    agent = load_agent(path, device="cpu")
    agent.predict(np.zeros(agent.observation_space.shape, np.float32))


def _of_runs(folder: Path) -> list[Reader]:
    """Every file in the folder of a run, for those who resume it, load its agent, or compare it with others."""
    run = _make_run(folder)
    changes: list[tuple[Path, Change | None]] = [
        (run / "replay_buffer.safetensors", changed_header),
        (run / "evaluations.npz", changed_npz),
        (run / "Pendulum-v1" / "config.yml", changed_yaml),
        (run / "Pendulum-v1" / "versions.jsonl", None),
        (run / "0.monitor.csv", None),
        (run / "rl_model_20_steps.zip", None),
        *((path, None) for path in run.glob("events*")),
    ]

    def resumed(_: Path) -> None:
        opened = RunFolder.open(run)
        read_checkpoint(opened)
        opened.versions()

    readers = {
        "runs resumed": resumed,
        "runs compared": lambda _: read_run(run),
        "runs as agents": lambda _: _load_and_act(run),
    }
    return [_of_run(name, read, run, folder, changes) for name, read in readers.items()]


def _of_run(
    name: str, read: Callable[[Path], object], run: Path, folder: Path, changes: list[tuple[Path, Change | None]]
) -> Reader:
    files = [
        of_files(path.name.partition(".out")[0], str(path.relative_to(folder)), [path.read_bytes()], read, change)
        for path, change in changes
    ]
    return Reader(name, files[0].good, lambda rng: files[int(rng.integers(len(files)))].case(rng), read)


def _make_run(folder: Path) -> Path:
    run = RunFolder.create(folder / "runs", "Pendulum-v1")
    with closing(make_vec_env("Pendulum-v1", {}, n_envs=1, seed=0, monitor_folder=run.path)) as envs:
        agent = RPPSAC("RPPPolicy", envs, policy_kwargs={"mode": "mlp", "net_arch": [4]}, buffer_size=50)
        agent.set_logger(run.logger(None))
        agent.learn(20)
        agent.logger.record("rpp/x", 1.0)
        agent.logger.dump(20)
        agent.logger.close()
        run.write_settings(SACConfig("Pendulum-v1", seed=0), "train-sac", 0)
        run.save_evaluations(np.array([10, 20]), np.zeros((2, 1)), np.ones((2, 1), int))
        save_checkpoint(run, agent, keep_buffer=True)
    return run.path


def _of_minari(folder: Path) -> list[Reader]:
    """Data sets of Minari, if that is installed."""
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError:
        return []
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    episode = EpisodeBuffer(
        observations=list(np.zeros((4, 3), np.float32)), actions=list(np.zeros((3, 1), np.float32)),
        rewards=[0.0] * 3, terminations=[False] * 3, truncations=[False, False, True],
    )  # fmt: skip
    box, actions = spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-2, 2, (1,), np.float32)
    with warnings.catch_warnings():  # it misses the author, the code, ...
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "toy/x-v0", [episode], env="Pendulum-v1", observation_space=box, action_space=actions
        )

    def read(_: Path) -> object:
        return read_episodes("minari:toy/x-v0")

    data = folder / "toy" / "x-v0" / "data"
    return [
        of_files(f"Minari: {name}", f"toy/x-v0/data/{name}", [(data / name).read_bytes()], read, change)
        for name, change in (("main_data.hdf5", changed_hdf5), ("metadata.json", _changed_json))
    ]


def _changed_json(data: bytes, rng: np.random.Generator) -> bytes:
    return json.dumps(changed_value(json.loads(data), rng)).encode()
