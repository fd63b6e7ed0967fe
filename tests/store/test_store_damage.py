"""A blob that is torn or has one wrong bit is noticed, named by `store check`, and costs only itself: for each kind of blob."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from collectors.records import Frame, LogLine, Points, Record, SourceText, StackRecording, StackSpan, labels_of
from collectors.store.engines import maintenance
from collectors.store.sqlite import codec, files, schema
from collectors.store.sqlite.chunks import ROWS
from collectors.store.sqlite.compact import PACK_ROWS
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import LogQuery, Store, StoreError, series_id

START_S = 1_764_000_000.0
HOST = labels_of(host="box")
LOSS, LR, OTHER = (series_id(run, name, HOST) for run, name in (("a", "loss"), ("a", "lr"), ("b", "loss")))
PAGED, SEALED, PACKED, FRESH = 64 * ROWS, 4 * ROWS, PACK_ROWS, 20
POINTS = PAGED + SEALED + PACKED + FRESH
BLOBS = [
    ("head", "data"),
    ("pack", "data"),
    ("axis", "data"),
    ("chunk", "data"),
    ("page", "coarse"),
    ("page", "fine"),
    ("log", "columns"),
    ("log", "texts"),
    ("profile", "data"),
    ("stack", "frames"),
    ("source_text", "data"),
]


def lines(start: int, count: int, run: str = "a") -> list[Record]:
    return [
        Points(run, HOST, ("loss", "lr"), (step / 8, -float(step)), START_S + step, step)
        for step in range(start, start + count)
    ]


def window(second: int) -> StackRecording:
    """Two threads for one second, each with a stack of its own."""
    start = second * 10**9
    samples = [
        StackSpan(start, 10**9, tid, (Frame("main", "train.py", 1), Frame("work", "work.py", tid))) for tid in (7, 8)
    ]
    return StackRecording(
        "a",
        0,
        9,
        "main",
        "box",
        "native",
        1.0,
        START_S + second,
        start,
        start + 10**9,
        {7: "one", 8: "two"},
        samples,
        2,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every kind of blob stands at least twice."""
    where = tmp_path_factory.mktemp("whole")
    store = SqliteStore(where, write=True)
    texts = [SourceText("a", f"{sha}.py", sha, f"text of {sha}\n" * 9, START_S) for sha in ("aa", "bb")]
    store.append([*lines(0, PAGED + SEALED), *lines(0, 2 * ROWS, "b"), window(0), *texts])
    while store.compact(1.0):
        pass
    for start in range(PAGED + SEALED, PAGED + SEALED + PACKED, PACKED // 2):
        store.append(lines(start, PACKED // 2))
    store._compactors[files.RUNS_FILE]._pack(store._compactors[files.RUNS_FILE]._due()[0])
    for start in range(POINTS - FRESH, POINTS, FRESH // 2):
        store.append([*lines(start, FRESH // 2), LogLine("a", "out.log", START_S + start, 20, f"line {start}")])
    store.append([window(2)])
    store.close()
    assert maintenance(where).check() == []
    return where


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def damage(where: Path, table: str, column: str, kind: str, order: str = "rowid") -> int:
    """Change one blob; the row that it stands in."""
    for path in files.all_files(where):
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            if db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone():
                found: tuple[int, bytes] = db.execute(
                    f"SELECT rowid, {column} FROM {table} ORDER BY {order} LIMIT 1"
                ).fetchone()
                row, blob = found
                middle = len(blob) // 2
                wrong = (
                    blob[:middle] if kind == "torn" else blob[:middle] + bytes([blob[middle] ^ 16]) + blob[middle + 1 :]
                )
                db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (wrong, row))
                return row
    raise AssertionError(f"no table {table}")


def steps(store: Store, series: int) -> np.ndarray:
    """All of a series, each point its own bucket."""
    return store.range([series], None, None, "step", buckets=10**6)[series].t


def losses(store: Store) -> dict[str, int]:
    """How much is missing, by kind of blob that could be the reason."""
    found = store.stacks(START_S, START_S + 3, "a")
    damaged = sum(found.frames[found.stacks[one][0]].name == "(damaged)" for one in found.stack)
    page = store.logs(LogQuery(run="a", limit=100, text="line"))
    return {
        "points": POINTS - len(steps(store, LOSS)),
        "other": 2 * ROWS - len(steps(store, OTHER)),
        "lines": 2 - len(page.lines),
        "spans": 4 - len(found.tid) + damaged,
        "texts": sum(store.source_text("a", f"{sha}.py") is None for sha in ("aa", "bb")),
    }


COST = {
    "head": {"points": FRESH // 2},
    "pack": {"points": PACKED},
    "axis": {"points": ROWS},
    "chunk": {"points": ROWS},
    "page": {},
    "log": {"lines": 1},
    "profile": {"spans": 2},
    "stack": {"spans": 2},  # seen in two windows
    "source_text": {"texts": 1},
}


@pytest.mark.parametrize("kind", ["torn", "flipped"])
@pytest.mark.parametrize(("table", "column"), BLOBS)
def test_it_is_named_and_costs_only_itself(copy: Path, table: str, column: str, kind: str) -> None:
    reader = SqliteStore(copy, write=False)
    assert not any(losses(reader).values())
    reader.close()
    row = damage(
        copy, table, column, kind, "rowid DESC" if table == "head" else "rowid"
    )  # the older commits are packed
    named = maintenance(copy).check()
    assert named and all("damaged" in trouble for trouble in named)
    assert all(f"{table} {row}" in trouble or (table == "axis" and "chunk " in trouble) for trouble in named)
    reader = SqliteStore(copy, write=False)
    assert {what: count for what, count in losses(reader).items() if count} == COST[table]
    assert reader.range([LOSS], None, None, buckets=10)[LOSS].max.max() >= (POINTS - PACKED - FRESH - 1) / 8
    reader.close()


@pytest.mark.parametrize(("table", "column"), BLOBS)
def test_the_writer_goes_on_beside_it(copy: Path, table: str, column: str) -> None:
    """It starts, takes more, packs, makes pages over it, merges, and what is new is whole."""
    last = "(SELECT max(start) FROM chunk WHERE axis = axis.rowid) DESC"
    newest = {"chunk": "start DESC", "axis": last, "head": "rowid DESC"}  # not in a page, not in a pack
    damage(copy, table, column, "flipped", newest.get(table, "rowid"))
    store = SqliteStore(copy, write=True)
    store.append([*lines(POINTS, PAGED), LogLine("a", "out.log", START_S, 20, "line of later"), window(3)])
    store.settle()
    found = steps(store, LOSS)
    np.testing.assert_array_equal(found[-PAGED:], np.arange(POINTS, POINTS + PAGED))
    assert len(found) >= POINTS + PAGED - ROWS
    for buckets in (1, 30, 3000):
        few = store.range([LOSS], None, None, "step", buckets)[LOSS]
        assert few.max.max() == (POINTS + PAGED - 1) / 8 and few.count.sum() >= POINTS + PAGED - ROWS
    assert store.logs(LogQuery(text="of later")).total == 1
    assert len(store.stacks(START_S + 3, START_S + 4, "a").tid) == 2
    assert len(steps(store, OTHER)) == 2 * ROWS
    store.close()
    assert all("damaged" in trouble for trouble in maintenance(copy).check())


def test_a_wrong_frame_is_named(copy: Path) -> None:
    (path,) = files.machine_files(copy)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE frame SET line = line + 1 WHERE file = 'train.py'")
    (trouble,) = maintenance(copy).check()
    assert "frame" in trouble and "damaged" in trouble


@pytest.mark.parametrize("at", [0, 3 * schema.PAGE_BYTES], ids=["header", "tables"])
def test_a_file_that_sqlite_cannot_read_is_told_in_one_sentence_with_the_remedy(copy: Path, at: int) -> None:
    path = copy / files.RUNS_FILE
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * (path.stat().st_size // 2))
    with pytest.raises(StoreError, match="the store is damaged; run deepseek-dashboard store check to find the file"):
        store = SqliteStore(copy, write=True)
        store.append(lines(POINTS, 10))
        store.settle()
    assert any(trouble.startswith(files.RUNS_FILE) for trouble in maintenance(copy).check())
    with pytest.raises(StoreError, match=r"the store cannot be read .*: the store is damaged"):
        reader = SqliteStore(copy, write=False)
        reader.range([LOSS], None, None, "step")


def test_every_blob_begins_with_the_version_of_the_codec(whole: Path) -> None:
    """But a stack's, whose name is the hash of its content, and a sample's own bytes, which are short text."""
    for path in files.all_files(whole):
        with contextlib.closing(sqlite3.connect(path)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            blobs = {
                (table, column)
                for table in tables
                for _, column, kind, *_ in db.execute(f"PRAGMA table_info({table})")
                if kind == "BLOB"
            }
            blobs.discard(("sample", "data"))
            assert blobs <= set(BLOBS)
            for table, column in blobs - {("stack", "frames")}:
                firsts = {bytes(blob[:1]) for (blob,) in db.execute(f"SELECT {column} FROM {table}")}
                assert firsts <= {codec.VERSION}
