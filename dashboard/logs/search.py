"""Searches texts for a string or a regular expression."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import re2
from numpy.typing import NDArray

from collectors.lines import templates
from collectors.store.store import LineExtent, LineTexts, holding

# Where a text occurs in the bytes of many lines, with or without case, all at once.

SAMPLE_BYTES = 16 << 10  # in which the rarest byte of the text is looked for
CASE = 0x20  # by which the cases of an ASCII letter differ


def occurrences(texts: bytes, sought: bytes, *, folds: bool) -> NDArray[np.intp]:
    """First bytes of all places, also overlapping ones, rising. `folds`: ASCII letters match both cases. `sought` is not empty.

    The rarest byte of the text is looked for in all of `texts`; only where it stands the others are compared.
    """
    data = np.frombuffer(texts, np.uint8)
    wanted = np.frombuffer(sought, np.uint8)
    room = len(data) - len(wanted) + 1
    if room <= 0:
        return np.zeros(0, np.intp)
    order = np.argsort(
        [np.count_nonzero(_equals(data[:SAMPLE_BYTES], byte, folds)) for byte in wanted.tolist()], kind="stable"
    )
    first = int(order[0])
    places = np.flatnonzero(_equals(data[first : first + room], int(wanted[first]), folds))
    for at in order[1:].tolist():
        if not len(places):
            break
        places = places[_equals(data[places + at], int(wanted[at]), folds)]
    return places


def lines_of(texts: bytes, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """The lines in which rising places lie, each once."""
    if not len(places):
        return np.zeros(0, np.intp)
    ends = np.flatnonzero(np.frombuffer(texts, np.uint8) == ord("\n"))
    found: NDArray[np.intp] = np.searchsorted(ends, places, "left")
    is_first: NDArray[np.bool_] = np.append(True, found[1:] != found[:-1])
    return found[is_first]


def _equals(data: NDArray[np.uint8], byte: int, folds: bool) -> NDArray[np.bool_]:
    is_letter = ord("a") <= byte | CASE <= ord("z") and byte < 128
    same: NDArray[np.bool_] = (data | CASE) == (byte | CASE) if folds and is_letter else data == byte
    return same


MAX_REGEX_BYTES = 256 << 10  # of memory of a compiled expression: what needs more is refused
PIECE_BYTES = 8 << 10  # of text that an expression sees at once: the worst ones take 30 us a byte,
MAX_LINE_BYTES = 16 << 10  # and see so much of a line
LONG_BYTES = 1 << 20  # of text that is searched for a text at once

Finder = Callable[[bytes], NDArray[np.intp]]
"""From whole lines to the places of those that have it."""


class Needle(NamedTuple):
    text: str
    regex: bool = False
    case: bool = False  # whether case matters


class BadExpression(Exception):
    """The text is one sentence that says what is wrong with it."""


class Piece(NamedTuple):
    """Consecutive lines of a block, and those among them that have what is searched for."""

    first: int
    lines: int
    found: NDArray[np.intp]  # places in the block


def pieces(needle: Needle, find: Finder, texts: bytes, lines: int) -> Iterator[Piece]:
    """The last lines first, so many at a time that each piece is soon searched."""
    if not needle.regex and len(texts) <= LONG_BYTES:
        yield Piece(0, lines, find(texts))
        return
    data = np.frombuffer(texts, np.uint8)
    ends = np.append(np.flatnonzero(data == ord("\n")), len(data))
    most = PIECE_BYTES if needle.regex else LONG_BYTES
    last = len(ends)
    while last:
        first = min(int(np.searchsorted(ends, int(ends[last - 1]) - most, "left")) + 1, last - 1)
        if first == 1 and ends[last - 1] <= most:
            first = 0
        start = int(ends[first - 1]) + 1 if first else 0
        yield Piece(first, last - first, find(texts[start : int(ends[last - 1])]) + first)
        last = first


def finder(needle: Needle) -> Finder:
    """Raises BadExpression."""
    if needle.regex:
        return _of_regex(needle)
    if "\n" in needle.text:
        return lambda texts: np.zeros(0, np.intp)
    folds = not needle.case
    if folds and not needle.text.isascii():
        wanted = needle.text.lower()
        return lambda texts: _lines_with(texts.decode("utf-8", "surrogatepass").lower().split("\n"), wanted)
    sought = needle.text.encode("utf-8", "surrogatepass")
    if not sought:
        return lambda texts: np.arange(texts.count(b"\n") + 1)
    return lambda texts: lines_of(texts, occurrences(texts, sought, folds=folds))


def _lines_with(lines: list[str], wanted: str) -> NDArray[np.intp]:
    return np.array([at for at, line in enumerate(lines) if wanted in line], np.intp)


def compiled(needle: Needle) -> Any:
    """As an expression that searches bytes. Raises BadExpression."""
    options = re2.Options()
    options.never_nl = options.never_capture = True
    options.log_errors = False
    options.max_mem = MAX_REGEX_BYTES
    options.case_sensitive = needle.case
    options.literal = not needle.regex
    sought = needle.text.encode("utf-8", "replace")
    try:
        return re2.compile(b"(?m)" + sought if needle.regex else sought, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        reason = reason.replace("(?m)", "", 1)
        raise BadExpression(
            f"this is no regular expression ({reason}); correct it, or search for it as a text, without regex"
        ) from error


def _of_regex(needle: Needle) -> Finder:
    expression = compiled(needle)
    return lambda texts: _matches(texts if len(texts) <= MAX_LINE_BYTES else _cut(texts), expression)


def _matches(texts: bytes, expression: Any) -> NDArray[np.intp]:
    found = []
    at = 0
    while at <= len(texts) and (match := expression.search(texts, at)) is not None:
        found.append(match.start())
        end = texts.find(b"\n", match.start())
        if end < 0:
            break
        at = end + 1
    return lines_of(texts, np.array(found, np.intp))


def _cut(texts: bytes) -> bytes:
    return b"\n".join(line[:MAX_LINE_BYTES] for line in texts.split(b"\n"))


# A search through the texts of some runs, newest first, in slices: each question works for a while and goes on where the last one ended.

SLICE_S = 0.25  # of work for a question,
FIRST_SLICE_S = 0.1  # and for the first one, which waits for its first hits
MAX_PARTS = 10_000
MAX_SEARCHES = 8  # that are remembered,
MAX_HITS = 6_000_000  # with so many hits together: 4 bytes each

ReadTexts: TypeAlias = Callable[[str, int, int, Callable[[LineTexts], bool]], None]
"""`Store.line_texts`."""


class PendingRange(NamedTuple):
    """Numbers of lines of a run that are not searched yet, both inclusive."""

    run: str
    lo: int
    hi: int


class SearchProgress(NamedTuple):
    """How far a search has come."""

    searched: int  # lines,
    lines: int  # of so many
    hits: int
    done: bool


class LineHits(NamedTuple):
    """Numbers of lines, in no order: each part's less the base."""

    base: int
    parts: list[NDArray[Any]]
    total: int


