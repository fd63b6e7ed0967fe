"""Time in the queue of jobs stands beside the ledger's rows: it is no device's time, and no share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.ledger.shares import queued_during, seconds_in
from analysis.ledger.text import lines_of, sentence_of
from collectors.message import text_of
from collectors.queue_events import PLACED, write_queue_event
from collectors.records import Event, Points, RunInfo
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from dashboard.stacks.stacks import Stacks
from tests.analysis.test_ledger import FED, T0, ledger_of, profile, shares
from tests.conftest import Ask
from tests.support.following import Follower, until
from tests.support.serving import served

MINUTES = 9
AWAY = (3, 4, 5)  # minutes in which it had made room


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Waited 10 min, ran 3, made room for 3 and ran again."""
    store = open_store(tmp_path / "logs" / ".deepseek", write=True)
    store.append([RunInfo("run", {"cwd": "/job"})])
    there = [minute for minute in range(MINUTES) if minute not in AWAY]
    store.append([Points("run", (), ("loss",), (0.5,), T0 + 60 * m + s, 60 * m + s) for m in there for s in range(60)])
    for minute in there:
        store.append([profile(T0 + 60 * minute, FED)])
    store.append([Event("run", "queued", T0 - 1, seconds=600.0), Event("run", "queued", T0 + 359, seconds=175.0)])
    yield store
    store.close()


def test_a_window_that_begins_before_the_start_has_the_wait_beside_its_rows(store: Store) -> None:
    ledger = ledger_of(store, T0 - 700, T0 + 170)
    assert ledger.queued_s == pytest.approx(600) and sum(shares(ledger).values()) == pytest.approx(100, abs=0.1)
    assert (
        text_of(sentence_of(ledger))
        == "computing 70% (train.py:40 train), waiting for data 30% (data.py:88 decode_image). Besides, 10 min in the queue."
    )
    assert lines_of(ledger, "run")[-2] == "besides  10 min in the queue"


def test_a_wait_within_the_window_is_not_time_that_was_not_seen(store: Store) -> None:
    ledger = ledger_of(store, T0, T0 + 540)
    assert ledger.queued_s == pytest.approx(175) and ledger.covered_share > 0.95
    assert ledger.seconds == pytest.approx(540, abs=2)
    assert shares(ledger) == pytest.approx({"busy": 70, "data": 30}, abs=0.5)


def test_all_of_a_run_has_all_its_waits(store: Store) -> None:
    assert Stacks(store).ledger("run", None, None).queued_s == pytest.approx(775)


def test_without_a_queue_nothing_is_said_of_one(store: Store) -> None:
    ledger = ledger_of(store, T0 + 20, T0 + 140)
    assert (
        ledger.queued_s == 0
        and "queue" not in text_of(sentence_of(ledger))
        and "queue" not in "".join(lines_of(ledger, "run"))
    )


def test_a_window_in_the_queue_says_so(store: Store) -> None:
    ledger = ledger_of(store, T0 + 200, T0 + 350)
    assert ledger.rows == [] and "was in the queue for 2 min of the window" in text_of(sentence_of(ledger))


def test_the_route_has_the_seconds(store: Store, tmp_path: Path) -> None:
    queries = Queries(
        open_store(tmp_path / "logs" / ".deepseek", write=False), tmp_path / "logs", tmp_path / "logs" / ".deepseek"
    )
    with served(queries) as web:
        found = web.ask("/api/v1/ledger", run="run", from_=T0 - 100, to=T0 + 170).json
    queries.close()
    assert found["queued_s"] == pytest.approx(99) and "queued" not in {row["kind"] for row in found["rows"]}


def test_what_the_daemon_writes_is_what_is_read(follower: Follower) -> None:
    run = follower.root / "vit-1"
    run.mkdir()
    write_queue_event(run, PLACED, T0, "waited for 2 GPUs", seconds=90.5, job=1, slots=["a", "b"])

    def events() -> list[Event]:
        return [record for record in follower.records if isinstance(record, Event) and record.kind == "queued"]

    until(follower, events)
    assert events()[0].run == "vit-1" and queued_during(events(), (T0 - 1000, T0 + 1000)) == [(T0 - 90.5, T0)]


def test_the_table_has_a_row_without_a_share(ask: Ask) -> None:
    code = """
    const { LedgerTable } = await load("ledger/ledger_view.js");
    const row = { kind: "busy", label: "computing", share: 100, seconds: 9, least: 100, most: 100, prediction: null, confidence: "high", exposed_by: null, lines: [] };
    const said = (queued_s) => {
      const place = document.createElement("div");
      new LedgerTable(place).show({ rows: [row], sentence: "", basis: "", window: [0, 9], communication: null, queued_s, rank: 0, ranks: 1, device: "CPU", tier: "A", covered_share: 1 }, { run: "a" });
      return [...place.querySelectorAll("tbody tr")].map((tr) => [...tr.children].map((cell) => cell.textContent));
    };
    return [said(720), said(0)];"""
    busy = ["computing", "100%", ""]
    assert ask(code) == [[busy, ["queuedbesides: not the device\u2019s time", "12 min", ""]], [busy]]


WAITS = st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 500)), max_size=20)


@given(WAITS, st.floats(0, 1000), st.floats(0, 1000))
def test_overlapping_waits_count_once_and_only_in_the_window(
    waits: list[tuple[float, float]], one: float, other: float
) -> None:
    window = min(one, other), max(one, other)
    found = queued_during([Event("run", "queued", end_s, seconds=s) for end_s, s in waits], window)
    assert all(window[0] <= lo < hi <= window[1] for lo, hi in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    ticks = [window[0] + (window[1] - window[0]) * (i + 0.5) / 400 for i in range(400)]
    inside = sum(any(end_s - s <= tick <= end_s for end_s, s in waits) for tick in ticks)
    assert seconds_in(found, window) <= window[1] - window[0] + 1e-9
    assert seconds_in(found, window) == pytest.approx(
        inside / 400 * (window[1] - window[0]), abs=(window[1] - window[0]) / 8 + 1e-9
    )
