"""Reads JSON lines: metrics, events, and what looks like a data set and is left unread."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import orjson

from ...lines import structured_lines
from ...lines.structured_lines import of_object
from ...machine.run_state import whole
from ...queue_events import MOVES
from ...records import Event, Labels, Points, Record
from ...user_files import OF_THE_COLLECTOR
from ..open_files import DataFile
from . import MAX_LINE_BYTES, Arrival, Tally
from .fields import METRIC, PARTS, STEPS, TIMES, FieldRoles, moment, part_of
from .segments import SegmentTracker
from .text import TextLog
from .values import (
    MAX_DEPTH,
    MAX_STEP,
    MAX_TEXT_CHARS,
    MAX_TIME_S,
    FieldBudget,
    as_count,
    as_number,
    as_time,
    escape_control,
    name_fault,
)

N = TypeVar("N", int, float)

UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # begins with one of these
UNITS = "units"  # of work, for which a line stands
BACKWARD_STEPS = 100  # a step this far below the file's highest begins a new segment; less is disorder
FLOATS = {float}
TEXT = {str, dict, list}  # what may be a message, or hold one
MAX_SERIES = 20_000  # names that one run may have
MAX_NAMED = 200  # names that are kept over a restart, so that another file of the run does not bring them, too
MAX_NEW_SHAPES = 1_000  # per batch, which then ends: each costs the store about 0.15 ms
MAX_KNOWN = 100_000  # names of all stored line shapes, before they are cleared
MAX_KIND_CHARS = 100
MAX_EVENT_BYTES = 64 << 10  # of JSON, kept of one event's own fields
KEPT_KINDS = ("start", "end", *MOVES)
MAX_LIFETIMES = 500  # starts and ends stored of one file: the newest
LIFETIME_FIELDS = (
    "pid",
    "pid_start_ticks",
    "mono_s",
    "boot_id",
    "host",
    "status",
    "reason",
    "local_rank",
    "world_size",
    "job_id",
    "restarts",
    "job",
)


class SeriesNames:
    """The names of a run's series so far; their number is bounded."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def fault(self, name: str) -> str:
        """Why a series of that name is left out; "" where it is kept."""
        if name in self._known:
            return ""
        if fault := name_fault(name):
            return fault
        if len(self._known) >= MAX_SERIES:
            return f"is one series too many: a run may have {MAX_SERIES:,}"
        self._known.add(name)
        return ""


