"""The queue's file: its jobs and attempts, and what was measured of their families. One writer; `view.py` is for those that only read."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from deepseek.log.redaction import LEFT_OUT, is_secret, redacted, without_secrets

from .fifo import Fifo, FifoEntry
from .plan import (
    NOTHING,
    Action,
    FamilyRecord,
    Job,
    JobPlan,
    PairSpeeds,
    PlannerState,
    PlanRules,
    Promise,
    QueueState,
    Slot,
    StopJob,
    Usage,
    after_out_of_memory,
    queued_again,
)
from .request import LOCAL, MAX_MIB, MAX_SLOTS, JobRequest, check
from .state_folder import QueueError


def of_carried(carried: PlannerState) -> dict[str, object]:
    fifos = [_of_fifo(fifo) if fifo else None for fifo in (carried.fifo, carried.fifo_high)]
    return {"usage": carried.usage, "fifos": fifos, "gate": carried.gate}


def carried_from(kept: Mapping[str, Any]) -> PlannerState:
    fifo, high = (_fifo(each) if each else None for each in kept["fifos"])
    return PlannerState(Usage(*kept["usage"]), fifo, high, (kept["gate"][0], kept["gate"][1]) if kept["gate"] else None)


def _of_fifo(fifo: Fifo) -> dict[str, object]:
    return {
        "slots": fifo.slots, "running": [[job, *row] for job, row in fifo.running.items()], "queue": fifo.queue,
        "starts_s": list(fifo.starts_s.items()), "at_s": fifo.at_s, "longest_s": fifo.longest_s,
    }  # fmt: skip


def _fifo(kept: Mapping[str, Any]) -> Fifo:
    running = {int(job): (start_s, int(slots)) for job, start_s, slots in kept["running"]}
    queue = tuple(FifoEntry(submitted_s, int(job), int(slots)) for submitted_s, job, slots in kept["queue"])
    starts_s = {int(job): start_s for job, start_s in kept["starts_s"]}
    return Fifo(kept["slots"], running, queue, starts_s, kept["at_s"], kept["longest_s"])


# The file of a queue, in SQLite with synchronous FULL: its tables, and a job as the plan sees it, read and written.

VERSION = 2
BESIDE = ("-wal", "-shm")  # what SQLite writes there is a part of the file
MAX_INTEGER = 2**63 - 1  # an INTEGER of SQLite
MAX_S = 1e12
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
    said TEXT NOT NULL DEFAULT '', peak_mib REAL, slurm_id INTEGER, slurm_restarts INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (job, number));
CREATE INDEX attempt_ended ON attempt (ended_s);
CREATE UNIQUE INDEX attempt_open ON attempt (job) WHERE ended_s IS NULL;
CREATE TABLE family (name TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE pair (first TEXT NOT NULL, second TEXT NOT NULL, first_speed REAL NOT NULL, second_speed REAL NOT NULL, PRIMARY KEY (first, second));
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# By the version that a file has, what makes the next one of it. The first one had Slurm's numbers in the columns of processes.
UPGRADES = {
    1: """
ALTER TABLE attempt ADD COLUMN slurm_id INTEGER;
ALTER TABLE attempt ADD COLUMN slurm_restarts INTEGER NOT NULL DEFAULT 0;
UPDATE attempt SET slurm_id = pid, slurm_restarts = coalesce(start_ticks, 0), pid = NULL, start_ticks = NULL, boot_id = NULL
    WHERE job IN (SELECT id FROM job WHERE place = 'slurm');
