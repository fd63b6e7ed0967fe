"""Lines folded for display: every line is in one entry, tracebacks and further lines stand together, equal messages are counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.analysis.logs.entries import entries
from collectors.records import LogLine

TEXTS = (
    "step 1",
    "2026-11-26 14:00:00 INFO saved",
    "2026-11-26 14:00:00 WARNING several lines:",
    "  indented",
    "bare",
    "Traceback (most recent call last):",
    '  File "a.py", line 3, in f',
    "    f()",
    "ValueError: bad",
    "During handling of the above exception, another exception occurred:",
    "  + Exception Group Traceback (most recent call last):",
    "  | ValueError: x",
    "retrying",
)


def line(text: str, time_s: float = 0.0, rank: int | None = None, level: int = 0) -> LogLine:
    return LogLine("a", "train.log", time_s, level, text, rank)


def test_a_traceback_is_one_entry_with_its_last_line() -> None:
    texts = [
        "step 1",
        "Traceback (most recent call last):",
        '  File "a.py", line 3, in f',
        "    f()",
        "ValueError: bad",
        "INFO next",
    ]
    found = entries([line(text, level=40 if 0 < i < 5 else 0) for i, text in enumerate(texts)])
    assert [(entry.kind, entry.shown.text, len(entry.lines)) for entry in found] == [
        ("line", "step 1", 1),
        ("traceback", "ValueError: bad", 4),
        ("line", "INFO next", 1),
    ]


def test_equal_messages_are_counted_per_rank() -> None:
    found = entries([line("retrying", i / 10, i % 2) for i in range(6)] + [line("done", 1.0)])
    assert [(entry.shown.text, entry.count, entry.first_s, entry.last_s) for entry in found] == [
        ("retrying", 3, 0.0, 0.4),
        ("retrying", 3, 0.1, 0.5),
        ("done", 1, 1.0, 1.0),
    ]


def test_further_lines_stand_with_their_message() -> None:
    lines = [
        line("2026-11-26 14:00:00 INFO config:"),
        line("  lr: 3"),
        line("  batch: 8"),
        line("step 1"),
        line("  later", 9.0),
    ]
    assert [[part.text for part in entry.lines] for entry in entries(lines)] == [
        ["2026-11-26 14:00:00 INFO config:", "  lr: 3", "  batch: 8"],
        ["step 1"],
        ["  later"],
    ]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(TEXTS),
            st.sampled_from([0.0, 0.1, 9.0]),
            st.sampled_from([None, 0, 1]),
            st.sampled_from([0, 40]),
        )
    )
)
def test_every_line_is_in_exactly_one_entry(rows: list[tuple[str, float, int | None, int]]) -> None:
    now_s, lines = 0.0, []
    for text, after_s, rank, level in rows:
        now_s += after_s
        lines.append(line(text, now_s, rank, level))
    found = entries(lines)
    places = {id(row): place for place, row in enumerate(lines)}
    assert sorted(places[id(row)] for entry in found for row in entry.lines) == list(range(len(lines)))
    firsts = [places[id(entry.lines[0])] for entry in found]
    assert firsts == sorted(firsts)
    assert all(entry.shown in entry.lines for entry in found)
