"""Structured lines: JSON of structlog, loguru and python-json-logger, and logfmt, as a message with fields.

{"event": "step done", "level": "info", "timestamp": "2026-11-26T14:00:00Z", "step": 7, "data": {"shard": 3}}
    -> StructuredLine("step done", 20, 1795701600.0, {"step": 7, "data.shard": 3}), shown as: step done step=7 data.shard=3
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson

Scalar: TypeAlias = str | int | float | bool | None

NO_NAME = re.compile(r"[\s=\"\x00-\x1f\x7f]+")  # of a field, in a line
MESSAGES = ("event", "message", "msg", "log")  # the last is of container runtimes
LEVEL_NAMES = ("level", "levelname", "severity", "log.level", "lvl")
TIMES = ("timestamp", "time", "asctime", "ts", "@timestamp", "datetime", "created")
TRACES = ("exception", "exc_info", "stack", "stack_info", "traceback", "stacktrace")
LEVELS = {
    "trace": 5,
    "debug": 10,
    "dbg": 10,
    "info": 20,
    "success": 25,
    "notice": 20,
    "warn": 30,
    "warning": 30,
    "error": 40,
    "err": 40,
    "exception": 40,
    "critical": 50,
    "crit": 50,
    "fatal": 50,
    "panic": 50,
    "alert": 50,
    "emergency": 50,
}
LOGURU = (
    "elapsed",
    "exception",
    "extra",
    "level",
    "message",
    "process",
    "thread",
    "time",
)  # of its record: shown otherwise, or not
MAX_FIELDS, MAX_DEPTH, MAX_BYTES, MAX_TRACE_LINES = 100, 6, 1 << 20, 300
FIRST_S, LAST_S = 946_684_800.0, 32_503_680_000.0  # the years 2000 and 3000
UNITS = (1.0, 1e3, 1e6, 1e9)  # of a time since 1970, in one second: milliseconds, and so on
PAIR = re.compile(
    r'(?<![\w.@/-])[\d./-]{0,40}(?P<key>[A-Za-z_@][\w.@/-]{0,200})=(?P<value>"(?:[^"\\]|\\.)*"|[^\s"=]*)(?:\s+|$)'
)
BARE = re.compile(r"[^\s\"=]+")


class StructuredLine(NamedTuple):
    """A line of a structured log, taken apart."""

    message: str
    level: int  # as in `logging`; 0 where it names none
    time_s: float | None  # Unix seconds
    fields: dict[str, Scalar]  # the others, in their order, those of a table inside with dots; a list as its JSON
    trace: str = ""  # a traceback, with its line breaks


def may_be_structured(text: str) -> bool:
    """Whether it is worth reading: most lines are not."""
    return text[:1] == "{" or "msg=" in text or "message=" in text or "event=" in text


def read(text: str) -> StructuredLine | None:
    """None for a line that is no structured one: it needs a message, and a level or a time."""
    text = text.strip()
    if text[:1] == "{" and text[-1:] == "}" and len(text) <= MAX_BYTES:
        try:
            value = orjson.loads(text.encode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            return None
        return of_object(value) if isinstance(value, dict) else None
    return _of_pairs(text) if may_be_structured(text) else None


def of_object(value: Mapping[str, Any]) -> StructuredLine | None:
    record = value.get("record")
    if isinstance(record, dict) and isinstance(record.get("message"), str) and isinstance(value.get("text"), str):
        return _of_loguru(record, value["text"])
    flat = dict(_flat(value))
    said = _first(flat, MESSAGES, lambda value: isinstance(value, str))
    if said is None:
        return None
    message = str(flat.pop(said)).rstrip("\n")
    named = _first(flat, LEVEL_NAMES, level_of)
    level = level_of(flat.pop(named)) if named else 0
    timed = _first(flat, TIMES, lambda value: time_of(value) is not None)
    time_s = time_of(flat.pop(timed)) if timed else None
    if not level and time_s is None:
        return None
    trace = next((flat.pop(name) for name in TRACES if isinstance(flat.get(name), str) and "\n" in str(flat[name])), "")
    return StructuredLine(message, level, time_s, flat, str(trace))


def _first(flat: Mapping[str, Scalar], names: Sequence[str], is_it: Callable[[Scalar], object]) -> str | None:
    """The field of one of these names that is what is looked for, also deep inside: cloud loggers wrap what a program wrote."""
    exact = next((name for name in names if name in flat and is_it(flat[name])), None)
    return exact or next((key for key, value in flat.items() if key.rpartition(".")[2] in names and is_it(value)), None)


def shown(line: StructuredLine) -> list[str]:
    """The message and its other fields as logfmt; below it the lines of its traceback. All fields are there: `read_fields` finds them."""
    pairs = [f"{NO_NAME.sub('_', name) or '_'}={_bare(value)}" for name, value in line.fields.items()]
    first = [part for part in line.message.replace("\r", "\n").split("\n") if part.strip()] or [""]
    trace = [part for part in line.trace.replace("\r", "\n").split("\n") if part.strip()]
    return [" ".join([first[0], *pairs]).strip(), *first[1:], *trace][:MAX_TRACE_LINES]


def read_fields(text: str) -> dict[str, Scalar]:
    """The fields at the end of a line, as `shown` writes them: `"step done step=7" -> {"step": 7}`."""
    found: dict[str, Scalar] = {}
    for pair in PAIR.finditer(text):
        found[pair["key"]] = _value(pair["value"])
    return found


def level_of(value: object) -> int:
    """As in `logging`; numbers are those of `logging` or of pino (10 to 60). 0 where it is none."""
    if isinstance(value, str):
        return LEVELS.get(value.strip().lower(), 0)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 60:
        return min(value, 50)
    return 0


def time_of(value: object) -> float | None:
    """Unix seconds of a number since 1970 in seconds, ms, us or ns, or of an ISO date; local zone unless it says."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and FIRST_S <= value <= LAST_S * UNITS[-1]:
        return next((value / unit for unit in UNITS if FIRST_S <= value / unit <= LAST_S), None)
    if not isinstance(value, str) or not 10 <= len(value) <= 40:
        return None
    try:
        time_s = datetime.datetime.fromisoformat(value.strip().replace(",", ".").replace("/", "-")).timestamp()
    except (ValueError, OverflowError):
        return None
    return time_s if FIRST_S <= time_s <= LAST_S else None