"""
}
OF_A_REQUEST = ", ".join(JobRequest._fields)  # columns: each is called as the field
OF_A_JOB = ", ".join("on_slots" if each.name == "on" else each.name for each in fields(Job))

FileError = sqlite3.Error
"""What a full disk or a damaged file does to all that use it."""

KEPT_DURATIONS = 8
OVER = ("finished", "failed", "cancelled")
PLACED = ("starting", "running", "stopping")
SLOTS = "slots"  # kept: those of the host, as the daemon last saw them
ORDER = "order"  # kept: the jobs that wait, as the last plan went through them
ASKED = "asked of job {}"  # of what is kept


class OpenAttempt(NamedTuple):
    """An attempt that has not ended.

    `pid` and `slurm_id` None: it was intended, and nothing says that it was started.
    """

    job: int
    number: int
    slots: tuple[str, ...]
    pid: int | None
    start_ticks: int | None
    boot_id: str | None
    intended_s: float = 0.0
    started_s: float | None = None
    stop_s: float | None = None  # when it was asked to end
    run: str = ""  # its name in
    log_dir: str = ""
    place: str = LOCAL
    slurm_id: int | None = None  # the job's number at Slurm
    slurm_restarts: int = 0  # how often Slurm had restarted the job when this attempt began


class JobQueue:
    """The jobs of one user: what was asked, what is intended, what became of it. One writer.

    What is to be done is written before it is done (`intend`), with synchronous FULL: after a kill or a power cut each job is in one state, and
    an attempt that was intended and never started is seen (`intended`). No job has two attempts at once.

    Raises QueueError where a request cannot be, or the file is not a queue of this version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif not 0 < version <= VERSION:
            self._db.close()
            raise QueueError(f"{path} is a queue of version {version}; this program reads version {VERSION}")
        for old in range(version, VERSION) if version else ():
            self._db.executescript(f"BEGIN IMMEDIATE; {UPGRADES[old]} PRAGMA user_version = {old + 1}; COMMIT;")
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
        if not 0 < job <= MAX_INTEGER:
            raise QueueError("there is no job of that number; `deepseek-jobs queue` lists them")
        row = self._db.execute("SELECT state FROM job WHERE id = ?", (job,)).fetchone()
        if row is None:
            raise QueueError(f"there is no job {job}; `deepseek-jobs queue` lists them")
        return str(row[0])

    def submit(self, request: JobRequest, now_s: float, make_run: Callable[[int], str] = lambda job: "") -> int:
        """The number of the job. `make_run` makes the folder of its run and returns the run's name; where it raises, there is no job."""
        check(request)
        values = [*_of_request(request), request.resume_argv is not None, now_s, now_s]
        with self._transaction():
            job = self._db.execute(
                f"INSERT INTO job ({OF_A_REQUEST}, resumes, submitted_s, queued_s, state) VALUES ({'?, ' * len(values)}'queued')",
                values,
            ).lastrowid
            assert job is not None
            self._db.execute("UPDATE job SET run = ? WHERE id = ?", (make_run(job), job))
            return job

    def hold(self, job: int, now_s: float) -> None:
        """A queued job waits until `release`; slots that were kept for it are free again."""
        with self._transaction():
            before = self._in_state(job, "queued", "put on hold")
            self._save(replace(before, state="held", waited_s=before.waited(now_s), promised=()))
            self._ask(job, "hold")

    def release(self, job: int, now_s: float) -> None:
        with self._transaction():
            self._save(replace(self._in_state(job, "held", "released"), state="queued", queued_s=now_s))
            self._ask(job, "release")

    def cancel(self, job: int, now_s: float) -> bool:
        """Whether a process has to be stopped for it."""
        with self._transaction():
            state = self.state_of(job)
            if state in OVER:
                raise QueueError(f"job {job} is over already: {state}")
            if state in PLACED or self._is_elsewhere(job):
                self._save(replace(self._job(job), state="stopping", waited_s=self._job(job).waited(now_s)))
                self._db.execute("UPDATE job SET stop_why = 'cancelled' WHERE id = ?", (job,))
                return True
            waited_s = 0.0
            with suppress(ValueError, TypeError):  # of a row that cannot be read, which can be cancelled, too
                waited_s = self._job(job).waited(now_s)
            self._db.execute(
                "UPDATE job SET state = 'cancelled', ended_s = ?, waited_s = ?, promised = '[]' WHERE id = ?",
                (now_s, waited_s, job),
            )
            self._leave_secrets_out(job)
            return False

    def intend(self, made: JobPlan, now_s: float) -> list[Action]:
        """Write down what is about to be done, and why others wait; what is returned may be done now.

        What no longer fits (the job was cancelled, or has ended meanwhile) is left out.
        """
        with self._transaction():
            done = [action for action in made.actions if self._intended(action, now_s)]
            self._db.executemany(
                "UPDATE job SET reason = ? WHERE id = ?", [(reason, job) for job, reason in made.reasons.items()]
            )
            self._db.execute(
                "INSERT OR REPLACE INTO kept VALUES ('carried', ?)", (json.dumps(of_carried(made.carried)),)
            )
            next_ones = {row[0] for row in self._db.execute("SELECT id FROM job WHERE promised != '[]'")}
            self.keep(ORDER, sorted(made.reasons, key=lambda job: job not in next_ones))
        return done

    def started(self, job: int, pid: int, start_ticks: int, boot_id: str, now_s: float) -> None:
        """The attempt that was intended runs as this process."""
        with self._transaction():
            changed = self._db.execute(
                "UPDATE attempt SET started_s = ?, pid = ?, start_ticks = ?, boot_id = ? WHERE job = ? AND ended_s IS NULL AND pid IS NULL",
                (now_s, pid, start_ticks, boot_id, job),
            ).rowcount
            if not changed:
                raise QueueError(f"job {job} has no attempt that is to start")
            self._db.execute("UPDATE job SET state = 'running' WHERE id = ? AND state = 'starting'", (job,))

    def began(self, job: int, started_s: float) -> None:
        """Its open attempt did, by the clock as it is now: it has jumped since."""
        self._db.execute("UPDATE attempt SET started_s = ? WHERE job = ? AND ended_s IS NULL", (started_s, job))

    def asked_to_end(self, job: int, now_s: float | None) -> None:
        """Its open attempt is; None: it was not, after all."""
        self._db.execute("UPDATE attempt SET stop_s = ? WHERE job = ? AND ended_s IS NULL", (now_s, job))

    def ended_before(self, job: int) -> None:
        """It ended by itself before it could be asked to make room."""
        self._db.execute("UPDATE job SET stop_why = NULL WHERE id = ? AND stop_why != 'cancelled'", (job,))

    def measured(self, job: int, speed: float | None, steps: int) -> None:
        """Its units/s of its own baseline, since it has the neighbours that it has."""
        with self._transaction():
            self._db.execute("UPDATE job SET speed = ?, steps = ? WHERE id = ?", (speed, steps, job))

    def ended(
        self,
        job: int,
        exit_code: int | None,
        work_s: float,
        now_s: float,
        memory_mib: tuple[float, float] | None = None,
        *,
        saved: bool = False,
        anew: bool = False,
        said: str = "",
        elsewhere: bool = False,
        ended_s: float | None = None,
        begun: bool = True,
    ) -> str:
        """The state after its process ended with `work_s` seconds of work done, or in its checkpoint; with `memory_mib`, its peak and what the largest card has, it ran out of memory.

        `exit_code` None: it was never started, or its end was not seen; it is queued again if it can resume, or was never started. `saved`: it
        has a checkpoint for sure; `anew`: it was to go on and said that there is nothing to go on with; `said` is a sentence about the end;
        `ended_s`: when that was, where it is noticed later, as by the next daemon; not `begun`: its program was never executed. `elsewhere`: another scheduler
        says so, which would have started it again, and whose hosts say nothing about this one.
        """
        with self._transaction():
            placed = self._job(job)
            row = self._db.execute(
                "SELECT number, coalesce(pid, slurm_id) FROM attempt WHERE job = ? AND ended_s IS NULL", (job,)
            ).fetchone()
            if row is None:
                raise QueueError(f"job {job} has no attempt that runs")
            (why,) = self._db.execute("SELECT stop_why FROM job WHERE id = ?", (job,)).fetchone()
            self._db.execute(
                "UPDATE attempt SET ended_s = ?, exit_code = ?, why = ?, said = ? WHERE job = ? AND number = ?",
                (ended_s or now_s, exit_code, why or ("out of memory" if memory_mib else None), said, job, row[0]),
            )
            again = queued_again(placed, now_s, 0.0) if anew and not why else None
            again = again or self._again(placed, why, exit_code, row[1] is None or not begun, work_s, memory_mib, now_s)
            if again and not elsewhere:
                self._save(again)
                if anew or saved or (row[1] is not None and memory_mib is None):
                    self._db.execute("UPDATE job SET goes_on = resumes AND ? WHERE id = ?", (not anew, job))
            else:
                state = "cancelled" if why == "cancelled" else "finished" if exit_code == 0 else "failed"
                self._db.execute(
                    "UPDATE job SET state = ?, ended_s = ?, work_s = ?, on_slots = '[]', promised = '[]' WHERE id = ?",
                    (state, ended_s or now_s, work_s, job),
                )
                self._leave_secrets_out(job)
                self._db.execute("DELETE FROM kept WHERE name = ?", (ASKED.format(job),))
                if state == "finished" and not elsewhere:
                    record = self.family(placed.family)
                    self.remember(
                        placed.family, record._replace(durations_s=(*record.durations_s, work_s)[-KEPT_DURATIONS:])
                    )
            self._db.execute("UPDATE job SET stop_why = NULL WHERE id = ?", (job,))
            self._neighbours_changed(() if elsewhere else placed.on, now_s)
            return self.state_of(job)

    def intended(self) -> list[OpenAttempt]:
        """All attempts that have not ended, for who starts anew: which of them run is for the kernel to say."""
        rows = self._db.execute(
            "SELECT job, number, attempt.slots, pid, start_ticks, boot_id, intended_s, attempt.started_s, stop_s, run, log_dir, place, "
            "slurm_id, slurm_restarts FROM attempt JOIN job ON job = id WHERE attempt.ended_s IS NULL ORDER BY job"
        )
        return [OpenAttempt(job, number, _words(slots), *process) for job, number, slots, *process in rows]

    def goes_on(self, job: int) -> bool:
        """Whether its next attempt, or the one that runs, is one with `resume_argv`."""
        (goes_on,) = self._db.execute("SELECT goes_on FROM job WHERE id = ?", (job,)).fetchone()
        return bool(goes_on)

    def command(self, job: int) -> tuple[str, ...]:
        """What its next attempt executes: the command, or how it goes on."""
        request = self.request(job)
        return request.resume_argv if self.goes_on(job) and request.resume_argv else request.argv

    def state(self, slots: Sequence[Slot], cores: int, rules: PlanRules) -> QueueState:
        """What the plan is made from: this host's jobs."""
        jobs = self._readable_jobs("state NOT IN ('finished', 'failed', 'cancelled') AND place = 'local'")
        row = self._db.execute("SELECT value FROM kept WHERE name = 'carried'").fetchone()
        carried = PlannerState()
        with suppress(ValueError, TypeError, KeyError):
            carried = carried_from(json.loads(row[0])) if row else carried
        known = {job for each in (carried.fifo, carried.fifo_high) if each for job in each.knows} - jobs.keys()
        rows = [self._db.execute("SELECT id, work_s FROM job WHERE id = ?", (job,)).fetchone() for job in sorted(known)]
        families = dict[str, FamilyRecord]()
        for name, record in self._db.execute("SELECT name, record FROM family"):
            with suppress(ValueError, TypeError, KeyError):
                families[name] = record_from(record)
        pairs = {(first, second): (one, other) for first, second, one, other in self._db.execute("SELECT * FROM pair")}
        ended_s = {row[0]: row[1] or 0.0 for row in rows if row}
        return QueueState(tuple(slots), jobs, families, pairs, ended_s, carried, cores, rules)

    def request(self, job: int) -> JobRequest:
        """What its user asked for."""
        self.state_of(job)
        return _request_of(self._db.execute(f"SELECT {OF_A_REQUEST} FROM job WHERE id = ?", (job,)).fetchone())

    def run_of(self, job: int) -> Path | None:
        """The folder of its run; None where it has none."""
        self.state_of(job)
        log_dir, run = self._db.execute("SELECT log_dir, run FROM job WHERE id = ?", (job,)).fetchone()
        return Path(log_dir) / run if run else None

    def placed(self, job: int) -> tuple[Job, str | None]:
        """As the plan sees it, and why it is asked to end, where it is."""
        self.state_of(job)
        (why,) = self._db.execute("SELECT stop_why FROM job WHERE id = ?", (job,)).fetchone()
        return self._job(job), why

    def keep(self, name: str, value: object) -> None:
        """JSON that others read in the file: the slots of the host, for one."""
        self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, json.dumps(value)))

    def kept(self, name: str) -> object:
        """What `keep` was given last; None where there is none, or it cannot be read."""
        row = self._db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        with suppress(ValueError, TypeError, RecursionError):
            return json.loads(row[0]) if row else None
        return None

    def peaked(self, job: int, peak_mib: float) -> None:
        """The most memory of a slot that its open attempt was seen with."""
        self._db.execute("UPDATE attempt SET peak_mib = ? WHERE job = ? AND ended_s IS NULL", (peak_mib, job))

    def family(self, name: str) -> FamilyRecord:
        row = self._db.execute("SELECT record FROM family WHERE name = ?", (name,)).fetchone()
        with suppress(ValueError, TypeError, KeyError):  # it is measured anew
            return record_from(row[0]) if row else NOTHING
        return NOTHING

    def remember(self, family: str, record: FamilyRecord) -> None:
        self._db.execute("INSERT OR REPLACE INTO family VALUES (?, ?)", (family, json.dumps(record._asdict())))

    # Jobs that another scheduler plans.

    def elsewhere(self) -> list[Job]:
        """Queued jobs that another scheduler is to place, and that it does not have."""
        return list(
            self._jobs(
                f"state = 'queued' AND place != '{LOCAL}' AND id NOT IN (SELECT job FROM attempt WHERE ended_s IS NULL)"
            )
        )

    def hand_over(self, job: int, reason: str, now_s: float) -> int:
        """The number of a new attempt, which another scheduler is about to get; the job stays queued."""
        with self._transaction():
            (number,) = self._db.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM attempt WHERE job = ?", (job,)
            ).fetchone()
            self._db.execute(
                "INSERT INTO attempt (job, number, slots, intended_s) VALUES (?, ?, '[]', ?)", (job, number, now_s)
            )
            self._db.execute("UPDATE job SET reason = ? WHERE id = ?", (reason, job))
            return int(number)

    def numbered(self, job: int, slurm_id: int) -> None:
        """Slurm knows its open attempt by this number."""
        self._db.execute(
            "UPDATE attempt SET slurm_id = ? WHERE job = ? AND ended_s IS NULL AND slurm_id IS NULL", (slurm_id, job)
        )

    def restarted(self, job: int, restarts: int, said: str, now_s: float) -> None:
        """Slurm has put it back into its queue for the `restarts`th time: another attempt, under the same number there."""
        with self._transaction():
            placed = self._job(job)
            number, slurm_id = self._db.execute(
                "SELECT number, slurm_id FROM attempt WHERE job = ? AND ended_s IS NULL", (job,)
            ).fetchone()
            self._db.execute(
                "UPDATE attempt SET ended_s = ?, why = 'requeued', said = ? WHERE job = ? AND number = ?",
                (now_s, said, job, number),
            )
            self._db.execute(
                "INSERT INTO attempt (job, number, slots, intended_s, slurm_id, slurm_restarts) VALUES (?, ?, '[]', ?, ?, ?)",
                (job, number + 1, now_s, slurm_id, restarts),
            )
            if placed.state != "stopping":
                self._save(replace(queued_again(placed, now_s, placed.ran_s), stops=placed.stops + 1))

    def seen_elsewhere(
        self, job: int, state: str, reason: str, on: str, started_s: float | None, now_s: float
    ) -> float | None:
        """What the other scheduler says of it; the seconds that it has waited, where it has just started."""
        with self._transaction():
            was, before = self.state_of(job), self._job(job)
            if was == "stopping" or (self.asked(job) and state in ("queued", "held")):
                state = was
            waits, waited = state in ("queued", "held"), was in ("queued", "held")
            began_s = max(before.queued_s, started_s or now_s)
            after = replace(before, state=state, on=() if waits or not on else (on,))  # type: ignore[arg-type]
            if waits and was != state:
                after = replace(after, waited_s=before.waited(now_s), queued_s=now_s)
            elif waited and not waits:
                after = replace(after, waited_s=before.waited(began_s), started_s=began_s)
            self._save(after)
            self._db.execute("UPDATE job SET reason = ? WHERE id = ?", (reason, job))
            if state == "running":
                self._db.execute(
                    "UPDATE attempt SET slots = ? WHERE job = ? AND ended_s IS NULL", (json.dumps(after.on), job)
                )
                self.seen_started(job, began_s)
            return began_s - before.queued_s if waited and not waits else None

    def seen_started(self, job: int, started_s: float | None) -> None:
        """When its open attempt began, where that was not known."""
        self._db.execute(
            "UPDATE attempt SET started_s = ? WHERE job = ? AND ended_s IS NULL AND started_s IS NULL", (started_s, job)
        )

    def explain(self, job: int, reason: str) -> bool:
        """Whether that is new."""
        changed = self._db.execute("UPDATE job SET reason = ? WHERE id = ? AND reason != ?", (reason, job, reason))
        return changed.rowcount > 0

    def asked(self, job: int) -> str | None:
        """`hold` or `release`, where the other scheduler is still to do so."""
        row = self._db.execute("SELECT value FROM kept WHERE name = ?", (ASKED.format(job),)).fetchone()
        return str(row[0]) if row else None

    def was_done(self, job: int, wish: str) -> None:
        self._db.execute("DELETE FROM kept WHERE name = ? AND value = ?", (ASKED.format(job), wish))

    # Rows of the file.

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
        row = _of_job(job)
        self._db.execute(f"UPDATE job SET ({OF_A_JOB}) = ({', '.join('?' * len(row))}) WHERE id = ?", [*row, job.id])

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

    def _ask(self, job: int, wish: str) -> None:
        if self._is_elsewhere(job):
            self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (ASKED.format(job), wish))

    def _is_elsewhere(self, job: int) -> bool:
        """Whether another scheduler has it, or is about to."""
        found = self._db.execute(
            f"SELECT 1 FROM job JOIN attempt ON job = id WHERE id = ? AND place != '{LOCAL}' AND attempt.ended_s IS NULL",
            (job,),
        )
        return found.fetchone() is not None

    def _intended(self, action: Action, now_s: float) -> bool:
        if isinstance(action, PairSpeeds):
            self._db.execute("INSERT OR REPLACE INTO pair VALUES (?, ?, ?, ?)", (*action.pair, *action.speeds))
            return True
        state = self.state_of(action.job)
        if isinstance(action, StopJob):
            if state == "running":
                self._db.execute(
                    "UPDATE job SET state = 'stopping', stop_why = ? WHERE id = ?", (action.why, action.job)
                )
                self._db.execute(
                    "UPDATE attempt SET because = ? WHERE job = ? AND ended_s IS NULL", (action.because, action.job)
                )
            return state == "running"
        if state != "queued":
            return False
        job = self._job(action.job)
        if isinstance(action, Promise):
            self._save(replace(job, promised=action.slots))
            return True
        (number,) = self._db.execute(
            "SELECT coalesce(max(number), 0) + 1 FROM attempt WHERE job = ?", (job.id,)
        ).fetchone()
        slots = json.dumps(action.slots)
        self._db.execute(
            "INSERT INTO attempt (job, number, slots, intended_s) VALUES (?, ?, ?, ?)", (job.id, number, slots, now_s)
        )
        self._save(
            replace(job, state="running", on=action.slots, promised=(), started_s=now_s, waited_s=job.waited(now_s))
        )
        self._db.execute("UPDATE job SET state = 'starting', reason = '' WHERE id = ?", (job.id,))
        self._neighbours_changed(action.slots, now_s)
        return True

    def _again(
        self,
        job: Job,
        why: str | None,
        exit_code: int | None,
        unstarted: bool,
        work_s: float,
        memory_mib: tuple[float, float] | None,
        now_s: float,
    ) -> Job | None:
        """The job as it is queued again; None: it is over."""
        if why == "cancelled":
            return None
        if memory_mib is not None:
            return after_out_of_memory(job, memory_mib[0], now_s, memory_mib[1])
        if why:
            return replace(queued_again(job, now_s, work_s), stops=job.stops + 1)
        if exit_code is None and (unstarted or job.resumes):
            return queued_again(job, now_s, work_s)
        return None

    def _neighbours_changed(self, slots: Iterable[str], now_s: float) -> None:
        """Jobs on these slots are measured anew."""
        changed = set(slots)
        placed = [job for job in self._jobs("state IN ('starting', 'running', 'stopping')") if job.on]
        for job in placed:
            if changed & set(job.on):
                shared = any(other.id != job.id and set(other.on) & set(job.on) for other in placed)
                self._db.execute(
                    "UPDATE job SET shared_s = ?, speed = NULL, steps = 0 WHERE id = ?",
                    (now_s if shared else None, job.id),
                )

    def _leave_secrets_out(self, job: int) -> None:
        """Of its command and environment, which nothing is started with any more."""
        with suppress(ValueError, TypeError, AttributeError):  # a row that cannot be read
            argv, resume, environment = self._db.execute(
                "SELECT argv, resume_argv, environment FROM job WHERE id = ?", (job,)
            ).fetchone()
            variables = json.loads(environment).items()
            kept = {name: LEFT_OUT if is_secret(name) else redacted(value) for name, value in variables}
            self._db.execute(
                "UPDATE job SET argv = ?, resume_argv = ?, environment = ? WHERE id = ?",
                (
                    json.dumps(without_secrets(json.loads(argv))),
                    json.dumps(without_secrets(json.loads(resume))) if resume else resume,
                    json.dumps(kept),
                    job,
                ),
            )

    def _in_state(self, job: int, state: str, purpose: str) -> Job:
        if (now := self.state_of(job)) != state:
            raise QueueError(f"job {job} is {now}; only a {state} job can be {purpose}")
        return self._job(job)


