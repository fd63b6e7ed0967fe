"""A tail and a store at work in this process, one turn after the other, beside a healthy run that is written meanwhile."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectors.logs.tail import Tail
from collectors.records import labels_of
from collectors.store.open import open_store
from collectors.store.protocol import Run, series_id
from collectors.store.storing import store_all

IN_TIME_S = 1.5
DEADLINE_S = 60.0
WAITED = Path("/proc/thread-self/schedstat")
DISK = Path("/proc/pressure/io")


class Ingest:
    """What the supervisor does with the tail."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root, self.data_dir, self.written = root, root.parent / "data", 0
        self.may_fail = False  # a turn
        self.failed: Exception | None = None  # the last one did
        self.around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
        self.start()

    def start(self) -> None:
        self.wake = threading.Event()
        self.store = open_store(self.data_dir, write=True)
        self.tail = Tail(self.root, "box", self.store.offsets(), self.wake)

    def restart(self) -> None:
        self.close()
        self.start()

    def close(self) -> None:
        self.tail.close()
        self.store.close()

    def turn(self) -> None:
        self.wake.clear()
        if self.failed is not None:
            self.tail.go_back(self.store.offsets(), {})
            self.failed = None
        try:
            with self.around():
                records = self.tail.collect()
        except Exception as error:
            if not self.may_fail:
                raise
            self.failed = error
            return
        if refused := store_all(self.store, records) if records else []:
            self.tail.refused(refused)
        if self.tail.period_s:
            self.wake.wait(0.05)

    def until(self, so: Callable[[], object], because: str | Callable[[], str]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not so():
            assert time.monotonic() < deadline, because() if callable(because) else because
            self.turn()

    def run(self, name: str) -> Run | None:
        return next((run for run in self.store.runs() if run.name == name), None)

    # the healthy run

    def write(self, lines: int) -> None:
        """The next lines of it, with their time."""
        folder = self.root / "healthy"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "metrics.jsonl").open("a") as metrics, (folder / "train.log").open("a") as log:
            for step in range(self.written, self.written + lines):
                metrics.write(json.dumps({"time_s": round(time.time(), 6), "step": step, "loss": step / 7}) + "\n")
                log.write(f"step {step}\n")
        self.written += lines

    def health_s(self, lines: int = 20) -> float:
        """Seconds until lines that are written now are stored, all of them and in order, with those before them."""
        self.write(lines)
        began_s = own_s()
        self.until(lambda: (run := self.run("healthy")) and run.points >= self.written, "the healthy run lost points")
        took_s = own_s() - began_s
        loss = series_id("healthy", "loss", labels_of(host="box"))
        steps = self.store.range([loss], None, None, "step", buckets=10**6)[loss].t
        assert steps.tolist() == list(range(self.written))
        return took_s


def own_s() -> float:
    """A clock that stands while this thread waits for a core or programs wait for the disk: what others take is not the tail's.

    It goes on where the kernel tells neither.
    """
    held_up_s = 0.0
    with contextlib.suppress(OSError):
        held_up_s += int(WAITED.read_text().split()[1]) / 1e9
    with contextlib.suppress(OSError):
        held_up_s += int(DISK.read_text().split("total=", 1)[1].split()[0]) / 1e6
    return time.monotonic() - held_up_s


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    ingest = Ingest(tmp_path / "logs")
    yield ingest
    ingest.close()
