"""From JSONL files into the store, by the collector's own tail, store and packing: files that are already there, and live ones.

python -m benchmarks.ingest                             about 4 minutes and 3 GB of disk
INGEST_BENCH_SCALE=0.1 python -m benchmarks.ingest      a tenth of the lines
INGEST_BENCH_LARGE_GB=10 python -m benchmarks.ingest    the largest file has 10 GB instead of 2
"""

from __future__ import annotations

import os
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest.mock
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from collectors.logs.tail import Tail
from collectors.records import LogLine, Points, labels_of
from collectors.store.engines import maintenance, open_store
from collectors.store.sqlite import files
from collectors.store.sqlite.logs import TemplateWriter
from collectors.supervisor import Supervisor

from .peers.row_table import RowTable
from .report import Row, run

SCALE = float(os.environ.get("INGEST_BENCH_SCALE", "1"))
WIDE_LINES, NARROW_LINES = int(400_000 * SCALE), int(1_000_000 * SCALE)
LARGE_BYTES = int(float(os.environ.get("INGEST_BENCH_LARGE_GB", "2")) * SCALE * 1e9)
LIVE_FILES = 8
LIVE_POINTS_S = 150_000  # written, over all files: half as many again as must be kept up with
LIVE_S = max(2.0, 15 * SCALE)
TURN_S = 0.02  # between two writes to all live files
PEER_BATCH = 50_000
START_S = 1_764_000_000.0
POLL_S = 0.02
TEXT_LINES, TEXT_BATCH = int(200_000 * SCALE), 2000
TRAINER_LOG = Path(__file__).parents[1] / "tests" / "data" / "recorded" / "run" / "train.log"


class Done(NamedTuple):
    seconds: float  # from its start to the last point
    peak_bytes: int  # resident, of the whole process
    idle_bytes: int  # before the first file was read


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="ingest-bench-", dir=os.environ.get("INGEST_BENCH_DIR")) as folder:
        root = Path(folder)
        return [
            *backlog_rows(root / "wide", 10, WIDE_LINES, 500_000),
            *backlog_rows(root / "narrow", 1, NARROW_LINES, 150_000),
            *large_rows(root / "large"),
            *live_rows(root / "live"),
            *text_rows(root / "text"),
        ]


def backlog_rows(folder: Path, scalars: int, lines: int, budget: int) -> list[Row]:
    """A file that is there before the collector starts."""
    path = folder / "logs" / "a" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.writelines(json_lines(0, lines, scalars))
    with collecting(folder, lines * scalars) as found:
        pass
    (done,) = found
    what, size = f"a file of {path.stat().st_size / 1e6:.0f} MB, {scalars} a line", lines * scalars
    maintenance(folder / "data").compact()
    stored = files.folder_bytes(folder / "data")
    both = stored + path.stat().st_size
    grown = (done.peak_bytes - done.idle_bytes) / 1e6
    return [
        Row(what, size / done.seconds, "points/s", budget, True, size / peer_seconds(path, folder / "plain.sqlite")),
        Row(f"{what}: memory", grown, "MB", 150, spread=f"whole process {done.peak_bytes / 1e6:.0f}"),
        Row(f"{what}: log and store together", both / size, "B a point", spread=f"of it the store {stored / size:.2f}"),
    ]


def large_rows(folder: Path) -> list[Row]:
    """A file that no memory should hold: what a process needs for it must be what it needs for a small one."""
    path = folder / "logs" / "a" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    lines = write_large(path, LARGE_BYTES)
    with collecting(folder, lines * 10) as found:
        pass
    (done,) = found
    what = f"a file of {path.stat().st_size / 1e9:.2g} GB, 10 a line"
    grown = (done.peak_bytes - done.idle_bytes) / 1e6
    path.unlink()
    return [
        Row(what, lines * 10 / done.seconds, "points/s", 500_000, True),
        Row(f"{what}: memory", grown, "MB", 150, spread=f"whole process {done.peak_bytes / 1e6:.0f}"),
    ]


