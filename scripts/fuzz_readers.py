"""Give every reader but that of agents (see fuzz_agents.py) damaged and malicious files: it must refuse in one line.

    python scripts/fuzz_readers.py --cases 20000

Readers of replay buffers, pickles of Stable-Baselines3, npz archives, models, specifications, settings and the folders
of runs are taken in turns. Files are changed as bytes, and as the values that they hold, with a checksum made anew, so
that what lies behind it is reached. While a file is read an audit hook watches every attempt to write, to import and to
start a process, and memory is limited to 1 GiB beyond what the process has. A case fails if the reader raises anything
but a ValueError or an OSError, takes longer than 10 s, or does anything but read.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import pickle
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fuzz_agents import Watch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

import envs_reps
from rpp_rl.dynamics.model import TransitionModel
from rpp_rl.dynamics.model_file import read_model, save_model
from rpp_rl.dynamics.readers import read_episodes
from rpp_rl.envs.spec_file import read_spec, write_spec
from rpp_rl.io import array_file, tensor_file
from rpp_rl.io.replay_file import replay_arrays, write_replay
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.runs.checkpoint import read_checkpoint, save_checkpoint
from rpp_rl.runs.environments import make_vec_env
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import load_yaml

MEMORY = 2**30
SECONDS = 10.0
LONGEST_LINE = 2000

NASTY: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, -0.5, 1e308, "", "x", "../../victim", "\x1b[2J", "a" * 10_000, [], {},
    [[]], [1, 2], {"a": 1}, ["F64"], "os:system", {"__class__": "x"}, [0] * 1000,
]  # fmt: skip
OPCODES = [
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nndarray\n", b"R", b"b", b"\x81", b"(", b"t", b"u", b"e", b"h\x00",
    b"r\xff\xff\xff\xff", b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"]" * 5000, b"}",
    b"2", b"P",
]  # fmt: skip


@dataclass
class Reader:
    """A reader with files that it reads.

    Attributes:
        name: Name of the file, whose end says what it is.
        seeds: Contents of good files.
        read: Reads the file of this path.
        change: Changes the values in a file and keeps it well-formed; absent where there is no such thing.
    """

    name: str
    seeds: list[bytes]
    read: Callable[[Path], object]
    change: Callable[[bytes, np.random.Generator], bytes] | None = None


def changed_bytes(data: bytes, rng: np.random.Generator, extra: list[bytes] = OPCODES) -> bytes:
    """The file with some bytes changed, moved, taken away or put in."""
    broken = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(broken) + 1))
        n = int(rng.integers(1, 9))
        kind = rng.integers(6)
        if kind == 0 and at < len(broken):
            broken[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            broken[at : at + n] = rng.bytes(n)
        elif kind == 2:
            del broken[at : at + n]
        elif kind == 3:
            broken[at:at] = broken[: int(rng.integers(len(broken) + 1))]
        elif kind == 4:
            broken[at:at] = extra[int(rng.integers(len(extra)))]
        else:
            del broken[at:]
    return bytes(broken)


def changed_value(tree: Any, rng: np.random.Generator) -> Any:  # noqa: ANN401
    """The tree with one value, at any depth, replaced by another one, doubled, or taken away."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    holder, key = places[int(rng.integers(len(places)))]
    kind = rng.integers(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * int(rng.integers(-3, 1000)) + int(rng.integers(-2, 3))
    elif kind == 2 and isinstance(holder[key], list):
        holder[key] = holder[key] * int(rng.integers(2, 50))
    else:
        holder[key] = NASTY[int(rng.integers(len(NASTY)))]
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list) and tree[key]:
            yield from _places(tree[key])


