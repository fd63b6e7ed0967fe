"""Supervises the collectors: restarts, time limits, memory, and a watchdog for a stuck process."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from .folders import LogTree
from .machine.nvml import StaleLibrary
from .records import Offset, Record
from .runtime import BEAT_S, beat_at
from .store.batches import RefusedRecord, store_all
from .store.store import OffsetGap, Store, StoreError

STUCK_S = 10.0  # for which a turn, or what it stores, may take; beyond that the collector is stuck
GIVE_UP_S = 30.0  # ... and then the process is ended
LOOK_S = 1.0
ASLEEP = 1 / 6  # of GIVE_UP_S: looks that are later than that were kept from looking, as all others were
FRAMES = 3  # of the stack that are named, the innermost ones
FILE = "set-aside.json"
MAX_RESTARTS = 3  # by one input; once it has changed, one more
RETRY_S = 600.0  # when an input that was set aside is tried again,
FORGET_S = 3600.0  # and how long after that its restarts are forgotten
NEVER_S = 1e12
MAX_INPUTS = 1000

log = logging.getLogger("collectors")


@runtime_checkable
class CurrentInput(Protocol):
    """A collector that reads one of many inputs at a time."""

    at_work_on: str  # the file, run or device; "" between two


class HungCollector(NamedTuple):
    """A collector that has hung for too long."""

    collector: str
    input: str  # what it was reading; "" where that is not known
    since_s: float  # how long
    place: str  # `tail.py:88 _read < tail.py:63 collect`

    @property
    def sentence(self) -> str:
        what = f", reading {self.input}" if self.input else ""
        return f"{self.collector} has not come back for {self.since_s:.0f} s{what}; it stands in {self.place}"


class Watchable(Protocol):
    """A worker of the supervisor."""

    def stuck(self) -> HungCollector | None: ...


class Watchdog(threading.Thread):
    """Calls `give_up` once, with the first collector that is stuck for too long."""

    def __init__(
        self, workers: Sequence[Watchable], give_up: Callable[[HungCollector], None], give_up_s: float = GIVE_UP_S
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._workers, self._give_up, self._give_up_s = workers, give_up, give_up_s
        self._ending = threading.Event()
        self._given_up: set[str] = set()
        self._every_s = min(LOOK_S, self._give_up_s)
        self._looked_s = self._awake_since_s = time.monotonic()

    def run(self) -> None:
        while not self._ending.wait(self._every_s):
            found = [stuck for worker in self._workers if (stuck := worker.stuck())]
            awake_s = self._awake_s()
            for stuck in found:
                if min(stuck.since_s, awake_s) > self._give_up_s and stuck.collector not in self._given_up:
                    self._given_up.add(stuck.collector)
                    log.error("%s", stuck.sentence)
                    self._give_up(stuck)

    def stop(self) -> None:
        self._ending.set()

    def _awake_s(self) -> float:
        """Seconds that it has run without a break: while the whole process stood still (a paused container) nothing was stuck."""
        now_s = time.monotonic()
        if now_s - self._looked_s > self._every_s + ASLEEP * self._give_up_s:
            self._awake_since_s = now_s
        self._looked_s = now_s
        return now_s - self._awake_since_s


def place_of(thread: threading.Thread) -> str:
    """A thread's stack, innermost function first: `tail.py:88 _read < tail.py:63 collect`."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "no Python frame"
    frames = traceback.extract_stack(frame)[-FRAMES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))


class QuarantineEntry(NamedTuple):
    """An input that made the collector hang."""

    reason: str  # one sentence, without its name
    restarts: int  # that it caused
    until_s: float  # Unix seconds: it is not read before
    mark: list[int]  # inode, size and mtime of the file at that time; [] for what is no file


