"""Threads in time order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stacks.threads import ThreadSelection
from collectors.records import Frame
from collectors.store.store import StackColumns
from dashboard.stacks.flame import Chart, chart
from tests.support.stacks import MAIN, Span, columns

MODULE, STEP, LOAD = (
    Frame("<module>", "/job/train.py", 9),
    Frame("step", "/job/train.py", 3),
    Frame("load", "/job/train.py", 5),
)


def bars(drawn: Chart, lane: int = 0) -> list[tuple[float, float, int, str]]:
    found = drawn.lanes[lane].spans
    return [
        (start, end, depth, drawn.frames[frame].name)
        for start, end, depth, frame in zip(found.start, found.end, found.depth, found.frame, strict=True)
    ]


def at_zero(*spans: Span, processes: tuple[tuple[str, int, int, str], ...] = (MAIN,)) -> StackColumns:
    return columns(*spans, processes=processes)


def test_functions_stand_below_each_other_and_one_that_goes_on_is_one_bar() -> None:
    spans = at_zero(
        (0, 7, 2.0, (MODULE, STEP)), (0, 7, 1.0, (MODULE, LOAD)), (0, 7, 1.0, (MODULE, LOAD._replace(line=6)))
    )
    drawn = chart(spans, (0.0, 4.0), 400, ThreadSelection())
    assert bars(drawn) == [
        (0.0, 4.0, 0, "<module>"),
        (0.0, 2.0, 1, "step"),
        (2.0, 4.0, 1, "load"),
    ]
    assert (drawn.lanes[0].depth, drawn.lanes[0].name) == (2, "MainThread")


def test_of_what_is_narrower_than_a_pixel_the_widest_is_shown() -> None:
    spans = at_zero(*[(0, 7, 0.01, (MODULE, STEP)), (0, 7, 0.02, (MODULE, LOAD))] * 100)
    assert bars(chart(spans, (0.0, 3.0), 10, ThreadSelection())) == [(0.0, 3.0, 0, "<module>"), (0.0, 3.0, 1, "load")]


def test_below_the_widest_function_stands_its_own_widest_callee() -> None:
    deep = (MODULE, STEP, Frame("a", "/job/x.py", 1)), (MODULE, STEP, Frame("b", "/job/x.py", 1)), (MODULE, LOAD)
    spans = at_zero((0, 7, 0.3, deep[0]), (0, 7, 0.3, deep[1]), (0, 7, 0.4, deep[2]))
    assert [name for *_, name in bars(chart(spans, (0.0, 1.0), 1, ThreadSelection()))][:2] == ["<module>", "step"], (
        "0.6 of it, in two callees"
    )


def test_time_without_samples_is_a_gap() -> None:
    spans = at_zero((0, 7, 1.0, (MODULE,)), (0, 7, 1.0, (MODULE,)))
    drawn = chart(spans._replace(time_s=np.array([0.0, 3.0])), (0.0, 4.0), 8, ThreadSelection())
    assert bars(drawn) == [(0.0, 1.0, 0, "<module>"), (3.0, 4.0, 0, "<module>")]


def test_threads_have_lanes_of_their_own_where_they_are_asked_for() -> None:
    spans = at_zero(
        (0, 7, 1.0, (MODULE,)), (0, 70, 1.0, (LOAD,)), (1, 8, 1.0, (STEP,)), processes=(MAIN, ("run", 0, 8, "worker"))
    )
    spans = spans._replace(time_s=np.zeros(3))
    assert [lane.tid for lane in chart(spans, (0.0, 1.0), 4, ThreadSelection()).lanes] == [7]
    assert [lane.tid for lane in chart(spans, (0.0, 1.0), 4, ThreadSelection("threads")).lanes] == [7, 70, 8]
    assert [lane.tid for lane in chart(spans, (0.0, 1.0), 4, ThreadSelection(thread="Thread-70")).lanes] == [70]


def test_an_empty_window_has_no_lanes() -> None:
    assert chart(at_zero(processes=()), (0.0, 1.0), 4, ThreadSelection("joined")).lanes == []


frames = st.builds(Frame, st.sampled_from("abc"), st.just("/x.py"), st.integers(1, 2))
spans = st.tuples(
    st.just(0),
    st.just(7),
    st.integers(1, 40).map(lambda ms: ms / 100),
    st.lists(frames, min_size=1, max_size=4).map(tuple),
)


@given(st.lists(spans, min_size=1, max_size=20), st.integers(1, 50))
def test_bars_of_one_depth_never_overlap_and_each_stands_below_another(found: list[Span], width: int) -> None:
    drawn = chart(at_zero(*found), (0.0, 4.0), width, ThreadSelection())
    if not drawn.lanes:
        return
    rows: dict[int, list[tuple[float, float]]] = {}
    for start, end, depth, _ in bars(drawn):
        row = rows.setdefault(depth, [])
        assert not row or start >= row[-1][1] - 1e-9
        assert end > start
        row.append((start, end))
        assert depth == 0 or any(a <= start + 1e-9 and end <= b + 1e-9 for a, b in rows[depth - 1])
    assert sum(end - start for start, end in rows[0]) <= 4.0 + 1e-9
    assert (
        sum(end - start for start, end in rows[0])
        == pytest.approx(sum(one[2] for one in found), abs=4.0 / width + 1e-9)
        or len(found) > 9
    )
