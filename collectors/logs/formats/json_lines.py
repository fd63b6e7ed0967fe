"""JSON lines of metrics, among which may stand those of a structured text log: these become lines, the others points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ...analysis.logs import structured
from ...records import Record
from . import Arrival, Tally
from .jsonl import Metrics
from .text import Text

SIGNS = (
    b'"level',
    b'"record"',
    b'severity"',
    b'"lvl"',
    b'"timestamp"',
    b'"time"',
    b'"asctime"',
    b'"@timestamp"',
    b'"ts"',
)


class JsonLines:
    """A `.jsonl` file."""

    def __init__(self, metrics: Metrics, text: Text) -> None:
        self._metrics, self._text = metrics, text
        text.tally = metrics.tally

    @property
    def tally(self) -> Tally:
        """Of both kinds together."""
        return self._metrics.tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._metrics.tally = self._text.tally = tally

    def state(self) -> dict[str, Any]:
        said = self._text.state()
        return self._metrics.state() | ({"text": said} if said != self._text.EMPTY else {})

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        before = self.tally.lines_read
        records = self._metrics.parse(lines, arrival, is_text)
        if not self._metrics.stopped:  # the usual batch, kept cheap
            return records
        for is_line, found in itertools.groupby(lines[self.tally.lines_read - before :], is_text):
            part, done = list(found), self.tally.lines_read - before
            when = arrival.part(done, len(part), len(lines)) if arrival else None
            records += (self._text if is_line else self._metrics).parse(part, when)
            if self.tally.lines_read - before < done + len(part):  # the batch ends here
                break
        return records


def is_text(line: bytes) -> bool:
    """Whether a line of JSON is one of a text log: with a message, and a level or a time."""
    return any(sign in line for sign in SIGNS) and structured.read(line.decode("utf-8", "replace")) is not None


def text_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `JsonLines.state` holds of the text."""
    found = state.get("text", {})
    return found if isinstance(found, dict) else {}