class Quarantine:
    """The inputs that made the collector hang, in a file of the data folder: a new process skips them."""

    def __init__(self, data_dir: Path, logs: Path | LogTree) -> None:
        self._path, self._tree = data_dir / FILE, LogTree.of(logs)
        self._inputs = dict(_read(self._path))

    def add(self, stuck: HungCollector) -> bool:
        """Record it; return whether another process may do better: not after the third restart, unless the file has changed since.

        Without a known input the restarts are counted, and nothing is skipped.
        """
        name = stuck.input or f"the collector {stuck.collector}"
        before, mark, now_s = self._inputs.get(name), self._mark(stuck.input), time.time()
        if before is not None and now_s > before.until_s + FORGET_S:
            before = None
        restarts = 1 + (before.restarts if before else 0)
        if before is not None and restarts > MAX_RESTARTS and mark == before.mark:
            return False
        if name in self._inputs or len(self._inputs) < MAX_INPUTS:
            until_s = now_s + RETRY_S if restarts < MAX_RESTARTS else NEVER_S
            self._inputs[name] = QuarantineEntry(
                f"made {stuck.collector} hang in {stuck.place}", restarts, until_s, mark
            )
        self._write()
        return True

    def reason(self, file: str) -> str:
        """Why a file of the log folder is skipped at present; "" where it may be read."""
        aside = self._inputs.get(file)
        if (
            aside is None
            or time.time() > aside.until_s
            or (aside.restarts >= MAX_RESTARTS and self._mark(file) != aside.mark)
        ):
            return ""
        when = "once it changes" if aside.restarts >= MAX_RESTARTS else "in some minutes"
        return f"{aside.reason}; it is tried again {when}"

    def _mark(self, file: str) -> list[int]:
        """The mark that shows that a file has changed; [] where none is known."""
        try:
            stat = self._tree.path_of(file).lstat() if file else None
        except (OSError, ValueError):
            return []
        return [stat.st_ino, stat.st_size, stat.st_mtime_ns] if stat else []

    def _write(self) -> None:
        rows = {name: aside._asdict() for name, aside in self._inputs.items()}
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(rows).encode())
            file.flush()
            os.fsync(descriptor)
        fresh.replace(self._path)


