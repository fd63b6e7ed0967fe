"""The file of a queue, in SQLite with synchronous FULL: its tables, and a job as the plan sees it, read and written."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import QueueError
from .planning.job import Job
from .request import MOST_MIB, MOST_SLOTS

VERSION = 1
BESIDE = ("-wal", "-shm")  # what SQLite writes there is a part of the file
MOST = 2**63 - 1  # an INTEGER of SQLite
MOST_S = 1e12
ODD = "what the queue has of it cannot be read: cancel it, and submit it anew"
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

FileError = sqlite3.Error
"""What a full disk or a damaged file does to all that use it."""


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
        self._inodes = {path: path.stat().st_ino}

    @property
    def removed(self) -> Path | None:
        """That of its files which was removed, or replaced: what is written here is then not what others read. None where all are there."""
        for path in (self._path, *(self._path.with_name(f"{self._path.name}{suffix}") for suffix in BESIDE)):
            try:
                inode = path.stat().st_ino
            except OSError:
                inode = None
            if inode is not None and self._inodes.setdefault(path, inode) == inode:
                continue
            if path in self._inodes:
                return path
        return None

    def close(self) -> None:
        """All that was written is in the one file then, also where those beside it were removed."""
        with suppress(FileError):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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
        for row in self._rows(where, *values):
            yield _job_of(row)

    def _readable_jobs(self, where: str) -> dict[int, Job]:
        """Without those whose rows hold what no job has: these cost only themselves."""
        found = dict[int, Job]()
        rows = self._rows(where)
        for row in rows:
            with suppress(ValueError, TypeError):
                if is_sound(job := _job_of(row)):
                    found[job.id] = job
        odd = [(ODD, row[0], ODD) for row in rows if row[0] not in found]
        self._db.executemany("UPDATE job SET reason = ? WHERE id = ? AND reason != ?", odd)
        return found

    def _rows(self, where: str, *values: object) -> list[Any]:
        return self._db.execute(f"SELECT {OF_A_JOB} FROM job WHERE {where} ORDER BY id", values).fetchall()

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


def _job_of(row: Sequence[Any]) -> Job:
    number, family, slots, submitted_s, high, shares, resumes, declared, state, *others = row
    queued_s, waited_s, ran_s, out_of_memory, stops, needs, promised, on, *now = others
    return Job(
        number, family, slots, submitted_s, bool(high), bool(shares), bool(resumes), declared, "running" if state == "starting" else state,
        queued_s, waited_s, ran_s, out_of_memory, stops, needs, tuple(json.loads(promised)), tuple(json.loads(on)), *now,
    )  # fmt: skip


def is_sound(job: Job) -> bool:
    """Whether a plan can be made with it: its numbers are numbers, as the checks of a request and the queue itself leave them."""
    times = (
        job.submitted_s,
        job.queued_s,
        job.waited_s,
        job.ran_s,
        job.started_s,
        job.shared_s or 0.0,
        job.speed or 0.0,
    )
    memory = [each for each in (job.declared_mib, job.needs_mib) if each is not None]
    return (
        isinstance(job.family, str)
        and 1 <= job.slots <= MOST_SLOTS
        and all(abs(each) < MOST_S for each in times)
        and all(0 <= each <= MOST_MIB for each in memory)
        and all(0 <= each <= MOST for each in (job.out_of_memory, job.stops, job.steps))
    )


def cannot_keep(error: FileError | OSError) -> str:
    """Why nothing can be written into the queue's folder, or read from it, with the remedy."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")) or getattr(error, "errno", 0) in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
    ):
        return f"the queue cannot be written ({error}): make room on the disk of its folder, and try again"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"the queue's file is damaged ({error}): end the daemon with deepseek-jobs stop, move queue.sqlite away or restore it, and submit again"
    return f"the queue cannot be used ({error}); see the daemon's log"


def is_of_the_file(error: Exception) -> bool:
    """Whether the file cannot be used now; else it is what was to be written that it cannot hold."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError
