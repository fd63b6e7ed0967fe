"""The ledger of stored runs: from stacks, counters and step logs to rows, over the API, in the client and in a shell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from analysis.ledger.shares import Ledger
from analysis.ledger.text import lines_of, sentence_of
from analysis.stacks.waits import WAITS
from collectors.message import text_of
from collectors.records import Event, Frame, Labels, Points, RunInfo, StackRecording, StackSpan
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.commands import main
from dashboard.stacks.ledgers import MAX_KEPT, Ledgers, spread
from dashboard.stacks.stacks import Stacks

T0 = 1_764_000_000.0
SITE = "/venv/lib/python3.11/site-packages"
MODULE, LOOP = Frame("<module>", "/job/train.py", 90), Frame("train", "/job/train.py", 40)
DECODE, WRITE = Frame("decode_image", "/job/data.py", 88), Frame("write_log", "/job/train.py", 70)
LINEAR, MASK = Frame("linear", f"{SITE}/torch/nn/functional.py", 9), Frame("mask", "/job/model.py", 7)
WAIT = Frame("synchronize", f"{SITE}/torch/cuda/__init__.py", 5)
GPU: Labels = (("gpu", "0"), ("host", "box"), ("uuid", "GPU-1"))
STEP_MS = 100


def profile(lo_s: float, parts: list[tuple[int, tuple[Frame, ...], bool, float]], rank: int = 0) -> StackRecording:
    """A minute of steps, whose parts are (ms, stack, holds the GIL, share of a core)."""
    samples, at_ms = [], 0
    while at_ms < 60_000:
        for ms, stack, gil, running in parts:
            begin, end = at_ms * 1_000_000, (at_ms + ms) * 1_000_000
            samples.append(StackSpan(begin, end - begin, 7, stack, gil, int(running * (end - begin))))
            at_ms += ms
    threads = {7: "MainThread"}
    return StackRecording(
        "run", rank, 7, "main", "box", "native", 100.0, lo_s, 0, 60_000_000_000, threads, samples, len(samples)
    )


FED = [(30, (MODULE, LOOP, DECODE), True, 1.0), (70, (MODULE, LOOP, LINEAR), False, 1.0)]
MINUTES = 8


def filled(
    store: Store, parts: list[tuple[int, tuple[Frame, ...], bool, float]], busy_pct: float | None = None
) -> None:
    store.append([RunInfo("run", {"cwd": "/job"})])
    store.append([Points("run", (), ("loss",), (0.5,), T0 + step, step) for step in range(60 * MINUTES)])
    for minute in range(MINUTES):
        store.append([profile(T0 + 60 * minute, parts)])
    if busy_pct is not None:
        times = np.arange(T0, T0 + 60 * MINUTES, 0.5).tolist()
        store.append([Points(None, GPU, ("gpu/utilization_pct",), (busy_pct,), time_s, None) for time_s in times])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "logs" / ".deepseek", write=True)
    yield store
    store.close()


def ledger_of(store: Store, lo: float = T0 + 20, hi: float = T0 + 140) -> Ledger:
    return Stacks(store).ledger("run", (lo, hi))


def shares(ledger: Ledger) -> dict[str, float]:
    return {row.kind: row.share for row in ledger.rows}


def test_on_a_cpu_the_rows_are_what_the_main_thread_does(store: Store) -> None:
    filled(store, FED)
    ledger = ledger_of(store)
    assert shares(ledger) == pytest.approx({"busy": 70, "data": 30}, abs=0.2)
    assert (ledger.device, ledger.tier, ledger.signal) == ("CPU", "A", "none")
    assert ledger.rows[1].lines[0].place.frame == DECODE
    assert (
        text_of(sentence_of(ledger))
        == "computing 70% (train.py:40 train), waiting for data 30% (data.py:88 decode_image)."
    )


CHILDREN = {(wait.function, wait.file) for wait in WAITS if wait.file == "/subprocess.py"}
LOADING = {(wait.function, wait.file) for wait in WAITS if "multiprocessing/" in wait.file or "dataloader" in wait.file}


@pytest.mark.parametrize("gpu_pct", [None, 70.0])
@pytest.mark.parametrize("row", sorted(CHILDREN | LOADING))
def test_a_child_that_is_waited_for_is_no_loader(store: Store, row: tuple[str, str], gpu_pct: float | None) -> None:
    function, file = row
    waits = (MODULE, LOOP, Frame(function, f"/usr/lib/python3.11/{file}".replace("//", "/"), 1200))
    filled(store, [(30, waits, False, 0.0), (70, (MODULE, LOOP, LINEAR), False, 1.0)], gpu_pct)
    kind = "wait" if row in CHILDREN else "data"
    found = {row.kind: row for row in ledger_of(store).rows}
    assert set(found) - {"busy", "launch", "unexplained"} == {kind}
    assert found[kind].share == pytest.approx(30, abs=2)
    assert found[kind].lines[0].place.frame == LOOP
    assert found[kind].lines[0].place.by_workers == (kind == "data")


def test_beside_an_idle_gpu_the_device_is_the_cpu(store: Store) -> None:
    filled(store, FED, busy_pct=0.0)
    assert ledger_of(store).device == "CPU"


def test_with_a_counter_the_rows_are_the_gpus_time(store: Store) -> None:
    filled(store, FED, busy_pct=75.0)
    ledger = ledger_of(store)
    assert (ledger.device, ledger.signal) == ("GPU", "driver samples")
    assert shares(ledger)["busy"] == pytest.approx(75, abs=0.5)
    assert shares(ledger)["data"] == pytest.approx(25, abs=1), "the oldest of what launches nothing"
    assert sum(shares(ledger).values()) == pytest.approx(100, abs=0.1)
    assert ledger.covered_share == pytest.approx(1, abs=0.05)


def test_several_ranks_are_busy_with_compute_or_communication(store: Store) -> None:
    filled(store, FED, busy_pct=75.0)
    store.append([Points("run", (("rank", "1"),), ("loss",), (0.5,), T0 + step, step) for step in range(9)])
    both = ("gpu/sm_active_pct", "gpu/pcie_rx_bytes_per_s")
    link = ("gpu/pcie_generation", "gpu/pcie_width")
    times = np.arange(T0, T0 + 300, 0.5).tolist()
    store.append([Points(None, GPU, both, (20.0, 24e9), time_s, None) for time_s in times])
    store.append([Points(None, GPU, link, (4.0, 16.0), T0 + 1, None)])
    ledger = ledger_of(store)
    assert "copy" not in shares(ledger), "with peers, traffic of the link is no copy"
    assert ledger.communication == pytest.approx((55, 75), abs=1)
    assert "not separated) 75% (probably communication: 55 to 75%)" in text_of(sentence_of(ledger))


def test_a_gpu_that_no_counter_describes_is_never_called_idle(store: Store) -> None:
    """As in a virtual machine whose driver gives memory alone: what is known is the host's time."""
    filled(store, FED)
    store.append([Points(None, GPU, ("gpu/memory_used_bytes",), (1e9,), T0 + second, None) for second in range(300)])
    ledger = ledger_of(store)
    assert ledger.device == "host" and "busy" not in shares(ledger)
    assert shares(ledger) == pytest.approx({"launch": 70, "data": 30}, abs=0.2)
    assert "No counter says how busy the GPU was" in lines_of(ledger, "run")[-1]


