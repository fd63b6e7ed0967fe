"""JSON lines of structlog, loguru and python-json-logger, and logfmt, are text with fields; recorded by tests/integrations/programs/structured.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.logs.crash import crash_of
from collectors.lines.structured_lines import StructuredLine, level_of, of_object, read, read_fields, shown, time_of
from collectors.logs.formats import Arrival
from collectors.logs.formats.jsonl import JsonLines, MetricsParser, guess_content
from collectors.logs.formats.text import TextLog
from collectors.records import LogLine, Points, Record
from tests.support.following import Follower, until

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "structured"
LIBRARIES = ("structlog", "loguru", "pythonjsonlogger")
NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)

ROWS: list[dict[str, object]] = [
    {"step": 1, "loss": 0.5},
    {"loss": 1.5, "split": "train", "note": "no log"},
    {"loss": 2.5, "inner": {"labels": {}}, "message": "of a row without level and time"},
    {"loss": 2**70},
    {"message": "first", "level": "info"},
    {"wrapped": {"message": "second", "levelname": "WARNING"}},
    {"loss": 3.5, "message": "of a row whose time is none", "time": 10**400},
    {"loss": 4.5, "message": "and whose level is none", "level": 10**400, "ts": float("inf")},
    {"step": 3, "event": "third", "timestamp": "2026-11-26T14:00:00Z", "parts": [2**70, {"deep": 2**80}]},
]


@pytest.mark.parametrize("suffix", ["log", "jsonl"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_librarys_lines_have_their_message_level_time_and_fields(library: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shutil.copy(RECORDED / f"{library}.log", tmp_path / "a" / f"train.{suffix}")
    follower = Follower(tmp_path)
    until(follower, lambda: any(isinstance(record, Points) for record in follower.records))
    lines = [record for record in follower.records if isinstance(record, LogLine)]
    assert [line.level for line in lines[:6]] == [20, 20, 20, 20, 30, 40]
    assert [line.text.split(" ")[0] for line in lines[:6]] == ["loading", "step", "step", "step", "retrying", "step"]
    assert all(1.7e9 < line.time_s < 1.8e9 for line in lines)
    crash = crash_of(lines)
    assert crash is not None and (crash.cause.exception, crash.cause.message) == (
        "ValueError",
        "bad label\nsecond line",
    )
    points = [record for record in follower.records if isinstance(record, Points)]
    assert [(point.names, point.values, point.step) for point in points] == [
        (("loss",), (2.5 - step / 10,), step) for step in range(3)
    ]
    offset = next(iter(follower.offsets.values()))
    assert (offset.lines_read, offset.lines_skipped, offset.trouble) == (6, 0, "")
    follower.tail.close()


def test_metrics_and_lines_stand_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    rows = []
    for step in range(60):
        rows.append({"time_s": 1.79e9 + step, "step": step, "train/loss": 1.0})
        rows.append({"event": f"batch {step} is ready", "level": "info", "timestamp": "2026-11-26T14:00:00Z"})
    (tmp_path / "a" / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    follower = Follower(tmp_path)
    follower.collect()
    follower.collect()
    assert sum(isinstance(record, LogLine) for record in follower.records) == 60
    assert sum(isinstance(record, Points) for record in follower.records) == 60
    follower.tail.close()


def test_logfmt_is_read_and_plain_text_is_not() -> None:
    found = read('time=2026-11-26T14:00:00Z level=warn msg="step done" step=7 loss=0.5 who="a b"')
    assert found is not None
    assert (found.message, found.level, found.fields) == ("step done", 30, {"step": 7, "loss": 0.5, "who": "a b"})
    for text in (
        "loss=0.5 lr=1e-3 step=7",
        "msg=hello",
        "{not json}",
        '{"step": 1, "loss": 2}',
        '{"message": "hi", "label": 1}',
        "[1]",
        "",
    ):
        assert read(text) is None, text


def test_data_with_messages_is_no_log() -> None:
    prompts = b"".join(b'{"message": "a prompt of some words", "answer": "and one of them"}\n' for _ in range(60))
    assert guess_content(prompts).why
    log = b"".join(b'{"message": "a line of some words", "level": "info", "host": "a"}\n' for _ in range(60))
    assert guess_content(log) == ("", True)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(NAMES, SCALARS, max_size=6), st.text(alphabet="abc xyz", min_size=1, max_size=20))
def test_all_fields_are_in_the_text_that_is_shown(
    fields: dict[str, str | int | float | bool | None], message: str
) -> None:
    line = StructuredLine(message.strip() or "x", 20, None, dict(fields))
    assert read_fields(shown(line)[0]) == fields


@settings(deadline=None, max_examples=100)
@given(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=12,
    )
)
def test_any_object_is_read_or_is_none(value: object) -> None:
    for row in ({"event": "x", "level": "info", "more": value}, {"record": value, "text": "x", "message": value}):
        found = of_object(row)
        if found is not None:
            assert shown(found)
            assert all("\n" not in text for text in shown(found))


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=80))
def test_any_text_is_read_or_is_none(text: str) -> None:
    read("{" + text + "}")
    read(f"msg={text}")


def test_levels_and_times() -> None:
    assert [level_of(value) for value in ("WARN", "success", 30, 60, True, "loud", None)] == [30, 25, 30, 50, 0, 0, 0]
    assert time_of(1.79e9) == time_of(1.79e12) == time_of(1.79e18) == 1.79e9
    assert time_of("2026-11-26T14:00:00Z") == 1795701600.0
    assert time_of(7) is None and time_of("yesterday at ten") is None and time_of(True) is None


@pytest.mark.parametrize(
    ("text", "level", "timed"),
    [
        ('{"severity":"ERROR","jsonPayload":{"message":"boom"},"timestamp":"2026-11-26T14:00:00Z"}', 40, True),
        ('{"log":"boom\\n","stream":"stderr","time":"2026-11-26T14:00:00Z"}', 0, True),
        ('{"event":{"msg":"boom","level":"warning","ts":1795701600.0}}', 30, True),
        ('{"a":{"b":{"level":"error","message":"boom"}}}', 40, False),
        ('{"log":{"level":"error"},"@timestamp":"2026-11-26T14:00:00Z","message":"boom"}', 40, True),
        ('{"record":{"levelname":"ERROR","msg":"boom","created":1795701600.5}}', 40, True),
    ],
)
def test_what_a_logger_wraps_is_found(text: str, level: int, timed: bool) -> None:
    line = read(text)
    assert line is not None and (line.message, line.level, line.time_s is not None) == ("boom", level, timed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ROWS), max_size=30))
def test_lines_and_points_among_each_other_are_all_kept(rows: list[dict[str, object]]) -> None:
    parser = JsonLines(MetricsParser("a", {}, list), TextLog("a", "metrics.jsonl", 1.0))
    records = parser.parse([json.dumps(row).encode() for row in rows], Arrival(1.0, 2.0))
    assert parser.tally.lines_read == len(rows) and not parser.tally.lines_skipped
    points = [record.values[0] for record in records if isinstance(record, Points)]
    assert points == [row["loss"] for row in rows if "loss" in row]
    lines = [record.text.split()[0] for record in records if isinstance(record, LogLine)]
    inner = [row.get("wrapped", row) for row in rows if "loss" not in row]
    assert lines == [row.get("message", row.get("event")) for row in inner if isinstance(row, dict)]


ODD_LINES = (
    b'{"step": 1, "loss": 0.5}',
    b'{"loss": 1.5, "split": "train"}',
    b'{"event": "x", "level": "info"}',
    b'{"event": "caf\xe9", "level": "error"}',
    b'{"event": "x", "level": "error", "ts": 1764000000.5, "loss": NaN}',
    b'{"event": "x\\ud800", "level": "error", "loss": 2.5}',
    b'{"event": "x", "created": 1764000000.5, "loss": 3.5}',
    b'{"step": 2, "loss": 0.5, "message": "m", "level": "info", "v": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    b'{"step": 2, "loss": 0.5, "message": "m", "v": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    b'{"message": [1, 2], "timestamp": 1764000001, "step": 3, "loss": 0.5}',
    b'{"step": {"message": "hi", "level": "info"}, "loss": 0.5}',
    b'level=info msg="severity" "level"',
    b"[1, 2]",
    b"torn",
    b"",
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(ODD_LINES), max_size=12), st.data())
def test_a_line_means_the_same_however_the_lines_arrive(lines: list[bytes], data: st.DataObject) -> None:
    def parser() -> JsonLines:
        return JsonLines(MetricsParser("a", {}, list), TextLog("a", "metrics.jsonl", 1.0))

    whole, parts = parser(), parser()
    records = whole.parse(lines, None)
    found = list[Record]()
    left = lines
    while left:
        count = data.draw(st.integers(1, len(left)))
        found += parts.parse(left[:count], None)
        left = left[count:]
    assert whole.tally == parts.tally and whole.tally.lines_read == len(lines)
    assert repr(records) == repr(found)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b'{"loss": 0.5}', b'{"message": "m", "level": "info"}', b"torn"]), max_size=12))
def test_what_stands_after_a_line_in_its_file_came_after_it(lines: list[bytes]) -> None:
    parser, arrival = JsonLines(MetricsParser("a", {}, list), TextLog("a", "metrics.jsonl", 1.0)), Arrival(1.0, 2.0)
    records = parser.parse(lines, arrival)
    places = [place for place, line in enumerate(lines, 1) if line != b"torn"]
    times_s = [record.time_s for record in records if isinstance(record, Points | LogLine)]
    assert times_s == pytest.approx([arrival.at(place, len(lines)) for place in places], abs=1e-5)
