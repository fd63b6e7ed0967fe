"""The limits of one query of the store: it ends when its time is over, or when its client is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STEPS = 20_000  # of SQLite's machine between two looks: some hundred microseconds
MOST_SPANS = 1_000_000  # of stacks that are read at once: 250 bytes each, with what is made of them
LOCK_S = 0.05  # between two looks while another question holds a lock


class Ended(Exception):
    """The question was given up; the text is one sentence with the remedy."""


class TooMuch(Exception):
    """The answer, or what it takes to find it, would be too large; the text is one sentence with the remedy."""


class Question:
    """Time runs from its making. May be ended from any thread."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._until_s = time.monotonic() + most_s
        self._reason = ""

    def end(self, reason: str) -> None:
        self._reason = reason

    @property
    def over(self) -> bool:
        return bool(self._reason) or time.monotonic() > self._until_s

    def check(self) -> None:
        """Raises Ended when it is over."""
        if self.over:
            late = f"this took longer than {self._most_s:g} s and was given up; ask for a shorter window or for fewer series"
            raise Ended(self._reason or late)


asked: ContextVar[Question | None] = ContextVar("asked", default=None)
"""The question that the calling thread works on; None where there is no limit."""


def check() -> None:
    """Raises Ended. Cheap enough for each row."""
    question = asked.get()
    if question is not None:
        question.check()


def is_over() -> bool:
    """For SQLite, which asks now and then while it works."""
    question = asked.get()
    return question is not None and question.over


@contextmanager
def holding(lock: threading.Lock) -> Iterator[None]:
    """The lock, or Ended while another question has it."""
    while not lock.acquire(timeout=LOCK_S):
        check()
    try:
        yield
    finally:
        lock.release()
