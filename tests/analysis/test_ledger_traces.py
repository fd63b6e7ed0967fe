"""The ledger of a minute of a real card's steps agrees with the trace that they come from, where that trace is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.traces.summary import step_trace_of
from benchmarks.ledger_traces import FOLDER, ledger_of, shares_of
from tests.support.tiled_traces import read, tiled

SLOW_LOADER = FOLDER / "v100_resnet50_workers0.json.gz"  # its DataLoader has no worker
COLLECTIVES = FOLDER / "a100_nccl.json.gz"


def needed(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    return path


def test_a_loader_without_workers_is_the_largest_cause_and_its_line_is_named() -> None:
    minute = tiled(read(needed(SLOW_LOADER)), 60.0, 7)
    found = ledger_of(minute)
    true, said = shares_of(minute)
    assert abs(said["busy"] - true["busy"]) < 1.0
    assert said["data"] == max(share for kind, share in said.items() if kind != "busy")
    assert abs(said["data"] - true["data"]) < 10.0
    (data,) = (row for row in found.rows if row.kind == "data")
    places = [line.place.frame for line in data.lines]
    assert next((frame.file, frame.line) for frame in places if frame is not None) == (
        "/job/resnet50_profiler_api.py",
        42,
    )


def test_a_host_that_is_late_is_told_from_a_busy_card() -> None:
    true, said = shares_of(tiled(read(needed(COLLECTIVES)), 60.0, 7))
    assert true["host"] > 60.0 and said["host"] == pytest.approx(true["host"], abs=3.0)


def test_a_trace_of_a_loader_without_workers_says_what_loading_ahead_saves() -> None:
    """Of each step but the last, which has no end on the card, 32 to 34 % was idle for data."""
    said = step_trace_of(needed(SLOW_LOADER), FOLDER).said
    assert said.startswith("Loading ahead in workers saves 33%") and "number is unknown" in said
    assert not step_trace_of(needed(COLLECTIVES), FOLDER).said
