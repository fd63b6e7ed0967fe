"""A store of every earlier schema version is read, and written on."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from collectors.records import Frame
from collectors.store.engines import maintenance
from collectors.store.sqlite import files, schema
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import LogQuery, SampleQuery, Store, StoreError, series_id
from tests.record_store import BAR, GPU, HOST, RECORDED, SAMPLE, SOURCE, START_S, STEPS, run_records

LOSS, UTIL = series_id("a", "train/loss", HOST), series_id(None, "gpu/util", GPU)
VERSIONS = range(1, schema.VERSION + 1)


def recorded(version: int, data_dir: Path) -> Path:
    """A data folder as that version left it."""
    data_dir.mkdir()
    for name in (files.RUNS_FILE, files.week_file(START_S)):
        with contextlib.closing(sqlite3.connect(data_dir / name)) as db:
            db.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
            db.executescript((RECORDED / f"v{version}-{name.partition('.')[0].partition('-')[0]}.sql").read_text())
    return data_dir


def check_content(store: Store, steps: int) -> None:
    """What `tests/record_store.py` wrote."""
    found = store.range([LOSS], None, None, "step", 10**6)[LOSS]
    np.testing.assert_array_equal(found.t, np.arange(steps))
    np.testing.assert_array_equal(found.last, np.arange(steps) % 64)
    few = store.range([LOSS], None, None, "time", 10)[LOSS]
    assert (few.min.min(), few.max.max(), few.count.sum()) == (0, 63, steps) and 9 <= len(few.t) <= 10
    assert (
        store.range([UTIL], None, None)[UTIL].last.tolist() == list(range(10)) and store.last([UTIL])[UTIL].value == 9
    )
    (run,) = store.runs()
    assert (run.name, run.info, run.points, run.last_step) == ("a", {"kind": "training"}, steps, steps - 1)
    found = store.outcomes()
    assert (found.name, found.points.tolist(), found.last.tolist()) == (["train/loss"], [steps], [(steps - 1) % 64])
    assert (found.least[0], found.least_step[0], found.most[0], found.most_step[0]) == (0, 0, 63, 63)
    assert store.offsets()["a/metrics.jsonl"].offset == steps and store.offsets()["a/metrics.jsonl"].inode == 2**63 + 5
    assert [line.text for line in store.logs(LogQuery(level=40)).lines] == ["it went wrong"]
    assert [(event.kind, event.fields) for event in store.events("a")] == [("start", {"pid": 7})]
    assert store.source_text("a", "/job/train.py") in (None, SOURCE), "kept since version 3"
    assert store.bars("a") in ([], [BAR]), "kept since version 4"
    samples = [sample._replace(number=0) for sample in store.samples(SampleQuery("a", data=True))]
    assert samples in ([], [SAMPLE]), "kept since version 5"
    stacks = store.stacks(START_S, START_S + 1, "a")
    assert [stacks.frames[i] for i in stacks.stacks[stacks.stack[0]]] == [
        Frame("main", "train.py", 1),
        Frame("load", "data.py", 88),
    ]


def layout(data_dir: Path) -> dict[str, dict[str, str]]:
    """The statements that made the tables and indices of each kind of file, without comments and blanks."""
    found = {}
    for path in files.all_files(data_dir):
        with contextlib.closing(sqlite3.connect(path)) as db:
            made = db.execute(
                "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
        found[path.stem.partition("-")[0]] = {name: bare(sql) for name, sql in made}
    return found


def bare(sql: str) -> str:
    return "".join("".join(line.partition("--")[0].split()) for line in sql.replace('"', "").splitlines())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_each_version_is_brought_up_to_date_and_written_on(version: int, tmp_path: Path) -> None:
    data_dir = recorded(version, tmp_path / "old")
    store = SqliteStore(data_dir, write=True)
    check_content(store, STEPS)
    store.append(run_records(STEPS, STEPS + 3000))
    store.settle()
    check_content(store, STEPS + 3000)
    (template,) = store.templates("a")
    assert template[1:] == ("it went wrong", "it went wrong", False, 40, 1, START_S, START_S), "older lines are grouped"
    assert store.line_extents() == {"a": (1, 1, 1, 0)}
    store.close()
    assert maintenance(data_dir).check() == []
    assert layout(data_dir) == layout(recorded(schema.VERSION, tmp_path / "today"))


def test_the_tables_of_this_version_are_those_that_were_recorded_of_it(tmp_path: Path) -> None:
    """Who changes a table raises `schema.VERSION`, writes the migration, and records the new version with tests/record_store.py."""
    data_dir = recorded(schema.VERSION, tmp_path / "recorded")
    before = layout(data_dir)
    for kind in ("runs", "machine"):
        schema.open_writer(tmp_path / f"{kind}.sqlite").close()
        with contextlib.closing(sqlite3.connect(tmp_path / f"{kind}.sqlite")) as db:
            made = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
        assert {name: bare(sql) for name, sql in made if not name.startswith("sqlite_")} == before[kind]


def test_a_reader_waits_until_the_writer_has_brought_the_file_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = recorded(1, tmp_path / "old")
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setitem(schema.MIGRATIONS, schema.VERSION - 1, add_a_column)
    reader = SqliteStore(data_dir, write=False)
    assert reader.runs() == []
    for _ in range(2):
        SqliteStore(data_dir, write=True).close()
    check_content(reader, STEPS)
    reader.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = recorded(schema.VERSION, tmp_path / "old")
    before = layout(data_dir)

    def fail(db: sqlite3.Connection) -> None:
        add_a_column(db)
        raise RuntimeError("the machine stops here")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        patch.setitem(schema.MIGRATIONS, schema.VERSION - 1, fail)
        with pytest.raises(RuntimeError):
            SqliteStore(data_dir, write=True)
    assert layout(data_dir) == before
    store = SqliteStore(data_dir, write=True)
    check_content(store, STEPS)
    store.close()


def test_a_store_of_a_newer_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    SqliteStore(tmp_path, write=True).close()
    with contextlib.closing(sqlite3.connect(tmp_path / files.RUNS_FILE)) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreError, match="written by a newer version"):
        SqliteStore(tmp_path, write=True)
    with pytest.raises(StoreError, match="written by a newer version"):
        SqliteStore(tmp_path, write=False).runs()


def add_a_column(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE head ADD COLUMN note TEXT")
