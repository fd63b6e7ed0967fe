"""Databases of other programs: each run in them is a run, read once, and neither a writer nor its folder notices the reader."""

from __future__ import annotations

import functools
import itertools
import pickle
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.folders import LogTree
from collectors.logs import database_file, tail
from collectors.logs.database import BeingWritten, opened
from collectors.logs.database_file import FollowedDatabases, StillReading, news_of
from collectors.logs.formats.databases import LoggedStatus, RunRef
from collectors.logs.open_files import NotRead
from collectors.logs.runs import RunFolders
from collectors.records import Offset, Points, Record
from tests.conftest import script
from tests.support.following import DEADLINE_S, Follower, check_told, of_run, points_of, series_of, unpacked, until
from tests.support.trackio_project import Project

INTERIOR, LEAF = 5, 13  # the first byte of a page of a table
JOURNALS = ["wal", "delete", "truncate", "persist"]
# A process of its own, as in reality: within one, SQLite's connections share what they know of a file, its readers' rights too.
WRITER = """
import sys, time
from pathlib import Path
from tests.support.trackio_project import Project
path, journal = Path(sys.argv[1]), sys.argv[2]
"""
KEPT_OPEN = """
project = Project(path, journal)
for step in range(300):
    project.log("one" if step % 2 else "two", step, {"loss": step / 7})
    time.sleep(0.001)
project.db.close()
"""
OPENED_ANEW = """
for step in range(100):
    project = Project(path, journal, is_new=not step)
    project.log("one", step, {"loss": step})
    project.db.close()
"""


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    (tmp_path / "logs").mkdir()
    follower = Follower(tmp_path / "logs")
    yield follower
    follower.tail.close()


def test_trackio_is_read_as_it_reads_itself(follower: Follower) -> None:
    told = unpacked("trackio_log", follower.root)
    until(follower, lambda: "trackio/shop.db" in follower.offsets)
    check_told(follower.records, told)
    (activity,) = [run for run in follower.tail.live_runs() if run.run == "trackio/shop/small"]
    assert activity.files == ("shop.db", "shop.db-wal")  # by which its process is found
    count = len(points_of(follower.records))
    follower.restart()
    until(follower, lambda: True)
    assert len(points_of(follower.records)) == count


@pytest.mark.parametrize("journal", JOURNALS)
def test_what_is_written_while_it_is_read_comes_once_and_no_writer_waits(follower: Follower, journal: str) -> None:
    """The writer gives up at once where something is locked."""
    with script(WRITER + KEPT_OPEN, str(follower.root / "a" / "p.db"), journal) as writer:
        for turn in itertools.count(1):
            if writer.poll() is not None:
                break
            follower.collect()
            if turn % 20 == 0:
                follower.restart()
        assert writer.returncode == 0
        until(follower, lambda: len(points_of(follower.records)) >= 300)
    for run, first in (("one", 1), ("two", 0)):
        assert series_of(of_run(follower.records, f"a/p/{run}")) == {
            "loss": [(step, step / 7) for step in range(first, 300, 2)]
        }


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_program_that_opens_it_anew_for_each_row_is_followed_without_trouble(
    follower: Follower, journal: str
) -> None:
    """As Trackio does; each time it is closed, its write-ahead log goes."""
    troubles = set()
    with script(WRITER + OPENED_ANEW, str(follower.root / "p.db"), journal) as writer:
        while writer.poll() is None:
            follower.collect()
            troubles.add(follower.tail.trouble())
        assert writer.returncode == 0
        until(follower, lambda: len(points_of(follower.records)) >= 100)
    assert series_of(follower.records) == {"loss": [(step, float(step)) for step in range(100)]}
    assert troubles == {""}


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("closed", [True, False])
def test_reading_leaves_the_folder_as_it_was(follower: Follower, journal: str, closed: bool) -> None:
    project = Project(follower.root / "p.db", journal)
    project.log("one", 1, {"loss": 0.5})
    if closed:
        project.db.close()
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in follower.root.iterdir()
        if path.suffix != ".db-shm"
    }
    until(follower, lambda: points_of(follower.records))
    after = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in follower.root.iterdir()
        if path.suffix != ".db-shm"
    }
    assert before == after and {point.run for point in points_of(follower.records)} == {"p/one"}
    assert (
        closed or journal != "wal" or project.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    )  # nothing is held
    project.db.close()


