"""A record that the store cannot take costs only itself; a store that takes nothing keeps the batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from collectors.records import Event, Offset, Points, Record, labels_of
from collectors.store.batches import RefusedRecord, store_all
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import Store, StoreError
from collectors.supervisor import Supervisor
from tests.conftest import wait_for

HOST = labels_of(host="box")


def point(run: str, step: int) -> Points:
    return Points(run, HOST, ("loss",), (0.5,), 1_764_000_000.0 + step, step)


def offset(run: str, end: int) -> Offset:
    return Offset(f"{run}/m.jsonl", run, 1, 2, end, end, 0, 0, "", {})


BAD = [
    pytest.param(Event("bad", "note", float("nan")), id="a time that is no number"),
    pytest.param(Event("bad", "note", 1.0, step=2**70), id="a step beyond 64 bits"),
    pytest.param(Event("bad", "note", 1.0, fields={"seed": 2**127}), id="a field beyond 64 bits"),
    pytest.param(Event("bad", "note", 1.0, text="\ud800"), id="text that is no UTF-8"),
    pytest.param(Points("bad", HOST, ("a\ud800",), (1.0,), 1.0, 1), id="a name that is no UTF-8"),
    pytest.param(Points("bad", HOST, ("a",), ("x",), 1.0, 1), id="a value that is no number"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [0, 57, 101])
def test_one_bad_record_costs_only_itself(bad: Record, place: int, store: Store) -> None:
    good: list[Record] = [*(point("good", step) for step in range(50)), offset("good", 50)]
    others: list[Record] = [*(point("bad", step) for step in range(50)), offset("bad", 50)]
    batch = [*good, *others]
    batch.insert(place, bad)
    refused = store_all(store, batch)
    assert [one.record for one in refused] == [bad]
    assert {run.name: run.points for run in store.runs()} == {"good": 50, "bad": 50}
    offsets = store.offsets()
    skipped = {path: one.lines_skipped for path, one in offsets.items()}
    assert sum(skipped.values()) == (place < len(batch) - 1), "counted in the file whose offset follows it"
    assert all(one.offset == 50 for one in offsets.values())
    if place == 57:
        assert offsets["bad/m.jsonl"].first_skip.startswith("a record cannot be stored (")


def test_many_bad_records_are_all_found(store: Store) -> None:
    batch: list[Record] = [
        Event("a", "note", float("nan")) if step % 7 == 0 else Event("a", "note", float(step)) for step in range(500)
    ]
    assert len(store_all(store, batch)) == 72
    assert len(store.events("a")) == 500 - 72


class Unavailable(SqliteStore):
    """Takes nothing while there is an error to raise."""

    error: Exception | None = None

    def append(self, records: Iterable[Record]) -> int:
        if self.error:
            raise self.error
        return super().append(records)

    def rehearse(self, records: Iterable[Record]) -> None:
        if self.error:
            raise self.error
        super().rehearse(records)


class Batches:
    """A collector of one run that hands on ten points a time."""

    name, period_s = "batches", 0.01

    def __init__(self) -> None:
        self.step = 0
        self.told: list[RefusedRecord] = []

    def collect(self) -> list[Record]:
        self.step += 10
        return [*(point("a", step) for step in range(self.step - 10, self.step)), offset("a", self.step)]

    def refused(self, refused: list[RefusedRecord]) -> None:
        self.told += refused

    def trouble(self) -> str:
        return "x.log is set aside"

    def close(self) -> None:
        """Nothing is held open."""


@pytest.mark.parametrize(
    "error",
    [
        StoreError("the disk is full"),
        OSError("no such device"),
        ValueError("whatever it is that it takes no record at all for"),
    ],
)
def test_a_store_that_takes_nothing_keeps_the_batch_and_loses_nothing(error: Exception, tmp_path: Path) -> None:
    store, source = Unavailable(tmp_path / "data", write=True), Batches()
    store.error = error
    supervisor = Supervisor(store, on_stale=lambda error: None)
    supervisor.add(source)
    supervisor.start()
    wait_for(lambda: supervisor.health()[0].state == "paused")
    asked = source.step
    time.sleep(0.1)
    assert source.step == asked == 10, "nothing more is collected meanwhile"
    store.error = None
    wait_for(lambda: source.step >= 50)
    wait_for(lambda: supervisor.health()[0].last_error == "x.log is set aside")
    supervisor.stop()
    points = store.runs()[0].points
    assert points == store.offsets()["a/m.jsonl"].offset >= 40
    assert not source.told
    store.close()


def test_the_collector_learns_which_of_its_records_were_refused(tmp_path: Path) -> None:
    class OneBad(Batches):
        def collect(self) -> list[Record]:
            return [Event("a", "note", float("nan")), *super().collect()]

    store, source = open_store(tmp_path / "data", write=True), OneBad()
    supervisor = Supervisor(store, on_stale=lambda error: None)
    supervisor.add(source, threading.Event())
    supervisor.start()
    wait_for(lambda: len(source.told) >= 2)
    supervisor.stop()
    assert source.told[0].path == "a/m.jsonl"
    assert store.runs()[0].points >= 20
    store.close()