def test_a_core_that_others_took_and_the_gil_are_rows_of_their_own(store: Store) -> None:
    parts = [(60, (MODULE, LOOP, LINEAR), False, 0.5), (40, (MODULE, LOOP, MASK), True, 1.0)]
    filled(store, parts)
    assert shares(ledger_of(store)) == pytest.approx({"busy": 30, "cpu_taken": 30, "python": 40}, abs=0.5)


def test_work_that_ends_in_a_wait_did_not_lose_its_core(store: Store) -> None:
    """A span ends where the next one is first seen: half a period of the wait is work's, and half of one of work is the wait's."""
    waiting = (MODULE, LOOP, Frame("Queue.get", "/usr/lib/python3.11/queue.py", 171))
    filled(store, [(20, (MODULE, LOOP, LINEAR), False, 0.75), (40, waiting, False, 0.125)])
    found = shares(ledger_of(store))
    assert found.get("cpu_taken", 0.0) == pytest.approx(0, abs=0.2)
    assert found["busy"] == pytest.approx(100 / 3, abs=0.5)


@pytest.mark.parametrize("every", [1, 10])
def test_a_lone_data_phase_says_nothing_of_the_lines_outside_it(store: Store, every: int) -> None:
    """A step loads for 160 ms and computes for 40 ms, and logs the former alone, each step or every tenth with their sum."""
    load, compute = (MODULE, Frame("load", "/job/train.py", 5)), (MODULE, Frame("compute", "/job/train.py", 8))
    parts = [(160, load, False, 0.0), (40, compute, True, 1.0)]
    store.append([RunInfo("run", {"cwd": "/job"}), *[profile(T0 + 60 * minute, parts) for minute in range(3)]])
    lines = range(0, 900, every)
    store.append(
        [Points("run", (), ("loss", "phase/data_s"), (0.5, 0.16 * every), T0 + 0.2 * step, step) for step in lines]
    )
    by_kind = {
        row.kind: [line.place.frame.name for line in row.lines if line.place.frame] for row in ledger_of(store).rows
    }
    assert "compute" not in by_kind.get("data", []), by_kind
    assert every > 1 or by_kind["data"] == ["load"]
    assert every > 1 or shares(ledger_of(store))["data"] == pytest.approx(80, abs=0.5)