class MetricsParser:
    """A metrics file of one rank.

    `{"time_s":1.5,"step":7,"train/loss":0.25}` -> `Points(run, labels, ("train/loss",), (0.25,), 1.5, 7)`
    """

    def __init__(
        self,
        run: str,
        labels: Labels,
        starts: Callable[[], list[float]],
        state: Mapping[str, Any] | None = None,
        names: SeriesNames | None = None,
        take_names: Callable[[Iterable[str]], None] = lambda names: None,
    ) -> None:
        """`starts` returns the times of the rank's start events so far, in order: each one after the first begins a segment.

        `take_names` gets the names of each new shape of a line.
        """
        state = state or {}
        self.tally = Tally()
        self._run, self._labels, self._starts = run, labels, starts
        self._series = names or SeriesNames()
        self._take_names = take_names
        self._named: dict[str, None] = dict.fromkeys(state.get("names", ()))
        self._roles = FieldRoles(state.get("roles"))
        self._step: int | None = state.get("step")  # of the last line that had one
        self._segments = SegmentTracker(state)
        self._attempt: int = state.get("attempt", 0)
        self._anew: bool = state.get("anew", False)  # the file was replaced: rotated, or written by another attempt
        self._known: dict[
            tuple[str, ...], tuple[str, ...]
        ] = {}  # one tuple object per line shape whose names are all kept
        self._known_names = self._new_shapes = 0
        self.stopped = False

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"step": self._step, "attempt": self._attempt, **self._segments.state()}
        state |= {"names": list(self._named)} if self._named else {}
        state |= {"anew": True} if self._anew else {}
        return state | ({"roles": roles} if (roles := self._roles.state()) else {})

    def parse(
        self, lines: Sequence[bytes], arrival: Arrival | None, is_other: Callable[[bytes], bool] | None = None
    ) -> list[Record]:
        """`stopped` is True where it has read up to a line for which `is_other` holds; lines of numbers alone are not asked."""
        starts, before, count = self._starts(), self.tally.lines_read, len(lines)
        take, is_told = self._segments.take, bool(starts)
        found: list[Record] = []
        self._new_shapes = 0
        for fields in objects(lines, self.tally, is_other):
            stamp, own_step = fields.pop("time_s", None), fields.pop("step", None)
            values = tuple(fields.values())
            kinds = set(map(type, values))
            names = (
                self._known.get(tuple(fields)) if kinds == FLOATS else None
            )  # the usual line, kept cheap here as below
            if is_other is not None and (names is None or type(own_step) in TEXT or type(stamp) in TEXT):
                may_be_text = not TEXT.isdisjoint((*kinds, type(own_step), type(stamp)))
                if may_be_text and is_other(lines[self.tally.lines_read - before - 1]):
                    self.tally.lines_read -= 1
                    break
            time_s = self._time_s(stamp)
            if time_s is None and (time_s := self._roles.time(fields)) is None and arrival is not None:
                time_s = arrival.at(self.tally.lines_read - before, count)
            step = self._step_of(own_step, fields)
            if UNITS in fields:
                self._count_units(fields)
            if names is None or len(names) != len(fields):
                names, values = self._numbers(fields)
            if names:
                if self._attempt < len(starts) or self._anew:
                    self._advance(step, time_s, starts)
                segment = take(names, step, time_s, only_far=is_told)
                found.append(Points(self._run, self._labels, names, values, time_s, step, segment))
                if self._new_shapes >= MAX_NEW_SHAPES:
                    break
        self.stopped = self.tally.lines_read - before < count and self._new_shapes < MAX_NEW_SHAPES
        return found

    def _time_s(self, value: object) -> float | None:
        if type(value) is float and 0.0 <= value < MAX_TIME_S:  # the usual line, kept cheap here as below
            return value
        if value is None:
            return None
        time_s = as_time(value)
        if time_s is None:
            self.tally.skip_field("time_s", "is not a time in Unix seconds")
        return time_s

    def _step_of(self, value: object, fields: dict[str, Any]) -> int:
        """The line's own step, else the last step seen in this file, else the line number."""
        if value is None:
            value = self._roles.step(fields)
        elif ("epoch" in fields or "epochs" in fields) and (count := as_count(value, -MAX_STEP, MAX_STEP)) is not None:
            value = self._roles.counted(count, fields)
        if type(value) is int and -MAX_STEP <= value <= MAX_STEP:
            self._step = value
            return value
        number = as_number(value) if value is not None else None
        if number is not None and abs(number) <= MAX_STEP:
            self._step = int(number)
            return self._step
        if value is not None:
            self.tally.skip_field("step", "is not a number")
        return self.tally.lines_read if self._step is None else self._step

    def _count_units(self, fields: dict[str, Any]) -> None:
        """How many units of work the line stands for: a series of its own, with a point only where that is not one."""
        units = as_count(fields[UNITS], 1)
        if units is None:
            self.tally.skip_field(UNITS, "is not a whole number from 1 on")
        if units is None or units == 1:
            del fields[UNITS]

    def _numbers(self, fields: dict[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...]]:
        values = tuple(fields.values())
        if set(map(type, values)) == FLOATS and (known := self._known.get(tuple(fields))) is not None:
            return known, values
        numbers: dict[str, float] = {}
        part = ""
        for name, value in flat(fields, self.tally):
            number = as_number(value)
            if number is not None:
                numbers[name] = number
            elif named := part_of(name, value):
                part = named
            else:
                self.tally.skip_field(name, "is not a number")
        if part:
            numbers = {name if name.startswith(part) else f"{part}/{name}": number for name, number in numbers.items()}
        names = tuple(numbers)
        if (known := self._known.get(names)) is not None:
            return known, tuple(numbers.values())
        return self._check(names, numbers)

    def _check(self, names: tuple[str, ...], numbers: Mapping[str, float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Check names that were not on one line together before."""
        kept = []
        for name in names:
            if fault := self._series.fault(name):
                self.tally.skip_field(name, fault)
            else:
                kept.append(name)
        self._take_names(kept)
        if len(self._named) < MAX_NAMED:
            self._named.update(dict.fromkeys(kept[:MAX_NAMED]))
        if len(kept) == len(names):
            if self._known_names > MAX_KNOWN:
                self._known.clear()
                self._known_names = 0
            self._known[names] = names
            self._known_names += len(names)
            self._new_shapes += 1
        return tuple(kept), tuple(numbers[name] for name in kept)

    def _advance(self, step: int, time_s: float | None, starts: list[float]) -> None:
        """Begin a new segment where the process has started again."""
        attempt = self._attempt
        if attempt < len(starts):
            attempt = len(starts) if time_s is None else attempt + sum(start <= time_s for start in starts[attempt:])
        segments = self._segments
        if attempt > self._attempt:
            segments.begin(
                segments.segment + attempt - max(self._attempt, 1), step
            )  # the first start is where segment 0 begins
            self._attempt = attempt
        elif self._anew and segments.top is not None and step <= segments.top:
            segments.begin(segments.segment + 1, step)
        self._anew = False


class EventsParser:
    """An events file: `{"time_s":1.5,"kind":"checkpoint","seconds":0.2}` -> `Event(run, "checkpoint", 1.5, seconds=0.2)`."""

    def __init__(self, run: str, state: Mapping[str, Any] | None = None, rank: int = 0) -> None:
        """`rank` is for events that name none."""
        state = state or {}
        self.tally = Tally()
        self._run, self._rank = run, rank
        self.lifetimes: list[Event] = [lifetime(Event(run, *kept)) for kept in state.get("lifetimes", [])]
        """The newest start and end events, in order of arrival."""
        self.forgotten: dict[int, int] = {int(rank): count for rank, count in state.get("forgotten", {}).items()}
        """How many starts of each rank are no longer among them."""

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"lifetimes": [list(event)[1:] for event in self.lifetimes]}
        return state | (
            {"forgotten": {str(rank): count for rank, count in self.forgotten.items()}} if self.forgotten else {}
        )

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        arrival_s = arrival.until_s if arrival else None
        events = [event for fields in objects(lines, self.tally) if (event := self.event(fields, arrival_s))]
        self.lifetimes += [lifetime(event) for event in events if event.kind in KEPT_KINDS]
        for event in self.lifetimes[:-MAX_LIFETIMES]:
            if event.kind == "start":
                self.forgotten[event.rank] = self.forgotten.get(event.rank, 0) + 1
        del self.lifetimes[:-MAX_LIFETIMES]
        return list(events)

    def event(self, fields: dict[str, Any], arrival_s: float | None) -> Event | None:
        """From the fields of a line, which are taken apart; None where it is none."""
        kind, stamp = fields.pop("kind", None), fields.pop("time_s", None)
        time_s = as_time(stamp)
        if time_s is None and stamp is not None:
            self.tally.skip_field("time_s", "is not a time in Unix seconds")
        when = arrival_s if time_s is None else time_s
        if not isinstance(kind, str) or not 0 < len(kind) <= MAX_KIND_CHARS or when is None:
            self.tally.skip_line("an event needs kind and time_s")
            return None
        if kind in OF_THE_COLLECTOR:
            self.tally.skip_line(f"only the dashboard writes events of the kind {kind!r}")
            return None
        rank = self._number("rank", fields, as_count)
        step = self._number("step", fields, lambda value: as_count(value, -MAX_STEP, MAX_STEP))
        seconds = self._number("seconds", fields, finite)
        text = self._text(fields.pop("text", None))
        if kind in KEPT_KINDS:
            for name in [name for name in fields if name in LIFETIME_FIELDS and not _is_fit(name, fields[name])]:
                if fields.pop(name) is not None:
                    self.tally.skip_field(name, "is not what it must be in this event")
        kept = FieldBudget(MAX_EVENT_BYTES, self.tally.skip_field).fields(fields)
        return Event(
            self._run, escape_control(kind), when, self._rank if rank is None else rank, step, seconds, text, kept
        )

    def _text(self, value: object) -> str:
        if isinstance(value, str) and len(value) <= MAX_TEXT_CHARS:
            return escape_control(value)
        if value is not None:
            self.tally.skip_field("text", f"is not text of up to {MAX_TEXT_CHARS:,} characters")
        return escape_control(value[:MAX_TEXT_CHARS]) if isinstance(value, str) else ""

    def _number(self, name: str, fields: dict[str, Any], read: Callable[[object], N | None]) -> N | None:
        value = fields.pop(name, None)
        number = read(value)
        if number is None and value is not None:
            self.tally.skip_field(name, "is not a number that it can be")
        return number


def finite(value: object) -> float | None:
    number = as_number(value)
    return number if number is not None and math.isfinite(number) else None


def lifetime(event: Event) -> Event:
    """A start or end as stored with the file's offset: the process, and how it ended."""
    fields = {name: value for name, value in event.fields.items() if name in LIFETIME_FIELDS and _is_fit(name, value)}
    return event._replace(text=event.text[:1000], fields=fields)


def _is_fit(name: str, value: object) -> bool:
    """Whether the field of a start or an end can be believed: it is compared, and is a key of tables."""
    if name in ("boot_id", "host", "status", "reason", "job_id"):
        return isinstance(value, str)
    if name == "mono_s":
        return finite(value) is not None
    return whole(value) is not None


def objects(
    lines: Iterable[bytes], tally: Tally, is_other: Callable[[bytes], bool] | None = None
) -> Iterator[dict[str, Any]]:
    """The JSON objects among the lines, up to one that is no JSON and for which `is_other` holds; the others are counted.

    Empty lines are neither.
    """
    for line in lines:
        tally.lines_read += 1
        if tally.lines_read == 1:
            if line.startswith(UTF_16):
                tally.skip_line("UTF-16: write UTF-8")
                continue
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > MAX_LINE_BYTES:
            tally.skip_line("longer than 1 MiB")
            continue
        try:
            value = loads(line)
        except (ValueError, RecursionError):
            if is_other is not None and is_other(line):
                tally.lines_read -= 1
                return
            if line.strip():
                tally.skip_line("NUL bytes" if b"\0" in line else "not JSON")
            continue
        if isinstance(value, dict):
            yield value
        else:
            tally.skip_line("not a JSON object")


def loads(line: bytes) -> object:
    """orjson, and `json` for values that it refuses: bare NaN and Infinity, integers beyond 64 bits."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)


def flat(fields: Mapping[str, Any], tally: Tally, prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}} -> ("a/b", 1)`"""
    for name, value in fields.items():
        if not isinstance(value, dict):
            yield prefix + name, value
        elif depth < MAX_DEPTH:
            yield from flat(value, tally, f"{prefix}{name}/", depth + 1)
        else:
            tally.skip_field(prefix + name, f"is more than {MAX_DEPTH} levels deep")


# Whether a JSONL file holds metrics or data, such as a training set: by its first 50 lines, of at most 64 kB.

HEAD_BYTES, DATA_JUDGED_LINES = 64 << 10, 50
FEW_LINES = 3  # of less, nothing is said
MAX_SHAPES = 8  # sets of keys, or as many as half of the lines
GROWING_SHARE = 0.75  # of neighbours
OWN = re.compile(r"metrics(\.rank\d{1,9})?\.jsonl")  # always read

Row = Mapping[str, Any]


class ContentGuess(NamedTuple):
    why: str  # it is data, as the end of a sentence that begins with its name; "" where it looks like metrics
    sure: bool  # there were enough lines


def check_head(name: str, head: bytes) -> bool:
    """Whether a file is sure to be metrics by its first 64 kB; else it is judged again when it has grown. Raises DataFile."""
    if OWN.fullmatch(name):
        return True
    guess = guess_content(head)
    if guess.why:
        raise DataFile(f"is data, not metrics, and is not read: {guess.why}")
    return guess.sure


def why_data(head: bytes) -> str | None:
    """Why a file is data, as the end of a sentence, by its first 64 kB; "" where it is metrics, None where that is too little."""
    why, sure = guess_content(head)
    return (f"is data, not metrics: {why}" if why else "") if sure else None


def guess_content(head: bytes) -> ContentGuess:
    """By the whole lines among its first bytes."""
    is_full = len(head) >= HEAD_BYTES
    lines = [line for line in head[:HEAD_BYTES].split(b"\n")[:-1] if line.strip()][:DATA_JUDGED_LINES]
    sure = is_full or len(lines) == DATA_JUDGED_LINES
    if is_full and not lines:
        return ContentGuess("its first line has more than 64 kB", sure)
    found = [(line, dict(flat(row, Tally()))) for line in lines for row in objects([line], Tally())]
    if len(found) < FEW_LINES and not sure:
        return ContentGuess("", False)
    if not found:
        return ContentGuess("none of its first lines is a JSON object", sure)
    if 2 * sum(of_object(row) is not None for line in lines for row in objects([line], Tally())) > len(found):
        return ContentGuess("", sure)  # a text log of structured lines
    wordy = sum(_is_wordy(line, row) for line, row in found)
    if 2 * wordy > len(found):
        return ContentGuess("its lines have more text and lists than numbers", sure)
    return ContentGuess(_why_not([row for _, row in found]) if sure else "", sure)


def _is_wordy(line: bytes, row: Row) -> bool:
    """Whether a line has more text and lists than numbers, by count or by length."""
    others = [value for name, value in row.items() if as_number(value) is None and not _has_a_role(name, value)]
    length = sum(
        len(value) if isinstance(value, str) else len(orjson.dumps(value)) for value in others if value is not None
    )
    numbers = sum(as_number(value) is not None for value in row.values())
    return len(others) > numbers or 2 * length > len(line)


def _has_a_role(name: str, value: object) -> bool:
    return name in PARTS or (name in TIMES and isinstance(value, str) and moment(value) is not None)


def _why_not(rows: Sequence[Row]) -> str:
    if len({tuple(row) for row in rows}) > max(MAX_SHAPES, len(rows) // 2):
        return "its lines have ever other fields"
    names = {name for row in rows for name, value in row.items() if as_number(value) is not None}
    if any(METRIC.search(name.lower()) for name in names) or any(_grows(rows, name) for name in (*STEPS, *TIMES)):
        return ""
    return "no step, epoch or time in it grows, and no field is named like a metric"


def _grows(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if name in row]
    found = [moment(value) if isinstance(value, str) else as_number(value) for value in values]
    numbers = [number for number in found if number is not None]
    if 2 * len(numbers) < len(rows) or not numbers[-1] > numbers[0]:
        return False
    rising = sum(later >= earlier for earlier, later in itertools.pairwise(numbers))
    return rising >= GROWING_SHARE * (len(numbers) - 1)


# JSON lines of metrics, among which may stand those of a structured text log: these become lines, the others points.

SIGNS = (
    b'"level',
    b'"record"',
    b'severity"',
    b'"lvl"',
    b'"timestamp"',
    b'"time"',
    b'"asctime"',
    b'"@timestamp"',
    b'"ts"',
)


class JsonLines:
    """A `.jsonl` file."""

    def __init__(self, metrics: MetricsParser, text: TextLog) -> None:
        self._metrics, self._text = metrics, text
        text.tally = metrics.tally

    @property
    def tally(self) -> Tally:
        """Of both kinds together."""
        return self._metrics.tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._metrics.tally = self._text.tally = tally

    def state(self) -> dict[str, Any]:
        said = self._text.state()
        return self._metrics.state() | ({"text": said} if said != self._text.EMPTY else {})

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        before = self.tally.lines_read
        records = self._metrics.parse(lines, arrival, is_text)
        if not self._metrics.stopped:  # the usual batch, kept cheap
            return records
        for is_line, found in itertools.groupby(lines[self.tally.lines_read - before :], is_text):
            part, done = list(found), self.tally.lines_read - before
            when = arrival.part(done, len(part), len(lines)) if arrival else None
            records += (self._text if is_line else self._metrics).parse(part, when)
            if self.tally.lines_read - before < done + len(part):  # the batch ends here
                break
        return records


def is_text(line: bytes) -> bool:
    """Whether a line of JSON is one of a text log: with a message, and a level or a time."""
    return any(sign in line for sign in SIGNS) and structured_lines.read(line.decode("utf-8", "replace")) is not None


def text_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `JsonLines.state` holds of the text."""
    found = state.get("text", {})
    return found if isinstance(found, dict) else {}


# A file called `events.jsonl`: events of the run, or metrics of a script that has chosen the same name. Its first object tells which.

State: TypeAlias = Mapping[str, Any]


class EventLines:
    """Events, unless the first object has numbers and no `kind` and `time_s`."""

    def __init__(self, events: EventsParser, metrics: Callable[[State], JsonLines], state: State | None = None) -> None:
        """`metrics` makes the format of metrics from its state."""
        self._events, self._make_metrics = events, metrics
        self._metrics = metrics(state["metrics"]) if state and "metrics" in state else None
        self._is_known = bool(state)

    @property
    def tally(self) -> Tally:
        return self._format.tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._format.tally = tally

    @property
    def _format(self) -> EventsParser | JsonLines:
        return self._metrics or self._events

    def state(self) -> dict[str, Any]:
        if self._metrics is not None:
            return {"metrics": self._metrics.state()}
        return self._events.state() if self._is_known else {}

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        if not self._is_known and (first := next(objects(lines, Tally()), None)) is not None:
            self._is_known = True
            is_event = "kind" in first and "time_s" in first
            if not is_event and any(name not in TIMES for name, _ in flat(first, Tally())):
                tally, self._metrics = self.tally, self._make_metrics({})
                self._metrics.tally = tally
        return self._format.parse(lines, arrival)
