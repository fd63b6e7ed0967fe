"""The samples of runs: the bytes of those without a file, the place of all others; their number and bytes are bounded for each run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ...records import Sample
from ..protocol import MOST_SAMPLE_BYTES, MOST_SAMPLE_NAMES, MOST_SAMPLES, SampleName, SampleNames, SampleQuery

_ROW = "run, name, kind, media, time_s, step, rank, {data}, path, offset, length, head_crc, written_s, id"
_INSERT = """INSERT INTO sample (run, name, kind, media, time_s, step, rank, data, path, offset, length, head_crc, written_s)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_COUNT = """INSERT INTO sample_count VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  kept = kept + excluded.kept, bytes = bytes + excluded.bytes, left_out = left_out + excluded.left_out"""
_NAMES = """SELECT name, group_concat(DISTINCT kind), count(*), min(step), max(step), min(time_s), max(time_s)
  FROM sample WHERE run = ? GROUP BY name ORDER BY name LIMIT ?"""


def write(db: sqlite3.Connection, samples: Iterable[Sample]) -> None:
    """What goes beyond the limits of its run is counted."""
    for run, some in _by_run(samples).items():
        kept: dict[str, int] = dict(db.execute("SELECT kind, kept FROM sample_count WHERE run = ?", (run,)).fetchall())
        (used,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM sample_count WHERE run = ?", (run,)).fetchone()
        counts, rows = [], []
        for sample in some:
            size = len(sample.data)
            fits = kept.get(sample.kind, 0) < MOST_SAMPLES and (not size or used + size <= MOST_SAMPLE_BYTES)
            if fits:
                kept[sample.kind] = kept.get(sample.kind, 0) + 1
                used += size
                rows.append(sample[:-1])
            counts.append((run, sample.kind, fits, size if fits else 0, not fits))
        db.executemany(_INSERT, rows)
        db.executemany(_COUNT, counts)
        db.execute("INSERT OR IGNORE INTO run (name) VALUES (?)", (run,))


def read_names(db: sqlite3.Connection, run: str) -> SampleNames:
    names = [
        SampleName(name, tuple(sorted(kinds.split(","))), *others)
        for name, kinds, *others in db.execute(_NAMES, (run, MOST_SAMPLE_NAMES))
    ]
    (count,) = db.execute("SELECT count(DISTINCT name) FROM sample WHERE run = ?", (run,)).fetchone()
    (left_out,) = db.execute("SELECT coalesce(sum(left_out), 0) FROM sample_count WHERE run = ?", (run,)).fetchone()
    return SampleNames(names, count - len(names), left_out)


def read(db: sqlite3.Connection, query: SampleQuery) -> list[Sample]:
    terms = [
        ("run = ?", query.run),
        ("name = ?", query.name),
        ("step >= ?", query.from_step),
        ("step <= ?", query.to_step),
        ("id = ?", query.number),
        ("id > ?", query.after or None),
    ]
    asked = [(term, value) for term, value in terms if value is not None]
    where = " AND ".join(term for term, _ in asked)
    order = "id" if query.name is None else "step DESC, id DESC"
    row = _ROW.format(data="data" if query.data else "x''")
    rows = db.execute(
        f"SELECT {row} FROM sample WHERE {where} ORDER BY {order} LIMIT ?", [*(v for _, v in asked), query.limit]
    )
    found = [Sample._make(row) for row in rows]
    return found if query.name is None else found[::-1]


def remove(db: sqlite3.Connection, run: str) -> None:
    for table in ("sample", "sample_count"):
        db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))


def _by_run(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.run, []).append(sample)
    return found
