"""Read JSONL: metrics (one JSON object a line, `time_s`, `step`, then numbers) and events (`events.jsonl`).

The rules are those of docs/log-format.md; whatever cannot be used is skipped and counted, the rest of its line is kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from ..records import Event, Labels, Points, Record
from . import MAX_LINE_BYTES, Tally

BACKWARD_STEPS = 100  # a step this far below the file's highest begins a new segment; less is disorder
MAX_STEP = 2**53  # beyond it a step is no longer exact in every reader
FLOATS = {float}
NON_FINITE = {"nan": math.nan, "infinity": math.inf, "+infinity": math.inf, "-infinity": -math.inf}
NON_FINITE |= {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf}


class Metrics:
    """A metrics file of one rank.

    `{"time_s":1.5,"step":7,"train/loss":0.25}` -> `Points(run, labels, ("train/loss",), (0.25,), 1.5, 7)`
    """

    def __init__(self, run: str, labels: Labels, starts: Callable[[], list[float]], state: Mapping[str, Any] | None = None) -> None:
        """`starts` tells the times of the rank's start events so far, in order: each one after the first begins a segment."""
        state = state or {}
        self.tally = Tally()
        self._run, self._labels, self._starts = run, labels, starts
        self._step: int | None = state.get("step")  # of the last line that had one
        self._top: int | None = state.get("top")  # the highest step of this segment
        self._segment: int = state.get("segment", 0)
        self._attempt: int = state.get("attempt", 0)
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple object a shape of line

    def state(self) -> dict[str, Any]:
        return {"step": self._step, "top": self._top, "segment": self._segment, "attempt": self._attempt}

    def parse(self, lines: Iterable[bytes], arrival_s: float | None) -> list[Record]:
        starts = self._starts()
        return [points for fields in objects(lines, self.tally) if (points := self._points(fields, arrival_s, starts))]

    def _points(self, fields: dict[str, Any], arrival_s: float | None, starts: list[float]) -> Points | None:
        time_s = self._time_s(fields.pop("time_s", None), arrival_s)
        step = self._step_of(fields.pop("step", None))
        names, values = self._numbers(fields)
        if not names:
            return None
        self._advance(step, time_s, starts)
        return Points(self._run, self._labels, self._names.setdefault(names, names), values, time_s, step, self._segment)

    def _time_s(self, value: object, arrival_s: float | None) -> float | None:
        if type(value) is float and math.isfinite(value):  # the usual line, kept cheap here as below
            return value
        if value is None:
            return arrival_s
        number = as_number(value)
        if number is None or not math.isfinite(number):
            self.tally.skip_field("time_s", "is not a finite number")
            return arrival_s
        return number

    def _step_of(self, value: object) -> int:
        """The line's own step, else the last step seen in this file, else the line number."""
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

    def _numbers(self, fields: dict[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...]]:
        values = tuple(fields.values())
        if set(map(type, values)) == FLOATS:
            return tuple(fields), values
        names, numbers = [], []
        for name, value in flat(fields):
            number = as_number(value)
            if number is None:
                self.tally.skip_field(name, "is not a number")
            else:
                names.append(name)
                numbers.append(number)
        return tuple(names), tuple(numbers)

    def _advance(self, step: int, time_s: float | None, starts: list[float]) -> None:
        """Begin a new segment where the process started again or the steps went back."""
        attempt = self._attempt
        if attempt < len(starts):
            attempt = len(starts) if time_s is None else attempt + sum(start <= time_s for start in starts[attempt:])
        if attempt > self._attempt:
            self._segment += attempt - max(self._attempt, 1)  # the first start is where segment 0 begins
            self._attempt, self._top = attempt, step
        elif self._top is None or step > self._top:
            self._top = step
        elif step < self._top - BACKWARD_STEPS:
            self._segment += 1
            self._top = step


class Events:
    """An `events.jsonl`: `{"time_s":1.5,"kind":"checkpoint","seconds":0.2}` -> `Event(run, "checkpoint", 1.5, seconds=0.2)`."""

    def __init__(self, run: str, state: Mapping[str, Any] | None = None) -> None:
        self.tally = Tally()
        self._run = run
        self.lifetimes: list[Event] = [Event(run, *kept) for kept in (state or {}).get("lifetimes", [])]
        """The start and end events so far, in order of arrival."""

    def state(self) -> dict[str, Any]:
        return {"lifetimes": [list(event)[1:] for event in self.lifetimes]}

    def parse(self, lines: Iterable[bytes], arrival_s: float | None) -> list[Record]:
        events = [event for fields in objects(lines, self.tally) if (event := self._event(fields, arrival_s))]
        self.lifetimes += [event for event in events if event.kind in ("start", "end")]
        return list(events)

    def _event(self, fields: dict[str, Any], arrival_s: float | None) -> Event | None:
        kind = fields.pop("kind", None)
        time_s = as_number(fields.pop("time_s", None))
        if not isinstance(kind, str) or (time_s is None and arrival_s is None):
            self.tally.skip_line("an event needs kind and time_s")
            return None
        rank, step, seconds = (as_number(fields.pop(name, None)) for name in ("rank", "step", "seconds"))
        text = fields.pop("text", "")
        when = time_s if time_s is not None else arrival_s
        assert when is not None
        return Event(self._run, kind, when, int(rank or 0), None if step is None else int(step), seconds, str(text), fields)


def objects(lines: Iterable[bytes], tally: Tally) -> Iterator[dict[str, Any]]:
    """The JSON objects among the lines; the others are counted. Empty lines are neither."""
    for line in lines:
        tally.lines_read += 1
        if tally.lines_read == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > MAX_LINE_BYTES:
            tally.skip_line("longer than 1 MiB")
            continue
        try:
            value = loads(line)
        except (ValueError, RecursionError):
            if line.strip():
                tally.skip_line("NUL bytes" if b"\0" in line else "not JSON")
            continue
        if isinstance(value, dict):
            yield value
        else:
            tally.skip_line("not a JSON object")


def loads(line: bytes) -> object:
    """orjson, and `json` for what it refuses: bare NaN and Infinity, integers beyond 64 bits."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)


def flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}} -> ("a/b", 1)`"""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def as_number(value: object) -> float | None:
    """Numbers, booleans and quoted non-finite values as a float; None for all else, and for integers too large for one."""
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, str):
        return NON_FINITE.get(value.strip().lower())
    return None
