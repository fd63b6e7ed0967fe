"""Which edges of a stack from py-spy are trusted."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.blame.suspect import weighed
from analysis.stacks.trust import source_names, trusted_depth, trusted_spans
from collectors.records import Frame
from collectors.store.store import StackColumns
from tests.support.stacks import Span, columns, drawn, fold

LINES = {
    ("t.py", 7): "    loss = model.forward(x)",
    ("t.py", 8): "    for row in rows:",
    ("t.py", 9): "    item = data[i]",
}
MAIN, STEP = Frame("main", "t.py", 1), Frame("step", "t.py", 7)
FORWARD, BACKWARD = Frame("Model.forward", "m.py", 3), Frame("Model.backward", "m.py", 9)


def line_of(file: str, line: int) -> str:
    return LINES.get((file, line), "")


def sampled(*spans: Span, sampler: str = "py-spy") -> StackColumns:
    found = columns(*spans)
    return found if sampler == "py-spy" else found._replace(gil=np.zeros(len(spans), np.int8))


def test_a_stack_that_was_seen_twice_in_a_row_is_trusted() -> None:
    spans = sampled((0, 7, 0.02, (MAIN, STEP, BACKWARD)), (0, 7, 0.01, (MAIN, STEP, BACKWARD, FORWARD)))
    assert trusted_depth(spans).tolist() == [3, 3], "and what it shares with its neighbour, no more"


def test_an_edge_that_the_neighbouring_sample_has_is_trusted() -> None:
    one, other = (MAIN, STEP, FORWARD), (MAIN, STEP._replace(line=8), BACKWARD)
    assert trusted_depth(sampled((0, 7, 0.01, one), (0, 7, 0.01, other))).tolist() == [2, 2]


def test_another_threads_sample_says_nothing() -> None:
    one = (MAIN, STEP, FORWARD)
    assert trusted_depth(sampled((0, 7, 0.01, one), (0, 70, 0.01, one))).tolist() == [1, 1]


def test_a_sample_far_away_says_nothing() -> None:
    spans = sampled((0, 7, 0.01, (MAIN, STEP)), (0, 7, 0.01, (MAIN, STEP)))
    assert trusted_depth(spans._replace(time_s=np.array([0.0, 0.5]))).tolist() == [1, 1]


def test_the_source_names_of_the_callee_that_its_line_names() -> None:
    assert source_names(STEP, FORWARD, line_of)
    assert not source_names(STEP, BACKWARD, line_of)
    assert source_names(STEP._replace(line=9), Frame("Images.__getitem__", "d.py", 1), line_of)
    assert source_names(STEP._replace(line=8), Frame("Rows.__next__", "d.py", 1), line_of)
    assert not source_names(STEP._replace(line=9), Frame("Rows.__next__", "d.py", 1), line_of)
    assert source_names(Frame("Module._call_impl", "module.py", 1), BACKWARD, line_of), "it calls whatever it is given"
    spans = sampled((0, 7, 0.01, (MAIN, STEP, BACKWARD)))
    assert trusted_depth(spans, line_of).tolist() == [1], "main does not name step"


def test_what_is_not_trusted_counts_for_its_caller_and_is_reported() -> None:
    spans = sampled((0, 7, 0.01, (MAIN, STEP, FORWARD)), (0, 7, 0.01, (MAIN, STEP, BACKWARD)))
    tree = fold(spans)
    assert tree.trusted_share == 0.0
    trusted_s = dict(zip([tree.frames[i].name for i in tree.frame], tree.trusted_s.tolist(), strict=True))
    assert trusted_s == {
        "run main thread": 0.02,
        "main": 0.02,
        "step": 0.02,
        "Model.backward": 0.0,
        "Model.forward": 0.0,
    }
    assert set(weighed(trusted_spans(spans)).stacks) == {(0, 1)}


def test_our_own_sampler_is_trusted() -> None:
    spans = sampled((0, 7, 0.01, (MAIN, STEP, FORWARD)), sampler="native")
    assert trusted_depth(spans).tolist() == [3]
    assert fold(spans).trusted_share == 1.0


def test_where_our_own_sampler_cut_a_stack_the_tree_says_so() -> None:
    spans = sampled((0, 7, 0.01, (MAIN, STEP)), (0, 7, 0.03, (MAIN, STEP)), sampler="native")
    tree = fold(spans._replace(resolved=np.array([False, True])))
    assert drawn(tree) == ["run main thread 0.04", "  main 0.04", "    step 0.04", "      not seen 0.01"]
    assert tree.trusted_share == pytest.approx(0.75)


def test_a_stack_that_was_read_in_pieces_is_not_trusted_at_all() -> None:
    spans = sampled((0, 7, 0.01, (STEP, FORWARD)))
    assert trusted_depth(spans._replace(resolved=np.zeros(1, bool))).tolist() == [0]


def test_a_hole_between_two_samples_belongs_to_the_first() -> None:
    spans = sampled((0, 7, 0.01, (MAIN,)), (0, 7, 0.01, (STEP,)), (0, 7, 0.01, (MAIN,)))
    spans = trusted_spans(spans._replace(time_s=np.array([0.0, 0.1, 5.0])))
    assert spans.end_s.tolist() == [0.1, 0.11, 5.01], "but not one that is too long for that"
