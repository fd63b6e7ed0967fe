"""Where in a line a search has its hits, and where its numbers stand: places in UTF-16, as a browser counts them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from collectors.analysis.logs import masking

from .needle import Needle, compiled

MOST_SPANS = 64  # hits of a line
MOST_BYTES = 4096  # of a line, in which hits are marked
MOST_S = 0.03  # for all lines of an answer: the worst expressions take 30 us a byte

TextSpan: TypeAlias = tuple[int, int]
"""The first UTF-16 unit and the first one behind it."""


class _ByteSpan(NamedTuple):
    start: int
    end: int


class Marker:
    """Marks the hits in the lines of one answer, as long as its time lasts."""

    def __init__(self, needle: Needle) -> None:
        """Raises BadExpression."""
        self._expression = compiled(needle)
        self._left_s = MOST_S

    def spans(self, text: str) -> list[TextSpan]:
        """In order, without overlap; empty where the hit lies behind the part that is looked at, or the time is over."""
        if self._left_s <= 0:
            return []
        began_mono_s = time.monotonic()
        data = text.encode("utf-8", "surrogatepass")[:MOST_BYTES]
        found: list[_ByteSpan] = []
        at = 0
        while at <= len(data) and len(found) < MOST_SPANS and (match := self._expression.search(data, at)) is not None:
            start, end = match.span()
            if end > start:
                found.append(_ByteSpan(start, end))
            at = max(end, start + 1)
        self._left_s -= time.monotonic() - began_mono_s
        return in_utf16(data, found)


def number_places(text: str) -> list[TextSpan]:
    """One for each `#` of the line's template, with the sign: `"step 7 loss 0.25" -> [(5, 6), (12, 16)]`."""
    shown = text[: masking.MOST_CHARACTERS].replace("\n", " ")
    (spans,) = masking.number_spans([shown])
    return in_utf16(shown.encode("utf-8", "surrogatepass"), spans)


def in_utf16(data: bytes, spans: Sequence[_ByteSpan | masking.NumberSpan]) -> list[TextSpan]:
    """From places in the UTF-8 of a text, in order."""
    if data.isascii():
        return [(span.start, span.end) for span in spans]
    places = _places(data, (place for span in spans for place in (span.start, span.end)))
    return list(zip(places[::2], places[1::2], strict=True))


def _places(data: bytes, ends: Iterable[int]) -> list[int]:
    found: list[int] = []
    at = units = 0
    for end in ends:
        units += sum((byte & 0xC0 != 0x80) + (byte >= 0xF0) for byte in data[at:end])  # beyond U+FFFF there are two
        at = end
        found.append(units)
    return found
