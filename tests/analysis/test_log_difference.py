"""What a log says in a window: planted changes are named first, ordinary windows are silent, any columns are judged."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.logs.columns import LogColumns, MaskedTemplate
from analysis.logs.difference import LogDifference, difference
from collectors.lines.tracebacks import fields_of_clock, message_of, word_before
from collectors.records import LogLine
from dashboard.logs.changes import MaskedLines, mask
from tests.support.planted_logs import (
    PLANTINGS,
    Planting,
    Window,
    draw_window,
    is_first,
    judged,
    names,
    plant,
    recorded,
)

WINDOW = (300.0, 308.0)


def line(time_s: float, text: str, level: int = 0) -> LogLine:
    return LogLine("a", "train.log", time_s, level, text)


def steps(seconds: float = 600.0, every_s: float = 0.5) -> list[LogLine]:
    return [line(every_s * i, f"step {i} took {100 + i % 7} ms") for i in range(int(seconds / every_s))]


def said(lines: list[LogLine], window: tuple[float, float] = WINDOW) -> LogDifference:
    return judged(lines, Window(*window))


def test_the_sentence_of_a_new_message_and_of_one_that_did_not_come() -> None:
    new = [line(300.1 + i * 0.03, f"WARNING retrying shard {i}", 30) for i in range(214)]
    checkpoints = [line(4.0 + 40 * i, f"saved checkpoint {i}") for i in range(15) if i != 7 and i != 8]
    found = said(sorted(steps() + new + checkpoints, key=lambda row: row.time_s), (300.0, 308.0))
    assert found.sentence == (
        '"retrying shard" 214 times in 8 s, never before; "saved checkpoint" did not come (usually every 40 s).'
        if len(found.changes) == 2
        else '"retrying shard" 214 times in 8 s, never before.'
    )
    assert found.changes[0].example.startswith("WARNING retrying shard")
    assert found.changes[0].since_s == pytest.approx(300.1)


def test_a_message_that_is_due_in_the_window_and_does_not_come() -> None:
    checkpoints = [
        line(4.0 + 40 * i, f"saved checkpoint {i}") for i in range(15) if i not in (7, 8)
    ]  # 244 s, then 364 s
    found = said(sorted(steps() + checkpoints, key=lambda row: row.time_s), (282.0, 290.0))
    assert found.sentence == '"saved checkpoint" did not come (usually every 40 s).'
    assert (found.changes[0].since_s, found.changes[0].pause_s, found.changes[0].every_s) == (244.0, 120.0, 40.0)


def test_periodic_lines_longer_apart_than_the_window_are_neither_new_nor_missing() -> None:
    checkpoints = [line(4.0 + 40 * i, f"saved checkpoint {i}") for i in range(15)]
    validation = [line(90.0 * i + j / 4, f"validation shard {j}/40") for i in range(1, 7) for j in range(40)]
    lines = sorted(steps() + checkpoints + validation, key=lambda row: row.time_s)
    for from_s in np.arange(60.0, 560.0, 7.3):
        assert said(lines, (float(from_s), float(from_s) + 8.0)).sentence == "", from_s


def test_a_number_that_lies_outside_of_its_others() -> None:
    lines = [
        row._replace(text=f"step {i} took 900 ms") if 300 <= row.time_s <= 308 else row for i, row in enumerate(steps())
    ]
    found = said(lines)
    assert found.sentence == '"step # took # ms": took 900, otherwise 100 to 106.'


def test_a_log_that_pauses_as_a_whole_is_one_change() -> None:
    others = [line(0.25 + 0.5 * i, f"queue has {i % 5}") for i in range(1200)]
    lines = [row for row in sorted(steps() + others, key=lambda row: row.time_s) if not 301 < row.time_s < 330]
    found = said(lines)
    assert [change.kind for change in found.changes] == ["silent"]
    assert found.sentence.startswith("no line at all for 29 s")


def test_a_short_log_and_the_beginning_say_why_nothing_is_compared() -> None:
    assert said(steps(20.0), (5.0, 13.0)).reason == "the log is too short beside this window to say what is usual"
    assert "beginning" in said(steps(), (0.0, 8.0)).reason
    assert said([], (0.0, 8.0)).reason == "the log has no lines to compare with"


def test_what_came_before_the_lines_that_were_read_is_not_called_new_in_the_run() -> None:
    lines = steps() + [line(301 + i / 10, "lost connection") for i in range(9)]
    masked = MaskedLines(lines)
    found = difference(masked.columns, WINDOW, masked.templates, lines_before=600)
    assert found.sentence == '"lost connection" 9 times in 8 s, not in the 600 lines before.'


@pytest.mark.parametrize("kind", PLANTINGS)
def test_planted_changes_of_recorded_logs_are_named_first(kind: Planting) -> None:
    """A few of those that benchmarks/log_difference.py counts."""
    drawn = random.Random(5)
    for name in names(for_thresholds=False)[:3]:
        planted = plant(recorded(name), kind, drawn)
        assert is_first(planted, judged(planted.lines, planted.window)), (name, planted.window, planted.template)


def test_healthy_windows_of_recorded_logs_are_silent() -> None:
    drawn = random.Random(6)
    lines = recorded("validation-12")
    assert [judged(lines, draw_window(lines, drawn)).sentence for _ in range(12)] == [""] * 12


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(-3, 5), st.sampled_from([0, 20, 40])), max_size=80),
    st.floats(-1e3, 1e3),
    st.floats(0, 200),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_any_columns_are_judged(
    rows: list[tuple[float, int, int]], from_s: float, length_s: float, value: float
) -> None:
    times, templates, levels = zip(*rows, strict=True) if rows else ((), (), ())
    lines = LogColumns(np.array(times, np.float64), np.array(templates, np.int64), np.array(levels, np.int64))
    texts = {number: MaskedTemplate(f"message {number} #", "") for number in range(-3, 4)}  # the others are not known
    found = difference(
        lines,
        (from_s, from_s + length_s),
        texts,
        lambda template, field: np.full(int((lines.template == template).sum()), value),
    )
    assert bool(found.sentence) == bool(found.changes)
    assert all(np.isfinite(change.times) and change.times >= 1 for change in found.changes)


def test_ids_far_apart_are_judged_as_near_ones() -> None:
    rng = np.random.default_rng(0)
    times, template = np.sort(rng.uniform(0, 600, 4000)), rng.integers(0, 5, 4000)
    template[(times > 300) & (times < 308)] = 4
    near = difference(LogColumns(times, template, template * 0), WINDOW, {})
    far = difference(LogColumns(times, template * 10**12, template * 0), WINDOW, {})
    assert [change.count for change in near.changes] == [change.count for change in far.changes]
    assert near.changes


def test_words_of_templates() -> None:
    assert message_of("### #:#:# WARNING retrying shard #") == "retrying shard"
    assert message_of("[#:#:#] [INFO] step # | loss #") == "step # | loss"
    assert message_of("#") == "#"
    assert fields_of_clock("### #:#:# INFO step #") == 6
    assert fields_of_clock("step # of #: #") == 0
    assert word_before("step # | loss #", 1) == "loss"


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=60))
def test_a_mask_has_a_place_for_each_number(text: str) -> None:
    masked, numbers = mask(text)
    assert masked.count("#") == len(numbers)
