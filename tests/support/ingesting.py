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
from collectors.records import Offset, labels_of
from collectors.store.batches import store_all
from collectors.store.engines import open_store
from collectors.store.store import Run, series_id

MAX_PASSES = 3  # turns that may pass over a file known to have changed: none at rest, a few where the machine stalls
MAX_TURN_S = 30.0  # a turn takes about 0.2 s at rest
DEADLINE_S = 60.0


class Ingest:
    """What the supervisor does with the tail."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root, self.data_dir, self.written = root, root.parent / "data", 0
        self.may_fail = False  # a turn
        self.failed: Exception | None = None  # the last one did
        self.around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
        self.passes = 0  # turns after which the metrics of the healthy run were still waiting to be read
        self.most_bytes = self.most_records = 0  # read in one turn
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
        began_s = time.monotonic()
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
        moved = [(record.offset, record.after[0]) for record in records if isinstance(record, Offset) and record.after]
        self.most_bytes = max(self.most_bytes, sum(offset - before for offset, before in moved if offset > before))
        self.most_records = max(self.most_records, len(records))
        if refused := store_all(self.store, records) if records else []:
            self.tail.refused(refused)
        self.passes += self.tail._schedule.waits(self.root.resolve() / "healthy" / "metrics.jsonl")
        assert time.monotonic() - began_s < MAX_TURN_S
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

    def health_passes(self, lines: int = 20) -> int:
        """Turns that pass over the lines written now before all of them are stored, in order, with those before them."""
        self.write(lines)
        self.passes = 0
        self.until(lambda: (run := self.run("healthy")) and run.points >= self.written, "the healthy run lost points")
        passes = self.passes
        loss = series_id("healthy", "loss", labels_of(host="box"))
        steps = self.store.range([loss], None, None, "step", buckets=10**6)[loss].t
        assert steps.tolist() == list(range(self.written))
        return passes


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    ingest = Ingest(tmp_path / "logs")
    yield ingest
    ingest.close()
