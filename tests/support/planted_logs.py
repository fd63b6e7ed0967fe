"""Recorded logs (tests/record_logs.py), windows of them, and changes planted in such windows."""

from __future__ import annotations

import functools
import gzip
import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from analysis.logs.difference import LogChange, LogDifference, difference
from collectors.lines.tracebacks import fields_of_clock
from collectors.logs.formats.text import TextLog
from collectors.records import LogLine
from dashboard.logs import changes
from dashboard.logs.changes import MaskedLines
from tests.record_logs import FOLDER, LOGS

EPOCH_S = 1.79e9
mask = functools.lru_cache(1 << 18)(changes.mask)
Planting = Literal["new", "more", "silent", "number"]
PLANTINGS: tuple[Planting, ...] = ("new", "more", "silent", "number")
NEW = (
    "retrying shard {} of the data set",
    "WARNING host memory is low, {} MB left",
    "lost connection to storage-{}, reconnecting",
    "rebuilding the index of {} documents",
    "ERROR cannot read sample {}: bad checksum",
)


class Window(NamedTuple):
    from_s: float
    to_s: float


class Planted(NamedTuple):
    lines: list[LogLine]
    window: Window
    kind: Planting
    template: str  # that was changed, masked


def recorded(name: str) -> list[LogLine]:
    """With levels and ranks as the collector reads them, each at the time when it was printed."""
    rows = [
        line.partition("\t") for line in gzip.decompress((FOLDER / f"{name}.log.gz").read_bytes()).decode().split("\n")
    ]
    rows = [row for row in rows if row[2].strip()]
    records = TextLog(name, "train.log", EPOCH_S).parse([text.encode() for *_, text in rows], None)
    lines = [record for record in records if isinstance(record, LogLine)]
    assert len(lines) == len(rows)
    return [line._replace(time_s=EPOCH_S + float(at)) for line, (at, *_) in zip(lines, rows, strict=True)]


def names(*, for_thresholds: bool) -> list[str]:
    return [log.name for log in LOGS if log.for_thresholds == for_thresholds]


def judged(lines: Sequence[LogLine], window: Window) -> LogDifference:
    masked = MaskedLines(lines, mask)
    return difference(masked.columns, (window.from_s, window.to_s), masked.templates, masked.values)


def draw_window(lines: Sequence[LogLine], drawn: random.Random) -> Window:
    """From a fiftieth to a twelfth of the log, after its beginning."""
    begun_s, ended_s = lines[0].time_s, lines[-1].time_s
    length_s = (ended_s - begun_s) * drawn.uniform(0.02, 1 / 12)
    from_s = drawn.uniform(begun_s + 0.06 * (ended_s - begun_s), ended_s - length_s)
    return Window(from_s, from_s + length_s)


def plant(lines: Sequence[LogLine], kind: Planting, drawn: random.Random) -> Planted:
    for _ in range(400):
        window = draw_window(lines, drawn)
        found = PLANT[kind](list(lines), window, drawn)
        if found is not None:
            changed, template = found
            return Planted(sorted(changed, key=lambda line: line.time_s), window, kind, template)
    raise ValueError(f"nothing to change as {kind}")


def is_first(planted: Planted, found: LogDifference) -> bool:
    return bool(found.changes) and matches(planted, found.changes[0])


def matches(planted: Planted, change: LogChange) -> bool:
    return change.kind == planted.kind and change.text == planted.template


def _by_template(lines: Sequence[LogLine]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        found.setdefault(mask(line.text)[0], []).append(i)
    return found


def _inside(lines: Sequence[LogLine], places: Sequence[int], window: Window) -> list[int]:
    return [i for i in places if window.from_s <= lines[i].time_s <= window.to_s]


def _new(lines: list[LogLine], window: Window, drawn: random.Random) -> tuple[list[LogLine], str]:
    text = drawn.choice(NEW)
    level = 30 if text.startswith("WARNING") else 40 if text.startswith("ERROR") else 0
    count = drawn.randrange(3, 30)
    added = [
        lines[0]._replace(text=text.format(drawn.randrange(1, 500)), level=level, time_s=drawn.uniform(*window))
        for _ in range(count)
    ]
    return lines + added, mask(added[0].text)[0]


def _more(lines: list[LogLine], window: Window, drawn: random.Random) -> tuple[list[LogLine], str] | None:
    """A message that comes in half of the windows or more comes five times as often as it ever did, and three times at least."""
    length_s, whole_s = window.to_s - window.from_s, lines[-1].time_s - lines[0].time_s
    fitting = [
        text
        for text, places in _by_template(lines).items()
        if len(places) * length_s / whole_s >= 0.5 and len(places) >= 8
    ]
    if not fitting:
        return None
    text = drawn.choice(fitting)
    places = _by_template(lines)[text]
    times = np.array([lines[i].time_s for i in places])
    most = int((np.searchsorted(times, times + length_s, "right") - np.arange(len(times))).max())
    when = [drawn.uniform(*window) for _ in range(3 * most + 3)]
    added = [lines[min(places, key=lambda i: abs(lines[i].time_s - at))]._replace(time_s=at) for at in when]
    return lines + added, text


def _silent(lines: list[LogLine], window: Window, drawn: random.Random) -> tuple[list[LogLine], str] | None:
    """A message that comes at least three times as often as the window is long, by its longest pause, stops in it."""
    length_s, fitting = window.to_s - window.from_s, []
    for text, places in _by_template(lines).items():
        times = np.array([lines[i].time_s for i in places])
        if (
            len(places) >= 8
            and np.diff(times).max() < length_s / 2.5
            and times[0] < window.from_s
            and times[-1] > window.to_s
        ):
            fitting.append(text)
    if not fitting:
        return None
    text = drawn.choice(fitting)
    gone = set(_inside(lines, _by_template(lines)[text], window))
    return [line for i, line in enumerate(lines) if i not in gone], text


def _number(lines: list[LogLine], window: Window, drawn: random.Random) -> tuple[list[LogLine], str] | None:
    """A number of a message, but not of its time, is ten times what it is otherwise at most, in all of its lines of the window."""
    fitting = []
    for text, places in _by_template(lines).items():
        inside = _inside(lines, places, window)
        if len(inside) >= 2 and len(places) >= 12 + len(inside):
            fitting += [(text, field) for field in range(fields_of_clock(text), text.count("#"))]
    if not fitting:
        return None
    text, field = drawn.choice(fitting)
    places = _by_template(lines)[text]
    numbers = [mask(lines[i].text)[1][field] for i in places]
    try:
        values = np.array([float(number.replace(",", "")) for number in numbers])
    except ValueError:
        return None
    if (
        len(set(values.tolist())) < 4 or abs(np.corrcoef(values, np.arange(len(values)))[0, 1]) > 0.8
    ):  # an id, a time, a step
        return None
    for i in _inside(lines, places, window):
        parts = text.split("#")
        numbers = list(mask(lines[i].text)[1])
        numbers[field] = f"{10 * np.abs(values).max() * drawn.uniform(1, 1.5):.3f}"
        changed = parts[0] + "".join(number + part for number, part in zip(numbers, parts[1:], strict=True))
        lines[i] = lines[i]._replace(text=changed)
    return lines, text


PLANT = {"new": _new, "more": _more, "silent": _silent, "number": _number}
