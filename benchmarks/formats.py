"""From other formats into the store, beside our JSONL of the same points: TensorBoard's event files, CSV, metrics in a text.

python -m benchmarks.formats                            about 4 minutes; `make test-integrations` before, for TensorBoard's own loader
FORMATS_BENCH_SCALE=0.1 python -m benchmarks.formats    a tenth of the points
"""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from collectors.logs.formats.text import TextLog
from collectors.logs.formats.text.numbers import TextNumbers
from collectors.logs.formats.tfrecord import crc32c, intact, masked
from collectors.logs.tail import Tail
from collectors.records import LogLine, Points, labels_of
from collectors.store.engines import open_store
from collectors.store.store import series_id

from .ingest import START_S, Done, collecting
from .report import Row, run

SCALE = float(os.environ.get("FORMATS_BENCH_SCALE", "1"))
POINTS = int(1_000_000 * SCALE)
TAGS = [f"train/metric_{i}" for i in range(5)]
PEER_POINTS = min(POINTS, 200_000)  # of the loader: it takes the same time for each
ROWS, COLUMNS = int(400_000 * SCALE), 10  # of CSV
LINES, BATCH, TURNS = 20_000, 5_000, 9  # of text
KINDS = ("plain", "finding", "storing")  # of what becomes of the metrics in a text


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="formats-bench-", dir=os.environ.get("FORMATS_BENCH_DIR")) as folder:
        root = Path(folder)
        tables = [*csv_rows(root / "full", 1), *csv_rows(root / "sparse", 2)]
        return [*tensorboard_rows(root), *tables, *text_rows(root)]


def tensorboard_rows(root: Path) -> list[Row]:
    """One scalar a record, five tags in turn."""
    path = root / "events" / "logs" / "a" / "events.out.tfevents.1764000000.box.1.0"
    lines = root / "lines" / "logs" / "a" / "metrics.jsonl"
    for file in (path, lines):
        file.parent.mkdir(parents=True)
    records = list(event_records(POINTS))
    path.write_bytes(b"".join(records))
    lines.write_text("".join(json_lines(POINTS)))
    ours, jsonl = stored(root / "events"), stored(root / "lines")
    check(root / "events")
    what, rate = f"an event file of {path.stat().st_size / 1e6:.0f} MB, 1 a record", POINTS / ours.seconds
    rows = [
        Row(f"{what}; baseline JSONL of the same", rate, "points/s", 150_000, True, POINTS / jsonl.seconds),
        Row(
            f"{what}: memory",
            (ours.peak_bytes - ours.idle_bytes) / 1e6,
            "MB",
            60,
            baseline=(jsonl.peak_bytes - jsonl.idle_bytes) / 1e6,
        ),
        Row(
            "the same, parsed alone",
            POINTS / parsing_s(root / "events", POINTS),
            "points/s",
            baseline=POINTS / parsing_s(root / "lines", POINTS),
        ),
        Row("checksums of its records", checked_per_s(records), "records/s"),
    ]
    if importlib.util.find_spec("tensorboard"):
        part = path.with_name("part")
        part.write_bytes(b"".join(records[:PEER_POINTS]))
        loader = PEER_POINTS / loader_s(part)
        rows += [Row("TensorBoard's own loader, without a store", loader, "points/s")]
        rows += [Row("as fast as that loader, into the store", rate / loader, "times", 3, True)]
    return rows


def parsing_s(folder: Path, points: int) -> float:
    """From the file to its points, without a store."""
    tail = Tail(folder / "logs", "box", {}, threading.Event())
    began_s, found = time.perf_counter(), 0
    while found < points:
        found += sum(len(record.values) for record in tail.collect() if isinstance(record, Points))
    took_s = time.perf_counter() - began_s
    tail.close()
    return took_s


def stored(folder: Path) -> Done:
    with collecting(folder, POINTS) as found:
        pass
    return found[0]


def check(folder: Path) -> None:
    """Every point is there once."""
    store = open_store(folder / "data", write=False)
    for i, tag in enumerate(TAGS):
        series = store.series("a", tag)
        assert [one.points for one in series] == [len(range(i, POINTS, len(TAGS)))], series
    assert series[0].id == series_id("a", tag, labels_of(host="box"))
    store.close()


def checked_per_s(records: list[bytes]) -> float:
    batch = records[:20_000]
    data, lengths = b"".join(batch), np.array([len(one) - 16 for one in batch], np.int64)
    starts = np.cumsum(lengths + 16) - lengths - 4
    intact(data, starts, lengths)
    began_s = time.perf_counter()
    assert intact(data, starts, lengths).all()
    return len(batch) / (time.perf_counter() - began_s)


