"""From a CSV file into the store, by the collector's own tail and store; and what finding metrics in a text log costs.

python -m benchmarks.formats_csv        about a minute
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from collectors.logs.formats.text import Text
from collectors.logs.formats.text_numbers import TextNumbers
from collectors.records import LogLine, labels_of
from collectors.store.open import open_store

from .ingest import START_S, collecting
from .report import Row, run

SCALE = float(os.environ.get("FORMATS_BENCH_SCALE", "1"))
ROWS = int(400_000 * SCALE)
COLUMNS = 10
LINES, BATCH, TURNS = 20_000, 5_000, 9
KINDS = ("plain", "finding", "storing")  # of what becomes of the metrics in a text


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="formats-bench-") as folder:
        return [csv_row(Path(folder) / "full", 1), csv_row(Path(folder) / "sparse", 2), *text_rows(Path(folder))]


def csv_row(folder: Path, every: int) -> Row:
    """`every` 2: every second row half empty, as where a trainer logs and a validation does. Its baseline is the same as JSONL."""
    points = ROWS * COLUMNS - (ROWS // 2 * (COLUMNS // 2) if every == 2 else 0)
    lines = list(csv_lines(ROWS, every))
    rate = rows_per_s(folder / "csv", "metrics.csv", lines, points)
    jsonl = rows_per_s(folder / "jsonl", "metrics.jsonl", as_jsonl(lines), points)
    what = f"a CSV of {sum(map(len, lines)) / 1e6:.0f} MB, {COLUMNS} columns" + (
        ", every second row half empty" if every == 2 else ""
    )
    return Row(what, rate, "rows/s", 60_000 if every == 1 else None, True, jsonl)


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
            f"text into the store, metrics on every {every}th line" if every > 1 else "text into the store, metrics on every line"
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
    text = Text("a", "train.log", START_S, None, None if kind == "plain" else lambda rank, kept: numbers)
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