def changed_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file with another value in its header, and a checksum that is right for it."""
    n_bytes = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + n_bytes]), data[8 + n_bytes :]
    document = json.loads(header["__metadata__"][tensor_file.KEY])
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if rng.integers(2):
        document = changed_value(document, rng)
    else:
        entries = changed_value(entries, rng)
    if rng.integers(4) == 0 and numbers:
        numbers = changed_bytes(numbers, rng)
    document.pop("sha256", None)
    try:
        digest = array_file._digest_of(document, entries, np.frombuffer(numbers, np.uint8))
        text = tensor_file.canonical({**document, "sha256": digest})
    except (TypeError, ValueError):
        text = json.dumps({**document, "sha256": ""})
    made = json.dumps({"__metadata__": {tensor_file.KEY: text}, **entries}).encode()
    return len(made).to_bytes(8, "little") + made + numbers


def changed_yaml(data: bytes, rng: np.random.Generator) -> bytes:
    """A YAML file with another value, or one of the shapes that take a reader's memory or stack."""
    kind = rng.integers(8)
    if kind == 0:
        return b"a: " + b"[" * int(rng.integers(10, 5000))
    if kind == 1:
        lines = ["l0: &l0 [x, x]", *(f"l{k}: &l{k} [*l{k - 1}, *l{k - 1}]" for k in range(1, 40))]
        return data + b"\n" + "\n".join(lines).encode()
    if kind == 2:
        return data + b"\nx: !!python/object/apply:os.system ['true']\n"
    return yaml.safe_dump(changed_value(yaml.safe_load(data), rng)).encode()


def changed_npz(data: bytes, rng: np.random.Generator) -> bytes:
    """An archive with an array of another type or shape."""
    with np.load(io.BytesIO(data)) as archive:
        arrays: dict[str, Any] = dict(archive)
    name = sorted(arrays)[int(rng.integers(len(arrays)))]
    array = arrays[name]
    changes: list[Callable[[], Any]] = [
        lambda: array.astype(complex) if array.dtype.kind != "U" else array,
        lambda: array.astype(str),
        lambda: array.astype(object),
        lambda: np.array(3),
        lambda: np.zeros(int(rng.integers(1000)), [("a", "f4")]),
        lambda: np.zeros((0, 0, 0)),
        lambda: np.full(array.shape, -1),
        lambda: np.zeros((3, int(rng.integers(5000)), 100)),
    ]
    arrays[name] = changes[int(rng.integers(len(changes)))]()
    if rng.integers(5) == 0:
        del arrays[name]
    made = io.BytesIO()
    (np.savez_compressed if rng.integers(2) else np.savez)(made, **arrays)
    return made.getvalue()


def make_readers(folder: Path) -> list[Reader]:
    """All readers with good files, and a tiny run in the folder."""
    box = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    buffer = ReplayBuffer(20, box, spaces.Box(-2, 2, (1,)), device="cpu")
    rng = np.random.default_rng(0)
    for step in range(15):
        obs = rng.normal(size=(2, 1, 3))
        buffer.add(obs[0], obs[1], np.zeros((1, 1)), np.zeros(1), np.array([step == 7]), [{}])
    write_replay(folder / "a.safetensors", replay_arrays(buffer, "Toy-v0"), {}, {})
    arrays = io.BytesIO()
    np.savez(arrays, states=np.zeros((8, 3)), actions=np.zeros((6, 1)), lengths=np.array([2, 4]), env_id=np.array("T"))
    spec = envs_reps.load("Hopper-v5")
    write_spec(folder / "spec.yaml", spec)
    save_model(TransitionModel(spec, widths=(8,)), folder / "model.safetensors")
    settings = yaml.safe_dump(SACConfig("Hopper-v5").to_dict()).encode()
    run = _make_run(folder)
    return [
        Reader("b.safetensors", [(folder / "a.safetensors").read_bytes()], read_episodes, changed_header),
        Reader("b.pkl", [pickle.dumps(buffer, protocol=protocol) for protocol in (3, 4, 5)], read_episodes),
        Reader("b.npz", [arrays.getvalue()], read_episodes, changed_npz),
        Reader("m.safetensors", [(folder / "model.safetensors").read_bytes()], read_model, changed_header),
        Reader("spec.yaml", [(folder / "spec.yaml").read_bytes()], read_spec, changed_yaml),
        Reader("conf.yaml", [settings], lambda path: sac_config(load_yaml(path)), changed_yaml),
        *(
            Reader(f"run/{name.relative_to(run)}", [name.read_bytes()], _read_run, change)
            for name, change in (
                (run / "replay_buffer.safetensors", changed_header),
                (run / "evaluations.npz", changed_npz),
                (run / "Pendulum-v1" / "config.yml", changed_yaml),
            )
        ),
    ]