class LineSearch:
    """The hits of one needle so far."""

    def __init__(self, needle: Needle) -> None:
        """Raises BadExpression."""
        self.needle = needle
        self.lock = threading.Lock()
        self._find: Finder = finder(needle)
        self._extents: dict[str, LineExtent] = {}
        self._waiting: list[PendingRange] = []  # the newest last
        self._base = 0
        self._parts: list[NDArray[Any]] = []  # of numbers, less the base; 4 bytes each as long as that is enough
        self._searched = self._lines = self.hit_count = 0

    @property
    def has_begun(self) -> bool:
        return self._searched > 0

    def work(self, extents: Mapping[str, LineExtent], read: ReadTexts, until_mono_s: float) -> SearchProgress:
        """The caller holds the lock. Works at least on one piece. Raises what `read` raises; the search can go on then."""
        self._note(extents)
        while self._waiting:
            stretch = self._waiting.pop()
            rest = self._search(stretch, read, until_mono_s)
            if rest is not None:
                self._waiting.append(rest)
                break
        done = not self._waiting
        return SearchProgress(
            self._lines if done else min(self._searched, self._lines), self._lines, self.hit_count, done
        )

    def hits(self) -> LineHits:
        if len(self._parts) > MAX_PARTS:
            self._parts = [np.concatenate(self._parts)]
        return LineHits(self._base, list(self._parts), self.hit_count)

    def _note(self, extents: Mapping[str, LineExtent]) -> None:
        """Lines that have come; where a run was deleted the search starts again."""
        if any(run not in extents or extents[run].first != before.first for run, before in self._extents.items()):
            self._extents, self._waiting, self._parts = {}, [], []
            self._searched = self.hit_count = 0
        if not self._extents:
            self._base = min((extent.first for extent in extents.values()), default=0)
        for run, extent in sorted(extents.items(), key=lambda item: item[1].last):
            before = self._extents.get(run)
            lo = extent.first if before is None else before.last + 1
            if lo <= extent.last:
                self._waiting.append(PendingRange(run, lo, extent.last))
        self._extents = dict(extents)
        self._lines = sum(extent.lines for extent in extents.values())

    def _search(self, stretch: PendingRange, read: ReadTexts, until_mono_s: float) -> PendingRange | None:
        """What is left of it."""
        hi = stretch.hi

        def take(block: LineTexts) -> bool:
            nonlocal hi
            for piece in pieces(self.needle, self._find, block.texts, len(block.number)):
                if int(block.number[piece.first]) > hi:
                    continue  # searched by an earlier slice
                numbers = block.number[piece.first : piece.first + piece.lines]
                found = block.number[piece.found]
                found = found[(found >= stretch.lo) & (found <= hi)]
                below, above = np.searchsorted(numbers, (stretch.lo, hi + 1)).tolist()
                self._searched += above - below
                self.hit_count += len(found)
                if len(found):
                    less = found - self._base
                    self._parts.append(less.astype(np.uint32) if less.max() < 1 << 32 else less)
                hi = int(numbers[0]) - 1
                if hi < stretch.lo or time.monotonic() >= until_mono_s:
                    return False
            return True

        is_over = False

        def take_until(block: LineTexts) -> bool:
            nonlocal is_over
            goes_on = take(block)
            is_over = not goes_on
            return goes_on

        try:
            read(stretch.run, stretch.lo, stretch.hi, take_until)
        except BaseException:
            self._waiting.append(stretch._replace(hi=hi))
            raise
        return stretch._replace(hi=hi) if is_over and hi >= stretch.lo else None


