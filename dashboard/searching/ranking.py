"""How well a text matches what was typed: at its beginning, at the beginning of a word, or anywhere.

`Typed("lr").place("train/lr") -> 1`: a word of it begins so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

WHOLE, PREFIX, WORD, INSIDE = range(4)
MOST_WORDS = 8
MOST_CHARACTERS = 4000  # of a text that is searched
AROUND = 60  # characters that an excerpt has before what was found
MOST_EXCERPT = 200
DIGITS = re.compile(r"[0-9]+")
MOST_DIGITS = 30  # of a number

T = TypeVar("T")


class MatchPlace(NamedTuple):
    """Less is better."""

    worst: int  # of all typed words
    total: int
    length: int  # of the text


class Typed:
    """All words must be in a text, in any order, whatever their case."""

    def __init__(self, text: str) -> None:
        self.words = text.casefold().split()[:MOST_WORDS]

    def place(self, text: str) -> MatchPlace | None:
        """None where it does not match."""
        folded = text[:MOST_CHARACTERS].casefold()
        places = [_place_of(word, folded) for word in self.words]
        if any(place is None for place in places):
            return None
        found = [place for place in places if place is not None]
        return MatchPlace(max(found, default=PREFIX), sum(found), len(folded))

    def best(self, texts: Iterable[str]) -> MatchPlace | None:
        """Of several texts for one thing; where no single one has all words, of all of them together."""
        all_texts = [text for text in texts if text]
        places = [place for text in all_texts if (place := self.place(text)) is not None]
        if places:
            return min(places)
        joined = self.place(" ".join(all_texts))
        return joined._replace(worst=INSIDE) if joined else None

    def excerpt(self, text: str) -> str:
        """The part around the first word that is found, in one line."""
        folded = text[:MOST_CHARACTERS].casefold()
        at = min((found for word in self.words if (found := folded.find(word)) >= 0), default=0)
        begin = max(0, at - AROUND)
        part = " ".join(text[begin : begin + MOST_EXCERPT].split())
        return f"{'… ' if begin else ''}{part}{' …' if begin + MOST_EXCERPT < len(text) else ''}"


def natural(text: str) -> tuple[tuple[str, int], ...]:
    """A key of order in which numbers count as such: `"h.2/q" < "h.10/q"`."""
    parts = DIGITS.split(text.casefold()[:MOST_CHARACTERS])
    numbers = (int(digits[:MOST_DIGITS]) for digits in DIGITS.findall(text.casefold()[:MOST_CHARACTERS]))
    return tuple((part, number) for part, number in zip(parts, [*numbers, -1], strict=True))


def _place_of(word: str, text: str) -> int | None:
    if text.startswith(word):
        return WHOLE if len(text) == len(word) else PREFIX
    at = text.find(word)
    if at < 0:
        return None
    while at >= 0:
        if not text[at - 1].isalnum():
            return WORD
        at = text.find(word, at + 1)
    return INSIDE