def test_a_log_that_a_killed_program_or_a_copy_left_is_read(follower: Follower, tmp_path: Path) -> None:
    project = Project(tmp_path / "elsewhere" / "p.db")
    project.log("one", 1, {"loss": 0.5})
    shutil.copytree(project.path.parent, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    (tmp_path / "copy").rename(follower.root / "copied")
    shutil.copytree(project.path.parent, tmp_path / "killed")
    (tmp_path / "killed").rename(follower.root / "killed")
    project.db.close()
    until(follower, lambda: len(points_of(follower.records)) == 2)
    assert {path.name for path in (follower.root / "copied").iterdir()} == {"p.db", "p.db-wal"}


def test_a_database_in_the_middle_of_a_commit_waits(tmp_path: Path) -> None:
    project = Project(tmp_path / "p.db", "delete")
    project.db.execute("PRAGMA cache_size = 1")
    project.db.execute("BEGIN")
    for step in range(2_000):
        project.log("one", step, {"loss": 0.5})
    with pytest.raises(BeingWritten), opened(project.path, tmp_path):
        pass
    project.db.execute("COMMIT")
    with opened(project.path, tmp_path) as db:
        assert db is not None and db.execute("SELECT count(*) FROM metrics").fetchone() == (2_000,)
    project.db.close()


def test_runs_of_one_name_are_two_and_a_new_database_of_that_name_begins_anew(follower: Follower) -> None:
    path = follower.root / "p.db"
    for turn, ids in enumerate((["aaaaaaaaaa", "bbbbbbbbbb"], ["cccccccccc"])):
        path.unlink(missing_ok=True)
        project = Project(path, "delete")
        for id_, step in itertools.product(ids, range(3)):
            project.log("base", step, {"loss": turn}, id_)
        project.db.close()
        until(follower, lambda turn=turn: len(points_of(follower.records)) >= (6, 9)[turn])
        follower.restart()
    counts = {
        run: len(of_run(points_of(follower.records), run)) for run in ("p/base", "p/base-bbbbbbbb", "p/base-cccccccc")
    }
    assert counts == {"p/base": 3, "p/base-bbbbbbbb": 3, "p/base-cccccccc": 3}


def test_an_older_copy_of_itself_is_not_counted_again(follower: Follower) -> None:
    project = Project(follower.root / "p.db", "delete")
    for step in range(4):
        project.log("base", step, {"loss": step})
        if step == 1:
            shutil.copy(project.path, follower.root / "kept")
    until(follower, lambda: len(points_of(follower.records)) == 4)
    project.db.close()
    shutil.move(follower.root / "kept", project.path)
    with closing(sqlite3.connect(project.path)) as db, db:
        db.execute("DELETE FROM metrics WHERE id = 0")
    again = Project.__new__(Project)
    again.db = sqlite3.connect(project.path, isolation_level=None)
    for step in range(2, 6):
        again.log("base", step, {"loss": step})
    again.db.close()
    until(follower, lambda: len(points_of(follower.records)) >= 6)
    assert series_of(follower.records) == {"loss": [(step, float(step)) for step in range(6)]}


def test_a_bad_row_costs_itself(follower: Follower) -> None:
    project = Project(follower.root / "p.db", "delete")
    odd = [
        b"\xff\x00",
        b"[1]",
        b"x" * (2 << 20),
        {"loss": "high", "acc": 1.0},
        {"img": {"_type": "trackio.image"}, "acc": 2.0},
        {},
    ]
    for step, metrics in enumerate(odd):
        project.log("../o/\ud800d".encode("utf-8", "replace").decode(), step, metrics)
    project.log("../o/?d", "x", {"acc": 3.0})
    project.log("../o/?d", 9, {"acc": float("nan")})
    project.db.close()
    until(follower, lambda: "p.db" in follower.offsets)
    (run,) = {record.run for record in points_of(follower.records)}
    assert run == "p/o/?d" and [step for step, _ in series_of(follower.records)["acc"]] == [3, 4, None, 9]
    offset = follower.offsets["p.db#../o/?d"]
    assert (offset.lines_skipped, offset.fields_skipped) == (3, 2) and offset.first_skip == "row 1: cannot be read"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (["CREATE TABLE notes (id INTEGER)"], "something else than Trackio"),
        (
            [
                "CREATE VIEW metrics AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, '' AS timestamp, "
                "'' AS run_name, 1 AS step, '{}' AS metrics FROM n"
            ],
            "something else",
        ),
    ],
)
def test_another_database_is_left_alone(follower: Follower, schema: list[str], reason: str) -> None:
    with closing(sqlite3.connect(follower.root / "other.sqlite3")) as db, db:
        for line in schema:
            db.execute(line)
    until(follower, lambda: "other.sqlite3" in follower.offsets)
    assert reason in follower.offsets["other.sqlite3"].trouble and follower.tail.trouble() == ""


