"""Lines folded for display: a traceback is one entry with its last line, a message's further lines stand with it, equal messages are counted.

step 1 / Traceback ... / ValueError: bad / retrying / retrying -> step 1; ValueError: bad (4 lines); retrying (2 times)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from ...records import LogLine
from .tracebacks import HEAD, tracebacks

EntryKind: TypeAlias = Literal["line", "message", "traceback", "repeated"]
AT_ONCE_S = 0.5  # lines of one message are written together
MOST_MESSAGE_LINES = 100
LOUD = 30  # below it a bare line at any depth is its own entry: only what is indented goes on


class LogEntry(NamedTuple):
    """Lines that are shown as one."""

    kind: EntryKind
    lines: tuple[LogLine, ...]  # in their order
    shown: LogLine  # of a traceback its last line, else the first one
    count: int = 1  # type: ignore[assignment]  # how often the message came

    @property
    def first_s(self) -> float:
        return self.lines[0].time_s

    @property
    def last_s(self) -> float:
        return self.lines[-1].time_s

    @property
    def level(self) -> int:
        return max(line.level for line in self.lines)


def entries(lines: Sequence[LogLine]) -> list[LogEntry]:
    """In the order of their first lines; every line is in exactly one of them."""
    folded = [entry for part in _parts(lines) for entry in part]
    order = {id(line): place for place, line in enumerate(lines)}
    return _counted(sorted(folded, key=lambda entry: order[id(entry.lines[0])]))


def _parts(lines: Sequence[LogLine]) -> list[list[LogEntry]]:
    """The tracebacks, and the messages of each file and rank: their lines may stand in turn."""
    found = tracebacks(lines)
    inside = {id(line) for traceback in found for line in traceback.lines}
    folded = [LogEntry("traceback", traceback.lines, _last_of(traceback.lines)) for traceback in found]
    voices: dict[tuple[str, str, int | None], list[LogLine | None]] = {}
    for line in lines:
        voice = voices.setdefault((line.run, line.file, line.rank), [])
        voice.append(None if id(line) in inside else line)
    return [folded, *(_messages(voice) for voice in voices.values())]


def _last_of(lines: Sequence[LogLine]) -> LogLine:
    """The line that names the last exception: below the last frame."""
    place = max((i for i, line in enumerate(lines) if 'File "' in line.text), default=0)
    named = next((line for line in lines[place + 1 :] if line.text[:1] not in (" ", "\t")), None)
    return named or lines[-1]


def _messages(voice: Sequence[LogLine | None]) -> list[LogEntry]:
    heads: list[list[LogLine]] = []
    head: list[LogLine] | None = None
    for line in voice:
        if line is None:  # a traceback: what follows it begins anew
            head = None
        elif head is not None and _goes_on(head, line):
            head.append(line)
        else:
            head = [line]
            heads.append(head)
    return [LogEntry("message" if len(lines) > 1 else "line", tuple(lines), lines[0]) for lines in heads]


def _goes_on(head: Sequence[LogLine], line: LogLine) -> bool:
    """Whether a line without a time or level of its own belongs to the message before it: it is indented, or shares its level of a warning."""
    if len(head) >= MOST_MESSAGE_LINES or line.time_s - head[-1].time_s > AT_ONCE_S or HEAD.match(line.text):
        return False
    is_indented = line.text[:1] in (" ", "\t")
    return is_indented or (line.level == head[0].level >= LOUD and HEAD.match(head[0].text) is not None)


def _counted(found: Sequence[LogEntry]) -> list[LogEntry]:
    """Neighbours of a file and rank that say the same are one entry."""
    kept: list[LogEntry] = []
    newest: dict[tuple[str, str, int | None], int] = {}  # the place of a voice's last entry in `kept`
    for entry in found:
        voice = (entry.shown.run, entry.shown.file, entry.shown.rank)
        place = newest.get(voice)
        before = kept[place] if place is not None else None
        if (
            place is not None
            and before is not None
            and _texts(before)[: len(entry.lines)] == _texts(entry)
            and _is_same(before, entry)
        ):
            kept[place] = before._replace(kind="repeated", lines=before.lines + entry.lines, count=before.count + 1)
        else:
            newest[voice] = len(kept)
            kept.append(entry)
    return kept


def _is_same(before: LogEntry, entry: LogEntry) -> bool:
    return len(before.lines) == before.count * len(entry.lines) and before.shown.level == entry.shown.level


def _texts(entry: LogEntry) -> list[str]:
    return [line.text for line in entry.lines]
