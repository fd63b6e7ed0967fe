"""Formats of the log folder, one per file: each turns lines into records and keeps the state it needs to continue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from ...records import Record
from .values import escape_control

MAX_LINE_BYTES = 1 << 20  # a longer line is skipped


class Arrival(NamedTuple):
    """Lines that were written between the last look at their file and this one. Unix seconds."""

    since_s: float
    until_s: float

    def at(self, place: int, count: int) -> float:
        """When line `place` (from 1) of `count` was written, by estimate: they are spread evenly."""
        return round(self.since_s + (self.until_s - self.since_s) * place / count, 6)

    def part(self, done: int, count: int, of: int) -> Arrival:
        """That of the `count` lines of `of` that stand behind the first `done`."""
        return Arrival(self.at(done, of), self.at(done + count, of))


@dataclass
class Tally:
    """Counts of a file's lines: read, skipped, left out."""

    lines_read: int = 0  # all of them, skipped ones too
    lines_skipped: int = 0
    fields_skipped: int = 0
    first_skip: str = ""  # "line 7: not JSON"

    def skip_line(self, reason: str) -> None:
        self.lines_skipped += 1
        self._note(reason)

    def skip_field(self, name: str, reason: str) -> None:
        self.fields_skipped += 1
        if not self.first_skip:
            self._note(f"{escape_control(name[:80])} {reason}")

    def _note(self, reason: str) -> None:
        self.first_skip = self.first_skip or f"line {self.lines_read}: {reason}"


class StatefulParser(Protocol):
    """One file's parser. `state` is JSON: stored with the offset, passed to the constructor when the file is opened again."""

    tally: Tally

    def state(self) -> dict[str, Any]: ...


class LineFormat(StatefulParser, Protocol):
    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        """Records of whole lines (without line ends), at least of the first one; `tally.lines_read` grows by the number taken.

        `arrival` is None for lines from before the file was followed.
        """


class ByteFormat(StatefulParser, Protocol):
    def parse_bytes(self, data: bytes, arrival: Arrival | None) -> tuple[list[Record], int]:
        """Records after the last offset, and how many bytes they took: none where a record is not complete yet."""


class WholeFormat(StatefulParser, Protocol):
    def parse_whole(self, data: bytes) -> list[Record]:
        """The new records of a file that changed."""


Format: TypeAlias = LineFormat | ByteFormat | WholeFormat
