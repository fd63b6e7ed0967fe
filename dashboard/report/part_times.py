"""The time of a report is divided among its parts: one that takes too long, or cannot be read, costs only itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from collectors.store.protocol import StoreError
from collectors.store.question import Ended, Question, TooMuch, asked

from ..curves.placing import NoPlace
from ..queries import BadRequest, NotFound

T = TypeVar("T")
LATE = "It is not in this report, whose time was over; ask for a shorter window."


class NothingToSay(Exception):
    """A part is not there; the text is one sentence that says why."""


@dataclass(frozen=True)
class ReportPart(Generic[T]):
    """`value` is None where there is none, and `note` says why in one sentence."""

    value: T | None = None
    note: str = ""


class PartQuestion(Question):
    """Ends with the question that it is a part of, too."""

    def __init__(self, most_s: float, whole: Question | None) -> None:
        super().__init__(most_s)
        self._whole = whole

    @property
    def over(self) -> bool:
        return super().over or (self._whole is not None and self._whole.over)


class PartTimes:
    """Runs from its making."""

    def __init__(self, most_s: float, patience: float = 1.0) -> None:
        self._until_s = time.monotonic() + patience * most_s
        self._patience = patience

    def part(self, most_s: float, ask: Callable[[], T | None]) -> ReportPart[T]:
        """The answer, or why there is none. Raises Ended where the whole question is over."""
        left_s = min(self._patience * most_s, self._until_s - time.monotonic())
        if left_s <= 0:
            return ReportPart(note=LATE)
        whole = asked.get()
        before = asked.set(PartQuestion(left_s, whole))
        try:
            return ReportPart(ask())
        except (BadRequest, NoPlace, NotFound, NothingToSay, StoreError, TooMuch) as error:
            return ReportPart(note=sentence_of(str(error)))
        except Ended:
            if whole is not None:
                whole.check()
            return ReportPart(note=LATE)
        finally:
            asked.reset(before)


def sentence_of(text: str) -> str:
    """`too many points; choose a shorter one -> Too many points; choose a shorter one.`"""
    if not text:
        return ""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