def _read(path: Path) -> list[tuple[str, QuarantineEntry]]:
    """Empty if there is none, or if we did not write it."""
    try:
        rows: Any = json.loads(path.read_bytes())
        return [
            (name, QuarantineEntry(str(row["reason"]), int(row["restarts"]), float(row["until_s"]), list(row["mark"])))
            for name, row in rows.items()
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read (%s); nothing is set aside", path, error)
        return []


# A thread per collector: its cadence, its health, its stop.

COALESCE_S = 0.02  # a woken collector waits this long for more
TURN_S = 0.05  # how long a collector waits for its turn beside the others: one that hangs must not delay them
BACK_OFF_S = (1.0, 30.0)  # after a failure: the first wait, and the longest
LOG_AGAIN_S = 60.0  # a failure that comes and goes is logged this often
COMPACT_S = 0.05  # how long packing may hold the store at a time
COMPACT_PAUSE_S = (
    0.5,
    1.0,
)  # between two packings: while there is more to do, and when there is not; a backlog is read first
STOP_S = 2.0
LONGEST_PERIOD_S = 3600.0


class Collector(Protocol):
    """A source of records."""

    name: str

    @property
    def period_s(self) -> float:
        """Between the starts of two `collect` calls; 0 while more is waiting."""

    def collect(self) -> Iterable[Record]:
        """The records since the last call; must not block."""

    def close(self) -> None: ...


@runtime_checkable
class IsolatingCollector(Protocol):
    """A collector of many inputs that goes on with the others where one is faulty, and names that one."""

    def trouble(self) -> str:
        """One sentence that names an input which is not read; "" where all are."""


@runtime_checkable
class AccountingCollector(IsolatingCollector, Protocol):
    """One that also accounts for records that the store does not take."""

    def refused(self, refused: list[RefusedRecord]) -> None:
        """The store took everything but these records."""


@runtime_checkable
class ResumableCollector(Protocol):
    """One that reads files on from the offset that it has reached."""

    def go_back(self, stored: Mapping[str, Offset], faults: Mapping[str, str]) -> None:
        """Read on from the stored offsets: not all of what was read behind them is stored.

        `faults` says of files, by path, why the store does not take their records; each is the end of a sentence that begins with
        its name.
        """


class Health(NamedTuple):
    """The state of one collector."""

    name: str
    state: str  # "ok", "failing" (its source), "paused" (the store cannot take what it has), "stuck" (it does not come back)
    lag_s: float  # since it last delivered, beyond its period
    last_error: str
    waiting: bool  # whether it is at work, or has more to do at once


class Supervisor:
    """Runs collectors against one store, and packs the store in between."""

    def __init__(
        self,
        store: Store,
        on_stale: Callable[[StaleLibrary], None],
        on_stuck: Callable[[HungCollector], None] = lambda stuck: None,
        on_stored: Callable[[Sequence[Record]], None] = lambda records: None,
    ) -> None:
        """`on_stale` is called when only a new process can continue, because a collector's library was replaced; `on_stuck`
        when a collector hangs, `on_stored` with what the store has taken, by the thread that had it.
        """
        self._store, self._on_stale, self._on_stuck, self._on_stored = store, on_stale, on_stuck, on_stored
        self._workers: list[_Worker] = []
        self._watchdog: Watchdog | None = None
        self._stopping = threading.Event()
        self._turns = threading.Lock()
        self._packer = threading.Thread(target=self._pack, name="compact", daemon=True)

    def add(self, collector: Collector, wake: threading.Event | None = None) -> None:
        """The source sets `wake` when there is something to collect before the period is over."""
        self._workers.append(
            _Worker(collector, self._store, wake or threading.Event(), self._on_stale, self._turns, self._on_stored)
        )

    def start(self) -> None:
        for worker in self._workers:
            worker.start()
        self._packer.start()
        self._watchdog = Watchdog(self._workers, self._on_stuck)
        self._watchdog.start()

    def stop(self) -> None:
        """Ends all threads, then the collectors; what was collected is in the store."""
        self._stopping.set()
        if self._watchdog is not None:
            self._watchdog.stop()
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(STOP_S)
        self._packer.join(STOP_S)

    def health(self) -> list[Health]:
        return [worker.health() for worker in self._workers]

    def _pack(self) -> None:
        pause_s = COMPACT_PAUSE_S[1]
        while not self._stopping.wait(pause_s):
            try:
                pause_s = COMPACT_PAUSE_S[0] if self._store.compact(COMPACT_S) else COMPACT_PAUSE_S[1]
            except StoreError as error:  # a full disk: the workers report it
                log.debug("not packed: %s", error)
                pause_s = COMPACT_PAUSE_S[1]
            except Exception:  # collecting goes on, and what cannot be packed today is still read
                log.exception("not packed")
                pause_s = BACK_OFF_S[1]


class _Worker(threading.Thread):
    def __init__(
        self,
        collector: Collector,
        store: Store,
        wake: threading.Event,
        on_stale: Callable[[StaleLibrary], None],
        turns: threading.Lock,
        on_stored: Callable[[Sequence[Record]], None],
    ) -> None:
        super().__init__(name=collector.name, daemon=True)
        self._collector, self._store, self._wake, self._on_stale, self._turns = collector, store, wake, on_stale, turns
        self._on_stored = on_stored
        self._ending = threading.Event()
        self._state, self._error = "ok", ""
        self._logged, self._logged_s = "", 0.0  # the last failure in the log, CLOCK_MONOTONIC
        self._delivered = time.monotonic()
        self._at_work_since_s: float | None = (
            None  # CLOCK_MONOTONIC; None between two turns, and while the store is full
        )
        self._goes_back: dict[str, str] | None = (
            None  # the faults, where the collector is to go back to the stored offsets
        )
        self._back_off_s = BACK_OFF_S[0]

    def health(self) -> Health:
        period_s, at_work = self._period_s(), self._at_work_since_s is not None
        lag_s = round(max(0.0, time.monotonic() - self._delivered - period_s), 3)
        waiting = at_work or not period_s
        if stuck := self.stuck():
            return Health(self.name, "stuck", lag_s, stuck.sentence, waiting)
        if not self.is_alive() and not self._ending.is_set():
            why = f"the thread of {self.name} has ended: {self._error or 'nothing says why'}"
            return Health(self.name, "failing", lag_s, why, waiting)
        return Health(self.name, self._state, lag_s, self._error, waiting)

    def stuck(self) -> HungCollector | None:
        """It is, where it has been at work for longer than it may, or has let its time to work pass."""
        if not self.is_alive() or self._ending.is_set():
            return None
        now_s, began_s = time.monotonic(), self._at_work_since_s
        if began_s is None and self._state == "ok":
            began_s = self._delivered + self._period_s()
        if began_s is None or now_s - began_s <= STUCK_S:
            return None
        at_work_on = self._collector.at_work_on if isinstance(self._collector, CurrentInput) else ""
        return HungCollector(self.name, at_work_on, now_s - began_s, place_of(self))

    def stop(self) -> None:
        self._ending.set()
        self._wake.set()

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:  # whatever ended the thread: it is a failure, and is shown as one
            self._failed("failing", f"{type(error).__name__}: {error}", trace=True)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            self._wake.clear()
            began = self._at_work_since_s = time.monotonic()
            pause_s = self._in_turn()
            self._at_work_since_s = None
            period_s = self._period_s()
            if pause_s:
                self._ending.wait(pause_s)
            elif period_s:
                if began >= due:
                    due = max(due + period_s, time.monotonic())
                if self._wake.wait(beat_at(due) - time.monotonic()):
                    self._ending.wait(rest_s(began, time.monotonic()))
        self._collector.close()

    def _period_s(self) -> float:
        return min(self._collector.period_s, LONGEST_PERIOD_S)

    def _in_turn(self) -> float:
        """Collect alone, unless another collector takes long: threads that share an interpreter pay for each switch."""
        mine = self._turns.acquire(timeout=TURN_S)
        try:
            return self._turn()
        finally:
            if mine:
                self._turns.release()

    def _turn(self) -> float:
        """Collect once and store it; the seconds to wait before the next try after a failure, else 0."""
        try:
            self._go_back()
            records = list(self._collector.collect())
        except StaleLibrary as error:
            self._failed("failing", str(error), trace=False)
            self._on_stale(error)
            return BACK_OFF_S[1]
        except (
            Exception
        ) as error:  # whatever goes wrong in one source must not end the others; it is shown and tried again
            self._failed("failing", f"{type(error).__name__}: {error}", trace=True)
            self._goes_back = self._goes_back or {}
            pause_s, self._back_off_s = self._back_off_s, min(2 * self._back_off_s, BACK_OFF_S[1])
            return pause_s
        try:
            lost = self._store_all(records) if records else []
        except OffsetGap as gap:
            self._failed("failing", f"nothing was stored: {gap}; it is read again from there", trace=False)
            self._goes_back = {gap.path: "was read from another place than the store has reached; it is read again"}
            return BACK_OFF_S[0]
        except Exception as error:  # neither a record nor a full disk but a fault of ours: what is not in files is lost, and it is said
            self._failed("failing", f"what was collected cannot be stored: {type(error).__name__}: {error}", trace=True)
            self._goes_back = {}
            return BACK_OFF_S[0]
        self._delivered = time.monotonic()
        if self._goes_back:
            path, why = next(iter(self._goes_back.items()))
            self._failed("failing", f"{path} {why}", trace=False)
            return 0.0
        try:
            self._on_stored(records)
        except Exception as error:  # it is stored all the same
            self._failed(
                "failing", f"what was stored could not be passed on: {type(error).__name__}: {error}", trace=True
            )
            return 0.0
        if lost:
            self._failed(
                "failing",
                f"{len(lost)} of the {len(records)} newest records cannot be stored ({lost[0].reason})",
                trace=False,
            )
            return 0.0
        self._state, self._back_off_s = "ok", BACK_OFF_S[0]
        self._error = self._collector.trouble() if isinstance(self._collector, IsolatingCollector) else ""
        return 0.0

    def _go_back(self) -> None:
        """After a failure, for a collector that reads files. Raises StoreError."""
        if self._goes_back is not None and isinstance(self._collector, ResumableCollector):
            self._collector.go_back(self._store.offsets(), self._goes_back)
        self._goes_back = None

    def _store_all(self, records: list[Record]) -> list[RefusedRecord]:
        """Keeps what was collected until the store takes it: a full disk pauses the source, it loses nothing.

        Returns what the store refused, where the collector does not count that itself.
        """
        while True:
            try:
                refused = store_all(self._store, records)
                faults = {
                    found.path: f"cannot be stored ({found.reason[:200]})"
                    for found in refused
                    if isinstance(found.record, Offset)
                }
                self._goes_back = faults or None
                if not (refused and isinstance(self._collector, AccountingCollector)):
                    return refused
                self._collector.refused(refused)
                return []
            except StoreError as error:
                self._failed("paused", str(error), trace=False)
                self._at_work_since_s = None
                if self._ending.wait(BACK_OFF_S[0]):
                    return []
                self._at_work_since_s = time.monotonic()

    def _failed(self, state: str, error: str, *, trace: bool) -> None:
        now_s = time.monotonic()
        if error != self._error and (error != self._logged or now_s - self._logged_s > LOG_AGAIN_S):
            self._logged, self._logged_s = error, now_s
            log.warning("%s: %s", self.name, error, exc_info=trace)
        self._state, self._error = state, error


def rest_s(began: float, now: float) -> float:
    """How long a collector that is woken waits for more: after a pause a moment, in a steady flow until the next beat."""
    return COALESCE_S if now - began >= BEAT_S else max(COALESCE_S, beat_at(now) - now)
