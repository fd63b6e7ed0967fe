"""The reader of py-spy's chrometrace files: a recorded one, and whatever else may stand in them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.records import Frame
from collectors.sampler.pyspy import StackInterval, parse, usual_root

RECORDED = Path(__file__).parents[1] / "data" / "recorded"

frames = st.builds(Frame, st.sampled_from("abc"), st.sampled_from(["x.py", "y.py"]), st.integers(1, 3))
stacks = st.lists(frames, max_size=4).map(tuple)


def written(stretches: list[tuple[int, tuple[Frame, ...]]], tid: int = 1) -> list[dict[str, Any]]:
    """The events with which py-spy tells of a thread that stands so many microseconds in one stack after the other."""
    events: list[dict[str, Any]] = []
    now_us = 10
    before: tuple[Frame, ...] = ()
    for length_us, stack in [*stretches, (0, ())]:
        same = 0
        while same < min(len(before), len(stack)) and before[same] == stack[same]:
            same += 1
        events += [event("E", frame, tid, now_us) for frame in reversed(before[same:])]
        events += [event("B", frame, tid, now_us) for frame in stack[same:]]
        now_us, before = now_us + length_us, stack
    return events


def event(phase: str, frame: Frame, tid: int, now_us: int) -> dict[str, Any]:
    return {
        "ph": phase,
        "name": frame.name,
        "args": {"filename": frame.file, "line": frame.line},
        "tid": tid,
        "ts": now_us,
    }


def test_a_recorded_file_reads_as_it_did() -> None:
    trace = parse((RECORDED / "chrometrace.json").read_bytes())
    golden = orjson.loads((RECORDED / "chrometrace.spans.json").read_bytes())
    spans = {
        str(tid): [[span.start_us, span.end_us, [list(frame) for frame in span.stack]] for span in spans]
        for tid, spans in trace.threads.items()
    }
    assert [spans, trace.first_us, trace.last_us] == golden


@given(st.lists(st.tuples(st.integers(1, 1000), stacks), max_size=8))
def test_what_is_written_as_events_is_read_as_the_same_stacks(stretches: list[tuple[int, tuple[Frame, ...]]]) -> None:
    spans = parse(orjson.dumps(written(stretches))).threads.get(1, [])
    read = [span.stack for span in spans for _ in range(span.end_us - span.start_us)]
    assert read == [stack for length_us, stack in stretches for _ in range(length_us) if stack]


@given(st.lists(st.tuples(st.integers(1, 1000), stacks), max_size=8), st.data())
def test_lost_events_leave_spans_that_follow_each_other(
    stretches: list[tuple[int, tuple[Frame, ...]]], data: st.DataObject
) -> None:
    events = written(stretches)
    kept = [one for one in events if data.draw(st.booleans())]
    spans = parse(orjson.dumps(kept)).threads.get(1, [])
    assert all(span.start_us < span.end_us and span.stack for span in spans)
    assert all(first.end_us <= second.start_us for first, second in itertools.pairwise(spans))


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    raw = (RECORDED / "chrometrace.json").read_bytes()
    for size in range(0, len(raw.rstrip()) - 1, 97):
        with pytest.raises(orjson.JSONDecodeError):
            parse(raw[:size])


def test_a_file_without_samples_is_empty() -> None:
    assert parse(b"[]") == ({}, 0, 0)


def test_the_usual_root_is_that_of_most_of_the_time() -> None:
    main, piece = (Frame("<module>", "t.py", 1),), (Frame("inner", "t.py", 9),)
    assert usual_root([StackInterval(0, 10, piece), StackInterval(10, 100, main)]) == ("<module>", "t.py")
    assert usual_root([]) is None
