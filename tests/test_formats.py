"""Lines of the log folder become records by the rules of docs/log-format.md."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from collectors.formats import Arrival
from collectors.formats.jsonl import Events, Metrics
from collectors.formats.text import Text, last_state, level_of, time_of
from collectors.records import LogLine, Points, labels_of

LABELS = labels_of(host="box")


def metrics(starts: list[float] | None = None, state: dict[str, Any] | None = None) -> Metrics:
    return Metrics("a", LABELS, lambda: starts or [], state)


def points(*lines: bytes, arrival_s: float | None = None) -> tuple[list[Points], Metrics]:
    parser = metrics()
    return [
        record for record in parser.parse(lines, Arrival(arrival_s, arrival_s) if arrival_s else None) if isinstance(record, Points)
    ], parser


def test_a_line_becomes_points_that_share_time_and_step() -> None:
    found, _ = points(b'{"time_s":1.5,"step":7,"train/loss":0.25,"train/lr":0.001}')
    assert found == [Points("a", LABELS, ("train/loss", "train/lr"), (0.25, 0.001), 1.5, 7, 0)]


def test_without_a_time_the_arrival_counts_when_followed_live_and_nothing_otherwise() -> None:
    assert points(b'{"step":1,"x":1}', arrival_s=9.0)[0][0].time_s == 9.0
    assert points(b'{"step":1,"x":1}')[0][0].time_s is None


def test_without_a_step_the_last_one_counts_and_else_the_line_number() -> None:
    found, _ = points(b'{"time_s":1,"x":1}', b'{"time_s":2,"x":1}', b'{"time_s":3,"step":50,"x":1}', b'{"time_s":4,"x":1}')
    assert [one.step for one in found] == [1, 2, 50, 50]


@pytest.mark.parametrize("text", ["NaN", '"NaN"', '"nan"', '" nAn "'])
def test_nan_is_a_value_bare_or_quoted(text: str) -> None:
    assert math.isnan(points(b'{"time_s":1,"step":1,"x":%s}' % text.encode())[0][0].values[0])


def test_infinities_booleans_and_nested_objects_are_numbers() -> None:
    found, _ = points(b'{"time_s":1,"step":1,"up":Infinity,"down":"-infinity","yes":true,"a":{"b":{"c":2}}}')
    assert dict(zip(found[0].names, found[0].values, strict=True)) == {"up": math.inf, "down": -math.inf, "yes": 1.0, "a/b/c": 2.0}


def test_what_is_not_a_number_is_skipped_and_counted_and_the_rest_is_kept() -> None:
    found, parser = points(b'{"time_s":1,"step":1,"note":"hi","list":[1],"none":null,"huge":1%s,"x":3}' % (b"0" * 400))
    assert (found[0].names, found[0].values) == (("x",), (3.0,))
    assert parser.tally.fields_skipped == 4
    assert parser.tally.first_skip == "line 1: note is not a number"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{not json", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"a":1}\0', "NUL bytes"),
        (b'{"a":"\xff\xfe"}', "not JSON"),
        (b'{"a":"' + b"x" * (1 << 20) + b'"}', "longer than 1 MiB"),
        (b"[" * 5000, "not JSON"),
    ],
)
def test_a_bad_line_is_skipped_and_named_once(line: bytes, reason: str) -> None:
    found, parser = points(b'{"time_s":1,"step":1,"x":1}', line, line, b'{"time_s":2,"step":2,"x":2}')
    assert [one.step for one in found] == [1, 2]
    assert (parser.tally.lines_read, parser.tally.lines_skipped, parser.tally.first_skip) == (4, 2, f"line 2: {reason}")


def test_a_byte_order_mark_is_dropped() -> None:
    assert points(b'\xef\xbb\xbf{"time_s":1,"step":1,"x":1}')[0][0].values == (1.0,)


def test_a_line_that_stands_twice_counts_twice() -> None:
    assert len(points(*[b'{"time_s":1,"step":1,"x":1}'] * 2)[0]) == 2


def test_a_segment_rises_when_the_step_falls_by_more_than_a_hundred() -> None:
    lines = [b'{"time_s":%d,"step":%d,"x":1}' % (time, step) for time, step in enumerate([500, 400, 501, 400, 401, 700])]
    assert [one.segment for one in points(*lines)[0]] == [0, 0, 0, 1, 1, 1]


def test_a_segment_rises_at_a_start_event_even_where_the_steps_go_on() -> None:
    parser = metrics(starts=[1.0, 10.0])
    lines = [b'{"time_s":%d,"step":%d,"x":1}' % (time, step) for time, step in [(2, 1), (3, 2), (11, 2), (12, 3)]]
    assert [record.segment for record in parser.parse(lines, None) if isinstance(record, Points)] == [0, 0, 1, 1]


def test_a_parser_goes_on_from_its_state() -> None:
    lines = [b'{"time_s":%d,"step":%d,"x":1}' % (time, step) for time, step in enumerate([500, 501, 100, 101])]
    first = metrics()
    before = first.parse(lines[:3], None)
    after = metrics(state=first.state()).parse(lines[3:], None)
    assert before + after == metrics().parse(lines, None)


def test_events_carry_their_fields_and_remember_starts_and_ends() -> None:
    parser = Events("a")
    parser.parse(
        [b'{"time_s":1,"kind":"start","pid":7,"rank":1}', b'{"time_s":2,"kind":"checkpoint","step":5,"seconds":0.5}'], None
    )
    again = Events("a", parser.state())
    assert [(event.kind, event.rank, event.fields["pid"]) for event in again.lifetimes] == [("start", 1, 7)]


def local(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("line", "time_s"),
    [
        ("2026-11-24 16:22:01 INFO x", local("2026-11-24 16:22:01")),
        ("2026-11-24 16:22:01,500 x", local("2026-11-24 16:22:01.5")),
        ("[2026-11-24T16:22:01Z] x", local("2026-11-24 16:22:01+00:00")),
        ("2026-11-24T16:22:01.25+02:00 x", local("2026-11-24 16:22:01.25+02:00")),
        ("2026/11/24 16:22:01 x", local("2026-11-24 16:22:01")),
        ("11/24/2026 16:22:01 - INFO - x", local("2026-11-24 16:22:01")),
        ("I1124 16:22:01.500000 17 file.cc:9] x", local("2026-11-24 16:22:01.5")),
        ("[16:22:01] x", local("2026-11-24 16:22:01")),
        ("23:59:59 before midnight", local("2026-11-23 23:59:59")),
        ("step 12 loss 0.3", None),
        ("2026-13-45 99:99:99 x", None),
    ],
)
def test_a_line_tells_its_time(line: str, time_s: float | None) -> None:
    assert time_of(line, near_s=local("2026-11-24 11:00:00")) == time_s


def test_a_line_without_a_time_has_that_of_the_line_before_or_its_arrival() -> None:
    parser = Text("a", "train.log", mtime_s=5.0)
    now = local("2026-11-24 16:22:01")
    records = parser.parse([b"first", b"2026-11-24 16:22:01 ERROR broke", b"  Traceback follows"], Arrival(now, now))
    assert [record.time_s for record in records if isinstance(record, LogLine)] == [now, now, now]
    later = parser.parse([b"printed much later"], Arrival(now + 60, now + 60))
    assert [record.time_s for record in later if isinstance(record, LogLine)] == [now + 60]
    assert Text("a", "train.log", mtime_s=5.0).parse([b"old"], None)[0].time_s == 5.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026-11-24 16:22:01 WARNING x", 30),
        ("ERROR x", 40),
        ("x", 0),
        ("[INFO] x", 20),
    ],
)
def test_a_line_tells_its_level(line: str, level: int) -> None:
    assert level_of(line) == level


def test_a_progress_bar_collapses_into_its_last_state() -> None:
    assert last_state("10%\r50%\r100% done\r") == "100% done"


def test_colours_stay_and_do_not_hide_the_time() -> None:
    line = Text("a", "x.log", local("2026-11-25 00:00:00")).parse(
        [b"\x1b[32m2026-11-24 16:22:01\x1b[0m \x1b[31mERROR\x1b[0m <b>x</b>"], None
    )[0]
    assert isinstance(line, LogLine)
    assert (line.level, line.time_s, "\x1b[31m" in line.text) == (40, local("2026-11-24 16:22:01"), True)
