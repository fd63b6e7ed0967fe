"""Questions about stacks: long windows take turns, and a baseline far away has its own steps."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from analysis.stacks.spans import overlaps, to_samples
from analysis.stacks.threads import ThreadSelection
from collectors.records import Points
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import StackColumns
from dashboard.stacks.stacks import LONG_S, Stacks

T0, HOURS_S = 1_764_000_000.0, 2 * 3600


class MeetingStore(SqliteStore):
    """Notes whether two readers of stacks were there at the same time."""

    def __init__(self, data_dir: Path, wait_s: float) -> None:
        super().__init__(data_dir, write=True)
        self._meeting = threading.Barrier(2, timeout=wait_s)
        self.met = False

    def stacks(self, lo: float, hi: float, run: str) -> StackColumns:
        try:
            self._meeting.wait()
            self.met = True
        except threading.BrokenBarrierError:  # nobody came
            self._meeting.reset()
        return super().stacks(lo, hi, run)


@pytest.mark.parametrize(("length_s", "wait_s", "meet"), [(LONG_S + 1, 0.5, False), (60.0, 30.0, True)])
def test_two_long_windows_are_read_one_after_the_other_and_short_ones_at_once(
    tmp_path: Path, length_s: float, wait_s: float, meet: bool
) -> None:
    store = MeetingStore(tmp_path, wait_s)
    stacks = Stacks(store)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: stacks.chart("run", (0.0, length_s), 100, ThreadSelection()), range(2)))
    assert store.met is meet
    store.close()


def test_a_baseline_hours_away_has_its_own_steps(tmp_path: Path) -> None:
    store = open_store(tmp_path, write=True)
    store.append(
        [Points("run", (("host", "box"),), ("train/loss",), (1.0,), T0 + step, step) for step in range(HOURS_S)]
    )
    folded = Stacks(store).fold(
        "run", (T0 + 7000.5, T0 + 7010.5), ThreadSelection("joined"), baseline=(T0 + 10.5, T0 + 60.5)
    )
    assert (folded.units, folded.baseline_units) == (pytest.approx(10), pytest.approx(50))
    store.close()


def test_a_phase_as_short_as_the_time_between_two_looks_holds_only_what_was_seen_in_it() -> None:
    """Steps of 60 ms of data and 11 ms of forward; who looks every 10 ms sees each forward once or twice."""
    data_s, forward_s, period_s, steps = 0.06, 0.011, 0.01, 1000
    ends = np.arange(1, steps + 1) * (data_s + forward_s)
    looks = np.arange(0.0037, ends[-1], period_s)
    in_forward = looks % (data_s + forward_s) >= data_s
    changes = np.flatnonzero(np.diff(in_forward, prepend=~in_forward[0]))
    span_starts = looks[changes]
    span_ends = np.r_[span_starts[1:], looks[-1] + period_s]
    forward = [(end - forward_s, end) for end in ends.tolist()]
    found = np.array(to_samples(forward, span_starts, span_ends, period_s))
    span, which = overlaps(span_starts, span_ends, found[:, 0], found[:, 1])
    seen_s = np.minimum(span_ends[span], found[which, 1]) - np.maximum(span_starts[span], found[which, 0])
    assert seen_s[~in_forward[changes][span]].sum() == pytest.approx(0, abs=1e-6)
    assert seen_s.sum() == pytest.approx(forward_s * steps, rel=0.02)
