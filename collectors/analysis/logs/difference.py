"""What the log says in a window that it does not say otherwise: templates that are new, more frequent, silent, or have another number.

    columns of all lines, a window -> LogDifference("retrying shard" 214 times in 8 s, never before; ..., rows)

Pure: `collectors/analysis/logs/windows.py` says how chance is judged, docs/decisions/0214 how the limits were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from .changed import Changed, FieldValues, changed
from .columns import LineFloats, LogColumns, Masked, MaskedTemplates, NumberedLines, TimeRange
from .frequency import Frequent, frequent
from .saying import sentence_of
from .silence import EVERY, Silent, silent
from .windows import TiledWindows

LOUD = 30  # a warning
FEW_WINDOWS = 10  # a run with fewer besides the window is too short to say what is usual
MOST_ROWS = 50
SURE, FAIRLY_SURE = 3.0, 1.6  # times the limit
ChangeKind: TypeAlias = Literal["new", "more", "silent", "number"]
Surety: TypeAlias = Literal["high", "medium", "low"]


class LogChange(NamedTuple):
    """A template that differs in the window. What a kind has not is None."""

    kind: ChangeKind
    template: int | None  # None: any line at all
    text: str  # with `#` in place of numbers
    example: str
    count: int  # type: ignore[assignment]  # lines in the window
    expected: tuple[float, float]  # lines: between which the count of most other windows lies
    since_s: float  # its first line in the window; of a silent one, its last line
    sure: Surety
    times: float  # how many times the limit of chance its excess is
    before: bool = False  # whether it came before the window
    after: bool = False
    every_s: float | None = None  # of a silent one: the usual pause
    pause_s: float | None = None  # and this one
    field: int | None = None  # of a number: the how manieth of the template, from 0
    value: float | None = None  # its median in the window
    usual: tuple[float, float] | None = None  # between which it lies otherwise
    is_step: bool = False  # value and usual are differences from one line to the next


@dataclass(frozen=True)
class LogDifference:
    """The most remarkable change first. `sentence` is "" where nothing differs, `reason` says why nothing could be compared."""

    sentence: str
    changes: list[LogChange]
    windows: int  # of the window's length, that it was compared with
    reason: str = ""


def difference(
    lines: LogColumns,
    window: TimeRange,
    templates: MaskedTemplates,
    values: FieldValues | None = None,
    *,
    lines_before: int | None = None,
) -> LogDifference:
    """`lines` are those of the whole run, or of a long stretch of it around the window. About 0.1 us a line.

    `lines_before` says how many of them lie before the window, where the run has earlier ones, too: then nothing is called new in the run.
    """
    lines = lines.sorted()
    lo, hi = window
    if not hi > lo or not len(lines.time_s):
        return LogDifference("", [], 0, "the log has no lines to compare with")
    windows = TiledWindows(window, float(lines.time_s[0]), float(lines.time_s[-1]))
    if windows.baseline < FEW_WINDOWS:
        return LogDifference("", [], windows.baseline, "the log is too short beside this window to say what is usual")
    if lo < windows.steady_from_s or lo > windows.ended_s:
        return LogDifference(
            "", [], windows.baseline, "the window holds the beginning of the log, which is like no other time"
        )
    numbered = NumberedLines.of(lines, LOUD)
    more, missing = frequent(numbered, windows), silent(numbered, windows)
    other = changed(numbered, windows, templates, values) if values else []
    mixed = {row.number for row in more}  # with more lines between its lines, no number goes on from one to the next
    other = [row for row in other if not (row.is_trend and row.number in mixed)]
    found = [
        *(_more(row, numbered, templates) for row in more),
        *(_silent(row, numbered, windows, templates) for row in missing),
        *(_number(row, numbered, templates) for row in other),
    ]
    found = sorted(found, key=lambda change: -change.times)
    return LogDifference(sentence_of(found, hi - lo, lines_before), found[:MOST_ROWS], windows.baseline)


def _known(number: int, lines: NumberedLines, templates: MaskedTemplates) -> tuple[int, Masked]:
    template = int(lines.ids[number])
    return template, templates.get(template, Masked(f"template {template}", ""))


def _more(row: Frequent, lines: NumberedLines, templates: MaskedTemplates) -> LogChange:
    template, (text, example) = _known(row.number, lines, templates)
    kind: ChangeKind = "more" if row.most else "new"
    times = row.score / row.limit
    return LogChange(
        kind, template, text, example, row.count, row.usual, row.first_s, _sure(times), times, row.before, row.after
    )


def _silent(row: Silent, lines: NumberedLines, windows: TiledWindows, templates: MaskedTemplates) -> LogChange:
    template, (text, example) = (None, Masked("", "")) if row.number == EVERY else _known(row.number, lines, templates)
    times = row.score / row.limit
    expected = (windows.length_s / row.longest_s, windows.length_s / max(row.usual_s, 1e-6))
    change = LogChange(
        "silent", template, text, example, row.count, expected, row.since_s, _sure(times), times, before=True
    )
    return change._replace(every_s=row.usual_s, pause_s=row.pause_s)


def _number(row: Changed, lines: NumberedLines, templates: MaskedTemplates) -> LogChange:
    template, (text, example) = _known(row.number, lines, templates)
    times = row.score / row.limit
    many = (float(row.count), float(row.count))
    change = LogChange("number", template, text, example, row.count, many, row.since_s, _sure(times), times, True)
    return change._replace(field=row.field, value=row.value, usual=row.usual, is_step=row.is_trend)


def _sure(times: float) -> Surety:
    return "high" if times >= SURE else "medium" if times >= FAIRLY_SURE else "low"


__all__ = ["FieldValues", "LineFloats", "LogChange", "LogDifference", "difference"]
