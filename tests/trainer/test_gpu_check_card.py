"""What `make gpu` does on a card only, with a simulated one in PyTorch's place: loads, the profiler's turns, the truth from kernels."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gpu import load
from tests.gpu.checks import causes, counters
from tests.gpu.kernels import (
    Covered,
    Intervals,
    Region,
    busy_share,
    kernels_of,
    shares_with_card,
    shares_without_card,
    union,
)
from tests.gpu.lines import Report, read
from tests.gpu.load import Card, Loaded
from tests.gpu.plan import Setting
from tests.gpu.planted import CAUSES, Turn
from tests.gpu.profiling import Profiled
from tests.gpu.recorder import GRAPHICS, UTILIZATION, Value
from tests.support.running import ROOT
from tests.support.simulated_gpu import SimulatedGpu
from tests.trainer.test_gpu_check import judged

KERNEL_S = 0.001


class Kernels:
    """What runs on the simulated card, as kineto lists it."""

    def __init__(self) -> None:
        self.gpu = SimulatedGpu()
        self.rows: list[tuple[str, int, int]] = []

    def launch(self, seconds: float = KERNEL_S, kind: str = "kernel") -> None:
        begin_s = max(time.time(), time.time() + self.gpu.busy_until_s - time.perf_counter())
        self.gpu.launch(seconds)
        self.rows.append((kind, round(begin_s * 1e9), round(seconds * 1e9)))

    def events(self) -> list[SimpleNamespace]:
        def row(kind: str, begin_ns: int, took_ns: int) -> SimpleNamespace:
            return SimpleNamespace(activity_type=lambda: kind, start_ns=lambda: begin_ns, duration_ns=lambda: took_ns)

        return [row(*found) for found in self.rows]

    @contextmanager
    def profiled(self) -> Iterator[Any]:
        yield SimpleNamespace(profiler=SimpleNamespace(kineto_results=self))


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """A card on which a cycle is a nanosecond."""
    kernels = Kernels()

    def wait() -> None:
        time.sleep(max(0.0, kernels.gpu.busy_until_s - time.perf_counter()))

    def event(enable_timing: bool = False) -> Any:
        return kernels.gpu.Event(enable_timing=True)

    there = SimpleNamespace(copy_=lambda host, non_blocking: kernels.launch(kind="gpu_memcpy"))
    cuda = SimpleNamespace(_sleep=lambda cycles: kernels.launch(cycles * 1e-9), Event=event, synchronize=wait)
    fake = SimpleNamespace(
        ones=lambda *size, **kind: SimpleNamespace(pin_memory=lambda: None),
        empty=lambda *size, **kind: there,
        mm=lambda a, b: kernels.launch(),
        cuda=cuda,
        float16="float16",
        uint8="uint8",
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(load, "profiled", kernels.profiled)
    return kernels


def test_a_full_load_keeps_the_card_busy_and_an_idle_one_does_not(kernels: Kernels) -> None:
    card = Card()
    assert card.loaded("full", [0.3]).busy_pct > 80
    assert card.loaded("idle", [0.1]).busy_pct == pytest.approx(0, abs=1)
    assert card.loaded("copies", [0.1]).busy_pct == pytest.approx(0, abs=1), "copies are no kernels"


def test_gaps_are_as_long_as_kernels(kernels: Kernels) -> None:
    found = Card().loaded("gap", [2000.0, 0.3])
    assert 20 < found.busy_pct < 60, "half of the time, on a machine that does other work, too"


def test_the_profiler_is_on_within_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels, now_s = Kernels(), [1000.0]
    monkeypatch.setattr(load, "profiled", kernels.profiled)
    monkeypatch.setattr("tests.gpu.profiling.time", SimpleNamespace(time=lambda: now_s[0]))
    turns = (Turn("decoding", 1010.0, 1018.0), Turn("python", 1020.0, 1028.0))
    profile = Profiled(SimpleNamespace(turns=turns, learn=kernels.launch))
    begun: list[tuple[float, int]] = []
    for now_s[0] in np.arange(1009.0, 1032.0, 0.1).tolist():
        profile.look()
        begun.append((now_s[0], len(profile.done)))
    assert [turn.cause for turn, _ in profile.done] == ["decoding", "python"]
    first_end = next(at for at, count in begun if count == 1)
    assert 1017.5 < first_end < 1018.1
    written = profile.kernels()
    assert json.loads(json.dumps(written)) == written
    assert written[0]["cause"] == "decoding" and len(written[0]["start_s"]) == 1


def test_the_truth_of_a_card_is_read_and_judged(tmp_path: Path) -> None:
    """The card is busy for 30 of each 100 ms, and the host decodes in the others."""
    turn = Turn("decoding", 100.0, 110.0)
    starts = np.arange(100.0, 110.0, 0.1)
    regions = [
        row for at in starts for row in (("launch", at, at + 0.03, 0.03, 0.0), ("data", at + 0.03, at + 0.1, 0.07, 0.0))
    ]
    kernels = [{"cause": "decoding", "start_s": starts.tolist(), "end_s": (starts + 0.03).tolist()}]
    written = {"turns": [turn], "regions": regions, "kernels": kernels, "steps": []}
    (tmp_path / "result.json").write_text(json.dumps(written))
    truth = causes.read(tmp_path / "result.json")
    assert truth.knows(turn) and not truth.knows(Turn("gil", 0, 1))
    assert truth.regions[0] == Region("launch", 100.0, 100.03, 0.03, 0.0)
    assert truth.kernels is not None and busy_share(truth.kernels["decoding"], 100, 110) == pytest.approx(0.3)
    row = judged({"busy": 30, "data": 70}, {"busy": 30, "data": 70})
    report = Report(tmp_path, "causes")
    causes.judge(report, row._replace(cause=CAUSES[0]), 5.0)
    assert read(tmp_path)[0].verdict == "PASS"


def test_counters_are_judged_under_each_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a card whose counters are right, but count gaps of 5 us as busy."""
    busy = {"idle": 0.0, "full": 100.0, "gap 5": 50.0, "gap 20": 50.0, "gap 100": 50.0, "copies": 0.0}
    shown = busy | {"gap 5": 100.0}
    values: list[Value] = []

    def loaded(what: str, seconds: float) -> Loaded:
        begin_s = 100.0 * (1 + list(busy).index(what))
        for at in np.arange(begin_s, begin_s + seconds + 0.1, 1 / 6).tolist():
            values.extend(Value(name, at, shown[what], at, name == UTILIZATION) for name in (UTILIZATION, GRAPHICS))
        return Loaded(begin_s, begin_s + seconds, busy[what])

    def within(name: str, lo_s: float = 0.0, hi_s: float = float("inf")) -> list[Value]:
        return [value for value in values if value.name == name and lo_s <= value.time_s <= hi_s]

    monkeypatch.setattr(counters, "time", SimpleNamespace(sleep=lambda seconds: None))
    report = Report(tmp_path, "counters")
    card, recorder = SimpleNamespace(run=loaded), SimpleNamespace(values=within)
    counters.under_loads(Setting(tmp_path, tmp_path, False), report, recorder, card)  # type: ignore[arg-type]
    found = {line.what: line.verdict for line in read(tmp_path)}
    assert found == {
        **dict.fromkeys(("idle card", "full card", "start of a load", "copies alone"), "PASS"),
        "gaps of 5 us": "FAIL",
        "gaps of 20 us": "PASS",
        "gaps of 100 us": "PASS",
    }


