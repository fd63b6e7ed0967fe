"""Lines of the log folder become records by the rules of docs/log-format.md."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import pytest

from collectors.logs.formats import Arrival, Tally, run_json
from collectors.logs.formats.jsonl import EventsParser, MetricsParser, SeriesNames
from collectors.logs.formats.text import TextLog, last_state, level_of, time_of
from collectors.records import Event, LogLine, Points, labels_of

LABELS = labels_of(host="box")
NOW = Arrival(1_764_000_000.0, 1_764_000_000.2)


def metrics(starts: list[float] | None = None, state: dict[str, Any] | None = None) -> MetricsParser:
    return MetricsParser("a", LABELS, lambda: starts or [], state)


def points(*lines: bytes, arrival_s: float | None = None) -> tuple[list[Points], MetricsParser]:
    parser = metrics()
    return [
        record
        for record in parser.parse(lines, Arrival(arrival_s, arrival_s) if arrival_s else None)
        if isinstance(record, Points)
    ], parser


def test_a_line_becomes_points_that_share_time_and_step() -> None:
    found, _ = points(b'{"time_s":1.5,"step":7,"train/loss":0.25,"train/lr":0.001}')
    assert found == [Points("a", LABELS, ("train/loss", "train/lr"), (0.25, 0.001), 1.5, 7, 0)]


def test_without_a_time_the_arrival_counts_when_followed_live_and_nothing_otherwise() -> None:
    assert points(b'{"step":1,"x":1}', arrival_s=9.0)[0][0].time_s == 9.0
    assert points(b'{"step":1,"x":1}')[0][0].time_s is None


def test_without_a_step_the_last_one_counts_and_else_the_line_number() -> None:
    found, _ = points(
        b'{"time_s":1,"x":1}', b'{"time_s":2,"x":1}', b'{"time_s":3,"step":50,"x":1}', b'{"time_s":4,"x":1}'
    )
    assert [one.step for one in found] == [1, 2, 50, 50]


@pytest.mark.parametrize("text", ["NaN", '"NaN"', '"nan"', '" nAn "'])
def test_nan_is_a_value_bare_or_quoted(text: str) -> None:
    assert math.isnan(points(b'{"time_s":1,"step":1,"x":%s}' % text.encode())[0][0].values[0])


def test_infinities_booleans_and_nested_objects_are_numbers() -> None:
    found, _ = points(b'{"time_s":1,"step":1,"up":Infinity,"down":"-infinity","yes":true,"a":{"b":{"c":2}}}')
    assert dict(zip(found[0].names, found[0].values, strict=True)) == {
        "up": math.inf,
        "down": -math.inf,
        "yes": 1.0,
        "a/b/c": 2.0,
    }


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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_says_so(encoding: str) -> None:
    text = "\ufeff" * (encoding != "utf-16") + '{"time_s":1,"step":1,"x":1}\n' * 3
    found, parser = points(*text.encode(encoding).split(b"\n"))
    assert not found and parser.tally.first_skip == "line 1: UTF-16: write UTF-8"


def test_a_line_that_stands_twice_counts_twice() -> None:
    assert len(points(*[b'{"time_s":1,"step":1,"x":1}'] * 2)[0]) == 2


def test_a_segment_rises_when_the_step_falls_by_more_than_a_hundred() -> None:
    lines = [
        b'{"time_s":%d,"step":%d,"x":1}' % (time, step) for time, step in enumerate([500, 400, 501, 400, 401, 700])
    ]
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
    parser = EventsParser("a")
    parser.parse(
        [b'{"time_s":1,"kind":"start","pid":7,"rank":1}', b'{"time_s":2,"kind":"checkpoint","step":5,"seconds":0.5}'],
        None,
    )
    again = EventsParser("a", parser.state())
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
        ("I1224 16:22:01.500000 17 file.cc:9] x", None),
        ("11/23/2026 09:00:00 PM INFO x", local("2026-11-23 21:00:00")),
        ("2026-11-23 12:30:00 AM INFO x", local("2026-11-23 00:30:00")),
        ("2026-11-23 16:22:01 PM x", local("2026-11-23 16:22:01")),
        ("[16:22:01] x", local("2026-11-24 16:22:01")),
        ("23:59:59 before midnight", local("2026-11-23 23:59:59")),
        ("step 12 loss 0.3", None),
        ("2026-13-45 99:99:99 x", None),
    ],
)
def test_a_line_tells_its_time(line: str, time_s: float | None) -> None:
    assert time_of(line, near_s=local("2026-11-24 11:00:00")) == time_s


def test_a_line_without_a_year_is_of_the_one_before_where_new_year_was_between() -> None:
    assert time_of("I1231 23:59:58.500000 17 file.cc:9] x", near_s=local("2027-01-02 11:00:00")) == local(
        "2026-12-31 23:59:58.5"
    )
    assert time_of("I0101 00:00:01.000000 17 file.cc:9] x", near_s=local("2027-01-02 11:00:00")) == local(
        "2027-01-01 00:00:01"
    )


def test_times_of_a_clock_alone_lie_before_the_end_of_a_file_that_was_written_over_midnight() -> None:
    lines = [b"22:00:00 INFO a", b"23:59:59 INFO b", b"00:00:01 INFO c", b"09:30:00 INFO d", b"14:00:20 INFO e"]
    found = TextLog("a", "train.log", local("2026-11-24 14:00:00")).parse(lines, None)
    days = ["2026-11-23", "2026-11-23", "2026-11-24", "2026-11-24", "2026-11-24"]
    assert [record.time_s for record in found if isinstance(record, LogLine)] == [
        local(f"{day} {line[:8].decode()}") for day, line in zip(days, lines, strict=True)
    ]


def test_a_line_without_a_time_has_that_of_the_line_before_or_its_arrival() -> None:
    parser = TextLog("a", "train.log", mtime_s=5.0)
    now = local("2026-11-24 16:22:01")
    records = parser.parse([b"first", b"2026-11-24 16:22:01 ERROR broke", b"  Traceback follows"], Arrival(now, now))
    assert [record.time_s for record in records if isinstance(record, LogLine)] == [now, now, now]
    later = parser.parse([b"printed much later"], Arrival(now + 60, now + 60))
    assert [record.time_s for record in later if isinstance(record, LogLine)] == [now + 60]
    assert TextLog("a", "train.log", mtime_s=5.0).parse([b"old"], None)[0].time_s == 5.0  # type: ignore[union-attr]


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
    line = TextLog("a", "x.log", local("2026-11-25 00:00:00")).parse(
        [b"\x1b[32m2026-11-24 16:22:01\x1b[0m \x1b[31mERROR\x1b[0m <b>x</b>"], None
    )[0]
    assert isinstance(line, LogLine)
    assert (line.level, line.time_s, "\x1b[31m" in line.text) == (40, local("2026-11-24 16:22:01"), True)


def test_lines_without_a_time_that_arrive_together_are_spread_between_two_looks() -> None:
    found = metrics().parse([b'{"step":%d,"x":1}' % step for step in range(1, 5)], NOW)
    times = [record.time_s for record in found if isinstance(record, Points)]
    assert times == pytest.approx([NOW.since_s + 0.05 * i for i in range(1, 5)])


@pytest.mark.parametrize(
    "stamp", ["NaN", "1e300", "-1", "1764000000000", '"today"', "true", "[1]", "1%s" % ("0" * 400)]
)
def test_a_time_that_cannot_be_is_counted_and_the_line_kept(stamp: str) -> None:
    parser = metrics()
    (point,) = parser.parse([b'{"time_s":%s,"step":1,"x":1}' % stamp.encode()], NOW)
    assert isinstance(point, Points) and point.time_s == (1.0 if stamp == "true" else NOW.until_s)
    assert parser.tally.fields_skipped == (stamp != "true")


def test_names_that_cannot_be_are_counted_and_those_beside_them_kept() -> None:
    parser = metrics()
    line = b'{"step":1,"":1,"a\\u0000":2,"b\\ud800":3,"%s":4,"x":5,"y":{"":6}}' % (b"n" * 501)
    found = parser.parse([line, line], NOW)
    assert [record.names for record in found if isinstance(record, Points)] == [("x", "y/")] * 2
    assert parser.tally.fields_skipped == 8
    assert parser.tally.first_skip.encode()


def test_a_run_has_no_more_series_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.logs.formats.jsonl.MAX_SERIES", 100)
    names = SeriesNames()
    parsers = [MetricsParser("a", LABELS, list, None, names) for _ in range(2)]
    found = [parsers[i % 2].parse([b'{"step":1,"n%d":1.5,"loss":0.5}' % i], NOW) for i in range(300)]
    kept = {name for records in found for record in records if isinstance(record, Points) for name in record.names}
    assert len(kept) == 100 and "loss" in kept
    assert sum(parser.tally.fields_skipped for parser in parsers) == 201
    assert "one series too many: a run may have 100" in parsers[1].tally.first_skip


def test_shapes_of_lines_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.logs.formats.jsonl.MAX_KNOWN", 50)
    parser = metrics()
    for i in range(1000):
        parser.parse([b'{"step":1,"n%d":1.5,"m%d":1.5}' % (i % 20, i % 17)], NOW)
    assert len(parser._known) <= 27


def test_starts_beyond_the_newest_are_counted_and_still_begin_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.logs.formats.jsonl.MAX_LIFETIMES", 3)
    events = EventsParser("a")
    events.parse([b'{"time_s":%d,"kind":"start","config":"%s"}' % (i, b"x" * 1000) for i in range(10)], None)
    assert len(events.lifetimes) == 3 and events.forgotten == {0: 7}
    assert len(str(events.state())) < 500, "only what says which process it was is kept with the offset"
    again = EventsParser("a", events.state())
    assert (again.lifetimes, again.forgotten) == (events.lifetimes, events.forgotten)


def test_an_events_file_of_a_rank_says_whose_events_they_are() -> None:
    found = EventsParser("a", rank=3).parse(
        [b'{"time_s":1,"kind":"start"}', b'{"time_s":1,"kind":"start","rank":5}'], None
    )
    assert [event.rank for event in found if isinstance(event, Event)] == [3, 5]


TRACEBACK = """\
step 4 loss 0.3
{stamp}Traceback (most recent call last):
  File "train.py", line 3, in <module>
    raise KeyError("INFO x")
    ^^^^^^^^^^^^^^^^^^^^^^^
