"""Questions about stacks: long windows take turns, a baseline far away has its own steps, and may be another run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from analysis.stacks.frames import SourceRefused
from analysis.stacks.spans import overlaps, to_samples
from analysis.stacks.threads import ThreadSelection
from collectors.records import Frame, Points, Record, RunInfo, StackRecording, StackSpan
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import StackColumns, Store
from dashboard.stacks.stacks import LONG_S, Baseline, NoStacks, Stacks

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
        "run", (T0 + 7000.5, T0 + 7010.5), ThreadSelection("joined"), baseline=Baseline(window=(T0 + 10.5, T0 + 60.5))
    )
    assert (folded.units, folded.baseline_units) == (pytest.approx(10), pytest.approx(50))
    store.close()


def recorded(run: str, folder: str, slow_ms: int, unit: str = "step") -> list[Record]:
    """A minute of steps of a second, of which `decode` takes so long, and `forward` the rest."""
    loop = Frame("loop", f"{folder}/train.py", 4)
    decode, forward = Frame("decode", f"{folder}/data.py", 2), Frame("forward", f"{folder}/train.py", 9)
    spans = [
        StackSpan((step * 1000 + at_ms) * 1_000_000, took_ms * 1_000_000, 7, (loop, frame), True, took_ms // 10)
        for step in range(60)
        for at_ms, took_ms, frame in ((0, slow_ms, decode), (slow_ms, 1000 - slow_ms, forward))
    ]
    steps = [Points(run, (("rank", "0"),), ("train/loss",), (1.0,), T0 + step + 1, step) for step in range(60)]
    stacks = StackRecording(
        run, 0, 7, "main", "box", "native", 100.0, T0, 0, 60_000_000_000, {7: "MainThread"}, spans, 6000
    )
    return [RunInfo(run, {"cwd": folder, "unit": unit}), *steps, stacks]


@pytest.fixture
def two_runs(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, write=True)
    for run, folder, slow_ms in (("slow", "/job/b", 600), ("fast", "/job/a", 100)):
        store.append(recorded(run, folder, slow_ms))
    store.append([RunInfo("unprofiled", {})])
    yield store
    store.close()


@pytest.mark.parametrize(
    ("baseline", "steps"),
    [(Baseline("fast"), 60), (Baseline("fast", (T0 + 10, T0 + 30)), 20)],
    ids=["the whole run", "a window of it"],
)
def test_another_run_is_a_baseline_per_step_and_file_by_file(two_runs: Store, baseline: Baseline, steps: int) -> None:
    folded = Stacks(two_runs).fold("slow", (T0 + 20, T0 + 50), ThreadSelection("main"), baseline=baseline)
    tree = folded.tree
    assert (folded.units, folded.baseline_units) == (pytest.approx(30, abs=1), pytest.approx(steps, abs=1))
    assert tree.base_total_s is not None and folded.units and folded.baseline_units
    excess = tree.total_s / folded.units - tree.base_total_s / folded.baseline_units
    by_name = {tree.frames[i].name: float(each) for i, each in zip(tree.frame, excess, strict=True)}
    assert by_name["decode"] == pytest.approx(0.5, abs=0.03) and by_name["forward"] == pytest.approx(-0.5, abs=0.03)
    assert {frame.file for frame in tree.frames} == {"", "/job/b/train.py", "/job/b/data.py"}, "no file twice"


def test_another_run_may_have_no_stacks_or_no_such_units(two_runs: Store) -> None:
    stacks, window = Stacks(two_runs), (T0 + 20, T0 + 50)
    with pytest.raises(NoStacks, match="no stacks of 'unprofiled'"):
        stacks.fold("slow", window, ThreadSelection("main"), baseline=Baseline("unprofiled"))
    two_runs.append(recorded("service", "/job/c", 100, unit="request"))
    folded = stacks.fold("slow", window, ThreadSelection("main"), baseline=Baseline("service"))
    assert (folded.units, folded.baseline_units, folded.unit_name) == (None, None, "second")


def test_a_file_that_another_run_alone_names_is_not_shown(two_runs: Store, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("password = 1\n")
    for run, file in (("here", "train.py"), ("liar", "secret.py")):
        spans = [StackSpan(0, 10**9, 7, (Frame("f", str(tmp_path / file), 1),), True, 100)]
        stacks = StackRecording(run, 0, 7, "main", "box", "native", 100.0, T0, 0, 10**9, {7: "MainThread"}, spans, 100)
        two_runs.append([RunInfo(run, {"cwd": str(tmp_path)}), stacks])
    stacks = Stacks(two_runs)
    stacks.fold("here", (T0, T0 + 1), ThreadSelection("main"), baseline=Baseline("liar"))
    with pytest.raises(SourceRefused):
        stacks.source("here", str(tmp_path / "secret.py"), 1, 3)


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
