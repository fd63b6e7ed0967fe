"""The store beside a plain SQLite table with a row a point, and beside DuckDB where that is installed: bytes, writing, reading, and reading while it is written.

python -m benchmarks.store                             everything: about 10 minutes and 3 GB of disk
STORE_BENCH_SCALE=0.02 python -m benchmarks.store      the same questions to a fiftieth of the points
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from collectors.records import LogLine, Points, labels_of
from collectors.store.sqlite import files
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import LogQuery, series_id

from .peers import duck_table
from .peers.duck_table import DuckTable
from .peers.row_table import Floats, RowTable, parts_of
from .report import Row, run

SCALE = float(os.environ.get("STORE_BENCH_SCALE", "1"))
START_S = 1_764_000_000.0
LONG = int(10_000_000 * SCALE)  # points of the long series, 100 a second
MONTH = int(30 * 86400 * SCALE)
BATCH = 50_000
HOST = labels_of(host="box")
GPUS = [labels_of(gpu=gpu, host="box", uuid=f"GPU-{gpu}") for gpu in range(8)]
SCALARS = tuple(f"train/metric_{i}" for i in range(10))
GPU_METRICS = tuple(f"gpu/metric_{i}" for i in range(25))  # of 8 GPUs: the 200 series of a live page
REPEATS = 9

Peer: TypeAlias = RowTable | DuckTable
Question: TypeAlias = tuple[str, float | None, Callable[[SqliteStore], object], Callable[[Peer], object] | None]


def measure() -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="store-bench-", dir=os.environ.get("STORE_BENCH_DIR")))
    try:
        return [*bytes_a_point(folder), *writing_rows(folder), *log_rows(folder), *reading_rows(folder)]
    finally:
        shutil.rmtree(folder)


def bytes_a_point(folder: Path) -> list[Row]:
    """Whole files, with catalogue, indices, summaries and roll-ups."""
    rng = np.random.default_rng(1)
    count = max(20_000, int(200_000 * SCALE))
    decay = np.exp(-np.arange(count) / 50_000)[:, None] * np.geomspace(0.05, 1000, 10)
    losses = np.array(
        [[float(str(value)) for value in row] for row in (decay * rng.normal(1, 0.02, (count, 10))).astype(np.float32)]
    )
    kinds = {
        "RunLog, 10 scalars a line": (4.0, scalar_lines(losses)),
        "arbitrary float64, 10 scalars a line": (8.5, scalar_lines(rng.normal(size=(count, 10)))),
        "8 GPUs x 6 metrics": (4.0, gpu_lines(count // 8)),
    }
    rows = []
    for number, (what, (budget, lines)) in enumerate(kinds.items()):
        kept = list(lines)
        points = sum(len(line.values) for line in kept)
        plain = RowTable(folder / f"plain-bytes-{number}.sqlite")
        plain.append(kept, BATCH)
        store = SqliteStore(folder / f"bytes-{number}", write=True)
        append(store, kept)
        store.settle()
        store.close()
        stored = files.folder_bytes(folder / f"bytes-{number}")
        rows.append(Row(f"bytes a point, {what}", stored / points, "B", budget, baseline=plain.bytes() / points))
    return rows


def writing_rows(folder: Path) -> list[Row]:
    rng = np.random.default_rng(3)
    count = max(50_000, int(500_000 * SCALE))
    wide = list(scalar_lines(np.round(rng.normal(size=(count // 5, 10)), 4)))
    narrow = list(scalar_lines(np.round(rng.normal(size=(count, 1)), 4)))
    rows = []
    for what, lines, batch, budget in (
        ("append, 5,000 lines x 10 at once", wide, 5_000, 500_000),
        ("append, 20,000 lines x 1 at once", narrow, 20_000, 150_000),
        ("append, 100 lines x 10 at once (following)", wide[: count // 25], 100, 100_000),
    ):
        points = sum(len(line.values) for line in lines)
        store, plain = (
            SqliteStore(folder / f"append-{batch}", write=True),
            RowTable(folder / f"plain-append-{batch}.sqlite"),
        )
        taken_s = seconds(partial(append, store, lines, batch))
        plain_s = seconds(partial(plain.append, lines, batch))
        store.close()
        rows.append(Row(what, points / taken_s, "points/s", budget, True, points / plain_s))
    with written(folder / "small") as commits_s:
        time.sleep(max(5.0, 60 * SCALE))
    p50, p99 = np.percentile(np.array(commits_s) * 1e3, [50, 99]).tolist()
    spread = f"p50 {p50:.2f}, most {max(commits_s) * 1e3:.1f}, n = {len(commits_s)}"
    return [*rows, Row("commit of 200 points, 10 a second, with compaction: p99", p99, "ms", 25, spread=spread)]


def log_rows(folder: Path) -> list[Row]:
    count = max(50_000, int(1_000_000 * SCALE))
    store = SqliteStore(folder / "logs", write=True)
    lines = (
        LogLine(
            "a",
            "out.log",
            START_S + i / 10,
            20,
            f"[rank 0] step {i} loss {2 + i % 977 / 1000:.4f} lr 0.00030 tokens/s {31000 + i % 757}",
        )
        for i in range(count)
    )
    taken_s = seconds(lambda: [store.append(part) for part in parts_of(lines, 2000)])
    store.settle()
    store.close()
    stored = files.size_bytes(folder / "logs" / files.RUNS_FILE)
    store = SqliteStore(folder / "logs", write=False)
    rare, _ = median_ms(lambda: store.logs(LogQuery(text="loss is nan")), 3)
    newest, _ = median_ms(lambda: store.logs(LogQuery(run="a", limit=200)))
    store.close()
    return [
        Row("log lines, written", count / taken_s, "lines/s"),
        Row("log lines, bytes a line", stored / count, "B"),
        Row(f"log lines, text that is in none of {count / 1e6:g}M", rare, "ms"),
        Row("log lines, newest 200", newest, "ms"),
    ]


def reading_rows(folder: Path) -> list[Row]:
    where, plain = folder / "read", RowTable(folder / "plain.sqlite")
    ducks = [DuckTable(folder / "plain.duckdb")] if duck_table.installed() else []
    questions = fill(where, [plain, *ducks])
    rows = []
    reader = SqliteStore(where, write=False)
    for what, budget, ask, ask_plain in questions:
        typical, spread = median_ms(partial(ask, reader))
        baseline = seconds(partial(ask_plain, plain)) * 1e3 if ask_plain else None
        rows.append(Row(what, typical, "ms", budget, baseline=baseline, spread=spread))
        if ask_plain:
            rows += [
                Row(f"{what}, by DuckDB", median_ms(partial(ask_plain, duck), 3)[0], "ms", baseline=baseline)
                for duck in ducks
            ]
    points = LONG + len(GPUS) * MONTH
    rows += [
        Row("bytes a point of these, by DuckDB", duck.bytes() / points, "B", baseline=plain.bytes() / points)
        for duck in ducks
    ]
    stored = files.folder_bytes(where)
    rows.append(Row("bytes a point of these", stored / points, "B", baseline=plain.bytes() / points))
    rows.append(Row("cold open and first question, in a new process", cold_ms(where), "ms", 100))
    with written(where):
        time.sleep(max(10.0, 60 * SCALE))
        live = [series_id(None, name, labels) for labels in GPUS for name in GPU_METRICS]
        recent: Question = ("last 10 min of 200 series", 25, lambda s: s.range(live, time.time() - 600, None), None)
        for what, budget, ask, _ in [recent, *questions]:
            typical, spread = median_ms(partial(ask, reader))
            rows.append(Row(f"{what}, while 2,000 points/s are written", typical, "ms", budget, spread=spread))
    reader.close()
    return rows


def fill(where: Path, peers: Sequence[Peer]) -> list[Question]:
    """Data as big as the budgets name it, and the questions to it."""
    rng = np.random.default_rng(4)
    store = SqliteStore(where, write=True)
    values = np.round(2 + np.cumsum(rng.normal(0, 0.01, LONG)), 4)
    times = START_S + np.arange(LONG) / 100
    append(
        store,
        (
            Points("long", HOST, ("loss",), (v,), t, i)
            for i, (v, t) in enumerate(zip(values.tolist(), times.tolist(), strict=True))
        ),
    )
    long = series_id("long", "loss", HOST)
    for peer in peers:
        peer.append_columns(long, times, values)
    power = [series_id(None, "gpu/power_w", labels) for labels in GPUS]
    for labels, one in zip(GPUS, power, strict=True):
        watts, seen = (
            np.round(450 + rng.normal(0, 12, MONTH), 3),
            START_S + np.arange(MONTH) + rng.normal(0, 0.003, MONTH),
        )
        append(
            store,
            (
                Points(None, labels, ("gpu/power_w",), (v,), t, None)
                for v, t in zip(watts.tolist(), seen.tolist(), strict=True)
            ),
        )
        for peer in peers:
            peer.append_columns(one, seen, watts)
    catalogue = [series_id(f"run-{i}", name, HOST) for i in range(400) for name in SCALARS]
    for i in range(400):
        append(store, scalar_lines(rng.normal(size=(60, 10)), f"run-{i}"))
    for peer, one in itertools.product(peers, catalogue):
        peer.append_columns(one, START_S + np.arange(60), rng.normal(size=60))
    while store.compact(5.0):
        pass
    store.close()
    zooms = [zoom(long, START_S + LONG / 200, share) for share in (0.01, 0.02, 0.027, 0.1, 0.3)]
    return [
        (
            f"{LONG / 1e6:g}M points -> 2,000 buckets",
            20,
            lambda s: s.range([long], None, None),
            lambda peer: peer.buckets([long], 2000),
        ),
        (
            f"8 GPUs x 1 metric, {8 * MONTH / 1e6:.3g}M points -> 1,000 buckets",
            40,
            lambda s: s.range(power, None, None, buckets=1000),
            lambda peer: peer.buckets(power, 1000),
        ),
        ("last value of 4,000 series", 50, lambda s: s.last(catalogue), lambda peer: peer.last(catalogue)),
        *zooms,
    ]


def zoom(series: int, start_s: float, share: float) -> Question:
    end_s = start_s + share * LONG / 100
    return (
        f"zoom to {share * LONG / 1e6:.3g}M of it -> 2,000 buckets",
        100,
        lambda store: store.range([series], start_s, end_s),
        None,
    )


@contextmanager
def written(where: Path) -> Iterator[list[float]]:
    """Meanwhile another process writes 200 points each 100 ms and compacts; its commit times, once it has ended."""
    commits_s: list[float] = []
    command = [sys.executable, "-m", "benchmarks.store", "--write", str(where)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdin and writer.stdout
    try:
        writer.stdout.readline()  # it has begun
        yield commits_s
    finally:
        writer.stdin.close()
        commits_s += [float(line) for line in writer.stdout]
        writer.stdout.close()
        writer.wait()


def write_until_eof(where: Path) -> None:
    """The other process of `written`."""
    store = SqliteStore(where, write=True)
    end = threading.Event()

    def wait_for_eof() -> None:
        sys.stdin.read()
        end.set()

    def compact() -> None:
        while not end.wait(0.1):
            store.compact(0.05)

    threading.Thread(target=wait_for_eof, daemon=True).start()
    compacting = threading.Thread(target=compact)
    compacting.start()
    rng = np.random.default_rng(5)
    commits_s = []
    due_s = time.monotonic()
    print("begun", flush=True)
    while not end.wait(max(0.0, due_s - time.monotonic())):
        due_s += 0.1
        now_s = time.time()
        rows = np.round(rng.normal(400, 10, (8, len(GPU_METRICS))), 3).tolist()
        records = [
            Points(None, labels, GPU_METRICS, tuple(row), now_s, None) for labels, row in zip(GPUS, rows, strict=True)
        ]
        commits_s.append(seconds(lambda records=records: store.append(records)))  # type: ignore[misc]
    compacting.join()
    store.close()
    print("\n".join(map(str, commits_s)))


def scalar_lines(values: Floats, run_name: str = "a") -> Iterator[Points]:
    """One line a row, 20 a second with some jitter, times to the microsecond, as RunLog writes them."""
    names = SCALARS[: values.shape[1]]
    times = np.round(START_S + np.cumsum(np.random.default_rng(6).normal(0.05, 0.002, len(values))), 6).tolist()
    return (
        Points(run_name, HOST, names, tuple(row), t, i)
        for i, (row, t) in enumerate(zip(values.tolist(), times, strict=True))
    )


def gpu_lines(count: int) -> Iterator[Points]:
    """Power, utilization, memory, temperature, clock, PCIe: made up in the resolution of NVML, under load."""
    rng = np.random.default_rng(2)
    names = ("gpu/power_w", "gpu/util", "gpu/mem_used_bytes", "gpu/temp_c", "gpu/sm_mhz", "gpu/pcie_tx")
    for labels in GPUS:
        columns = (
            np.round(450 + 60 * np.sin(np.arange(count) / 300) + rng.normal(0, 12, count), 3),
            rng.integers(80, 101, count).astype(float),
            70e9 + rng.integers(0, 4, count) * 2.0**21,
            65.0 + np.cumsum(rng.choice([-1, 0, 0, 0, 0, 0, 1], count)) % 9,
            rng.choice([1980.0, 1965.0, 1755.0], count),
            np.round(rng.gamma(2, 1e6, count)),
        )
        times = START_S + np.arange(count) + rng.normal(0, 0.003, count)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        yield from (Points(None, labels, names, row, t, None) for row, t in zip(rows, times.tolist(), strict=True))


def append(store: SqliteStore, lines: Iterable[Points], batch: int = BATCH) -> None:
    for part in parts_of(lines, batch):
        store.append(part)


def cold_ms(where: Path) -> float:
    """From opening the store to the answer, with the interpreter and numpy already there."""
    code = f"""
import time; from pathlib import Path; from collectors.store.sqlite.engine import SqliteStore; from collectors.store.store import series_id
began = time.perf_counter(); store = SqliteStore(Path({str(where)!r}), write=False)
store.range([series_id("long", "loss", {HOST!r})], None, None); print((time.perf_counter() - began) * 1e3)"""
    return float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)


def median_ms(ask: Callable[[], object], repeats: int = REPEATS) -> tuple[float, str]:
    ask()
    taken = [seconds(ask) * 1e3 for _ in range(repeats)]
    return float(np.median(taken)), f"{min(taken):.1f} to {max(taken):.1f}"


def seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    if "--write" in sys.argv:
        write_until_eof(Path(sys.argv[-1]))
    else:
        sys.exit(run(measure, __doc__))