KeyError: 'INFO x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "train.py", line 5, in <module>
    raise torch.OutOfMemoryError("CUDA out of memory
torch.OutOfMemoryError: CUDA out of memory
GPU 0 has 40 GiB
\tof which 1 GiB is free
{end}
"""


@pytest.mark.parametrize("stamp", ["", "2026-11-24 16:22:01 ERROR ", "[rank0]: "])
@pytest.mark.parametrize("arrival", [None, Arrival(1_764_000_000.0, 1_764_000_000.2)])
def test_an_error_is_all_of_its_traceback(stamp: str, arrival: Arrival | None) -> None:
    text = TRACEBACK.format(stamp=stamp, end="\n2026-11-24 16:23:00 INFO starting again\nstep 5 loss 0.3")
    if stamp.startswith("[rank0]"):
        text = "\n".join(
            f"[rank0]: {line.removeprefix(stamp)}" if 0 < i < 15 else line for i, line in enumerate(text.splitlines())
        )
    found = TextLog("a", "x.log", 1_764_000_000.0).parse([line.encode() for line in text.splitlines()], arrival)
    levels = [(record.level >= 40, record.text) for record in found if isinstance(record, LogLine)]
    errors = [text for error, text in levels if error]
    assert [text for error, text in levels if not error] == [
        "step 4 loss 0.3",
        "2026-11-24 16:23:00 INFO starting again",
        "step 5 loss 0.3",
    ]
    assert len(errors) == len(levels) - 3 and any("OutOfMemoryError: CUDA" in text for text in errors)


def test_an_interrupt_is_an_error_and_what_is_printed_after_it_is_not() -> None:
    parser = TextLog("a", "x.log", 0.0)
    lines = [b"^CTraceback (most recent call last):", b'  File "a.py", line 1, in <module>', b"KeyboardInterrupt"]
    found = [*parser.parse(lines, NOW), *parser.parse([b"step 5"], Arrival(NOW.until_s + 9, NOW.until_s + 10))]
    assert [record.level for record in found if isinstance(record, LogLine)] == [40, 40, 40, 0]


@pytest.mark.parametrize("clock_s", [0.0, -0.5, 1.5])
def test_lines_printed_between_stamped_ones_keep_their_pace(clock_s: float) -> None:
    """By the clock of the stamps; what was written with a stamped line has its time."""
    parser, began_s = TextLog("a", "x.log", 0.0), 1_764_000_000.0
    stamp = datetime.datetime.fromtimestamp(began_s + clock_s, datetime.UTC).isoformat()
    batches = [[f"{stamp} INFO saved".encode(), b"  to disk"], *([f"epoch {i} loss 0.5".encode()] for i in range(1, 5))]
    times = [
        [
            record.time_s
            for record in parser.parse(lines, Arrival(began_s + i - 0.05, began_s + i))
            if isinstance(record, LogLine)
        ]
        for i, lines in enumerate(batches)
    ]
    assert times[0] == pytest.approx([began_s + clock_s] * 2)
    assert [when for (when,) in times[1:]] == pytest.approx([began_s + clock_s + i for i in range(1, 5)])


def test_lines_of_a_message_that_are_written_with_it_share_its_level() -> None:
    parser = TextLog("a", "x.log", 0.0)
    first = parser.parse([b"2025-11-24 16:00:00 ERROR loss is nan in", b"layer 3", b"layer 7", b"INFO another"], NOW)
    later = parser.parse([b"step 5"], Arrival(NOW.until_s + 1, NOW.until_s + 2))
    assert [record.level for record in [*first, *later] if isinstance(record, LogLine)] == [40, 40, 40, 20, 0]


def test_a_traceback_goes_on_after_the_parser_is_taken_up_again() -> None:
    parser = TextLog("a", "x.log", 0.0)
    parser.parse([b"Traceback (most recent call last):", b'  File "a.py", line 1, in <module>'], NOW)
    again = TextLog("a", "x.log", 0.0, json.loads(json.dumps(parser.state())))
    (line,) = again.parse([b"ValueError: no"], NOW)
    assert isinstance(line, LogLine) and line.level == 40


@pytest.mark.parametrize(
    ("stamp", "believed"),
    [
        ("0001-01-01 00:00:00", False),
        ("1970-01-01 00:00:07", False),
        ("2099-01-01 00:00:00", False),
        ("2025-11-01 00:00:00", True),
    ],
)
def test_a_stamp_that_no_clock_can_mean_is_not_believed(stamp: str, believed: bool) -> None:
    assert (time_of(f"{stamp} INFO x", near_s=NOW.until_s) is not None) == believed


def test_bytes_of_run_json_that_are_not_utf8_are_shown_and_counted() -> None:
    tally = Tally()
    assert run_json.parse(b'{"command":"caf\xe9.py","pid":7}', tally) == {"pid": 7, "command": "caf\ufffd.py"}
    assert (tally.fields_skipped, tally.first_skip) == (
        1,
        "line 0: run.json has bytes that are not UTF-8, shown as \ufffd",
    )


def test_commands_of_a_run_file_are_stored_without_their_secrets() -> None:
    words = ["python", "t.py", "--token", "zzsecret1", "--db=postgres://ada:zzsecret2@host/d", 7]
    for value in (words, " ".join(map(str, words))):
        found = run_json.parse(json.dumps({"command": value, "argv": value}).encode(), Tally())
        assert found is not None and found.keys() == {"command", "argv"}
        assert "zzsecret" not in str(found) and "t.py" in found["command"] and "7" in found["argv"]
    assert run_json.parse(b'{"command": "python train.py --lr 3", "argv": ["a", "b"]}', Tally()) == {
        "command": "python train.py --lr 3",
        "argv": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("written", "kept", "skipped"),
    [
        ({"tags": ["a", 1, True, "a"], "note": "n"}, {"tags": ["a", "1", "True"], "note": "n"}, 0),
        ({"tags": "abc"}, {"tags": ["abc"]}, 0),
        ({"tags": 7, "note": 7}, {}, 2),
        ({"tags": ["a", None, "", "x" * 51, "b\nc", ["d"], {}]}, {"tags": ["a"]}, 6),
        ({"tags": [*map(str, range(25))]}, {"tags": [*map(str, range(20))]}, 5),
        ({"note": "n" * 4001}, {"note": "n" * 4000}, 1),
    ],
)
def test_what_a_reader_leaves_out_of_tags_and_a_note_is_counted(written: Any, kept: Any, skipped: int) -> None:
    tally = Tally()
    assert run_json.parse(json.dumps(written).encode(), tally) == kept
    assert (tally.fields_skipped, bool(tally.first_skip)) == (skipped, skipped > 0)
