"""Give every reader thousands of damaged and malicious files: it must read or refuse them in one line, and do no more.

    python scripts/fuzz.py --cases 20000 --progress fuzz.jsonl

Readers of agents, archives, buffers, pickles, npz, models, specifications, settings, experiments, folders of runs and
Minari's data sets take turns. A case fails if the reader raises anything but what it says, accepts what is forged,
takes more than 1 GiB of memory or 10 s, ends the process, or does anything but read: an audit hook listens for files
opened elsewhere or to write, imports, code that is run, pickles, processes and connections.

Cases are judged in forks, so a crash costs one case, and memory cannot add up. Each has a random state of its own:
``--first K --cases 1`` repeats case K. With ``--progress`` a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.agent_forge import Case
from scripts.fuzz_readers import Reader, make_readers
from scripts.fuzz_watch import Watch

MEMORY = 2**30
"""Address space that reading may take on top of what the process has, in bytes."""
SECONDS = 10.0
LONGEST_LINE = 2000
GOOD = ("read", "refused")
BATCH = 250
"""Cases that one fork judges."""


def judge(reader: Reader, case: Case, folder: Path, watch: Watch) -> str:
    """Let a file be read; one of `GOOD` if that goes well, else what is wrong."""
    path = folder / case.name
    usual = path.read_bytes() if path.exists() else None
    path.write_bytes(case.data)
    before = _listing(folder)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends the process, wherever it hangs
    try:
        with watch.watching() as events:
            outcome = _read(reader, path)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if outcome == "read" and not case.may_load:
        outcome = "ACCEPTED"
    if events:
        outcome = f"SIDE EFFECT {events[0]}"
    if _listing(folder) != before:
        outcome = "FILES CHANGED"
    if usual is None:
        path.unlink()
    else:
        path.write_bytes(usual)
    return outcome


def _read(reader: Reader, path: Path) -> str:
    try:
        reader.read(path)
    except reader.errors as error:
        if _ran_out_of_memory(error):
            return "TOO MUCH MEMORY"  # a machine that has more would have given it
        return "refused" if len(str(error)) < LONGEST_LINE else f"LONG LINE {str(error)[:200]}"
    except Exception as error:
        return f"CRASH {type(error).__name__}: {str(error)[:200]}"
    return "read"


def _ran_out_of_memory(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_size) for path in folder.rglob("*"))


def judge_batch(readers: list[Reader], cases: range, seed: int, folder: Path, report: Path, keep: Path | None) -> None:
    """Judge some cases in this process, with a line for each at its beginning and its end."""
    watch = Watch(folder)
    sys.addaudithook(watch.hook)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    with report.open("w", buffering=1) as file:
        for k in cases:
            reader = readers[k % len(readers)]
            case = reader.case(np.random.default_rng([seed, k]))
            file.write(json.dumps([k, reader.name, case.kind]) + "\n")
            kept = None if keep is None else keep / f"{seed}_{k}_{Path(case.name).name}"
            if kept is not None:
                kept.write_bytes(case.data)
            outcome = judge(reader, case, folder, watch)
            if kept is not None and outcome in GOOD:
                kept.unlink()
            file.write(json.dumps(outcome) + "\n")


def forked_batch(
    readers: list[Reader], cases: range, seed: int, folder: Path, keep: Path | None
) -> tuple[Counter[str], list[str], int]:
    """`judge_batch` in a fork; how often what happened, what went wrong, and the number of the next case."""
    report = folder.parent / "report"
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            judge_batch(readers, cases, seed, folder, report, keep)
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    if len(lines) % 2:
        name = "SLOW" if status == -signal.SIGPROF else f"DIED with status {status}"
        lines.append(name)
    elif status:
        raise RuntimeError(f"the fuzzer itself failed before case {cases[len(lines) // 2]}, see above")
    counts: Counter[str] = Counter()
    wrong = []
    for (k, reader, kind), outcome in zip(lines[::2], lines[1::2], strict=True):
        counts[f"{reader}: {outcome if outcome in GOOD else 'WRONG'}"] += 1
        if outcome not in GOOD:
            wrong.append(f"case {k}, {reader}, {kind}: {outcome}")
    return counts, wrong, cases.start + len(lines) // 2


def fuzz(
    n_cases: int, seed: int, *, first: int = 0, progress: Path | None = None, keep: Path | None = None
) -> tuple[Counter[str], list[str]]:
    """Judge so many files.

    Args:
        n_cases: Their number.
        seed: Decides which.
        first: Number of the first.
        progress: File with a line for each batch, from which it goes on.
        keep: Where to keep the files that were not treated well.

    Returns:
        How often each reader read, refused and did something wrong, and a line for each that went wrong.
    """
    records: list[dict[str, Any]] = []
    if progress is not None and progress.exists():
        records = [json.loads(line) for line in progress.read_text().splitlines()]
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record["counts"])
    wrong = [line for record in records for line in record["wrong"]]
    at = records[-1]["next"] if records else first
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        readers = make_readers(folder)
        warm_up(readers, folder)
        while at < first + n_cases:
            cases = range(at, min(at + BATCH, first + n_cases))
            found, bad, at = forked_batch(readers, cases, seed, folder, keep)
            counts += found
            wrong += bad
            if progress is not None:
                with progress.open("a") as file:
                    file.write(json.dumps({"next": at, "counts": found, "wrong": bad}) + "\n")
                print(f"{at - first} cases, {len(wrong)} wrong", *bad, sep="\n", flush=True)
    return counts, wrong


def warm_up(readers: list[Reader], folder: Path) -> None:
    """Let every reader read what is good and refuse what is bad, because what they import late is imported then.

    Raises:
        RuntimeError: If one does not.
    """
    nobody = Watch(folder)
    for reader in readers:
        outcome = judge(reader, reader.good, folder, nobody)
        if outcome != "read":
            raise RuntimeError(f"{reader.name}: a good file is not read: {outcome}")
        judge(reader, dataclasses.replace(reader.good, data=b""), folder, nobody)


def main() -> int:
    """Read the flags, fuzz, print a table, and return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--progress", type=Path, help="file with a line for each batch, from which it goes on")
    parser.add_argument("--keep", type=Path, help="folder for the files that were not treated well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.keep is not None:
        args.keep.mkdir(exist_ok=True)
    counts, wrong = fuzz(args.cases, args.seed, first=args.first, progress=args.progress, keep=args.keep)
    for name in sorted({key.rpartition(": ")[0] for key in counts}):
        numbers = (counts[f"{name}: {outcome}"] for outcome in (*GOOD, "WRONG"))
        print(f"{name:20} read {next(numbers):6}  refused {next(numbers):6}  wrong {next(numbers):6}")
    print(f"{sum(counts.values())} cases, {len(wrong)} wrong")
    print("\n".join(wrong[:50]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