def _of_loguru(record: Mapping[str, Any], text: str) -> StructuredLine:
    """`logger.add(..., serialize=True)`: what the call bound comes first, then where it stands."""
    level, time = record.get("level"), record.get("time")
    number = level_of(level.get("no")) or level_of(level.get("name")) if isinstance(level, dict) else 0
    time_s = time_of(time.get("timestamp")) if isinstance(time, dict) else None
    extra = record.get("extra")
    fields = dict(_flat(extra)) if isinstance(extra, dict) else {}
    where = ":".join(str(record.get(name, "")) for name in ("name", "function", "line"))
    message = str(record["message"])
    begins = text.find("Traceback (most recent call last)")
    trace = "\n".join(
        part.replace("> File", "  File", 1) if part.startswith("> File") else part for part in text[begins:].split("\n")
    )
    return StructuredLine(message, number, time_s, fields | {"where": where}, trace if begins >= 0 else "")


def _of_pairs(text: str) -> StructuredLine | None:
    """logfmt: all of the line is pairs."""
    found: dict[str, Scalar] = {}
    at = 0
    while at < len(text):
        pair = PAIR.match(text, at)
        if pair is None or len(found) >= MAX_FIELDS:
            return None
        found[pair["key"]] = _value(pair["value"])
        at = pair.end()
    return of_object(found) if len(found) > 1 else None


def _flat(fields: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Scalar]]:
    """The first fields, those of tables with dots; what is deeper, and lists, as JSON."""
    count = 0
    for name, value in fields.items():
        if isinstance(value, dict) and depth < MAX_DEPTH and value:
            inner = list(_flat(value, f"{prefix}{name}.", depth + 1))
        else:
            scalar = value if isinstance(value, (str, int, float, bool)) or value is None else _as_json(value)
            inner = [(f"{prefix}{name}", scalar)]
        yield from inner[: MAX_FIELDS - count]
        count += len(inner)
        if count >= MAX_FIELDS:
            return


def _as_json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # too deep for it
        try:
            return json.dumps(value)
        except RecursionError:
            return "[...]"


def _bare(value: Scalar) -> str:
    """As logfmt: what is no plain word stands in quotes, as JSON does it."""
    if isinstance(value, str):
        plain = BARE.fullmatch(value) and _value(value) == value
        return value if plain else orjson.dumps(value.encode("utf-8", "replace").decode()).decode()
    return (
        orjson.dumps(value).decode()
        if value is None or isinstance(value, (bool, int)) or math.isfinite(value)
        else str(value)
    )


def _value(text: str) -> Scalar:
    if text[:1] == '"':
        try:
            return str(orjson.loads(text.encode("utf-8", "replace")))
        except orjson.JSONDecodeError:
            return text.strip('"')
    if text[:1] in "-0123456789tfn" and text:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        return value if isinstance(value, (int, float, bool)) or value is None else text
    return text
