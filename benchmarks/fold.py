"""How long `/flame` and `/blame` take for a minute and for three hours of one trainer with four loader workers.

python -m benchmarks.fold                      3 hours; about two minutes, most of it to fill the store
FOLD_BENCH_HOURS=0.2 python -m benchmarks.fold

The stacks are made up: 400 different ones of the main thread and 300 of the workers, 8 to 30 frames deep, and one in fifty is new.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from analysis.stacks.spans import Interval
from analysis.stacks.threads import ThreadSelection
from collectors.records import Frame, Points, Record, StackRecording, StackSpan, labels_of
from collectors.store.sqlite.engine import SqliteStore
from dashboard.api.answers import dumps
from dashboard.api.blame import verdict_answer
from dashboard.api.stacks import chart_answer, flame_answer
from dashboard.queries import Profiler
from dashboard.stacks.stacks import NORMAL, Baseline, Stacks

from .report import Row, run

HOURS = float(os.environ.get("FOLD_BENCH_HOURS", "3"))
START_S = 1_764_000_000.0
END_S = START_S + HOURS * 3600
WINDOW_S = 60.0  # of a row in the store, once it is merged
STEP_S = 0.1
WORKERS = 4
REPEATS = 7
LIBRARY, OWN = "/usr/lib/python3.11/site-packages/torch", "/job"
LOADER = Frame("_MultiProcessingDataLoaderIter._try_get_data", f"{LIBRARY}/utils/data/dataloader.py", 1291)
GET = Frame("Queue.get", "/usr/lib/python3.11/multiprocessing/queues.py", 113)
Stack = tuple[Frame, ...]


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="fold-bench-") as folder:
        store = SqliteStore(Path(folder), write=True)
        for records in job():
            store.append(records)
        store.settle()
        stacks = Stacks(store)
        minute, whole = (END_S - 600, END_S - 540), (START_S, END_S)
        at_once, first, ahead = first_times(store, whole)
        questions: list[tuple[str, float, Callable[[], bytes]]] = [
            ("/flame, 60 s, joined", 80, lambda: flame(stacks, minute)),
            ("/flame, 60 s, beside normal", 300, lambda: flame(stacks, minute, baseline=NORMAL)),
            (f"/flame, {HOURS:g} h, joined", 300, lambda: flame(stacks, whole)),
            ("/blame, 60 s", 1000, lambda: dumps(verdict_answer(stacks.blame("run", minute)))),
            ("/blame, 3 s", 1000, lambda: dumps(verdict_answer(stacks.blame("run", (minute[0], minute[0] + 3))))),
            (
                "/flamechart, 60 s",
                150,
                lambda: dumps(chart_answer(stacks.chart("run", minute, 1200, ThreadSelection("joined")))),
            ),
        ]
        rows = [at_once, ahead, first, *(timed(*question) for question in questions)]
        store.close()
    return rows


def flame(stacks: Stacks, window: Interval, *, baseline: Baseline | None = None) -> bytes:
    return dumps(
        flame_answer(stacks.fold("run", window, ThreadSelection("joined"), baseline=baseline), Profiler("native", None))
    )


def first_times(store: SqliteStore, whole: Interval) -> tuple[Row, Row, Row]:
    """The first question about hours: asked at once, and after they were folded ahead, with what that takes."""
    at_once, stacks = Stacks(store), Stacks(store)
    at_once_s = seconds(lambda: flame(at_once, whole))
    begun_s, turns_s = time.process_time(), []
    while True:
        turn_s = time.perf_counter()
        if not stacks.minutes.fold_ahead("run"):
            break
        turns_s.append(time.perf_counter() - turn_s)
    cpu_s, first_s = time.process_time() - begun_s, seconds(lambda: flame(stacks, whole))
    longest = f"in turns of {min(turns_s) * 1e3:.0f} to {max(turns_s) * 1e3:.0f} ms"
    return (
        Row(f"/flame, {HOURS:g} h, joined, the first time, at once", 1e3 * at_once_s, "ms"),
        Row(f"/flame, {HOURS:g} h, joined, the first time, folded ahead", 1e3 * first_s, "ms", 300),
        Row(f"{HOURS:g} h folded ahead, CPU time", 1e3 * cpu_s, "ms", spread=longest),
    )


def timed(what: str, budget_ms: float, ask: Callable[[], bytes]) -> Row:
    ask()
    taken_ms = sorted(seconds(ask) * 1e3 for _ in range(REPEATS))
    return Row(what, statistics.median(taken_ms), "ms", budget_ms, spread=f"{taken_ms[0]:.0f} to {taken_ms[-1]:.0f}")


def seconds(ask: Callable[[], bytes]) -> float:
    begun_s = time.perf_counter()
    ask()
    return time.perf_counter() - begun_s


def job() -> Iterator[list[Record]]:
    random = np.random.default_rng(0)
    mains = [
        *made(random, 360, "main"),
        *((main_root(), LOADER, GET, Frame("select", "/usr/lib/python3.11/selectors.py", 1 + i)) for i in range(40)),
    ]
    workers = [
        *made(random, 270, "worker"),
        *((worker_root(), GET, Frame("select", "/usr/lib/python3.11/selectors.py", i)) for i in range(30)),
    ]
    for lo in np.arange(START_S, END_S, WINDOW_S).tolist():
        hi = min(lo + WINDOW_S, END_S)
        steps = np.arange(lo, hi, STEP_S)
        yield [
            profile(random, lo, hi, 7, "main", 100.0, mains),
            *(profile(random, lo, hi, 8 + i, "worker", 50.0, workers) for i in range(WORKERS)),
            *(
                Points("run", labels_of(host="box"), ("phase/data_s",), (0.04,), t, round((t - START_S) / STEP_S))
                for t in steps.tolist()
            ),
        ]


def main_root() -> Frame:
    return Frame("<module>", f"{OWN}/train.py", 90)


def worker_root() -> Frame:
    return Frame("_worker_loop", f"{LIBRARY}/utils/data/_utils/worker.py", 349)


def made(random: np.random.Generator, count: int, name: str) -> list[Stack]:
    root = main_root() if name == "main" else worker_root()
    stacks: list[Stack] = []
    for _ in range(count):
        stem = stacks[random.integers(len(stacks))] if stacks else (root,)
        kept = stem[: max(1, int(random.integers(1, len(stem) + 1)))]
        stacks.append((*kept, *(frame(random, name) for _ in range(int(random.integers(4, 14))))))
    return [stack[:30] for stack in stacks]


def frame(random: np.random.Generator, name: str) -> Frame:
    number = int(random.integers(600))
    return Frame(f"{name}_{number}", f"{LIBRARY if number % 3 else OWN}/{number % 40}.py", number)


def profile(
    random: np.random.Generator, lo: float, hi: float, pid: int, role: str, hz: float, stacks: list[Stack]
) -> StackRecording:
    """A stack stands for two samples on the average."""
    samples = round((hi - lo) * hz)
    lengths = random.geometric(0.5, samples)
    edges = np.r_[0, np.cumsum(lengths)[np.cumsum(lengths) < samples], samples]
    starts_ns = (edges * (1e9 / hz)).astype(np.int64)
    places = random.zipf(1.3, len(edges)) % len(stacks)
    spans = [
        StackSpan(start_ns, end_ns - start_ns, pid, novel(random, stacks[place]), False, None)
        for start_ns, end_ns, place in zip(
            starts_ns[:-1].tolist(), starts_ns[1:].tolist(), places.tolist(), strict=False
        )
    ]
    return StackRecording(
        "run", 0, pid, role, "box", "native", hz, lo, 0, int(starts_ns[-1]), {pid: "MainThread"}, spans, samples
    )


def novel(random: np.random.Generator, stack: Stack) -> Stack:
    return stack if random.random() > 0.02 else (*stack[:-1], stack[-1]._replace(line=int(random.integers(1, 20_000))))


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
