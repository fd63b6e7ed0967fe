"""When collectors work: on the beat, at once after a pause, without a pause while more is waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collectors.records import Frame, Points, Record, StackRecording, StackSpan
from collectors.runtime import BEAT_S, COMMITTED_S, beat_at, committing_s
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from collectors.supervisor import COALESCE_S, Supervisor, rest_s
from tests.support.running import wait_for

DEADLINE_S = 60.0


class Noting:
    """A collector that notes when it is asked, and then does what it is told."""

    name = "noting"

    def __init__(self, period_s: float, then: Callable[[], None] = lambda: None) -> None:
        self.period_s = period_s
        self.asked: list[float] = []
        self._then = then

    def collect(self) -> list[Record]:
        self.asked.append(time.monotonic())
        self._then()
        return [Points(None, (("host", "box"),), ("host/load_1m",), (1.0,), time.time(), None)]

    def close(self) -> None:
        """Nothing is held open."""

    def wait(self, times: int) -> list[float]:
        deadline = time.monotonic() + DEADLINE_S
        while len(self.asked) < times:
            assert time.monotonic() < deadline, f"asked {len(self.asked)} of {times} times"
            time.sleep(0.01)
        return self.asked[:times]


def supervised(tmp_path: Path, *collectors: tuple[Noting, threading.Event]) -> Supervisor:
    supervisor = Supervisor(open_store(tmp_path / "data", write=True), on_stale=lambda error: None)
    for collector, wake in collectors:
        supervisor.add(collector, wake)
    supervisor.start()
    return supervisor


def test_two_collectors_work_at_the_same_moments(tmp_path: Path) -> None:
    left, right = Noting(2.5 * BEAT_S), Noting(BEAT_S)
    supervisor = supervised(tmp_path, (left, threading.Event()), (right, threading.Event()))
    left.wait(6), right.wait(6)

    def phases() -> list[float]:
        return [asked % BEAT_S for collector in (left, right) for asked in collector.asked[-5:]]

    wait_for(lambda: sum(phase < BEAT_S / 4 for phase in phases()) >= 9, because="they do not work soon after the beat")
    supervisor.stop()


def test_who_is_woken_without_end_works_once_a_beat(tmp_path: Path) -> None:
    wake = threading.Event()
    flooded = Noting(60.0, then=wake.set)
    supervisor = supervised(tmp_path, (flooded, wake))
    asked = flooded.wait(11)
    supervisor.stop()
    assert (asked[-1] - asked[1]) / 9 >= 0.5 * BEAT_S, "one that comes late is not waited for"


def test_who_has_more_waiting_does_not_wait_for_the_beat(tmp_path: Path) -> None:
    behind = Noting(0.0)
    supervisor = supervised(tmp_path, (behind, threading.Event()))
    asked = behind.wait(200)
    supervisor.stop()
    assert asked[-1] - asked[0] < 200 * BEAT_S / 4


class FailingStore(SqliteStore):
    """Packing fails the first time."""

    packings = 0

    def compact(self, deadline_s: float) -> bool:
        self.packings += 1
        if self.packings == 1:
            raise ValueError("a row that nobody expected")
        return super().compact(deadline_s)


def test_packing_that_fails_is_told_and_tried_again_and_collecting_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("collectors.supervisor.COMPACT_PAUSE_S", (0.01, 0.01))
    monkeypatch.setattr("collectors.supervisor.BACK_OFF_S", (0.01, 0.01))
    store, source = FailingStore(tmp_path / "data", write=True), Noting(BEAT_S)
    supervisor = Supervisor(store, on_stale=lambda error: None)
    supervisor.add(source)
    supervisor.start()
    source.wait(3)
    supervisor.stop()
    store.close()
    assert store.packings > 1
    assert "a row that nobody expected" in caplog.text


@pytest.mark.parametrize("pause_s", [BEAT_S, 1.0, 100.0])
def test_after_a_pause_the_first_change_is_read_at_once(pause_s: float) -> None:
    assert rest_s(began=50.0, now=50.0 + pause_s) == COALESCE_S


def test_in_a_steady_flow_it_rests_until_the_beat() -> None:
    assert rest_s(began=50.01, now=50.05) == pytest.approx(beat_at(50.05) - 50.05)
    assert beat_at(50.05) == pytest.approx(50.2)
    assert rest_s(began=50.05, now=50.195) == COALESCE_S, (
        "a beat that is nearer than that still takes what comes with it"
    )


def test_who_reads_what_the_collectors_commit_waits_for_those_of_the_newest_beat_only() -> None:
    assert committing_s(50.2 + 0.01) == pytest.approx(COMMITTED_S - 0.01, abs=1e-6)
    assert committing_s(50.2 + 0.1) == committing_s(50.2 + COMMITTED_S + 0.001) == 0.0


def test_what_the_store_refuses_is_said_and_the_rest_is_kept(tmp_path: Path) -> None:
    class Odd(Noting):
        def collect(self) -> list[Record]:
            good = super().collect()
            sample = StackSpan(0, 10**8, None, (Frame("step", "a.py", 1),))  # type: ignore[arg-type]  # no thread
            return [
                *good,
                StackRecording("a", 0, 1, "main", "box", "py-spy", 100.0, time.time(), 0, 10**9, {}, [sample], 10),
            ]

    odd = Odd(0.05)
    supervisor = supervised(tmp_path, (odd, threading.Event()))
    odd.wait(3)
    deadline_s = time.monotonic() + DEADLINE_S
    while (health := supervisor.health()[0]).state != "failing":
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    supervisor.stop()
    assert "1 of the 2 newest records cannot be stored" in health.last_error
    store = open_store(tmp_path / "data", write=False)
    assert [series.name for series in store.series(None)] == ["host/load_1m"]
    store.close()