def _make_run(folder: Path) -> Path:
    run = RunFolder.create(folder / "in", "Pendulum-v1")
    with closing(make_vec_env("Pendulum-v1", {}, n_envs=1, seed=0, monitor_folder=run.path)) as envs:
        agent = RPPSAC("RPPPolicy", envs, policy_kwargs={"mode": "mlp", "net_arch": [4]}, buffer_size=50)
        agent.learn(20)
        run.write_settings(SACConfig("Pendulum-v1"), "train-sac", 0)
        run.save_evaluations(np.array([10, 20]), np.zeros((2, 1)), np.ones((2, 1), int))
        save_checkpoint(run, agent, keep_buffer=True)
    return run.path.rename(folder / "in" / "run")


def _read_run(path: Path) -> object:
    root = next(parent for parent in path.parents if parent.name == "run")
    return read_checkpoint(RunFolder.open(root))


def judge(reader: Reader, path: Path, watch: Watch) -> str:
    """Read one file; ``"refused"`` or ``"read"`` if that is right, else what is wrong."""
    started, outcome = time.process_time(), "read"
    modules = set(sys.modules)
    with watch.watching() as events:
        try:
            reader.read(path)
        except (ValueError, OSError) as error:
            outcome = "refused" if len(str(error)) < LONGEST_LINE else f"LONG LINE {str(error)[:200]}"
        except Exception as error:
            outcome = f"CRASH {type(error).__name__}: {str(error)[:200]}"
    if events:
        outcome = f"SIDE EFFECT {events[0]}"
    foreign = {name.partition(".")[0] for name in set(sys.modules) - modules} - {
        "rpp_rl",
        "envs_reps",
        "numpy",
        "torch",
    }
    if foreign - set(sys.stdlib_module_names) - {"scipy", "sympy", "yaml"}:
        outcome = f"IMPORTED {sorted(foreign)}"
    if time.process_time() - started > SECONDS:
        outcome = f"SLOW {time.process_time() - started:.0f} s"
    return outcome


def fuzz(n_cases: int, seed: int, keep: Path | None = None) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Judge so many random files, the readers taking turns; how often what happened, and what went wrong."""
    rng = np.random.default_rng(seed)
    watch = Watch()
    sys.addaudithook(watch.hook)
    counts: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        readers = make_readers(folder)
        for reader in readers:  # what is imported late is imported now
            path = folder / "in" / reader.name
            path.write_bytes(reader.seeds[0])
            reader.read(path)
        for k in range(n_cases):
            reader = readers[k % len(readers)]
            path = folder / "in" / reader.name
            data = good = reader.seeds[int(rng.integers(len(reader.seeds)))]
            if reader.change is not None and rng.integers(3):
                data = reader.change(data, rng)
            else:
                data = changed_bytes(data, rng)
            path.write_bytes(data)
            outcome = judge(reader, path, watch)
            counts[reader.name, outcome if outcome in ("refused", "read") else "WRONG"] += 1
            if outcome not in ("refused", "read"):
                wrong.append(f"case {k}, {reader.name}: {outcome}")
                if keep is not None:
                    shutil.copy(path, keep / f"case_{seed}_{k}_{path.name}")
            path.write_bytes(good)
    return counts, wrong


def main() -> int:
    """Read the flags, fuzz, print a table, and return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that were not treated well")
    args = parser.parse_args()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    counts, wrong = fuzz(args.cases, args.seed, args.keep)
    for kind in sorted({kind for kind, _ in counts}):
        refused, read, bad = (counts[kind, outcome] for outcome in ("refused", "read", "WRONG"))
        print(f"{kind:36} refused {refused:6}  read {read:6}  wrong {bad:6}")
    print(f"{args.cases} cases, {len(wrong)} wrong")
    print("\n".join(wrong[:50]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
