"""Detect a collector that hangs: its place in the code, its input, and when to start a new process."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..log_tree import LogTree

STUCK_S = 10.0  # for which a turn, or what it stores, may take; beyond that the collector is stuck
GIVE_UP_S = 30.0  # ... and then the process is ended
LOOK_S = 1.0
ASLEEP = 1 / 6  # of GIVE_UP_S: looks that are later than that were kept from looking, as all others were
FRAMES = 3  # of the stack that are named, the innermost ones
FILE = "set-aside.json"
MOST_RESTARTS = 3  # by one input; once it has changed, one more
RETRY_S = 600.0  # when an input that was set aside is tried again,
FORGET_S = 3600.0  # and how long after that its restarts are forgotten
NEVER_S = 1e12
MOST_INPUTS = 1000

log = logging.getLogger("collectors")


@runtime_checkable
class Naming(Protocol):
    """A collector that reads one of many inputs at a time."""

    at_work_on: str  # the file, run or device; "" between two


class Stuck(NamedTuple):
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

    def stuck(self) -> Stuck | None: ...


class Watchdog(threading.Thread):
    """Calls `give_up` once, with the first collector that is stuck for too long."""

    def __init__(
        self, workers: Sequence[Watchable], give_up: Callable[[Stuck], None], give_up_s: float = GIVE_UP_S
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


class LeftOut(NamedTuple):
    """An input that made the collector hang."""

    reason: str  # one sentence, without its name
    restarts: int  # that it caused
    until_s: float  # Unix seconds: it is not read before
    mark: list[int]  # inode, size and mtime of the file at that time; [] for what is no file


class SetAside:
    """The inputs that made the collector hang, in a file of the data folder: a new process skips them."""

    def __init__(self, data_dir: Path, logs: Path | LogTree) -> None:
        self._path, self._tree = data_dir / FILE, LogTree.of(logs)
        self._inputs = dict(_read(self._path))

    def add(self, stuck: Stuck) -> bool:
        """Record it; return whether another process may do better: not after the third restart, unless the file has changed since.

        Without a known input the restarts are counted, and nothing is skipped.
        """
        name = stuck.input or f"the collector {stuck.collector}"
        before, mark, now_s = self._inputs.get(name), self._mark(stuck.input), time.time()
        if before is not None and now_s > before.until_s + FORGET_S:
            before = None
        restarts = 1 + (before.restarts if before else 0)
        if before is not None and restarts > MOST_RESTARTS and mark == before.mark:
            return False
        if name in self._inputs or len(self._inputs) < MOST_INPUTS:
            until_s = now_s + RETRY_S if restarts < MOST_RESTARTS else NEVER_S
            self._inputs[name] = LeftOut(f"made {stuck.collector} hang in {stuck.place}", restarts, until_s, mark)
        self._write()
        return True

    def reason(self, file: str) -> str:
        """Why a file of the log folder is skipped at present; "" where it may be read."""
        aside = self._inputs.get(file)
        if (
            aside is None
            or time.time() > aside.until_s
            or (aside.restarts >= MOST_RESTARTS and self._mark(file) != aside.mark)
        ):
            return ""
        when = "once it changes" if aside.restarts >= MOST_RESTARTS else "in some minutes"
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


def _read(path: Path) -> list[tuple[str, LeftOut]]:
    """Empty if there is none, or if we did not write it."""
    try:
        rows: Any = json.loads(path.read_bytes())
        return [
            (name, LeftOut(str(row["reason"]), int(row["restarts"]), float(row["until_s"]), list(row["mark"])))
            for name, row in rows.items()
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read (%s); nothing is set aside", path, error)
        return []
