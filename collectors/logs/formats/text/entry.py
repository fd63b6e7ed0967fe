"""Which lines of a text log belong to one entry: a traceback to its exception's last line, a message of several lines."""

from __future__ import annotations

import re
from typing import Any

ERROR = 40
TRACEBACK = "Traceback (most recent call last):"
CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
PREFIX = re.compile(r"(\[(rank\s?)?\d+\]:?\s?)")  # of torchrun and others, in front of each line: [rank0]:
AT_ONCE_S = 0.5  # lines of one entry are written together, so that they arrive together
FRAMES_S = 5.0  # between two lines of one traceback
MAX_LINES = 30  # that follow an entry's first line, or an exception's, and share its level

NONE, FRAMES, RAISED, BETWEEN, MESSAGE = range(5)


class Entry:
    """Follows the lines of one file, and gives each the level of the entry that it belongs to."""

    def __init__(self, state: list[Any] | None = None) -> None:
        self._part: int = NONE
        self._level: int = 0
        self._lines: int = 0  # bare ones that shared the level
        self._since_s: float | None = None  # when the newest line of it arrived
        if state:
            self._part, self._level, self._lines, self._since_s = state

    def state(self) -> list[Any]:
        return [self._part, self._level, self._lines, self._since_s]

    def blank(self) -> None:
        """An empty line ends an entry, but for a traceback, which may go on after it with the one that it led to."""
        self._part = BETWEEN if self._part in (RAISED, BETWEEN) else self._part if self._part == FRAMES else NONE

    def level(self, text: str, own: int, stamped: bool, arrival_s: float | None) -> int:
        """Of a line that names the level `own` (0: none). `arrival_s` is None where the file was there before it was followed."""
        if text.startswith(("[", "(")) and (found := PREFIX.match(text)):
            text = text[found.end() :]
            if not text.strip():
                self.blank()
                return self._level if self._part in (FRAMES, BETWEEN) else 0
        if TRACEBACK in text:
            whole = not text.rstrip().endswith(TRACEBACK)  # all of it on one line, as in JSON
            return self._begin(NONE if whole else FRAMES, max(own, ERROR), arrival_s)
        if self._part == FRAMES and not stamped and self._is_within(FRAMES_S, arrival_s):
            self._since_s = arrival_s
            if text[:1] not in (" ", "\t"):  # ValueError: ..., KeyboardInterrupt
                self._begin(RAISED, self._level, arrival_s)
            return self._level
        if self._part in (RAISED, BETWEEN) and text.startswith(CHAINED):
            return self._begin(BETWEEN, self._level, arrival_s)
        if stamped or own:
            if self._part != FRAMES:  # else another thread's line in the middle of a traceback
                self._begin(MESSAGE if stamped and own else NONE, own, arrival_s)
            return own
        return self._level if self._goes_on(arrival_s) else 0

    def _begin(self, part: int, level: int, arrival_s: float | None) -> int:
        self._part, self._level, self._lines, self._since_s = part, level, 0, arrival_s
        return level

    def _goes_on(self, arrival_s: float | None) -> bool:
        """Whether a bare line belongs to the message before it."""
        self._lines += 1
        if self._part not in (RAISED, MESSAGE) or not self._is_within(AT_ONCE_S, arrival_s) or self._lines > MAX_LINES:
            self._part = NONE
            return False
        return True

    def _is_within(self, seconds: float, arrival_s: float | None) -> bool:
        """Of the line before; nothing is known of arrivals in a file that was there already."""
        return arrival_s is None or (self._since_s is not None and arrival_s - self._since_s <= seconds)