# A request and a job of the plan as rows, and back.


def _of_request(request: JobRequest) -> list[object]:
    return [_of_value(value) for value in request]


def _request_of(row: Sequence[Any]) -> JobRequest:
    found: dict[str, Any] = dict(zip(JobRequest._fields, row, strict=True))
    argv, resume, environment = tuple(json.loads(found["argv"])), found["resume_argv"], json.loads(found["environment"])
    resume = tuple(json.loads(resume)) if resume else None
    flags = {"high": bool(found["high"]), "shares": bool(found["shares"])}
    return JobRequest(**{**found, **flags, "argv": argv, "resume_argv": resume, "environment": environment})


def _of_job(job: Job) -> list[object]:
    return [_of_value(getattr(job, each.name)) for each in fields(Job)]


def _of_value(value: object) -> object:
    """JSON, where it has parts."""
    value = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(value) if isinstance(value, tuple | dict) else value


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
        and 1 <= job.slots <= MAX_SLOTS
        and all(abs(each) < MAX_S for each in times)
        and all(0 <= each <= MAX_MIB for each in memory)
        and all(0 <= each <= MAX_INTEGER for each in (job.out_of_memory, job.stops, job.steps))
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


def _words(text: str) -> tuple[str, ...]:
    """Of a list in a row; () where that holds something else."""
    with suppress(ValueError, TypeError):
        return tuple(map(str, json.loads(text)))
    return ()


def record_from(text: str) -> FamilyRecord:
    record = json.loads(text)
    return FamilyRecord(**{**record, "durations_s": tuple(record["durations_s"])})
