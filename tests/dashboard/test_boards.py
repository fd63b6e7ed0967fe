"""Boards as text: what is written is read again, what is wrong is one sentence with its line, and an edit leaves the rest as it stands."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from collectors.yaml_values import YamlError
from dashboard.boards.board import (
    Board,
    BoardEdit,
    BoardRow,
    SeriesChoice,
    ValueRange,
    plain_board,
    plain_chart,
    plain_row,
)
from dashboard.boards.editor import edited
from dashboard.boards.files import board_of, written
from tests.support.board_texts import boards, texts

TEXT = """\
# GPUs of this host
title: GPUs   # the title
window: 15 min

rows:
  # what the host draws
  - title: Power
    charts:
      - kind: line      # of each
        title: 'Power: "all"'
        series: [gpu/power_w, {expr: "sum(gpu/power_w)", label: all}]
        range: [0, auto]

      - kind: text
        text: |
          A note
            of two lines
"""
MISTAKES = {
    "titel: x": "line 1: a board has no key 'titel'; did you mean title?",
    "title: a\ntitle: b": "line 2: title is there twice",
    "- a": "line 1: a board is a table of lines such as `title: GPUs`",
    "rows:\n  - charts:\n      - kind: lin": "line 3: 'lin' is not one of line, area,",
    "rows:\n  - charts:\n      - kind: line": "line 3: a chart of the kind line has series",
    "rows:\n  - charts:\n      - kind: text\n        text: x\n        unit: W": "line 5: a chart of the kind text has no unit",
    "rows:\n  - charts:\n      - kind: line\n        series: [a,\n          sum(a]": "line 5: column 6: ",
    "rows:\n  - charts:\n      - kind: line\n        series: a\n        range: [2, 1]": "line 5: the first end of a range is below the second",
    "rows:\n  - charts:\n      - {kind: line, series: [{regex: '('}]}": "line 3: '(' is not a regular expression: missing ): (",
    "rows:\n  - charts:\n      - {kind: line, series: [{name: a, glob: b}]}": "line 3: a series has one of name, glob, regex, expr",
    "window: 7 parsecs": "line 1: '7 parsecs' is neither a duration such as 15 min nor all",
    "window: 99999999999999999999999999 d": "line 1: a window has at most 10,000 d; all is the shown run from its start",
    "rows: &a []": "line 1: a board has no anchors (&name)",
    "title: *a": "line 1: ",
    "title: x\n---\ntitle: y": "line 2: a board is one document; a second one begins here",
    "title: [": "line 2: it is not YAML: ",
    "[" * 50: "line 1: this is more than a board can hold",
    "about: " + "x" * 70_000: "line 1: a board has at most 64 KiB",
    "rows: [" + "{}, " * 61 + "]": "line 1: rows has at most 60",
}


@settings(max_examples=150)
@given(boards)
def test_what_is_written_is_read_again(board: Board) -> None:
    text = written(board)
    assert board_of(text) == board
    assert written(board_of(text)) == text


@settings(max_examples=40)
@given(boards)
def test_what_the_page_sets_is_what_is_read(board: Board) -> None:
    edits = [BoardEdit("set", (key,), value) for key, value in plain_board(board).items() if key != "rows"]
    for i, row in enumerate(board.rows):
        about = {key: value for key, value in plain_row(row).items() if key != "charts"}
        edits.append(BoardEdit("insert", ("rows", i), about))
        edits += [
            BoardEdit("insert", ("rows", i, "charts", j), plain_chart(chart)) for j, chart in enumerate(row.charts)
        ]
    text = edited("", edits)
    assert board_of(text) == board


@settings(max_examples=300)
@given(texts)
def test_any_text_is_a_board_or_one_sentence_with_a_line(text: str) -> None:
    try:
        board = board_of(text)
    except YamlError as error:
        assert re.fullmatch(r"line \d+: [^\n]+", str(error)), str(error)
        assert (
            1
            <= error.line
            <= text.count("\n")
            + text.count("\r")
            + text.count("\x85")
            + text.count("\u2028")
            + text.count("\u2029")
            + 2
        )
    else:
        assert board_of(written(board)) == board
        try:
            assert edited(text, []) == text
            assert board_of(edited(text, [BoardEdit("set", ("title",), "new")])) == board._replace(title="new")
        except ValueError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: repr(text[:40]))
def test_a_mistake_is_one_sentence_with_the_line(text: str) -> None:
    with pytest.raises(YamlError) as error:
        board_of(text)
    assert str(error.value).startswith(MISTAKES[text])


def test_a_word_is_a_name_or_an_expression_and_no_word_is_a_falsehood() -> None:
    board = board_of("title: no\nrows: [{charts: [{kind: line, title: 12, series: [gpu/power_w, 2 * gpu/power_w]}]}]")
    (chart,) = board.rows[0].charts
    assert (board.title, chart.title) == ("no", "12")
    assert chart.series == (SeriesChoice("name", "gpu/power_w"), SeriesChoice("expr", "2 * gpu/power_w"))


def test_an_edit_leaves_the_rest_as_it_stands() -> None:
    assert edited(TEXT, [BoardEdit("set", ("title",), "GPUs")]) == TEXT
    wider = edited(TEXT, [BoardEdit("set", ("rows", 0, "charts", 1, "width"), 6)])
    assert [line for line in wider.splitlines() if line not in TEXT.splitlines()] == ["        width: 6"]
    assert [line for line in TEXT.splitlines() if line not in wider.splitlines()] == []


def test_charts_are_moved_inserted_and_removed() -> None:
    line, note = board_of(TEXT).rows[0].charts
    moved = edited(TEXT, [BoardEdit("move", ("rows", 0, "charts", 0), to=("rows", 0, "charts", 1))])
    assert board_of(moved).rows[0].charts == (note, line)
    other_row = edited(
        TEXT,
        [
            BoardEdit("insert", ("rows", 1), {}),
            BoardEdit("move", ("rows", 0, "charts", 1), to=("rows", 1, "charts", 0)),
        ],
    )
    assert [row.charts for row in board_of(other_row).rows] == [(line,), (note,)]
    fewer = edited(
        other_row, [BoardEdit("remove", ("rows", 1)), BoardEdit("remove", ("rows", 0, "charts", 0, "range"))]
    )
    assert board_of(fewer).rows == (BoardRow((line._replace(range=None),), "Power"),)
    assert "# of each" in fewer and "# GPUs of this host" in fewer


@pytest.mark.parametrize(
    "edit",
    [
        BoardEdit("set", (), 1),
        BoardEdit("set", ("rows", 9, "title"), "x"),
        BoardEdit("set", ("rows", "x"), "x"),
        BoardEdit("remove", ("rows", -1)),
        BoardEdit("move", ("rows", 0), to=("rows", 7)),
        BoardEdit("insert", ("title", 0), 1),
        BoardEdit("set", ("window",), "for ever"),
        BoardEdit("set", ("rows",), [[[[[[[[[[[]]]]]]]]]]]),
        BoardEdit("set", ("title", "x", "y"), 1),
    ],
    ids=str,
)
def test_an_edit_that_cannot_be_is_one_sentence(edit: BoardEdit) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        edited(TEXT, [edit])


def test_ranges_have_open_ends() -> None:
    (chart,) = board_of(TEXT).rows[0].charts[:1]
    assert chart.range == ValueRange(0, None)
