"""Logs that were there before the dashboard are judged once, and raise no alert."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from analysis.findings import working_set
from analysis.findings.collector import FindingsCollector
from collectors.machine.finder import Finder
from collectors.records import Finding, LogLine, Points, Record, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store

T0, NOW_S = 1_764_000_000.0, 1_765_000_000.0
HOST = labels_of(host="box")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path, write=True)


def logged(run: str, count: int = 3000, nan_from: int = 10**9, spike: int = -10) -> list[Record]:
    random.seed(run)
    values = [
        float("nan") if step >= nan_from else 5.0 if spike <= step < spike + 4 else 1 + random.random() / 10
        for step in range(count)
    ]
    return [Points(run, HOST, ("train/loss",), (value,), T0 + step / 10, step) for step, value in enumerate(values)]


def judged(store: Store, records: list[Record], monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.setattr(working_set, "WORK_S", 5.0)
    now_s = [NOW_S]
    collector = FindingsCollector(
        store,
        lambda names: [],
        Finder("box"),
        host="box",
        line_of=lambda run: lambda file, line: "",
        clock=lambda: now_s[0],
    )
    store.append(records)
    collector.take(records)
    found = []
    for _ in range(5):
        found += [record for record in collector.collect() if isinstance(record, Finding)]
        now_s[0] += 2 * working_set.SETTLED_S
    return found


def test_a_spike_and_a_nan_of_last_month_are_found_where_they_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(store, logged("a", nan_from=2500, spike=1200), monkeypatch)
    assert {finding.rule for finding in found} == {"loss_spike", "nan", "nan_lasting"}
    assert all(finding.fields["late"] and finding.weight == "note" for finding in found)
    (spike,) = [finding for finding in found if finding.rule == "loss_spike"]
    assert (spike.step, spike.from_s) == (1200, pytest.approx(T0 + 120))
    newest = {finding.id: finding for finding in found if finding.rule == "nan_lasting"}
    assert [(finding.step, finding.over) for finding in newest.values()] == [(2500, True)]


def test_a_healthy_run_of_last_month_has_no_findings(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(store, logged("b"), monkeypatch) == []


def test_a_log_of_any_length_is_not_held_until_the_next_look(store: Store) -> None:
    collector = FindingsCollector(
        store,
        lambda names: [],
        Finder("box"),
        host="box",
        line_of=lambda run: lambda file, line: "",
        clock=lambda: NOW_S,
    )
    tracemalloc.start()
    for number in range(100):
        lines = [LogLine("a", "a.log", NOW_S, 20, f"{number} {line} " + "x" * 1000) for line in range(500)]
        past = [Points("b", HOST, ("train/loss",), (float(step),), T0 + step, step) for step in range(500)]
        collector.take([*lines, *past])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 5_000_000, "50 MB of lines, and 50,000 points of the past"
