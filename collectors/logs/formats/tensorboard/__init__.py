"""Read TensorBoard's event files (`events.out.tfevents.*`): scalars, histograms as quantiles, text, hyperparameters, and where samples are.

Most records hold one number and differ from the one before in time, step and that number: such are read many at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....records import Labels, LogLine, Points, Record, RunInfo, Sample
from .. import Arrival, Tally
from ..jsonl import MAX_NEW_SHAPES
from ..values import MAX_NAME_CHARS, MAX_STEP, MAX_TEXT_CHARS, MAX_TIME_S, Fitting, inert
from . import media, summary
from .protobuf import Malformed, text
from .scalars import Heads, NumberColumns, Numbers, Sorting, Tag, Template, Templates, heads
from .summary import Buckets1D, SummaryValue
from .tfrecord import HEAD, Cut, RecordCutter, intact

NAME = "events.out.tfevents."  # and the time in seconds, the host, the process
FILE = re.compile(re.escape(NAME) + r"(\d{1,11})?")
PARTS = {"train", "training", "val", "valid", "validation", "eval", "test"}
SESSION = re.compile(r"\d{10}\.\d+")  # the folder that `add_hparams` makes: a time
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = ("/min", "/p05", "/p25", "/p50", "/p75", "/p95", "/max")
MAX_REMEMBERED = 500  # tags of one file, with its offset
MAX_CONFIG_BYTES = 16 << 10  # of JSON, kept of one session's hyperparameters
MAX_TEXT_LINES = 500  # of one text


def part(folder: str) -> str | None:
    """What the tags of a folder of that name begin with in the run of the folder above; None where the folder is a run itself.

    `part("train") -> "train/"`, `part("1764000000.25") -> ""`, `part("baseline") -> None`
    """
    return f"{folder}/" if folder.lower() in PARTS else "" if SESSION.fullmatch(folder) else None


class EventFile:
    """One file. `{wall_time: 1.5, step: 7, {tag: "loss", simple_value: 0.25}} -> Points(run, labels, ("loss",), (0.25,), 1.5, 7)`"""

    def __init__(
        self,
        run: str,
        labels: Labels,
        file: str,
        prefix: str,
        fault: Callable[[str], str],
        take: Callable[[dict[str, Any]], dict[str, Any] | None],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """`file` is its place in the run's folder; `fault` says why a series of that name is left out; `take` gets the hyperparameters, and answers what is known of the run, where that is new."""
        state = state or {}
        self.tally = Tally()
        self._run, self._labels, self._file, self._prefix, self._fault, self._take = (
            run,
            labels,
            file,
            prefix,
            fault,
            take,
        )
        begun = FILE.search(file)
        self._begun_s = int(begun[1] or 0) if begun else 0  # a later file is another segment
        self._is_summary = any(
            SESSION.fullmatch(folder) for folder in file.split("/")[:-1]
        )  # final values: step 0 is none
        self._at: int = state.get("at", 0)  # in the file, of the bytes to come
        self._cutter = RecordCutter(state.get("skip", 0), state.get("lost", False))
        self._kept: dict[str, list[int | None]] = state.get("tags", {})
        self._plugins: dict[str, str] = dict(state.get("plugins", {}))  # of tags that name theirs only once
        self._config: dict[str, Any] = state.get("config", {})
        self._tags: dict[str, Tag] = {}
        self._names: dict[str, None] = dict.fromkeys(state.get("names", ()))  # of the series that it brought
        self._templates, self._numbers = Templates(), Numbers()
        self._new_tags = 0

    def state(self) -> dict[str, Any]:
        tags = self._kept | {key: [tag.segment - self._begun_s, tag.top] for key, tag in self._tags.items()}
        state = {
            "at": self._at,
            "skip": self._cutter.skip,
            "lost": self._cutter.lost,
            "plugins": self._plugins,
            "config": self._config,
        }
        state["tags"] = dict(list(tags.items())[:MAX_REMEMBERED])
        state["names"] = list(self._names)[:MAX_REMEMBERED]
        return {name: value for name, value in state.items() if value}

    def parse_bytes(self, data: bytes, arrival: Arrival | None) -> tuple[list[Record], int]:
        cut = self._cutter.cut(data)
        self._new_tags = 0
        records, used = self._read(data, cut, arrival)
        if used < cut.used:
            self._cutter.rewind()
        for at in cut.damaged:
            if at < used:
                self._skip("damaged, up to the next that can be read")
        self._at += used
        if self.tally.first_skip.startswith("line "):
            self.tally.first_skip = f"record {self.tally.first_skip[5:]}"
        return records, used

    def _read(self, data: bytes, cut: Cut, arrival: Arrival | None) -> tuple[list[Record], int]:
        """The records, and the place up to which they were read: not all where a batch brings many new series."""
        starts, lengths = np.array(cut.starts, np.int64), np.array(cut.lengths, np.int64)
        good = _good(data, cut, starts, lengths)
        head = heads(data, starts, lengths)
        sorting = self._templates.sort(data, starts, lengths, np.where(good, head.body, 0))
        self._numbers = Numbers()
        others: list[tuple[int, list[Record]]] = []  # with their row
        before, until = self.tally.lines_read, len(starts)
        for row in np.flatnonzero(~sorting.known()).tolist():
            if sorting.is_known(row):  # since the first of its kind was read
                continue
            if self._new_tags >= MAX_NEW_SHAPES:
                until = row
                break
            self.tally.lines_read = before + row + 1
            if not good[row]:
                self._skip("damaged")
            elif found := self._record(
                data, Span(row, int(starts[row]), int(starts[row] + lengths[row])), sorting, head, arrival
            ):
                others.append((row, found))
        self.tally.lines_read = before + until
        columns = self._numbers.with_known(data, head, sorting, until)
        used = cut.used if until == len(starts) else int(starts[until]) - HEAD.size
        return _merged(self._points(columns, arrival), columns, others), used

    def _points(self, columns: NumberColumns, arrival: Arrival | None) -> list[Record]:
        time_s: list[float | None] = columns.time_s.tolist()
        if not ((columns.time_s > 0.0) & (columns.time_s < MAX_TIME_S)).all():
            time_s = [self._time(time_s, arrival) for time_s in columns.time_s.tolist()]
        step: list[int | None] = columns.step.tolist()
        if self._is_summary:
            step = [number or None for number in step]
        all_names = [tag.names for tag in columns.tags]
        names = [all_names[tag] for tag in columns.tag.tolist()]
        values = zip(columns.value.tolist(), strict=True)
        shared = repeat(self._run), repeat(self._labels)
        return list(map(Points, *shared, names, values, time_s, step, columns.segments()))

    def _record(self, data: bytes, span: Span, sorting: Sorting, head: Heads, arrival: Arrival | None) -> list[Record]:
        """Of any record; where it holds one number, others like it are known from now on."""
        record, place = data[span.start : span.end], span.start - HEAD.size
        try:
            logged = summary.event(record)
            spot = summary.spot(record) if sorting.keys[span.row] >= 0 else None
        except Malformed:
            self._skip("not an event")
            return []
        if logged.version:  # the first record of a file
            self._at = -place
        if abs(logged.step) > MAX_STEP:
            self._skip("a step beyond 2^53")
            return []
        count, records = len(self._numbers), []
        for value, start in zip(logged.values, logged.starts, strict=True):
            moment = Moment(span.row, logged.time_s, logged.step, self._at + span.start + start)
            records += self._value(value, moment, arrival)
        if spot and len(self._numbers) == count + 1:
            at = span.start + spot.start - int(head.body[span.row])
            where = at, at + np.dtype(spot.type).itemsize
            self._templates.learn(sorting, span.row, Template(self._numbers.newest_tag, spot.type), where)
        return records

    def _value(self, data: bytes, moment: Moment, arrival: Arrival | None) -> list[Record]:
        try:
            value = summary.summary_value(data)
            value = value._replace(tag=self._prefixed(value.tag), plugin=self._plugin_of(value))
            if value.number is not None:
                return self._number(value.tag, value.number, moment)
            samples = self._samples(data, value, moment, arrival)
            return samples + self._by_kind(value, moment, arrival, has_samples=bool(samples))
        except Malformed:
            self.tally.skip_field("a value", "cannot be read")
            return []

    def _by_kind(
        self, value: SummaryValue, moment: Moment, arrival: Arrival | None, *, has_samples: bool
    ) -> list[Record]:
        if value.histogram is not None:
            return self._histogram(value.tag, summary.histogram(value.histogram), moment, arrival)
        if value.plugin == "hparams":
            return self._hyperparameters(value.content)
        if value.is_media and not has_samples:
            self.tally.skip_field(value.tag, "is an image or audio whose place is not known")
        if value.tensor is None:
            return []
        if value.plugin == "text":
            return self._text(value.tag, summary.tensor(value.tensor).strings, moment, arrival)
        if value.plugin == "histograms":
            return self._histogram(value.tag, _triples(summary.tensor(value.tensor).numbers), moment, arrival)
        if value.plugin in ("", "scalars"):
            numbers = summary.tensor(value.tensor).numbers
            if len(numbers) == 1:
                return self._number(value.tag, float(numbers[0]), moment)
        if has_samples:
            return []
        self.tally.skip_field(value.tag, f"is of the plugin {inert(value.plugin[:80]) or '(none)'}, and not a number")
        return []

    def _number(self, name: str, number: float, moment: Moment) -> list[Record]:
        """A point among the others of the batch."""
        if tag := self._tag(name, name):
            self._numbers.add(moment.row, tag, moment.time_s, moment.step, number)
        return []

    def _histogram(self, name: str, buckets: Buckets1D, moment: Moment, arrival: Arrival | None) -> list[Record]:
        bands = summary.quantiles(buckets, SHARES)
        if bands is None:
            return []
        tag = self._tag(f"{name}{BANDS[0]}", *(name + band for band in BANDS))
        values = (float(buckets.left[0]), *bands, float(buckets.right[-1]))
        if tag is None:
            return []
        time_s, segment = self._time(moment.time_s, arrival), tag.advance(moment.step)
        return [Points(self._run, self._labels, tag.names, values, time_s, moment.step, segment)]

    def _text(self, tag: str, strings: list[bytes], moment: Moment, arrival: Arrival | None) -> list[Record]:
        lines = "\n".join(text(string) for string in strings).split("\n")
        if len(lines) > MAX_TEXT_LINES:
            self.tally.skip_field(tag, f"has more than {MAX_TEXT_LINES} lines")
        head, when = f"{tag}, step {moment.step}: ", self._when(moment.time_s, arrival)
        return [
            LogLine(self._run, self._file, when, 0, inert(head + line.rstrip("\r"))[:MAX_TEXT_CHARS])
            for line in lines[:MAX_TEXT_LINES]
            if line.strip()
        ]

    def _samples(self, data: bytes, value: SummaryValue, moment: Moment, arrival: Arrival | None) -> list[Record]:
        """By reference. Further ones of a value have their number behind the tag: `images`, `images/1`."""
        found = media.payloads(data, value.plugin) if value.plugin != "hparams" else []
        return [
            Sample(
                self._run,
                inert(value.tag[:MAX_NAME_CHARS] + (f"/{number}" if number else "")),
                payload.kind,
                payload.media,
                self._time(moment.time_s, arrival),
                moment.step,
                path=self._file,
                offset=moment.offset + payload.start,
                length=payload.length,
                head_crc=payload.head_crc,
            )
            for number, payload in enumerate(found)
        ]

    def _hyperparameters(self, content: bytes) -> list[Record]:
        found = summary.hyperparameters(content)
        if found is None:
            return []
        self._config = Fitting(MAX_CONFIG_BYTES, self.tally.skip_field).fields(found)
        info = self._take(self._config)
        return [RunInfo(self._run, info)] if info is not None else []

    def _tag(self, key: str, *names: str) -> Tag | None:
        """None, counted, where the run can have no such series."""
        tag = self._tags.get(key)
        if tag is None:
            for name in names:
                if fault := self._fault(name):
                    self.tally.skip_field(name, fault)
                    return None
            self._names |= dict.fromkeys(names)
            backs, top = self._kept.get(key, (0, None))
            tag = self._tags[key] = Tag(names, self._begun_s + (backs or 0), top)
            self._new_tags += 1
        return tag

    def _prefixed(self, tag: str) -> str:
        return tag if tag.startswith(self._prefix) else self._prefix + tag

    def _plugin_of(self, value: SummaryValue) -> str:
        """Writers of TensorFlow 2 may name it with the first value of a tag only."""
        if value.plugin and value.tensor is not None and len(self._plugins) < MAX_REMEMBERED:
            self._plugins[value.tag] = value.plugin
        return value.plugin or (self._plugins.get(value.tag, "") if value.tensor is not None else "")

    def _time(self, time_s: float, arrival: Arrival | None) -> float | None:
        """The time as it was logged; without one, when it came."""
        if 0.0 < time_s < MAX_TIME_S:
            return time_s
        if time_s:
            self.tally.skip_field("wall_time", "is not a time in Unix seconds")
        return arrival.until_s if arrival else None

    def _when(self, logged_s: float, arrival: Arrival | None) -> float:
        """For what must have a time: in doubt that of the file's beginning."""
        time_s = self._time(logged_s, arrival)
        return float(self._begun_s) if time_s is None else time_s

    def _skip(self, reason: str) -> None:
        self.tally.skip_line(reason)


