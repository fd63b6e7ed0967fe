"""A store of each engine, and records to put into it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectors.records import Offset, Points, Sample, SourceText, StackRecording, StackSpan, labels_of
from collectors.store.engines import ENGINES, open_store
from collectors.store.store import Store, series_id

HOST = labels_of(host="box")
GPU = labels_of(gpu=0, host="box", uuid="GPU-1")
START_S = 1_764_000_000.0
LOSS = series_id("a", "train/loss", HOST)
Open = Callable[[bool], Store]


@pytest.fixture(params=["sqlite", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the store of this test, to write or to read, any number of times."""
    monkeypatch.setitem(ENGINES, "memory", "tests.memory_engine")
    stores: list[Store] = []

    def opening(write: bool) -> Store:
        stores.append(open_store(f"{request.param}://{tmp_path}", write=write))
        return stores[-1]

    yield opening
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> Store:
    return opened(True)


def line(step: int, value: float, *, run: str = "a", name: str = "train/loss", segment: int = 0) -> Points:
    return Points(run, HOST, (name,), (value,), START_S + step, step, segment)


def read_offset(offset: int, path: str = "a/metrics.jsonl") -> Offset:
    return Offset(path, "a", 1, 2**63 + 5, offset, 10, 1, 2, "line 3: not JSON", {"step": 7})


def profile(samples: list[StackSpan], rank: int = 0, pid: int = 99) -> StackRecording:
    threads = {7: "MainThread", 8: "loader"}
    start, end = 5_000_000_000, 9_000_000_000
    return StackRecording("a", rank, pid, "main", "box", "native", 100.0, START_S, start, end, threads, samples, 300)


def wait_for(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(0.01)


def text_of(run: str, path: str, text: str, since_s: float = START_S) -> SourceText:
    return SourceText(run, path, hashlib.sha256(text.encode()).hexdigest(), text, since_s)


def sample(name: str, step: int | None, run: str = "a", **others: object) -> Sample:
    about = {"data": f"answer {step}".encode(), **others}
    return Sample(run, name, "text", "text/plain", None if step is None else START_S + step, step, **about)  # type: ignore[arg-type]
