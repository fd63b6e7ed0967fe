"""A sentence as data: an English template with the values that it takes. It becomes text where somebody reads it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

Value: TypeAlias = "Message | Sequence[Message | str | float] | str | int | float | None"
Sentence: TypeAlias = "Message | str"
"""A text is one that others wrote, such as a driver or an earlier version of this program: it is shown as it is."""


class Message(NamedTuple):
    """A sentence, or a clause of one. `id` is its template, with named placeholders: a literal where `phrase` makes it, so that it can be extracted.

    `phrase("No line for {silent_s:spoken}{where}.", silent_s=1900.0, where=None)` becomes `No line for 32 min.` Values are raw, with units
    in their names; the placeholder says how a number is written. A clause is a message, too; None leaves its place empty, and a list is
    joined by commas, or by what the placeholder names: `{runs: and }`. A name stands in a template once.
    """

    id: str
    values: Mapping[str, Value] = {}


def phrase(template: str, /, **values: Value) -> Message:
    return Message(template, values)


def counted(one: str, many: str, /, count: float, **values: Value) -> Message:
    """`one` for a single thing, else `many`; both have the placeholder `{count}` where they name the number."""
    return Message(one if count == 1 else many, {"count": count, **values})


def text_of(message: Sentence | None) -> str:
    """In English; "" for None."""
    if not isinstance(message, Message):
        return message or ""
    return PLACEHOLDER.sub(lambda found: _written(message.values[found[1]], found[2] or ""), message.id)


def _written(value: Value, how: str) -> str:
    if value is None or isinstance(value, Message):
        return text_of(value)
    if how in FORMATS:
        return FORMATS[how](value)
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return (how or ", ").join(_written(part, "") for part in value)
    return format(value, how)


# How numbers are written, by the name that a placeholder gives behind its colon; others are Python's own: `{share:.0%}`, `{step:,}`.


def spoken(seconds: float) -> str:
    """`0.1 -> "0.1 s"`, `95 -> "95 s"`, `1200 -> "20 min"`, `10260 -> "2 h 51 min"`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{round(seconds, 3):.1g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _rounded(seconds: float) -> str:
    """`90 s`, `12 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _signed(seconds: float) -> str:
    """`+369 ms`, `+1.2 s`, `+0.35 ms`."""
    if abs(seconds) >= 10:
        return f"{seconds:+.2f} s"
    ms = seconds * 1e3
    return f"{ms:+.0f} ms" if abs(ms) >= 10 else f"{ms:+.1f} ms" if abs(ms) >= 1 else f"{ms:+.2f} ms"


def time_of(seconds: float) -> str:
    """Three digits: `0.24 -> "240 ms"`."""
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"
    return f"{1000 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"


def percent(pct: float) -> str:
    """A share, everywhere: `61.7 -> "62%"`, `3.14 -> "3.1%"`, `0.04 -> "0.04%"`, `100.0 -> "100%"`."""
    if not math.isfinite(pct):
        return f"{pct}%"
    size = abs(pct)
    digits = 0 if size >= 9.95 or size == 0 else 1 if size >= 0.095 else 2
    text = f"{pct:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if digits else text}%"


def _latency(seconds: float) -> str:
    """`3.14 ms`, `1.25 s`."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


FORMATS: Final[Mapping[str, Callable[[Any], str]]] = {
    "spoken": spoken,
    "rounded": _rounded,
    "signed": _signed,
    "unsigned": lambda seconds: _signed(seconds).lstrip("+"),
    "time": time_of,
    "latency": _latency,
    "percent": percent,
    "pace": lambda seconds: f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms",
    "brief": lambda seconds: f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms",
    "times": lambda ratio: f"{ratio:.0f} times" if ratio >= 3 else f"{ratio:.1f} times",
}


# Messages in JSON. One that comes from a file or from another host is checked: what it costs to write is bounded by its own length.

PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]+))?\}")
_HOW = re.compile(rf"\+?,?(?:\.\d)?[fg%]?|; | and |{'|'.join(FORMATS)}")
MAX_CLAUSES = 12  # and lists, inside each other


def to_json(message: Message) -> str:
    """`{"id": ..., "values": {...}}`; a number that is not finite is a text, which is how it is shown."""
    return json.dumps(_plain(message), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Value) -> Any:
    match value:
        case None | str():
            return value
        case Message():
            return {"id": value.id, "values": {name: _plain(part) for name, part in value.values.items()}}
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case Sequence():
            return [_plain(part) for part in value]
    return int(value)


def from_json(text: object) -> Message | None:
    """None for what is no message, or would not become text."""
    try:
        found = _checked(json.loads(text) if isinstance(text, str) else None, MAX_CLAUSES)
        return found if isinstance(found, Message) and text_of(found) else None
    except (TypeError, ValueError, RecursionError):
        return None


def _checked(value: object, depth: int) -> Value:
    """Raises ValueError."""
    match value:
        case None | str() | int() | float():
            return value
        case list() if depth:
            return [_checked(part, depth - 1) for part in value]  # type: ignore[misc]  # lists of lists are joined, too
        case {"id": str(id_), "values": dict(values)} if depth:
            placeholders = PLACEHOLDER.findall(id_)
            names = {name for name, _ in placeholders}
            if (
                len(names) == len(placeholders)
                and names <= values.keys()
                and all(_HOW.fullmatch(how) for _, how in placeholders)
            ):
                return Message(id_, {str(name): _checked(part, depth - 1) for name, part in values.items()})
    raise ValueError("no message")
