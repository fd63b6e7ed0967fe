"""From TensorBoard's event files into the store, beside our JSONL of the same points and TensorBoard's own loader, in one run.

python -m benchmarks.formats                            about 3 minutes; `pip install tensorboard` for its row
FORMATS_BENCH_SCALE=0.1 python -m benchmarks.formats    a tenth of the points
"""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collectors.logs.formats.tensorboard.tfrecord import crc32c, intact, masked
from collectors.records import labels_of
from collectors.store.open import open_store
from collectors.store.protocol import series_id

from .ingest import START_S, Done, collecting
from .report import Row, run

SCALE = float(os.environ.get("FORMATS_BENCH_SCALE", "1"))
POINTS = int(1_000_000 * SCALE)
TAGS = [f"train/metric_{i}" for i in range(5)]
PEER_POINTS = min(POINTS, 200_000)  # of the loader: it takes the same time for each


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="formats-bench-", dir=os.environ.get("FORMATS_BENCH_DIR")) as folder:
        return tensorboard_rows(Path(folder))


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
        Row("checksums of its records", checked_per_s(records), "records/s"),
    ]
    if importlib.util.find_spec("tensorboard"):
        part = path.with_name("part")
        part.write_bytes(b"".join(records[:PEER_POINTS]))
        loader = PEER_POINTS / loader_s(part)
        rows += [Row("TensorBoard's own loader, without a store", loader, "points/s")]
        rows += [Row("as fast as that loader, into the store", rate / loader, "times", 3, True)]
    return rows


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


if __name__ == "__main__":
    sys.exit(run(measure, __doc__))
