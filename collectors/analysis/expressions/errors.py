"""What is wrong with an expression, and where."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

MOST_COMPARED = 5_000  # names that a misspelled one is compared with


class ExpressionError(ValueError):
    """The text is one sentence; `column` counts the characters of the expression from 1."""

    def __init__(self, column: int, sentence: str) -> None:
        super().__init__(f"column {column}: {sentence}")
        self.column = column


class NoSeries(ExpressionError):
    """No series is what a part of the expression asks for."""


def meant(word: str, known: Collection[str], synonyms: Mapping[str, str] | None = None) -> str:
    """`meant("avrage", ["mean"], {"average": "mean"}) -> "; is it mean?"`, and "" where nothing is like it."""
    lower = {name.lower(): name for name in list(known)[:MOST_COMPARED]} | dict(synonyms or {})
    near = difflib.get_close_matches(word.lower()[:200], lower, 1, 0.6)
    return f"; is it {lower[near[0]]}?" if near else ""