def loader_s(path: Path) -> float:
    """TensorBoard's own way from the file to its events, all in Python."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    began_s = time.perf_counter()
    assert sum(1 for _ in EventFileLoader(str(path)).Load()) == PEER_POINTS
    return time.perf_counter() - began_s


def event_records(count: int) -> Iterator[bytes]:
    """As SummaryWriter writes them."""
    heads = [_field(1, tag.encode()) + b"\x15" for tag in TAGS]
    crcs: dict[int, bytes] = {}
    for i, value in enumerate(np.random.default_rng(0).normal(2, 0.1, count).astype("<f4")):
        step = i // len(TAGS)
        body = b"\x09" + struct.pack("<d", START_S + i / 100) + (b"\x10" + _varint(step) if step else b"")
        body += _field(5, _field(1, heads[i % len(TAGS)] + value.tobytes()))
        length = len(body).to_bytes(8, "little")
        head = crcs.get(len(body)) or crcs.setdefault(len(body), struct.pack("<I", masked(crc32c(length))))
        yield length + head + body + struct.pack("<I", masked(crc32c(body)))


def json_lines(count: int) -> Iterator[str]:
    for i, value in enumerate(np.random.default_rng(0).normal(2, 0.1, count).astype(np.float32)):
        yield f'{{"time_s":{START_S + i / 100:.6f},"step":{i // len(TAGS)},"{TAGS[i % len(TAGS)]}":{value!s}}}\n'


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low = b""
    while value > 127:
        low += bytes([value & 127 | 128])
        value >>= 7
    return low + bytes([value])


def csv_rows(folder: Path, every: int) -> list[Row]:
    """`every` 2: every second row half empty, as where a trainer logs and a validation does. Its baseline is the same as JSONL."""
    points = ROWS * COLUMNS - (ROWS // 2 * (COLUMNS // 2) if every == 2 else 0)
    lines = list(csv_lines(ROWS, every))
    rate = rows_per_s(folder / "csv", "metrics.csv", lines, points)
    jsonl = rows_per_s(folder / "jsonl", "metrics.jsonl", as_jsonl(lines), points)
    what = f"a CSV of {sum(map(len, lines)) / 1e6:.0f} MB, {COLUMNS} columns" + (
        ", every second row half empty" if every == 2 else ""
    )
    parsed, parsed_jsonl = (ROWS / parsing_s(folder / kind, points) for kind in ("csv", "jsonl"))
    return [
        Row(what, rate, "rows/s", 60_000 if every == 1 else None, True, jsonl),
        Row("the same, parsed alone", parsed, "rows/s", baseline=parsed_jsonl),
    ]


def rows_per_s(folder: Path, name: str, lines: Iterable[bytes], points: int) -> float:
    path = folder / "logs" / "a" / name
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.writelines(lines)
    with collecting(folder, points) as found:
        pass
    return ROWS / found[0].seconds


def as_jsonl(lines: Sequence[bytes]) -> Iterator[bytes]:
    header, *rows = (line.rstrip(b"\n").split(b",") for line in lines)
    names = [b"time_s", *header[1:]]
    for cells in rows:
        filled = (b'"%b":%b' % (name, cell) for name, cell in zip(names, cells, strict=True) if cell)
        yield b"{" + b",".join(filled) + b"}\n"


def csv_lines(rows: int, every: int) -> Iterator[bytes]:
    values = np.random.default_rng(0).normal(2, 0.1, (1_000, COLUMNS)).astype(np.float32)
    full = [",".join(map(str, row)) for row in values.tolist()]
    half = [",".join([*map(str, row[: COLUMNS // 2]), *[""] * (COLUMNS // 2)]) for row in values.tolist()]
    yield ("timestamp,step," + ",".join(f"metric_{i}" for i in range(COLUMNS)) + "\n").encode()
    for row in range(rows):
        cells = half if every == 2 and row % 2 else full
        yield f"{START_S + row / 20:.3f},{row},{cells[row % 1_000]}\n".encode()


def text_rows(folder: Path) -> list[Row]:
    """A log of a training in which every tenth line has metrics, and one in which every line has."""
    other = [
        b"2025-11-24 16:22:01,500 INFO [loader.py:88] shard 17 of 64 opened in 0.31 s (12 workers)",
        b"2025-11-24 16:22:01,520 WARNING the tokenizer has a new pad token that the model does not know",
    ]
    metrics = b"2025-11-24 16:22:02,250 INFO step %d | loss 1.8%03d | grad_norm 0.9%03d | lr 3.0e-04"
    found = []
    for every, most in ((10, 15.0), (1, None)):
        lines = [metrics % (i, i % 1000, i % 977) if i % every == 0 else other[i % 2] for i in range(LINES)]
        plain, finding, storing = seconds(folder / str(every), lines)
        what = (
            f"text into the store, metrics on every {every}th line"
            if every > 1
            else "text into the store, metrics on every line"
        )
        found += [
            Row(what, LINES / storing, "lines/s", baseline=LINES / plain),
            Row(f"{what}: slower for finding them by", 100 * (finding / plain - 1), "%", most),
            Row(f"{what}: slower for finding and storing them by", 100 * (storing / plain - 1), "%"),
        ]
    return found


def seconds(folder: Path, lines: Sequence[bytes]) -> list[float]:
    """Of processor time, for each kind: the best of some turns, each with a store of its own."""
    turns = [[turn(folder / f"{kind}-{number}", lines, kind) for kind in KINDS] for number in range(TURNS)]
    return [min(took_s) for took_s in zip(*turns, strict=True)]


def turn(folder: Path, lines: Sequence[bytes], kind: str) -> float:
    store = open_store(folder, write=True)
    numbers = TextNumbers("a", labels_of(host="box"))
    text = TextLog("a", "train.log", START_S, None, None if kind == "plain" else lambda rank, kept: numbers)
    took_s = 0.0
    for since in range(0, len(lines), BATCH):
        began_s = time.process_time()
        records = text.parse(lines[since : since + BATCH], None)
        took_s += time.process_time() - began_s
        if kind == "finding":
            records = [record for record in records if isinstance(record, LogLine)]
        began_s = time.process_time()
        store.append(records)
        took_s += time.process_time() - began_s
    store.close()
    return took_s


if __name__ == "__main__":
    sys.exit(run(measure, __doc__))