LOADER = f"{SITE}/torch/utils/data/dataloader.py"
STALLED = (MODULE, LOOP, Frame("_MultiProcessingDataLoaderIter._get_data", LOADER, 1464))
FETCHED = (MODULE, LOOP, Frame("_MultiProcessingDataLoaderIter._process_data", LOADER, 1565))


def missing_looks(spent: list[tuple[float, tuple[Frame, ...]]], minutes: int) -> list[StackRecording]:
    """What a sampler at 100 Hz records of a thread that was at `spent`, if half of its looks at FETCHED fail."""
    random, until_s = np.random.default_rng(1), 60.0 * minutes
    times = np.cumsum(random.uniform(0.009, 0.011, int(until_s * 101)))
    at = np.searchsorted(np.cumsum([seconds for seconds, _ in spent]), times, "right")
    fails = random.random(len(times)) < 0.5
    seen = [
        (t, spent[i][1])
        for t, i, failed in zip(times.tolist(), at.tolist(), fails.tolist(), strict=True)
        if t < until_s and i < len(spent) and not (failed and spent[i][1] == FETCHED)
    ]
    found = []
    for minute in range(minutes):
        looks = [(t - 60 * minute, stack) for t, stack in seen if 60 * minute <= t < 60 * (minute + 1)]
        ends = [t for t, _ in looks[1:]] + [60.0]
        samples = [
            StackSpan(
                int(t * 1e9), int((end - t) * 1e9), 7, stack, False, int((end - t) * 1e9) if stack[-1] == LINEAR else 0
            )
            for (t, stack), end in zip(looks, ends, strict=True)
        ]
        found.append(profile(T0 + 60 * minute, FED)._replace(samples=samples, count=len(samples)))
    return found


