"""What is searched for in texts, a text or a regular expression: which lines of a block have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import re2
from numpy.typing import NDArray

from .occurrences import lines_of, occurrences

MOST_REGEX_BYTES = 256 << 10  # of memory of a compiled expression: what needs more is refused
PIECE_BYTES = 8 << 10  # of text that an expression sees at once: the worst ones take 30 us a byte,
MOST_LINE_BYTES = 16 << 10  # and see so much of a line
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
    options.max_mem = MOST_REGEX_BYTES
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
    return lambda texts: _matches(texts if len(texts) <= MOST_LINE_BYTES else _cut(texts), expression)


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
    return b"\n".join(line[:MOST_LINE_BYTES] for line in texts.split(b"\n"))