def live_rows(folder: Path) -> list[Row]:
    """Files that grow meanwhile, all at the same pace."""
    paths = [folder / "logs" / f"run-{i}" / "metrics.jsonl" for i in range(LIVE_FILES)]
    for path in paths:
        path.parent.mkdir(parents=True)
    a_turn = round(LIVE_POINTS_S * TURN_S / LIVE_FILES / 10)
    turns = round(LIVE_S / TURN_S)
    text = [b"".join(json_lines(turn * a_turn, a_turn, 10)) for turn in range(turns)]
    size = turns * a_turn * 10 * LIVE_FILES
    with collecting(folder, size) as found, ExitStack() as stack:
        handles = [stack.enter_context(path.open("ab", buffering=0)) for path in paths]
        began_s = due_s = time.monotonic()
        for part in text:
            time.sleep(max(0.0, due_s - time.monotonic()))
            for handle in handles:
                handle.write(part)
            due_s += TURN_S
        written_s = time.monotonic()
    late_s = time.monotonic() - written_s
    return [
        Row(
            f"following {LIVE_FILES} files, 10 a line", size / (written_s + late_s - began_s), "points/s", 100_000, True
        ),
        Row(
            f"following, {size / (written_s - began_s):,.0f} points/s written: last one stored after",
            late_s * 1e3,
            "ms",
        ),
        Row("following: memory", (found[0].peak_bytes - found[0].idle_bytes) / 1e6, "MB", 150),
    ]


def text_rows(folder: Path) -> Iterator[Row]:
    """Lines of text into the store, grouped by template as they arrive, and the same without templates."""
    for name, texts in (
        ("trainer", list(trainer_lines(TEXT_LINES))),
        ("2,000 templates", list(many_lines(TEXT_LINES))),
    ):
        lines = [LogLine("a", "train.log", START_S + at / 50, 20, text) for at, text in enumerate(texts)]
        rounds = [
            (stored(folder / f"{name}-{at}", lines), stored(folder / f"{name}-{at}-plain", lines, Ungrouped))
            for at in range(3)
        ]
        seconds = statistics.median(grouped.seconds for grouped, _ in rounds)
        ratio = statistics.median(plain.seconds / grouped.seconds for grouped, plain in rounds)
        (grouped, plain), what = rounds[0], f"text of {name}"
        yield Row(
            f"{what}, with templates",
            len(lines) / seconds,
            "lines/s of a core",
            90_000,
            True,
            len(lines) / seconds / ratio,
        )
        yield Row(f"{what}: rate beside the same without", ratio, "", 0.55, True)
        yield Row(f"{what}: text", grouped.text_bytes / len(lines), "B a line", 25)
        yield Row(f"{what}: template", (grouped.column_bytes - plain.column_bytes) / len(lines), "B a line", 3)


class Ungrouped(TemplateWriter):
    """All lines are of one template."""

    def group(self, db: object, run: str, files: Sequence[str], texts: Sequence[str]) -> list[int]:
        return [1] * len(texts)


class TextStored(NamedTuple):
    seconds: float  # of the processor
    text_bytes: int
    column_bytes: int


def stored(folder: Path, lines: list[LogLine], writer: type[TemplateWriter] = TemplateWriter) -> TextStored:
    """In commits of 2,000 lines, as the tail makes them."""
    with unittest.mock.patch("collectors.store.sqlite.ingest.TemplateWriter", writer):
        store = open_store(folder, write=True)
    began_s = time.process_time()
    for at in range(0, len(lines), TEXT_BATCH):
        store.append(lines[at : at + TEXT_BATCH])
    seconds = time.process_time() - began_s
    store.close()
    with closing(sqlite3.connect(folder / files.RUNS_FILE)) as db:
        texts, columns = db.execute("SELECT total(length(texts)), total(length(columns)) FROM log").fetchone()
    return TextStored(seconds, int(texts), int(columns))


def trainer_lines(count: int) -> Iterator[str]:
    """As the demo trainer writes them, with other digits."""
    chance, recorded = random.Random(0), TRAINER_LOG.read_text().splitlines()
    for number in range(count):
        line = recorded[number % len(recorded)]
        yield line[:24] + re.sub(r"\d", lambda _: str(chance.randrange(10)), line[24:])