def endless(path: Path) -> None:
    """A file of 1 MB with more rows than can be read in a lifetime: pages share their children, which SQLite does not check."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA page_size = 512")
        db.execute("CREATE TABLE metrics (id, timestamp, run_name, step, metrics)")
        db.executemany("INSERT INTO metrics VALUES ('', '', '', 0, ?)", [("x" * 400,)] * 2_000)
        db.commit()
    data = bytearray(path.read_bytes())
    pages = [number for number in range(2, len(data) // 512 + 1) if data[(number - 1) * 512] == INTERIOR][:10]
    leaf = next(number for number in range(2, len(data) // 512 + 1) if data[(number - 1) * 512] == LEAF)
    for number, child in zip(pages, [*pages[1:], leaf], strict=True):
        at = (number - 1) * 512
        data[at + 8 : at + 12] = child.to_bytes(4, "big")
        for cell in range(int.from_bytes(data[at + 3 : at + 5], "big")):
            start = at + int.from_bytes(data[at + 12 + 2 * cell : at + 14 + 2 * cell], "big")
            data[start : start + 4] = child.to_bytes(4, "big")
    path.write_bytes(data)


def test_a_database_without_an_end_costs_only_itself(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for it: neither lines nor other databases."""
    monkeypatch.setattr(tail, "BACK_OFF_S", (0.0, 0.0))
    monkeypatch.setattr(database_file, "MAX_READ_S", 1.0)
    follower.restart()
    endless(follower.root / "endless.db")
    until(follower, lambda: "was not read within 1 s" in follower.tail.trouble())
    project = Project(follower.root / "p.db", "delete")
    for step in range(20):
        project.log("one", step, {"loss": step})
        until(follower, lambda step=step: len(points_of(follower.records)) == step + 1)
    project.db.close()
    assert series_of(follower.records) == {"loss": [(step, float(step)) for step in range(20)]}
    (follower.root / "endless.db").unlink()
    until(follower, lambda: follower.tail.trouble() == "")


def test_a_file_that_takes_the_place_of_a_database_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, secret = tmp_path / "logs" / "p.db", tmp_path / "secret.db"
    for project in (Project(path, "delete"), Project(secret, "delete")):
        project.log("one", 1, {"loss": 0.5})
        project.db.close()
    connect = sqlite3.connect

    def swapped(*words: Any, **options: Any) -> sqlite3.Connection:
        path.unlink()
        path.symlink_to(secret)
        return connect(*words, **options)

    monkeypatch.setattr(sqlite3, "connect", swapped)
    with pytest.raises(BeingWritten), opened(path, path.parent):
        pass


@functools.cache
def whole() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "p.db", "delete")
        project.db.execute("BEGIN")
        for step in range(50):
            project.log("one", step, {"loss": step})
        project.db.execute("COMMIT")
        project.db.close()
        return project.path.read_bytes()


