"""Which line of a program leaks host memory, as the stacks say after some minutes, against the line that its first comment names.

python -m benchmarks.host_leaks [FOLDER] [--seconds 120 300]     FOLDER holds programs, by default those of tests/programs/host_leaks

A program begins with `# leak: FUNCTION text of the line` or `# healthy`, and runs for as long as the environment's SECONDS says; two
run at a time. A line is named exactly, or as one of two or three ("in a set"); else another is named, or none.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from analysis.findings.memory import HostLeak, host_leak
from analysis.stacks.frames import line_of
from benchmarks.report import Row, table
from collectors.machine import proc
from collectors.sampler import Target
from collectors.sampler.native import NativeSampler
from collectors.store.sqlite.engine import SqliteStore
from tests.conftest import ROOT

PROGRAMS = ROOT / "tests" / "programs" / "host_leaks"
RUN, HZ, LOOK_S = "run", 100.0, 1.0
AT_ONCE, GRACE_S = 2, 60.0
WARM_UP_S, END_S, LEAST = 20.0, 3.0, 0.9  # left out at the start and the end; part of the rest that has to be there


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=PROGRAMS)
    parser.add_argument("--seconds", nargs="+", type=float, default=[120.0, 300.0])
    options = parser.parse_args()
    programs = sorted(options.folder.glob("*.py"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = list(pool.map(lambda program: judged(program, options.seconds), programs))
    for program, answers in zip(programs, said, strict=True):
        for seconds, (verdict, text) in zip(options.seconds, answers, strict=True):
            print(f"{program.stem} after {seconds:g} s: {verdict}; {text}")
    print(table(rows(programs, options.seconds, [[verdict for verdict, _ in answers] for answers in said])))
    return 0


def rows(programs: Sequence[Path], seconds: Sequence[float], verdicts: Sequence[Sequence[str]]) -> list[Row]:
    found = []
    for i, after_s in enumerate(seconds):
        for kind in ("leak", "healthy"):
            mine = [
                answers[i] for program, answers in zip(programs, verdicts, strict=True) if expected(program)[0] == kind
            ]
            counts = Counter(mine)
            found += [
                Row(f"{kind} programs after {after_s:g} s: {verdict}, of {len(mine)}", counts[verdict], "")
                for verdict in ("exact", "in a set", "wrong", "silent")
                if kind == "leak" or verdict in ("wrong", "silent")
            ]
    return found


def expected(program: Path) -> tuple[str, str, str]:
    """`("leak", function, text of the line)`, or `("healthy", "", "")`."""
    first = program.read_text().splitlines()[0]
    kind, _, rest = first.removeprefix("# ").partition(": ")
    function, _, text = rest.partition(" ")
    return kind, function, text.strip()


def judged(program: Path, seconds: Sequence[float]) -> list[tuple[str, str]]:
    """A verdict after each so many seconds, and what was said."""
    with tempfile.TemporaryDirectory() as folder, closing(SqliteStore(Path(folder), write=True)) as store:
        begun_s = time.time()
        record(program, store, max(seconds))
        answers = []
        for after_s in seconds:
            window = (begun_s + WARM_UP_S, begun_s + after_s - END_S)
            resident = store.resident(*window, RUN)
            growth = host_leak(
                store.stacks(*window, RUN), resident, str(program.parent), line_of, LEAST * (window[1] - window[0])
            )
            answers.append((verdict(program, growth), spoken(growth)))
        return answers


def record(program: Path, store: SqliteStore, seconds: float) -> None:
    """Stores the stacks and the memory of a program and of its children while it runs."""
    with tempfile.TemporaryDirectory() as logs:
        process = subprocess.Popen(
            [sys.executable, str(program)],
            env={**os.environ, "SECONDS": str(seconds), "LOG_DIR": logs},
            stdout=subprocess.DEVNULL,
        )
        until_s = time.monotonic() + seconds + GRACE_S
        try:
            with closing(NativeSampler("box")) as sampler:
                while process.poll() is None and time.monotonic() < until_s:
                    sampler.follow(targets(process.pid))
                    store.append(sampler.profiles())
                    time.sleep(LOOK_S)
                store.append(sampler.profiles())
        finally:
            process.kill()
            process.wait()


def targets(pid: int) -> list[Target]:
    found = [(pid, "main"), *((child, "worker") for child in proc.descendants(pid))]
    return [
        Target(RUN, 0, each, ticks, role, HZ)
        for each, role in found
        if (ticks := proc.start_ticks(each)) is not None and proc.runs_python(each)
    ]


def verdict(program: Path, growth: HostLeak | None) -> str:
    kind, function, text = expected(program)
    if growth is None or not growth.lines:
        return "silent"
    names = [
        frame.name.rpartition(".")[2] == function and line_of(frame.file, frame.line).strip() == text
        for frame in growth.lines
    ]
    return "wrong" if kind == "healthy" or not any(names) else "exact" if len(names) == 1 else "in a set"


def spoken(growth: HostLeak | None) -> str:
    if growth is None:
        return "no growth"
    places = [f"{frame.name}:{frame.line} {line_of(frame.file, frame.line).strip()}" for frame in growth.lines]
    return f"{growth.bytes_per_s / 1e3:.0f} kB/s at {' | '.join(places) or 'no line'}"


if __name__ == "__main__":
    sys.exit(main())
