"""Everything that has to be seen on a GPU, in at most nine minutes and with what must be correct first.

    python scripts/gpu_day.py -o gpu_day                              # gpu_day.json and gpu_day.md
    python scripts/gpu_day.py -o gpu_day --short --device cpu          # the same in small, to see that it runs

The tests of the GPU, captured updates against plain ones, what updates and whole trainings cost beside
Stable-Baselines3 on the same card, ten agents in one process, and the training and rolling of models. Both files are
written after every part, so a machine that goes away takes the rest only. A part that fails, or for which no time is
left, is named as such.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree

import torch
from torch.nn.utils import parameters_to_vector

import envs_reps
from rpp_rl.cli.errors import command
from rpp_rl.dynamics import TransitionModel
from rpp_rl.fast import CapturedUpdate, DeviceReplay
from rpp_rl.io.atomic import replacing
from rpp_rl.runs.environments import check_device
from scripts.bench_model import N_EPOCHS, make_trainer
from scripts.measuring import fill, in_turns, machine, make_agent, milliseconds

ENV, GROUP = "Ant-v4", "D4"
KINDS = ("mlp", "emlp", "rpp")
BOUND = 1e-3
"""Largest difference of parameters after some updates, relative to how far they have moved, that counts as none."""
ENSEMBLE = 5

Table = dict[str, dict[str, float | int | str]]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    net_arch: tuple[int, ...] = (256, 256)
    batch_size: int = 256
    n_transitions: int = 2000
    n_updates: int = 200
    rounds: int = 5
    n_steps: int = 2000
    n_chunks: int = 5000
    n_epochs: int = 20
    n_starts: int = 20_000
    n_agents: int = 10


SHORT = Size((16, 16), 32, 100, 2, 1, 30, 40, 1, 50, 2)


@dataclass(frozen=True)
class Day:
    """Where it runs, how much, and until when (by the clock of `time.monotonic`)."""

    device: str
    size: Size
    deadline: float

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU."""
        return torch.device(self.device).type == "cuda"

    def left(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.monotonic()

    def agent(self, kind: str, **settings: Any) -> Any:  # noqa: ANN401
        """A fresh agent with transitions to learn from, the same for the same kind."""
        size = self.size
        torch.manual_seed(0)
        settings = {"batch_size": size.batch_size, "buffer_size": size.n_transitions, **settings}
        agent = make_agent(kind, ENV, GROUP, list(size.net_arch), self.device, **settings)
        fill(agent, ENV, size.n_transitions)
        return agent


def tests(day: Day) -> Table:
    """All tests that are marked ``gpu``."""
    report = Path("gpu_day_tests.xml").resolve()
    flags = ["-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    root = Path(__file__).parent.parent
    folders = [str(root / "tests" / name) for name in ("nn", "fast", "dynamics")]
    subprocess.run(
        [sys.executable, "-m", "pytest", *flags, *folders], cwd=root, timeout=max(min(day.left(), 240), 1), check=False
    )
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    finally:
        report.unlink(missing_ok=True)
    states = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    found = {f"{c.get('classname')}::{c.get('name')}": {states.get(part.tag, "") for part in c} for c in cases}
    return {name: {"outcome": ", ".join(sorted(outcome - {""})) or "passed"} for name, outcome in found.items()}


def updates(day: Day) -> Table:
    """The same steps by the formulas, by the fast update, and (on a GPU) as a replayed graph: they must agree."""
    table: Table = {}
    for kind in KINDS:
        agents = {way: day.agent(kind) for way in ("formulas", "made", *(["replayed"] if day.on_gpu else []))}
        start = _parameters(agents["made"])
        after = {way: _after(agent, way, 12, day.size.batch_size) for way, agent in agents.items()}
        moved = float((after["made"] - start).norm())
        table[kind] = {f"{way} against made": float((after[way] - after["made"]).norm()) / moved for way in after}
        del table[kind]["made against made"]
        # Negative control: as many steps on other batches are another agent.
        other = _after(day.agent(kind), "made", 12, day.size.batch_size, seed=2)
        table[kind]["other batches against made"] = float((other - after["made"]).norm()) / moved
        agree = all(table[kind][f"{way} against made"] < BOUND for way in after if way != "made")  # pyright: ignore
        table[kind]["outcome"] = "passed" if agree else "failed"
    return table


def _after(agent: Any, way: str, n: int, batch_size: int, seed: int = 1) -> torch.Tensor:  # noqa: ANN401
    """The parameters after some updates whose random numbers are the same in every way of making them."""
    replay = DeviceReplay(agent.replay_buffer)
    replay.follow(agent.num_timesteps)
    graph = {} if way == "replayed" else {"capture": lambda step: step}
    captured = CapturedUpdate(agent._fast_update, agent.replay_buffer, batch_size, **graph)
    torch.manual_seed(seed)
    for _ in range(n):
        if way == "formulas":
            agent.plain_update(replay.draw(batch_size))
            agent.plain_follow_critic()
        else:
            captured(with_actor=True, follow=True)
    return _parameters(agent)


def _parameters(agent: Any) -> torch.Tensor:  # noqa: ANN401
    return parameters_to_vector([*agent.policy.parameters(), agent.log_ent_coef]).detach().clone()


def update_speeds(day: Day) -> Table:
    """One update beside Stable-Baselines3's, all taking turns."""
    agents = {kind: day.agent(kind) for kind in ("sb3", *KINDS)}
    if day.on_gpu:
        agents["rpp without graph"] = day.agent("rpp", compile=False)
    ms = in_turns({kind: _timer(day, [agent]) for kind, agent in agents.items()}, day.size.rounds)
    return {kind: {"ms per update": value, "to SB3": value / ms["sb3"]} for kind, value in ms.items()}


def _timer(day: Day, agents: Sequence[Any], streams: Sequence[Any] = ()) -> Callable[[], float]:
    """Milliseconds of one update of each of the agents, on streams of their own if there are some."""
    contexts = [torch.cuda.stream(stream) for stream in streams] or [nullcontext()] * len(agents)

    def update() -> None:
        for agent, context in zip(agents, contexts, strict=True):
            with context:
                agent.train(gradient_steps=1, batch_size=day.size.batch_size)

    milliseconds(update, min(day.size.n_updates, 10), day.device)  # captures what is captured
    return lambda: milliseconds(update, max(day.size.n_updates // len(agents), 1), day.device)


def training_speeds(day: Day) -> Table:
    """Steps per second of whole trainings, environment included."""
    table: Table = {}
    for kind in ("sb3", *KINDS):
        agent = day.agent(kind, learning_starts=10)
        agent.learn(20)
        start = time.perf_counter()
        agent.learn(day.size.n_steps, reset_num_timesteps=False)
        if day.on_gpu:
            torch.cuda.synchronize()
        table[kind] = {"steps per second": day.size.n_steps / (time.perf_counter() - start)}
    return table


def ten_agents(day: Day) -> Table:
    """Ten agents of one kind that learn in one process."""
    table: Table = {}
    n = day.size.n_agents
    for kind in ("sb3", "rpp"):
        before = torch.cuda.memory_allocated() if day.on_gpu else 0
        agents = [day.agent(kind, seed=seed) for seed in range(n)]
        works = {f"{kind}, one": _timer(day, agents[:1]), f"{kind}, {n} in turns": _timer(day, agents)}
        if day.on_gpu:
            streams = [torch.cuda.Stream() for _ in agents]
            works[f"{kind}, {n} on streams of their own"] = _timer(day, agents, streams)
        ms = in_turns(works, day.size.rounds)
        one = ms[f"{kind}, one"]
        table |= {name: {"ms per update of each": value, "to one": value / one} for name, value in ms.items()}
        if day.on_gpu:
            table[f"{kind}, {n} in turns"]["GPU memory of all [MB]"] = (torch.cuda.memory_allocated() - before) / 1e6
    return table


def models(day: Day) -> Table:
    """Training of transition models on chunks of ten steps; the paper's data are 5000 of them."""
    spec, table = envs_reps.load(ENV, GROUP), {}
    for kind in KINDS:
        given = {"net_arch": list(day.size.net_arch), "ensemble": None, "device": day.device}
        given |= {"n_chunks": day.size.n_chunks, "batch_size": min(500, day.size.n_chunks)}
        trainer = make_trainer(kind, spec, argparse.Namespace(**given))
        trainer.run_epoch()
        ms = milliseconds(trainer.run_epoch, day.size.n_epochs, day.device)
        table[kind] = {"ms per epoch": ms, f"s of {N_EPOCHS} epochs, from these": ms * N_EPOCHS / 1000}
        table[kind]["captured"] = str(trainer.graph is not None)
    return table


@torch.no_grad()
def rollouts(day: Day) -> Table:
    """Branched rollouts of an ensemble with Gaussian heads, five steps from every start."""
    spec, table = envs_reps.load(ENV, GROUP), {}
    for kind in KINDS:
        model = TransitionModel(spec, mode=kind, widths=day.size.net_arch, ensemble=ENSEMBLE, head="gaussian")
        model = model.to(day.device).eval()
        x0 = torch.randn(day.size.n_starts, spec.obs_rep.size, device=day.device)
        actions = torch.rand(day.size.n_starts, 5, spec.action_rep.size, device=day.device)

        def roll(model: TransitionModel = model, x0: torch.Tensor = x0, actions: torch.Tensor = actions) -> None:
            model.rollout(x0, actions)

        milliseconds(roll, 2, day.device)
        ms = milliseconds(roll, day.size.rounds, day.device)
        table[kind] = {"branched steps per second": ENSEMBLE * day.size.n_starts * 5 / (ms / 1000)}
    return table


PARTS: Mapping[str, Callable[[Day], Table]] = {
    part.__name__: part
    for part in (tests, updates, update_speeds, training_speeds, ten_agents, models, rollouts)
}  # fmt: skip
"""In this order: what must be correct, then what it costs."""


class OutOfTimeError(Exception):
    """The time of all parts together is over."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """End what is inside when so many seconds have passed.

    Raises:
        OutOfTimeError: If they have.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure(day: Day, parts: Sequence[str], save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the parts for which time is left, and save after every one."""
    results: dict[str, Any] = {"machine": machine(day.device), "size": vars(day.size), "parts": {}}
    for name, part in PARTS.items():
        result: dict[str, Any] = {"about": part.__doc__}
        if name not in parts:
            result["not_measured"] = "it was not asked for"
        elif day.left() <= 0:
            result["not_measured"] = "no time was left"
        else:
            start = time.monotonic()
            try:
                with alarm(day.left()):
                    result["table"] = part(day)
            except OutOfTimeError:
                result["not_measured"] = "time ran out in the middle of it"
            except Exception as error:  # whatever it is, the other parts must have their turn
                traceback.print_exc()
                result["failed"] = f"{type(error).__name__}: {error}"
            result["seconds"] = time.monotonic() - start
        results["parts"][name] = result
        save(results)
        print(f"{name}: {result.get('not_measured') or result.get('failed') or 'done'}", flush=True)
    return results


def page(results: Mapping[str, Any]) -> Iterator[str]:
    """The results for people."""
    yield "# A day on a GPU\n"
    yield ", ".join(f"{key} {value}" for key, value in results["machine"].items() if value is not None)
    yield "\nMeasured with " + ", ".join(f"{key} {value}" for key, value in results["size"].items()) + "."
    for name, result in results["parts"].items():
        yield f"\n## {name.replace('_', ' ').capitalize()}\n"
        yield f"{result['about']}\n"
        if "table" not in result:
            yield f"**{'Failed' if 'failed' in result else 'Not measured'}**: " + (
                result.get("failed") or result["not_measured"]
            )
            continue
        columns = list(dict.fromkeys(column for row in result["table"].values() for column in row))
        yield f"| | {' | '.join(columns)} |"
        yield "|---" * (len(columns) + 1) + "|"
        for row, cells in result["table"].items():
            yield f"| {row} | {' | '.join(_cell(cells.get(column, '')) for column in columns)} |"


def _cell(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def has_passed(results: Mapping[str, Any]) -> bool:
    """Whether nothing that was asked for has failed."""
    outcomes = [row.get("outcome") for r in results["parts"].values() for row in r.get("table", {}).values()]
    return "failed" not in outcomes and not any("failed" in result for result in results["parts"].values())


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write both files, and return 1 if anything has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu_day"), metavar="NAME", help="of both files")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which it ends (default: 9)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--short", action="store_true", help="everything in small")
    args = parser.parse_args(argv)
    check_device(args.device)
    day = Day(args.device, SHORT if args.short else Size(), time.monotonic() + 60 * args.minutes)

    def save(results: Mapping[str, Any]) -> None:
        for suffix, text in ((".json", json.dumps(results, indent=1)), (".md", "\n".join(page(results)) + "\n")):
            with replacing(args.output.with_name(args.output.name + suffix)) as file:
                file.write(text.encode())

    return 0 if has_passed(measure(day, args.parts, save)) else 1


if __name__ == "__main__":
    raise SystemExit(main(None))
