"""What stands in a user's queue, for those that only read: the web page, `deepseek-jobs queue` and `show`.

    view = QueueView(state_folder())
    view.jobs()                                   # all that are not over: what runs, what waits, in the order of the plan, what is held
    view.history(limit=50, matching="resnet")     # those that are over, newest first
    view.slots(), view.attempts(since_s)          # the host as the daemon last saw it; who ran where, and when

Works whether a daemon runs or not. Each call opens the file anew, read-only, and costs a few milliseconds with 10,000 jobs. Times are Unix
seconds, memory is MiB of one slot. A queue that is not there yet is empty. Raises QueueError where the queue is another user's, or cannot be read.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from .fifo import Span, Submission
from .plan import NOTHING, FamilyRecord, Pair, PlannerState, outlived, predicted_s, usual
from .queue import ORDER, OVER, PLACED, VERSION, carried_from, record_from
from .request import LOCAL, SLURM
from .state_folder import QUEUE, NoSuchJob, QueueError, daemon_of, require_own

ONE_CORE = re.compile(r"^cores (\d+)$")
MAX_NUMBER = 2**62  # of a job
STATES = ("queued", "held", *PLACED, *OVER)
COLUMNS = (
    "id, state, reason, run, log_dir, family, slots, place, high, shares, resumes, declared_mib, needs_mib, argv, cwd, submitted_s, queued_s, waited_s, "
    "on_slots, started_s, ended_s, work_s, ran_s, stops, out_of_memory, shared_s, speed, "
    "(SELECT count(*) FROM attempt WHERE attempt.job = job.id) AS attempts, "
    "(SELECT exit_code FROM attempt WHERE attempt.job = job.id ORDER BY number DESC LIMIT 1) AS exit_code, "
    "(SELECT said FROM attempt WHERE attempt.job = job.id ORDER BY number DESC LIMIT 1) AS said"
)

SUBMISSIONS = (
    "SELECT id, family, job.slots AS slots, state, submitted_s, queued_s, waited_s, ran_s, work_s, job.ended_s AS ended_s, "
    "coalesce(sum(coalesce(attempt.ended_s, ?) - intended_s), 0) AS on_slots_s, count(attempt.job) AS attempts "
    "FROM job LEFT JOIN attempt ON attempt.job = id WHERE place = 'local' AND state != 'held' "
    "GROUP BY id HAVING count(attempt.job) > 0 OR state = 'queued' ORDER BY id DESC LIMIT ?"
)


class JobRow(NamedTuple):
    """A job as it is shown."""

    id: int
    state: str  # one of STATES
    reason: str  # why it waits, or how it ended, in words; "" while it runs, unless Slurm says something
    run: str  # the name of its run in `log_dir`; "" where it has none
    log_dir: str
    family: str
    slots: int  # that it asks for
    place: str  # local or slurm
    high: bool
    shares: bool
    resumes: bool
    memory_mib: float | None  # a slot, that it asks for, or needs after it ran out of memory
    argv: tuple[str, ...]
    cwd: str
    submitted_s: float
    waited_s: float  # in the queue, in all: of a job that waits without the time since `queued_s`
    queued_s: float | None  # since when it waits; None where it does not
    on: tuple[str, ...]  # ids of the slots that it holds now
    beside: tuple[int, ...]  # jobs with which it has a slot in common now
    shared_s: float | None  # since when
    speed: float | None  # its units/s beside them, of its own alone
    started_s: float | None  # its newest attempt
    ended_s: float | None
    work_s: float | None  # seconds of work of a job that is over
    kept_s: float  # seconds of work that earlier attempts have left
    attempts: int
    stops: int  # how often it made room for others
    out_of_memory: int
    exit_code: int | None  # of the newest attempt; -9 where SIGKILL ended it


class JobAttemptRow(NamedTuple):
    """One time that a job was started."""

    job: int
    number: int
    slots: tuple[str, ...]  # ids
    intended_s: float
    started_s: float | None
    ended_s: float | None
    exit_code: int | None
    why: str  # "preempted", "rolled back", "cancelled", "out of memory", "requeued" (by Slurm); "" where it ended by itself
    because: int | None  # the job that got its slots, or the neighbour
    said: str  # a sentence about its end
    peak_mib: float | None  # the most memory of a slot that it was seen with
    run: str
    log_dir: str
    slurm: int | None = None  # its number there, of a job at Slurm


class SlotRow(NamedTuple):
    """A slot as the daemon last saw it."""

    id: str  # a GPU's UUID, or "cores-0"
    name: str  # "GPU 0", "cores 0-3"
    memory_mib: float | None
    free_mib: float | None
    foreign: bool  # others use it
    why: str  # who, in words
    seen_s: float  # when


class QueueView:
    """Reads one queue; holds nothing open between two calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        return self._folder

    def daemon(self) -> int | None:
        """The pid of the daemon; None where none runs: then nothing starts."""
        return daemon_of(self._folder)

    def signature(self) -> str:
        """Changes with the queue's file, and when its daemon begins or ends; about 100 us."""
        parts = [str(self.daemon() or "")]
        for name in (QUEUE, f"{QUEUE}-wal"):
            with suppress(OSError):
                found = (self._folder / name).stat()
                parts.append(f"{found.st_ino:x}.{found.st_mtime_ns:x}.{found.st_size:x}")
        return "-".join(parts)

    def jobs(self) -> list[JobRow]:
        """All that are not over: those that run, those that wait, as the last plan went through them, and those on hold; else the oldest first.

        Ask for them before `history`: a job that ends between the two then stands in both, not in none."""
        turns = {job: turn for turn, job in enumerate(self._kept(ORDER) or ())}
        rows = self._rows(f"state NOT IN {OVER} ORDER BY id")

        def turn(row: JobRow) -> tuple[int, int]:
            """One that no plan has seen is last."""
            return ("queued", "held").index(row.state) + 1 if row.state in ("queued", "held") else 0, turns.get(
                row.id, len(turns)
            )

        return sorted(rows, key=turn)

    def job(self, job: int) -> JobRow:
        """Raises NoSuchJob where there is none of that number."""
        found = self._rows("id = ?", job)
        if not found:
            raise NoSuchJob(f"there is no job {job}; `deepseek-jobs queue` lists them")
        return found[0]

    def find(self, word: str) -> JobRow:
        """The job of this number, or whose run is called so: of several the one that is not over. Raises NoSuchJob, QueueError where several could be meant."""
        if word.isdecimal():
            if int(word) > MAX_NUMBER:
                raise NoSuchJob(f"there is no job {word}; `deepseek-jobs queue` lists them")
            return self.job(int(word))
        found = self._rows("run = ? ORDER BY id", word) if word else []
        found = [row for row in found if row.state not in OVER] or found
        if not found:
            raise NoSuchJob(f"there is no job with the number or run {word!r}; `deepseek-jobs queue` lists them")
        if len(found) > 1:
            raise QueueError(f"{word!r} is the run of jobs {', '.join(str(row.id) for row in found)}: give a number")
        return found[0]

    def history(
        self, limit: int = 100, matching: str = "", states: Sequence[str] = OVER, before: int | None = None
    ) -> list[JobRow]:
        """Jobs that are over, newest first, with numbers below `before`; `matching` is a part of the run's name or the command, in any case."""
        where, values = f"state IN ({', '.join('?' * len(states))})", list[object](states)
        if matching:
            where += " AND (run LIKE ? ESCAPE '\\' OR argv LIKE ? ESCAPE '\\')"
            plain = matching.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values += [f"%{plain}%"] * 2
        if before is not None:
            where, values = f"{where} AND id < ?", [*values, before]
        return self._rows(f"{where} ORDER BY id DESC LIMIT ?", *values, limit)

    def count(self, states: Sequence[str] = OVER) -> int:
        """How many jobs are in one of these states."""
        with self._opened() as db:
            if db is None:
                return 0
            (number,) = db.execute(
                f"SELECT count(*) FROM job WHERE state IN ({', '.join('?' * len(states))})", states
            ).fetchone()
            return int(number)

    def attempts(self, since_s: float = 0.0, job: int | None = None, limit: int = 10_000) -> list[JobAttemptRow]:
        """Of all jobs or of one, those that ended after `since_s` or have not ended, in the order in which they were intended: the newest `limit`."""
        where, values = "(attempt.ended_s IS NULL OR attempt.ended_s >= ?)", list[object]([since_s])
        if job is not None:
            where, values = f"{where} AND job = ?", [*values, job]
        with self._opened() as db:
            found = (
                []
                if db is None
                else db.execute(
                    "SELECT job, number, attempt.slots, intended_s, attempt.started_s, attempt.ended_s, exit_code, coalesce(why, ''), because, said, "
                    f"peak_mib, run, log_dir, {_slurm_id(db)} FROM attempt JOIN job ON job = id WHERE {where} ORDER BY intended_s DESC, job DESC LIMIT ?",
                    [*values, limit],
                ).fetchall()
            )
        return [JobAttemptRow(row[0], row[1], tuple(json.loads(row[2])), *tuple(row)[3:]) for row in reversed(found)]

    def submissions(self, now_s: float, limit: int = 10_000) -> list[Submission]:
        """This host's jobs that ran, run or wait, the newest `limit` in the order in which they were submitted; about 40 ms for 10,000."""
        with self._opened() as db:
            rows = [] if db is None else db.execute(SUBMISSIONS, (now_s, limit)).fetchall()
        if not rows:
            return []
        records = self.families()
        usual_s, _ = usual(records)
        return [
            _submission(row, predicted_s(records.get(row["family"], NOTHING), usual_s), now_s) for row in reversed(rows)
        ]

    def used(self, since_s: float, now_s: float) -> list[Span]:
        """When which slot was in use since then."""
        return [
            (slot, row.intended_s if row.started_s is None else row.started_s, row.ended_s or now_s)
            for row in self.attempts(since_s)
            for slot in row.slots
        ]

    def slots(self) -> list[SlotRow]:
        """As the daemon last saw them; none before it has looked."""
        kept = self._kept("slots") or {"seen_s": 0.0, "slots": []}
        return [
            SlotRow(**{**slot, "name": ONE_CORE.sub(r"core \1", slot["name"])}, seen_s=kept["seen_s"])
            for slot in kept["slots"]
        ]

    def families(self) -> dict[str, FamilyRecord]:
        """What was measured of each family."""
        with self._opened() as db:
            rows = [] if db is None else db.execute("SELECT name, record FROM family").fetchall()
        return {name: record_from(record) for name, record in rows}

    def family(self, name: str) -> FamilyRecord:
        return self.families().get(name, NOTHING)

    def pairs(self) -> dict[Pair, tuple[float, float]]:
        """Measured speeds of two families side by side, of their speeds alone."""
        with self._opened() as db:
            rows = (
                [] if db is None else db.execute("SELECT first, second, first_speed, second_speed FROM pair").fetchall()
            )
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    def carried(self) -> PlannerState:
        """What the last plan left: the virtual first-in-first-out host among it (`fifo.starts_s`, `fifo.longest_s`)."""
        kept = self._kept("carried")
        return carried_from(kept) if kept else PlannerState()

    def _rows(self, where: str, *values: object) -> list[JobRow]:
        with self._opened() as db:
            if db is None:
                return []
            placed = db.execute(
                f"SELECT id, on_slots FROM job WHERE state IN {PLACED} AND place = '{LOCAL}'"
            ).fetchall()
            rows = db.execute(f"SELECT {COLUMNS} FROM job WHERE {where}", values).fetchall()
        on = {job: set(json.loads(slots)) for job, slots in placed}
        return [_row(row, on) for row in rows]

    def _kept(self, name: str) -> Any:
        with self._opened() as db:
            row = None if db is None else db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        path = self._folder / QUEUE
        require_own(self._folder)
        if not path.exists():
            yield None
            return
        try:
            db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise QueueError(f"cannot read {path} ({error}); see its rights") from None
        db.row_factory = sqlite3.Row
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if not 0 <= version <= VERSION:
                raise QueueError(f"{path} is a queue of version {version}; this program reads version {VERSION}")
            yield db if version else None
        except sqlite3.DatabaseError as error:
            raise QueueError(f"cannot read {path} ({error}); move it away, and the queue begins anew") from None
        finally:
            db.close()


