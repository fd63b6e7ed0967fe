"""Hours of a run added up from minutes that are remembered: the same as if they were read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from analysis.stacks.fold import FlameTree, gather, tree_of
from analysis.stacks.threads import ThreadSelection
from analysis.stacks.trust import no_source
from collectors.records import Frame, StackRecording, StackSpan
from collectors.store.engines import open_store
from collectors.store.store import Run, StackColumns, Store
from dashboard.stacks.flame import MinuteCache, Prefetcher
from tests.conftest import wait_for
from tests.support.stacks import drawn

T0 = 1_764_000_007.0
LIBRARY = "/usr/lib/python3.11"
MODULE, STEP, GET = (
    Frame("<module>", "/job/t.py", 9),
    Frame("step", "/job/t.py", 3),
    Frame("Queue.get", f"{LIBRARY}/multiprocessing/queues.py", 1),
)
DECODE, COLLATE = Frame("decode", "/job/d.py", 3), Frame("collate", "/job/d.py", 7)


def profile(
    random: np.random.Generator, rank: int, pid: int, role: str, lo_s: float, stacks: list[tuple[Frame, ...]]
) -> StackRecording:
    edges = np.r_[0, np.cumsum(random.integers(1, 400, 60)) * 1_000_000]
    samples = [
        StackSpan(a, b - a, pid, stacks[random.integers(len(stacks))], False) for a, b in pairwise(edges.tolist())
    ]
    return StackRecording(
        "run",
        rank,
        pid,
        role,
        "box",
        "native",
        100.0,
        lo_s,
        0,
        int(edges[-1]),
        {pid: "MainThread"},
        samples,
        len(samples),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    random = np.random.default_rng(0)
    store = open_store(tmp_path, write=True)
    for lo_s in np.arange(T0, T0 + 900, 13.0).tolist():
        main, worker = [(MODULE, STEP), (MODULE, GET)], [(MODULE, DECODE), (MODULE, COLLATE), (MODULE, GET)]
        store.append([profile(random, rank, 7 + rank, "main", lo_s, main) for rank in range(2)])
        store.append([profile(random, rank, 70 + rank, "worker", lo_s, worker) for rank in range(2)])
    yield store
    store.close()


@pytest.mark.parametrize(
    "lanes",
    [
        ThreadSelection("joined"),
        ThreadSelection("main"),
        ThreadSelection("joined", rank=1),
        ThreadSelection("threads"),
        ThreadSelection("main", pid=70),
    ],
)
def test_the_tree_is_the_same_as_from_all_stacks(store: Store, lanes: ThreadSelection) -> None:
    minutes = MinuteCache(store, lambda _run: no_source)
    for window in ((T0 + 5, T0 + 700), (T0 + 31.5, T0 + 705.25), (T0 + 100, T0 + 160)):
        same(tree_of(minutes.gather("run", window, lanes)), tree_of(gather(store.stacks(*window, "run"), lanes)))


def test_what_is_not_settled_yet_is_read_each_time(store: Store) -> None:
    minutes, window = MinuteCache(store, lambda _run: no_source), (T0 + 5, T0 + 2000)
    before = minutes.gather("run", window, ThreadSelection())
    store.append([profile(np.random.default_rng(1), 0, 7, "main", T0 + 920, [(MODULE, COLLATE)])])
    after = minutes.gather("run", window, ThreadSelection())
    assert after.weighed.seconds.sum() > before.weighed.seconds.sum()
    same(tree_of(after), tree_of(gather(store.stacks(*window, "run"), ThreadSelection())))


def test_a_window_after_the_profile_is_empty(store: Store) -> None:
    assert drawn(
        tree_of(
            MinuteCache(store, lambda _run: no_source).gather("run", (T0 + 5000, T0 + 9000), ThreadSelection("joined"))
        )
    ) == ["no samples 0"]


class Counting:
    """A store that counts the minutes that were read."""

    def __init__(self, store: Store) -> None:
        self._store, self.read_s = store, 0.0

    def run(self, run: str) -> Run | None:
        return self._store.run(run)

    def profiled_until(self, run: str) -> float | None:
        return self._store.profiled_until(run)

    def profiled_from(self, run: str) -> float | None:
        return self._store.profiled_from(run)

    def stack_counts(self, lo: float, hi: float, run: str) -> list[tuple[float, float, int]]:
        return self._store.stack_counts(lo, hi, run)

    def stacks(self, lo: float, hi: float, run: str) -> StackColumns:
        self.read_s += hi - lo
        return self._store.stacks(lo, hi, run)


def test_what_was_folded_ahead_is_not_read_again(store: Store) -> None:
    counting, window = Counting(store), (T0 + 5, T0 + 700)
    minutes = MinuteCache(cast(Store, counting), lambda _run: no_source)
    while minutes.fold_ahead("run"):
        pass
    read_s = counting.read_s
    assert read_s > 700
    found = minutes.gather("run", window, ThreadSelection("joined"))
    assert counting.read_s - read_s < 120, "only the edges of the window"
    same(tree_of(found), tree_of(gather(store.stacks(*window, "run"), ThreadSelection("joined"))))


def test_a_run_that_somebody_looks_at_is_folded_ahead_until_the_end_of_the_process(store: Store) -> None:
    counting = Counting(store)
    ahead = Prefetcher(MinuteCache(cast(Store, counting), lambda _run: no_source))
    assert not counting.read_s
    ahead.want("run")
    wait_for(lambda: counting.read_s > 600, because="nothing is folded ahead")
    ahead.close()
    read_s = counting.read_s
    ahead.want("run")
    assert not [thread for thread in threading.enumerate() if thread.name == "fold-ahead"]
    assert counting.read_s == read_s


def same(one: FlameTree, other: FlameTree) -> None:
    assert [(one.frames[i].name, one.frames[i].file) for i in one.frame] == [
        (other.frames[i].name, other.frames[i].file) for i in other.frame
    ]
    assert one.total_s == pytest.approx(other.total_s, abs=1e-3)
    assert one.self_s == pytest.approx(other.self_s, abs=1e-3)
    assert one.samples == pytest.approx(other.samples, rel=0.01)
    assert [thread[:5] for thread in one.threads] == [thread[:5] for thread in other.threads]
