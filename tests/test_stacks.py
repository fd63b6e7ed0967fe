"""Questions about stacks: long windows take turns, and a baseline far away has its own steps."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collectors.records import Points
from collectors.store.protocol import StackColumns
from collectors.store.sqlite import SqliteStore
from dashboard.flame.lanes import Lanes
from dashboard.stacks import LONG_S, Stacks

T0, HOURS_S = 1_764_000_000.0, 2 * 3600


class MeetingStore(SqliteStore):
    """Notes whether two readers of stacks were there at the same time."""

    def __init__(self, data_dir: Path, wait_s: float) -> None:
        super().__init__(data_dir, write=True)
        self._meeting = threading.Barrier(2, timeout=wait_s)
        self.met = False

    def stacks(
        self, lo: float, hi: float, run: str, rank: int | None = None, pid: int | None = None, thread: str | None = None
    ) -> StackColumns:
        try:
            self._meeting.wait()
            self.met = True
        except threading.BrokenBarrierError:  # nobody came
            self._meeting.reset()
        return super().stacks(lo, hi, run, rank, pid, thread)


@pytest.mark.parametrize(("length_s", "wait_s", "meet"), [(LONG_S + 1, 0.5, False), (60.0, 30.0, True)])
def test_two_long_windows_are_read_one_after_the_other_and_short_ones_at_once(
    tmp_path: Path, length_s: float, wait_s: float, meet: bool
) -> None:
    store = MeetingStore(tmp_path, wait_s)
    stacks = Stacks(store)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: stacks.chart("run", (0.0, length_s), 100, Lanes()), range(2)))
    assert store.met is meet
    store.close()


def test_a_baseline_hours_away_has_its_own_steps(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    store.append([Points("run", (("host", "box"),), ("train/loss",), (1.0,), T0 + step, step) for step in range(HOURS_S)])
    folded = Stacks(store).fold("run", (T0 + 7000.5, T0 + 7010.5), Lanes("joined"), baseline=(T0 + 10.5, T0 + 60.5))
    assert (folded.units, folded.baseline_units) == (pytest.approx(10), pytest.approx(50))
    store.close()