def test_kernels_of_nothing_are_none() -> None:
    empty = Kernels()
    with empty.profiled() as profiler:
        assert busy_share(kernels_of(profiler), 0.0, 1.0) == 0


# ---- the truth

INTERVALS = st.lists(st.tuples(st.floats(0, 99), st.floats(0.001, 20)), max_size=20)
KINDS = ("data", "launch", "sync", "log", "python")


@given(INTERVALS)
@settings(deadline=None, max_examples=60)
def test_a_union_covers_each_moment_once(spans: list[tuple[float, float]]) -> None:
    start_s, took_s = np.array(spans).reshape(-1, 2).T
    merged = union(start_s, start_s + took_s)
    assert (merged.start_s[1:] > merged.end_s[:-1]).all()
    moments = np.linspace(-1, 125, 200)
    inside = ((moments[:, None] > start_s) & (moments[:, None] < start_s + took_s)).any(axis=1)
    also = ((moments[:, None] > merged.start_s) & (moments[:, None] < merged.end_s)).any(axis=1)
    assert (inside <= also).all() and (also & ~inside).sum() <= 2 * len(spans)
    assert Covered(merged).busy_s(-10, 200) == pytest.approx((merged.end_s - merged.start_s).sum())


@given(INTERVALS, st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0.01, 9)), max_size=20), st.booleans())
@settings(deadline=None, max_examples=60)
def test_shares_of_a_card_add_up(spans: list[tuple[float, float]], parts: list[tuple[str, float]], gil: bool) -> None:
    start_s, took_s = np.array(spans).reshape(-1, 2).T
    kernels = union(start_s, start_s + took_s)
    ends = np.cumsum([0.0, *(took for _, took in parts)])
    regions = [Region(kind, ends[i], ends[i] + took, took / 2) for i, (kind, took) in enumerate(parts)]
    for shares in (
        shares_with_card(kernels, regions, (5.0, 60.0), gil=gil),
        shares_without_card(regions, (5.0, 60.0), gil=gil),
    ):
        assert sum(shares.values()) == pytest.approx(100, abs=1e-6)
        assert min(shares.values()) >= 0
    if not gil:
        assert "gil" not in shares_with_card(kernels, regions, (5.0, 60.0), gil=False)