class LineSearches:
    """The searches that were asked for lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], LineSearch] = OrderedDict()

    def work(
        self, runs: tuple[str, ...] | None, needle: Needle, extents: Mapping[str, LineExtent], read: ReadTexts
    ) -> tuple[SearchProgress, LineHits]:
        """Go on with a search for a while, or begin it; its hits so far. Raises BadExpression."""
        search = self._search(runs, needle)
        with holding(search.lock):
            slice_s = SLICE_S if search.has_begun else min(FIRST_SLICE_S, SLICE_S)
            progress = search.work(extents, read, time.monotonic() + slice_s)
            return progress, search.hits()

    def _search(self, runs: tuple[str, ...] | None, needle: Needle) -> LineSearch:
        with self._lock:
            found = self._kept.pop((runs, needle), None) or LineSearch(needle)
            self._kept[runs, needle] = found
            while len(self._kept) > 1 and (
                len(self._kept) > MAX_SEARCHES or sum(search.hit_count for search in self._kept.values()) > MAX_HITS
            ):
                self._kept.popitem(last=False)
            return found


# Where in a line a search has its hits, and where its numbers stand: places in UTF-16, as a browser counts them.

MAX_SPANS = 64  # hits of a line
MAX_BYTES = 4096  # of a line, in which hits are marked
MAX_S = 0.03  # for all lines of an answer: the worst expressions take 30 us a byte

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
        self._left_s = MAX_S

    def spans(self, text: str) -> list[TextSpan]:
        """In order, without overlap; empty where the hit lies behind the part that is looked at, or the time is over."""
        if self._left_s <= 0:
            return []
        began_mono_s = time.monotonic()
        data = text.encode("utf-8", "surrogatepass")[:MAX_BYTES]
        found: list[_ByteSpan] = []
        at = 0
        while at <= len(data) and len(found) < MAX_SPANS and (match := self._expression.search(data, at)) is not None:
            start, end = match.span()
            if end > start:
                found.append(_ByteSpan(start, end))
            at = max(end, start + 1)
        self._left_s -= time.monotonic() - began_mono_s
        return in_utf16(data, found)


def number_places(text: str) -> list[TextSpan]:
    """One for each `#` of the line's template, with the sign: `"step 7 loss 0.25" -> [(5, 6), (12, 16)]`."""
    shown = text[: templates.MAX_CHARACTERS].replace("\n", " ")
    (spans,) = templates.number_spans([shown])
    return in_utf16(shown.encode("utf-8", "surrogatepass"), spans)


def in_utf16(data: bytes, spans: Sequence[_ByteSpan | templates.NumberSpan]) -> list[TextSpan]:
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
