"""Read text logs: one line, one `LogLine`, with the time and level that the line itself names; and the metrics among them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...records import LogLine, Record
from ..opening import NotMetrics
from . import MAX_LINE_BYTES, Arrival, Tally
from .entry import Entry
from .metric_lines import names_a_step
from .text_numbers import TextNumbers
from .values import MAX_TIME_S

LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50}
LEVELS |= {"DBG": 10, "ERR": 40, "CRIT": 50}

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
STAMP = re.compile(
    r"[\[(]?(?:(?P<date>\d{4}[-/]\d\d[-/]\d\d|\d\d/\d\d/\d{4})[T ])?"
    r"(?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?(?P<zone>Z|[+-]\d\d:?\d\d)?\b"
)
GLOG = re.compile(r"(?P<level>[IWEF])(?P<month>\d\d)(?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d)\.(?P<fraction>\d+)")
GLOG_LEVELS = {"I": 20, "W": 30, "E": 40, "F": 50}
LEVEL = re.compile(r"\b(DEBUG|DBG|INFO|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL)\b")
LOOK_FOR_LEVEL = 96  # characters from the start of a line
PROGRAM = b"\x7fELF"  # a.out
DAY_S = 86_400.0
FIRST_S = 946_684_800.0  # a stamp before the year 2000 is that of a clock which was never set
CONTINUATION_S = 5.0  # a line without a stamp shares the time of a stamped line before it for this long


class Text:
    """A text log of one run."""

    def __init__(
        self,
        run: str,
        file: str,
        mtime_s: float,
        state: Mapping[str, Any] | None = None,
        numbers: TextNumbers | None = None,
        wants_numbers: Callable[[], bool] = lambda: True,
    ) -> None:
        """`numbers` finds metrics in the lines, as long as `wants_numbers`."""
        state = state or {}
        self.tally = Tally()
        self._run, self._file, self._mtime_s = run, file, mtime_s
        self._time_s: float | None = state.get("time_s")  # the newest stamp, while lines without one belong to it
        self._entry = Entry(state.get("entry"))
        self._numbers, self._wants_numbers = numbers, wants_numbers

    def state(self) -> dict[str, Any]:
        numbers = self._numbers.state() if self._numbers else {}
        return {"time_s": self._time_s, "entry": self._entry.state(), **numbers}

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        arrival_s = arrival.until_s if arrival else None
        if not self.tally.lines_read and lines and lines[0].startswith(PROGRAM):
            raise NotMetrics("is a program, not a log")
        records: list[Record] = []
        points: list[Record] = []  # last: the store takes many of a kind faster than both in turn
        numbers = self._numbers if self._wants_numbers() else None
        for line in lines:
            self.tally.lines_read += 1
            if len(line) > MAX_LINE_BYTES:  # a bar of hours: its last state is enough
                line = line[line.rfind(b"\r", 0, len(line.rstrip())) + 1 :]
            if len(line) > MAX_LINE_BYTES:
                self.tally.skip_line("longer than 1 MiB")
            elif line.strip():
                records.append(entry := self._line(line, arrival_s))
                if numbers is not None and names_a_step(entry.text):
                    when_s = arrival_s if self._time_s is None else self._time_s
                    points += numbers.points(ANSI.sub("", entry.text) if "\x1b" in entry.text else entry.text, when_s)
            else:
                self._entry.blank()
        return records + points

    def _line(self, line: bytes, arrival_s: float | None) -> LogLine:
        text = last_state(line.decode("utf-8", "replace").replace("\0", "\ufffd"))
        plain = ANSI.sub("", text)
        bare = plain.lstrip()
        now_s = self._mtime_s if arrival_s is None else arrival_s
        stamp_s = time_of(bare, near_s=now_s)
        if stamp_s is not None:
            self._time_s = stamp_s
        elif arrival_s is not None and self._time_s is not None and arrival_s - self._time_s > CONTINUATION_S:
            self._time_s = None  # printed long after the last stamped line: not part of it
        level = self._entry.level(plain, level_of(bare), stamp_s is not None, arrival_s)
        return LogLine(self._run, self._file, now_s if self._time_s is None else self._time_s, level, text)


def last_state(text: str) -> str:
    """A progress bar rewrites its line after a carriage return: the last state that shows anything is kept."""
    if "\r" not in text:
        return text
    return next((part for part in reversed(text.split("\r")) if part.strip()), "")


def time_of(text: str, near_s: float) -> float | None:
    """The line's own leading time stamp, Unix seconds; local zone unless it says. A stamp without a date is of the day of `near_s`.

    `2026-11-24 16:22:01,500 ...`, `[16:22:01] ...`, `11/24/2026 16:22:01 - INFO ...`, `I1124 16:22:01.500000 ...`

    None, too, for a stamp that no clock can have meant: before the year 2000, or more than a day after `near_s`.
    """
    stamp_s = _stamp(text, near_s)
    return stamp_s if stamp_s is not None and FIRST_S <= stamp_s <= near_s + DAY_S else None


def _stamp(text: str, near_s: float) -> float | None:
    if glog := GLOG.match(text):
        year = _moment(near_s).year
        return _seconds(f"{year}-{glog['month']}-{glog['day']}", glog["time"], glog["fraction"], None)
    found = STAMP.match(text)
    if found is None:
        return None
    if found["date"]:
        return _seconds(_iso_date(found["date"]), found["time"], found["fraction"], found["zone"])
    stamp = _seconds(_moment(near_s).date().isoformat(), found["time"], found["fraction"], found["zone"])
    if stamp is not None and stamp > near_s + DAY_S / 2:  # written before midnight, read after it
        stamp -= DAY_S
    return stamp


def _moment(time_s: float) -> datetime.datetime:
    """Local; a file's own time may be any number."""
    return datetime.datetime.fromtimestamp(min(max(time_s, FIRST_S), MAX_TIME_S))


def level_of(text: str) -> int:
    """The first level word near the start of a line, as a number of `logging`; 0 where there is none."""
    if glog := GLOG.match(text):
        return GLOG_LEVELS[glog["level"]]
    found = LEVEL.search(text[:LOOK_FOR_LEVEL])
    return LEVELS[found[1]] if found else 0


def _iso_date(text: str) -> str:
    if text[2] == "/":  # month/day/year, as in Hugging Face's examples
        month, day, year = text.split("/")
        return f"{year}-{month}-{day}"
    return text.replace("/", "-")


def _seconds(date: str, time: str, fraction: str | None, zone: str | None) -> float | None:
    try:
        moment = datetime.datetime.fromisoformat(f"{date}T{time}.{(fraction or '0')[:6]:0<6}{zone or ''}")
        return moment.timestamp()
    except (ValueError, OverflowError):  # 25:61:00, a 31 February, or the year 1
        return None