def of_trackio(path: Path, runs: int) -> None:
    project = Project(path)
    project.db.execute("BEGIN")
    for run in range(runs):
        project.log(f"run {run}", 1, {"loss": run}, run_id=f"id {run}")
    project.db.execute("COMMIT")
    project.db.close()


def of_mlflow(path: Path, runs: int) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(
            """CREATE TABLE experiments (experiment_id INTEGER, name TEXT, creation_time INTEGER);
            CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT, status TEXT, start_time INTEGER, end_time INTEGER, lifecycle_stage TEXT, experiment_id INTEGER);
            CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan INTEGER);
            INSERT INTO experiments VALUES (1, 'digits', 5)"""
        )
        ids = [f"{run:032x}" for run in range(runs)]
        db.executemany("INSERT INTO runs VALUES (?, 'one name', 'FINISHED', 1, 2, 'active', 1)", zip(ids, strict=True))
        db.executemany(
            "INSERT INTO metrics VALUES ('loss', ?, 1764000000000, ?, 1, 0)",
            [(run, id_) for run, id_ in enumerate(ids)],
        )


@pytest.mark.parametrize("write", [of_trackio, of_mlflow])
def test_a_database_of_many_runs_is_taken_in_parts_and_once(write: Callable[[Path, int], None], tmp_path: Path) -> None:
    """Live files get their turn between any two parts, and another collector goes on with the next one."""
    path, count = tmp_path / "a" / "mlflow.db", 5 * database_file.MAX_PART_RUNS + 7
    write(path, count)
    offsets: dict[str, Offset] = {}
    parts: list[list[Points]] = []
    again_s: float | None = 0.0
    while again_s is not None:
        databases = FollowedDatabases(RunFolders(LogTree(tmp_path), "box", offsets))
        try:
            for _ in range(3 if len(parts) < 3 else count):
                records, again_s = looked(databases, path, tmp_path, offsets)
                offsets |= {record.path: record for record in records if isinstance(record, Offset)}
                parts.append(points_of(records))
                if again_s is None:
                    break
        finally:
            databases.close()
    assert max(len({point.run for point in part}) for part in parts) <= database_file.MAX_PART_RUNS
    found = [point for part in parts for point in part]
    assert sorted(point.values[0] for point in found) == list(range(count)), "each once"
    assert len({point.run for point in found}) == count


def looked(
    databases: FollowedDatabases, path: Path, root: Path, offsets: dict[str, Offset]
) -> tuple[list[Record], float | None]:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return databases.look(path, "a/mlflow.db", root, offsets, tail.TURN_RECORDS)
        except StillReading:
            assert time.monotonic() < deadline
            time.sleep(database_file.ASK_AGAIN_S)


def test_a_run_costs_the_same_beside_many_others() -> None:
    def cost_s(others: int) -> float:
        offsets = {
            (key := f"a/p.db#{number}"): Offset(key, f"a/p/run {number}", 0, 0, 0, 0, 0, 0, "", {})
            for number in range(others)
        }
        runs = RunFolders(LogTree(Path("/logs")), "box", offsets)
        began_s = time.process_time()
        for number in range(200):
            runs.in_database(Path("/logs/a/p.db"), f"a/p.db#new {number}", RunRef(f"new {number}", "one title"))
        return time.process_time() - began_s

    few, many = (min(cost_s(others) for _ in range(3)) for others in (10, 20_000))
    assert many < 5 * few


@given(st.integers(0, 2**32), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_a_damaged_database_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int
) -> None:
    folder, dice = tmp_path_factory.mktemp("damaged"), random.Random(seed)
    path, data = folder / "p.db", bytearray(whole())
    for _ in range(changes):
        data[dice.randrange(16, len(data))] = dice.randrange(256)
    path.write_bytes(data[: dice.randrange(len(data))] if dice.random() < 0.3 else data)
    try:
        news = news_of(path, folder, {}, 1_000)
    except (NotRead, BeingWritten, sqlite3.Error, UnicodeError):
        return
    items = [pickle.loads(item) for part in news.parts for item in part.items]
    assert not [item for item in items if isinstance(item, LoggedStatus)]