@pytest.mark.parametrize("window", [(0.0, 180.0), (31.0, 43.0)])
def test_waits_shorter_than_a_sample_are_no_more_than_their_phase(store: Store, window: tuple[float, float]) -> None:
    """A step waits 3 ms for its data and computes for 37 ms; each 50th waits 600 ms."""
    waits_s = [0.6 if step % 50 == 49 else 0.003 for step in range(4500)]
    spent = [part for s in waits_s for part in ((s, STALLED if s > 0.1 else FETCHED), (0.037, (MODULE, LOOP, LINEAR)))]
    ends_s = np.cumsum(waits_s) + 0.037 * np.arange(1, 4501)
    store.append([RunInfo("run", {"cwd": "/job"}), *missing_looks(spent, 3)])
    names = ("loss", "phase/data_s", "phase/step_s")
    rows = enumerate(zip(waits_s, ends_s.tolist(), strict=True))
    store.append([Points("run", (), names, (0.5, s, 0.037), T0 + end_s, step) for step, (s, end_s) in rows])
    lo, hi = window
    waiting = np.minimum(ends_s - 0.037, hi) - np.maximum(ends_s - 0.037 - waits_s, lo)
    truth = 100 * float(np.clip(waiting, 0, None).sum()) / (hi - lo)
    ledger = ledger_of(store, T0 + lo, T0 + hi)
    row = next(row for row in ledger.rows if row.kind == "data")
    assert row.share == pytest.approx(truth, abs=0.3)
    assert row.least < truth < row.most and row.most - row.least < 5
    assert sum(shares(ledger).values()) == pytest.approx(100, abs=0.01)


def test_an_event_of_a_checkpoint_counts_its_time(store: Store) -> None:
    filled(store, [(100, (MODULE, LOOP, LINEAR), False, 1.0)])
    store.append([Event("run", "checkpoint", T0 + 60, seconds=12.0)])
    ledger = ledger_of(store)
    assert shares(ledger) == pytest.approx({"busy": 90, "checkpoint": 10}, abs=0.5)


def test_hours_are_the_sum_of_their_minutes(store: Store) -> None:
    filled(store, FED, busy_pct=75.0)
    whole = (T0 + 10.0, T0 + 60 * MINUTES - 10)
    found = Ledgers(store, lambda _run: lambda _file, _line: "").ledger("run", whole)
    assert shares(found)["data"] == pytest.approx(25, abs=1)
    assert found.covered_share == pytest.approx(1, abs=0.02)


def test_what_does_not_fit_into_the_time_of_an_answer_is_left_out_and_said(store: Store) -> None:
    filled(store, FED)
    ledgers = Ledgers(store, lambda _run: lambda _file, _line: "")
    whole = (T0, T0 + 60 * MINUTES)
    hasty = ledgers.ledger("run", whole, reading_s=-1)
    assert 0.1 < hasty.covered_share < 0.9
    assert shares(hasty) == pytest.approx({"busy": 70, "data": 30}, abs=0.5)
    assert "of it seen" in lines_of(hasty, "run")[0]
    while ledgers.fold_ahead("run"):
        pass
    assert ledgers.ledger("run", whole, reading_s=-1).covered_share == pytest.approx(1, abs=0.01)
    assert len(ledgers._known) <= MAX_KEPT


def test_any_beginning_of_the_order_is_spread() -> None:
    assert spread(range(8)) == [0, 4, 2, 6, 1, 5, 3, 7]
    for count in range(40):
        assert sorted(spread(range(count))) == list(range(count))
    first = sorted(spread(range(64))[:8])
    assert {hi - lo for lo, hi in pairwise(first)} == {8}


def test_why_says_it_in_ten_lines(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store, FED)
    place = ["--log-dir", str(tmp_path / "logs")]
    assert main(["why", "run", *place]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 10 and lines[0] == "run: 8 min profiled, from stacks alone"
    assert "  30%  waiting for data  data.py:88 decode_image" in lines[2]
    assert main(["why", "run", "--from", str(T0 + 1), "--to", str(T0 + 2), *place]) == 0
    assert "Less than 3 s of the run" in capsys.readouterr().out
    assert main(["why", "nope", *place]) == 2
    assert "no stacks of a run 'nope'" in capsys.readouterr().err
    assert main(["why", "run", "--from", str(T0 + 10), "--to", str(T0), *place]) == 2


@pytest.mark.parametrize("text", ["now", "1e400", "-5", "9" * 400, "nan"])
def test_a_time_that_is_none_is_refused_in_a_sentence(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "run", f"--from={text}"]) == 2
    assert "2026-11-26T14:30" in capsys.readouterr().err
