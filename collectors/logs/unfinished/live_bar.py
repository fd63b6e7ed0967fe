"""The state of a progress bar in a file: the half line at its end, which the program rewrites after carriage returns."""

from __future__ import annotations

import re
import time

from ...records import ProgressBar
from ..formats.text import ANSI

GAP_S = 0.2  # between two states of a file that are stored
MOST_CHARACTERS = 500
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class LiveBar:
    """Of one file."""

    def __init__(self, run: str, file: str, *, is_stored: bool = False) -> None:
        """`is_stored`: an earlier collector has stored a state of it."""
        self.text = ""  # its state, as it is shown
        self.is_held = False  # the newest state waits until it may be stored
        self._run, self._file = run, file
        self._stored = None if is_stored else ""
        self._due_s = 0.0  # CLOCK_MONOTONIC

    @property
    def is_stored(self) -> bool:
        """Whether the store has a state of it that is to be taken away again."""
        return self._stored != ""

    def take(self, half: bytes) -> int:
        """Its state by the half line that is there now; how many bytes of that are states before it, and need not be read again."""
        if b"\r" not in half:
            self.text = ""
            return 0
        end = len(half.rstrip())  # the last state that shows anything
        start = half.rfind(b"\r", 0, end)
        state = half[start + 1 : end].decode("utf-8", "replace")
        self.text = CONTROL.sub("", ANSI.sub("", state)).strip()[:MOST_CHARACTERS]
        return max(start, 0)

    def news(self, time_s: float) -> list[ProgressBar]:
        """Its state, where that is to be stored now."""
        now_s = time.monotonic()
        self.is_held = bool(self.text) and self.text != self._stored and now_s < self._due_s
        if self.is_held or self.text == self._stored:
            return []
        self._stored, self._due_s = self.text, now_s + GAP_S
        return [ProgressBar(self._run, self._file, time_s, self.text)]