def neighbours(on: dict[int, set[str]], job: int) -> tuple[int, ...]:
    """Jobs that have a slot in common with it."""
    mine = on.get(job, set())
    return tuple(other for other, slots in on.items() if other != job and slots & mine)


def row_as_json(row: JobRow | JobAttemptRow | SlotRow) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in row._asdict().items()}


def _slurm_id(db: sqlite3.Connection) -> str:
    """The column of an attempt's number at Slurm: until the next start of the daemon a file may be of the first version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return "slurm_id" if version > 1 else f"CASE place WHEN '{SLURM}' THEN pid END"


def _row(row: sqlite3.Row, on: dict[int, set[str]]) -> JobRow:
    state, attempts = row["state"], row["attempts"]
    over, placed = state in OVER, state in PLACED
    shown = state in ("queued", "held") or (row["place"] != LOCAL and not over)
    reason = row["reason"] if shown else row["said"] or "" if over else ""
    reason = "" if reason == state else reason  # "cancelled"
    return JobRow(
        id=row["id"], state=state, reason=reason, run=row["run"], log_dir=row["log_dir"], family=row["family"], slots=row["slots"],
        place=row["place"], high=bool(row["high"]), shares=bool(row["shares"]), resumes=bool(row["resumes"]),
        memory_mib=row["needs_mib"] or row["declared_mib"], argv=tuple(json.loads(row["argv"])), cwd=row["cwd"],
        submitted_s=row["submitted_s"], waited_s=row["waited_s"], queued_s=row["queued_s"] if state == "queued" else None,
        on=tuple(json.loads(row["on_slots"])), beside=neighbours(on, row["id"]) if placed else (),
        shared_s=row["shared_s"] if placed else None, speed=row["speed"] if placed else None,
        started_s=row["started_s"] if attempts and row["started_s"] else None, ended_s=row["ended_s"] if over else None,
        work_s=row["work_s"], kept_s=row["ran_s"], attempts=attempts, stops=row["stops"], out_of_memory=row["out_of_memory"],
        exit_code=row["exit_code"] if attempts else None,
    )  # fmt: skip


def _submission(row: sqlite3.Row, predicted: float, now_s: float) -> Submission:
    """Time that is neither waiting nor on slots was on hold. A job that is not over runs as long as its family did, or twice as long as it has run."""
    waited_s = row["waited_s"] + (max(0.0, now_s - row["queued_s"]) if row["state"] == "queued" else 0.0)
    until_s = row["ended_s"] if row["state"] in OVER else now_s
    held_s = max(0.0, until_s - row["submitted_s"] - waited_s - row["on_slots_s"])
    if row["state"] in OVER:
        runs_s = row["work_s"] if row["work_s"] is not None else row["on_slots_s"]
    else:
        done_s = row["ran_s"] if row["state"] == "queued" else max(row["ran_s"], row["on_slots_s"])
        runs_s = outlived(predicted, done_s)
    return Submission(row["id"], row["slots"], row["submitted_s"], waited_s, held_s, max(1.0, runs_s))