def many_lines(count: int) -> Iterator[str]:
    """Of 2,000 messages, each with two numbers, an address or a path."""
    chance = random.Random(0)
    words = [
        f"{first}{last}"
        for first in ("shard", "cache", "queue", "pool", "page")
        for last in ("", "er", "ing", "s", "ed", "able", "ful", "less")
    ]
    messages = [f"{chance.choice(words)} {chance.choice(words)} {at % 50 * 'x'}y" for at in range(2000)]
    for number in range(count):
        varying = (
            f"0x{chance.getrandbits(40):x}",
            f"/data/{number}/{chance.randrange(999)}.bin",
            f"{chance.random():.4f}",
        )[number % 3]
        yield f"2026-11-26 14:{number // 60 % 60:02d}:{number % 60:02d} INFO {messages[number * 7 % 2000]} {varying} after {chance.randrange(10**5)} ms"


@contextmanager
def collecting(folder: Path, points: int) -> Iterator[list[Done]]:
    """Another process collects `folder/logs`; at the end, waits until it has stored so many points and tells how it did."""
    found: list[Done] = []
    command = [sys.executable, "-m", "benchmarks.ingest", "--collect", str(folder), str(points)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as collector:
        assert collector.stdout
        collector.stdout.readline()  # it has begun
        yield found
        seconds, peak, idle = collector.stdout.readline().split()
        found.append(Done(float(seconds), int(peak), int(idle)))


def collect(folder: Path, points: int) -> None:
    """The other process of `collecting`."""
    store, wake = open_store(folder / "data", write=True), threading.Event()
    idle = peak_bytes()
    began_s = time.monotonic()
    supervisor = Supervisor(store, on_stale=lambda error: None)
    supervisor.add(Tail(folder / "logs", "box", store.offsets(), wake), wake)
    supervisor.start()
    print("begun", flush=True)
    while sum(run.points for run in store.runs()) < points:
        time.sleep(POLL_S)
    print(time.monotonic() - began_s, peak_bytes(), idle, flush=True)
    supervisor.stop()
    store.close()


def peak_bytes() -> int:
    """Of this process alone: `ru_maxrss` begins with that of the process which started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def peer_seconds(path: Path, plain: Path) -> float:
    """The same file into a plain SQLite table with a row a point, by the shortest way and without a memory of how far it got."""
    table = RowTable(plain)
    began_s = time.monotonic()
    with path.open("rb") as file:
        table.append((as_points(orjson.loads(line)) for line in file), PEER_BATCH)
    return time.monotonic() - began_s


def as_points(fields: dict[str, float]) -> Points:
    time_s, step = fields.pop("time_s"), fields.pop("step")
    return Points("a", labels_of(), tuple(fields), tuple(fields.values()), time_s, int(step))


def write_large(path: Path, size: int) -> int:
    """Lines up to about `size` bytes, as `json_lines` makes them, but for values that come again; how many these are."""
    ends = [line.partition(b',"train')[2] for line in json_lines(0, 10_000, 10)]
    count = 0
    with path.open("wb") as file:
        while file.tell() < size:
            steps = range(count, count + len(ends))
            file.writelines(
                b'{"time_s":%.6f,"step":%d,"train%b' % (START_S + i / 20, i, end)
                for i, end in zip(steps, ends, strict=True)
            )
            count += len(ends)
    return count


def json_lines(first: int, count: int, scalars: int) -> Iterator[bytes]:
    """As RunLog writes them: times to the microsecond, values as float32 in shortest decimal form."""
    rng = np.random.default_rng(first)
    names = [f"train/metric_{i}" for i in range(scalars)]
    for step in range(first, first + count):
        values = map(float, map(str, rng.normal(2, 0.1, scalars).astype(np.float32)))
        fields = {"time_s": round(START_S + step / 20, 6), "step": step, **dict(zip(names, values, strict=True))}
        yield orjson.dumps(fields) + b"\n"


if __name__ == "__main__":
    if "--collect" in sys.argv:
        collect(Path(sys.argv[-2]), int(sys.argv[-1]))
    else:
        sys.exit(run(measure, __doc__))