class Span(NamedTuple):
    """The data of a record in the bytes of a batch."""

    row: int
    start: int
    end: int


class Moment(NamedTuple):
    """What a value of a record has of it."""

    row: int
    time_s: float  # Unix seconds, as it was logged
    step: int
    offset: int  # of the value in its file


def _good(data: bytes, cut: Cut, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each record is as it was written; of long ones that is not asked."""
    good = np.ones(len(starts), np.bool_)
    asked = good.copy()
    asked[cut.long] = False
    good[asked] = intact(data, starts[asked], lengths[asked])
    return good


def _merged(points: list[Record], columns: NumberColumns, others: list[tuple[int, list[Record]]]) -> list[Record]:
    """In the order of the file."""
    records: list[Record] = []
    done = 0
    places = np.searchsorted(columns.row, [row for row, _ in others]).tolist()
    for place, (_, found) in zip(places, others, strict=True):
        records += points[done:place]
        records += found
        done = place
    return records + points[done:] if records else points


def _triples(numbers: NDArray[np.float64]) -> Buckets1D:
    """A histogram as TensorFlow 2 writes it: left and right edge and count of each bucket."""
    table = numbers[: len(numbers) // 3 * 3].reshape(-1, 3)
    return Buckets1D(table[:, 0], table[:, 1], table[:, 2])
