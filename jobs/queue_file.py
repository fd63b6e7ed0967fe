"""The file of a queue, in SQLite with synchronous FULL: its tables, and a job as the plan sees it, read and written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import QueueError
from .planning.job import Job

VERSION = 1
MOST = 2**63 - 1  # an INTEGER of SQLite
SCHEMA = """
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, family TEXT NOT NULL, slots INTEGER NOT NULL, submitted_s REAL NOT NULL,
    high INTEGER NOT NULL, shares INTEGER NOT NULL, resumes INTEGER NOT NULL, declared_mib REAL,
    argv TEXT NOT NULL, resume_argv TEXT, cwd TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL DEFAULT '',
    log_dir TEXT NOT NULL DEFAULT '', run TEXT NOT NULL DEFAULT '', place TEXT NOT NULL DEFAULT 'local', goes_on INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', queued_s REAL NOT NULL, waited_s REAL NOT NULL DEFAULT 0, ran_s REAL NOT NULL DEFAULT 0,
    out_of_memory INTEGER NOT NULL DEFAULT 0, stops INTEGER NOT NULL DEFAULT 0, needs_mib REAL, promised TEXT NOT NULL DEFAULT '[]',
    on_slots TEXT NOT NULL DEFAULT '[]', started_s REAL NOT NULL DEFAULT 0, shared_s REAL, speed REAL, steps INTEGER NOT NULL DEFAULT 0,
    stop_why TEXT, work_s REAL, ended_s REAL);
CREATE INDEX job_state ON job (state);
CREATE TABLE attempt (
    job INTEGER NOT NULL REFERENCES job, number INTEGER NOT NULL, slots TEXT NOT NULL, intended_s REAL NOT NULL,
    started_s REAL, pid INTEGER, start_ticks INTEGER, boot_id TEXT, stop_s REAL, because INTEGER, ended_s REAL, exit_code INTEGER, why TEXT,
    said TEXT NOT NULL DEFAULT '', peak_mib REAL, PRIMARY KEY (job, number));
CREATE INDEX attempt_ended ON attempt (ended_s);
CREATE UNIQUE INDEX attempt_open ON attempt (job) WHERE ended_s IS NULL;
CREATE TABLE family (name TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE pair (first TEXT NOT NULL, second TEXT NOT NULL, first_speed REAL NOT NULL, second_speed REAL NOT NULL, PRIMARY KEY (first, second));
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
OF_A_JOB = (
    "id, family, slots, submitted_s, high, shares, resumes, declared_mib, state, queued_s, waited_s, ran_s, out_of_memory, stops, needs_mib, "
    "promised, on_slots, started_s, shared_s, speed, steps"
)


class QueueFile:
    """One writer. Raises QueueError where the file is not a queue of this version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            self._db.close()
            raise QueueError(f"{path} is a queue of version {version}; this program reads version {VERSION}")
        self._inode = path.stat().st_ino

    @property
    def is_there(self) -> bool:
        """Whether what is written here is what others read: the file was neither removed nor replaced."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        self._db.close()

    def state_of(self, job: int) -> str:
        """Raises QueueError where there is no such job."""
        if not 0 < job <= MOST:
            raise QueueError("there is no job of that number; `deepseek-jobs queue` lists them")
        row = self._db.execute("SELECT state FROM job WHERE id = ?", (job,)).fetchone()
        if row is None:
            raise QueueError(f"there is no job {job}; `deepseek-jobs queue` lists them")
        return str(row[0])

    def _job(self, job: int) -> Job:
        return next(self._jobs("id = ?", job))

    def _jobs(self, where: str, *values: object) -> Iterator[Job]:
        for row in self._db.execute(f"SELECT {OF_A_JOB} FROM job WHERE {where} ORDER BY id", values).fetchall():
            number, family, slots, submitted_s, high, shares, resumes, declared, state, *others = row
            queued_s, waited_s, ran_s, out_of_memory, stops, needs, promised, on, *now = others
            yield Job(
                number, family, slots, submitted_s, bool(high), bool(shares), bool(resumes), declared, "running" if state == "starting" else state,
                queued_s, waited_s, ran_s, out_of_memory, stops, needs, tuple(json.loads(promised)), tuple(json.loads(on)), *now,
            )  # fmt: skip

    def _save(self, job: Job) -> None:
        self._db.execute(
            "UPDATE job SET state = ?, queued_s = ?, waited_s = ?, ran_s = ?, out_of_memory = ?, stops = ?, needs_mib = ?, promised = ?, "
            "on_slots = ?, started_s = ?, shared_s = ?, speed = ?, steps = ? WHERE id = ?",
            (
                job.state, job.queued_s, job.waited_s, job.ran_s, job.out_of_memory, job.stops, job.needs_mib, json.dumps(job.promised),
                json.dumps(job.on), job.started_s, job.shared_s, job.speed, job.steps, job.id,
            ),
        )  # fmt: skip

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself where the disk is full
                self._db.execute("ROLLBACK")
            raise
