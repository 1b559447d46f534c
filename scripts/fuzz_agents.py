"""Give the loader of agents thousands of damaged and malicious files: it must refuse each in one line and do no more.

    python scripts/fuzz_agents.py --cases 2000

While a file is loaded an audit hook watches every attempt to write and to start a process, and memory is limited. A
case fails if the loader raises anything but `AgentError`, accepts what is damaged, runs a payload, writes, or takes
long. Forged files carry a correct checksum, so that what lies behind it is reached.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from agent_forge import Case, Forge

from rpp_rl.agents import AgentError, load_agent

MEMORY = 6 * 2**30
"""Address space that loading may take on top of what the process has."""
SECONDS = 30.0
LONGEST_LINE = 1000

WRITING = {"os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.chmod", "shutil.move"}
RUNNING = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "ctypes.dlopen", "socket.connect"}


@dataclass
class Watch:
    """What the interpreter was asked to do."""

    is_on: bool = False
    events: list[str] = field(default_factory=list)

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit hook; it cannot be removed, so it can be switched off."""
        if not self.is_on:
            return
        opened_to_write = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if opened_to_write or event in WRITING or event in RUNNING:
            self.events.append(f"{event} {args!r}"[:200])

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Watch what happens inside."""
        self.events, self.is_on = [], True
        try:
            yield self.events
        finally:
            self.is_on = False


def judge(case: Case, path: Path, canary: Path, watch: Watch) -> str:
    """Load one file; ``"refused"`` or ``"loaded"`` if that is right, else what is wrong."""
    path.write_bytes(case.data)
    before = sorted(path.parent.parent.rglob("*"))
    started, outcome = time.monotonic(), "loaded"
    with watch.watching() as events:
        try:
            agent = load_agent(path, device="cpu")
            agent.predict(np.zeros(agent.observation_space.shape, np.float32))
        except AgentError as error:
            outcome = "refused" if "\n" not in str(error) and len(str(error)) < LONGEST_LINE else f"LONG LINE {error}"
        except Exception as error:
            outcome = f"CRASH {type(error).__name__}: {error}"
    if outcome == "loaded" and not case.may_load:
        outcome = "ACCEPTED"
    if canary.exists():
        canary.unlink()
        outcome = "PAYLOAD RUN"
    if events:
        outcome = f"SIDE EFFECT {events[0]}"
    if sorted(path.parent.parent.rglob("*")) != before:
        outcome = "FILES CHANGED"
    if time.monotonic() - started > SECONDS:
        outcome = f"SLOW {time.monotonic() - started:.0f} s"
    return outcome


def fuzz(n_cases: int, seed: int, keep: Path | None = None) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Judge so many random files.

    Args:
        n_cases: Their number.
        seed: Decides which.
        keep: Where to keep the files that were not treated well.

    Returns:
        How often each kind was refused and loaded, and a line for each that went wrong.
    """
    watch = Watch()
    sys.addaudithook(watch.hook)
    counts: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in" / "target").mkdir(parents=True)
        forge = Forge(folder, np.random.default_rng(seed))
        for k in range(n_cases):
            case = forge.case()
            path = folder / "in" / "target" / f"agent{case.suffix}"
            outcome = judge(case, path, forge.canary, watch)
            counts[case.kind, outcome if outcome in ("refused", "loaded") else "WRONG"] += 1
            if outcome not in ("refused", "loaded"):
                wrong.append(f"case {k}, {case.kind}: {outcome}")
                if keep is not None:
                    (keep / f"case_{seed}_{k}{case.suffix}").write_bytes(case.data)
            path.unlink()
    return counts, wrong


def main() -> int:
    """Read the flags, fuzz, print a table, and return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that were not treated well")
    args = parser.parse_args()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    counts, wrong = fuzz(args.cases, args.seed, args.keep)
    for kind in sorted({kind for kind, _ in counts}):
        refused, loaded, bad = (counts[kind, outcome] for outcome in ("refused", "loaded", "WRONG"))
        print(f"{kind:28} refused {refused:5}  loaded {loaded:5}  wrong {bad:5}")
    print(f"{args.cases} cases, {len(wrong)} wrong")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