class Event(NamedTuple):
    """As kineto gives it."""

    kind: str
    begin_ns: int
    took_ns: int

    def activity_type(self) -> str:
        return self.kind

    def start_ns(self) -> int:
        return self.begin_ns

    def duration_ns(self) -> int:
        return self.took_ns


def test_annotations_and_copies_are_no_kernels() -> None:
    events = [
        Event("gpu_user_annotation", 0, 10**9),
        Event("kernel", 10**8, 10**8),
        Event("gpu_memcpy", 5 * 10**8, 10**8),
    ]
    results = SimpleNamespace(events=lambda: events)
    found = kernels_of(SimpleNamespace(profiler=SimpleNamespace(kineto_results=results)))
    assert (found.start_s.tolist(), found.end_s.tolist()) == ([0.1], [0.2])


def test_the_profilers_clock_is_unix_time() -> None:
    """The truth on a card rests on it; here with an operator of the CPU."""
    code = (
        "import time, torch; from torch.profiler import ProfilerActivity, profile; a = time.time_ns()\n"
        "with profile(activities=[ProfilerActivity.CPU]) as p: torch.ones(9)\n"
        "e = p.profiler.kineto_results.events()[0]; print(a <= e.start_ns() <= time.time_ns(), hasattr(e, 'is_user_annotation'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_launches_after_a_wait_for_the_card_are_the_waits() -> None:
    kernels = Intervals(np.array([0.0, 6.0]), np.array([4.0, 10.0]))
    regions = [Region("sync", 0.0, 4.0, 0.0), Region("launch", 4.0, 6.0, 2.0), Region("data", 6.0, 10.0, 4.0)]
    assert shares_with_card(kernels, regions, (0.0, 10.0), gil=False) == pytest.approx({"busy": 80, "sync": 20})
    assert shares_with_card(kernels, regions[1:], (0.0, 10.0), gil=False) == pytest.approx({"busy": 80, "launch": 20})
