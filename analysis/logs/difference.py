"""How a window's log differs from the rest: new, frequent and silent templates, and unusual numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collectors.lines.tracebacks import PLACE, fields_of_clock, message_of, word_before

from .columns import (
    LineFloats,
    LineInts,
    LinesByTemplate,
    LogColumns,
    MaskedTemplate,
    MaskedTemplates,
    NumberedLines,
    TiledWindows,
    TimeRange,
    limit_of,
)

__all__ = ["FieldValues", "LineFloats", "LogChange", "LogDifference", "difference"]


MAX_TEMPLATES, MAX_FIELDS, MAX_LOOKED_AT = (
    60,
    24,
    400,
)  # looked at: templates of the window, those with the fewest lines first; fields of each; of all
MAX_VALUES = 4000  # of a field besides those of the window; of more, every so manieth
MIN_OTHERS = 8
TREND, TRENDED = (
    0.9,
    2000,
)  # a rank correlation with time beyond this is a trend, by so many values: a step, a falling loss
ROUNDING = 0.05  # of a value: how far it may lie beyond the others
MIN_SCORE = 1.5  # times the distance from the middle to the farthest of the others; of a single value twice as much

FieldValues: TypeAlias = Callable[[int, int], LineFloats]
"""By the id of a template and the number of a field: the values of all its lines, in order of time; NaN where there is none."""


class FieldChange(NamedTuple):
    """A field whose values lie outside of its others."""

    number: int  # of the template in `NumberedLines`
    field: int  # the how manieth `#` of its text, from 0
    count: int  # type: ignore[assignment]  # values in the window
    value: float  # their median
    usual: tuple[float, float]  # between which all others lie
    is_trend: bool  # then all three are differences between neighbours
    since_s: float  # the first line in the window
    score: float
    limit: float


class FieldColumn(NamedTuple):
    """The values of a field, in order of time; with a trend, their differences."""

    values: LineFloats
    window: LineInts  # in which each lies
    is_trend: bool


def field_changes(
    lines: NumberedLines, windows: TiledWindows, templates: MaskedTemplates, values: FieldValues
) -> list[FieldChange]:
    """The largest excess first."""
    looked_at = _looked_at(lines, windows, templates)
    chosen = np.zeros(len(lines.ids), bool)
    chosen[looked_at] = True
    grouped = lines.of_templates(chosen)
    found, numbers, scores = [], [], []
    for template, place in _places(lines, looked_at, templates):
        field = field_of(values(int(lines.ids[template]), place), grouped.times_of(template), windows)
        if field is None:
            continue
        number, excess = largest_of(field, windows)
        numbers.append(number)
        scores.append(excess)
        if (row := _row(grouped.times_of(template), windows, template, place, field)) is not None:
            found.append(row)
    limit = max(limit_of(windows, np.array(numbers, np.int64), np.array(scores, np.float64)), MIN_SCORE)
    kept = [row._replace(limit=max(limit, MIN_SCORE * (1 + 1 / row.count))) for row in found]
    kept = [row for row in kept if row.score > row.limit]
    return sorted(kept, key=lambda row: -row.score)


def _looked_at(lines: NumberedLines, windows: TiledWindows, templates: MaskedTemplates) -> list[int]:
    """The templates of the window that have numbers, those with the fewest lines first."""
    inside = np.unique(lines.group[lines.between(windows.window)])
    few_first = inside[np.argsort(lines.total[inside], kind="stable")].tolist()
    with_numbers = [
        number for number in few_first if (known := templates.get(int(lines.ids[number]))) and PLACE in known.text
    ]
    return with_numbers[:MAX_TEMPLATES]


def _places(lines: NumberedLines, looked_at: Sequence[int], templates: MaskedTemplates) -> list[tuple[int, int]]:
    """Template and field."""
    texts = {number: templates[int(lines.ids[number])].text for number in looked_at}
    places = [
        (number, field)
        for number, text in texts.items()
        for field in range(fields_of_clock(text), min(MAX_FIELDS, text.count(PLACE)))
    ]
    return places[:MAX_LOOKED_AT]


def field_of(values: LineFloats, time_s: LineFloats, windows: TiledWindows) -> FieldColumn | None:
    """None where there are too few to compare, or not a value a line."""
    if len(values) != len(time_s):
        return None
    number = windows.number(time_s)
    kept = np.isfinite(values) & ((time_s >= windows.steady_from_s) | (number == 0))
    values, number = np.clip(values[kept], -1e300, 1e300), number[kept]
    is_trend = has_trend(values)
    if is_trend:
        values, number = np.diff(values), number[1:]
    others = np.flatnonzero(number != 0)
    if len(others) < MIN_OTHERS or len(others) == len(number):
        return None
    every = -(-len(others) // MAX_VALUES)
    chosen = np.sort(np.r_[np.flatnonzero(number == 0)[:MAX_VALUES], others[::every]])
    return FieldColumn(values[chosen], number[chosen], is_trend)


def has_trend(values: LineFloats) -> bool:
    """Whether they go up or down with time, as a step or a falling loss does."""
    if len(values) < MIN_OTHERS:
        return False
    chosen = values[:: -(-len(values) // TRENDED)]
    _, rank = np.unique(chosen, return_inverse=True)
    rank = rank.astype(np.float64)
    if rank.max() == 0:
        return False
    return abs(float(np.corrcoef(rank, np.arange(len(rank)))[0, 1])) > TREND


def largest_of(field: FieldColumn, windows: TiledWindows) -> tuple[int, float]:
    """Of the windows besides the asked one, the number of that whose values lie farthest outside of all others, and how far."""
    others = field.window != 0
    values, number = field.values[others], field.window[others]
    order = np.lexsort((values, number))
    values, number = values[order], number[order]
    first = np.flatnonzero(np.r_[True, number[1:] != number[:-1]])
    middle = values[first + (np.diff(np.r_[first, len(number)]) - 1) // 2]
    found = (int(number[0]), 0.0)
    for at in (int(np.argmax(middle)), int(np.argmin(middle))):
        rest = values[number != number[first[at]]]
        if len(rest) >= MIN_OTHERS and (score := excess_over(float(middle[at]), rest)) > found[1]:
            found = (int(number[first[at]]), score)
    return found


def excess_over(value: float, others: LineFloats) -> float:
    """How far a value lies outside of others: 1 where it lies as far beyond the farthest of them as that lies from their median."""
    least, middle, most = float(others.min()), float(np.median(others)), float(others.max())
    if value > most:
        return (value - most) / (most - middle + ROUNDING * max(abs(most), abs(value)) + 1e-300)
    if value < least:
        return (least - value) / (middle - least + ROUNDING * max(abs(least), abs(value)) + 1e-300)
    return 0.0


def _row(times: LineFloats, windows: TiledWindows, template: int, place: int, field: FieldColumn) -> FieldChange | None:
    inside = field.values[field.window == 0]
    others = field.values[field.window != 0]
    value = float(inside[np.argmax(np.abs(inside))]) if field.is_trend else float(np.median(inside))
    score = excess_over(value, others)
    if score <= MIN_SCORE:
        return None
    since_s = float(times[np.searchsorted(times, windows.window[0])])
    usual = (float(others.min()), float(others.max()))
    return FieldChange(template, place, len(inside), value, usual, field.is_trend, since_s, score, 0.0)


# Which templates come in a window that come nowhere else, or more often than in any other window of its length.

SPREAD = 0.3  # of the most in another window: how much more is not remarkable by itself
LOUD_TEMPLATE = 2.0  # a warning or an error counts for as much
LOOKED_AT = 200  # templates of the window, those with the largest excess
MIN_FREQUENCY_SCORE = 2.5
MAX_COUNTED = 4_000_000  # counts of a template in a window: beyond them, the windows farthest away are left out
MIN_WINDOWS = 50  # besides the asked one,
MAX_FREQUENT = 40_000  # and so many templates: those of the window, and the most frequent others


class TemplateBurst(NamedTuple):
    """A template that a window has more of."""

    number: int  # in `NumberedLines`
    count: int  # type: ignore[assignment]  # also the name of a method of tuples
    most: int  # in any other window of the length
    usual: tuple[float, float]  # between which the count of most other windows lies
    before: bool  # whether it came before the window
    after: bool  # whether it came after it
    first_s: float  # in the window
    score: float
    limit: float


class TemplateCounts(NamedTuple):
    """How many lines of each template the windows have."""

    numbers: LineInts  # of the templates that are counted, in `NumberedLines`
    windows: LineInts  # in order; 0 is the asked one
    count: NDArray[np.int32]  # type: ignore[assignment]  # [window, template]


def template_bursts(lines: NumberedLines, windows: TiledWindows) -> list[TemplateBurst]:
    """The largest excess first."""
    counts = counts_of(lines, windows)
    weight = np.where(lines.loud[counts.numbers], LOUD_TEMPLATE, 1.0)
    others = counts.count[counts.windows != 0]
    number, score = _largest(others, counts.windows[counts.windows != 0])
    limit = max(limit_of(windows, number, score * weight), MIN_FREQUENCY_SCORE)
    inside = counts.count[counts.windows == 0].sum(axis=0)
    # what comes at all outside of the counted windows is one more there
    known = np.maximum(others.max(axis=0), np.minimum(1, lines.total[counts.numbers] - inside))
    rough = score_of(inside, known) * weight
    chosen = [at for at in np.argsort(-rough, kind="stable")[:LOOKED_AT].tolist() if rough[at] > limit]
    if not chosen:
        return []
    is_chosen = np.zeros(len(lines.ids), bool)
    is_chosen[counts.numbers[chosen]] = True
    grouped = lines.of_templates(is_chosen)
    rows = [
        _exactly(int(counts.numbers[at]), grouped, windows, others[:, at], float(weight[at]), limit) for at in chosen
    ]
    return sorted((row for row in rows if row.score > limit), key=lambda row: -row.score)


def counts_of(lines: NumberedLines, windows: TiledWindows) -> TemplateCounts:
    """About 5 ns a line."""
    numbers = _counted(lines, windows)
    first, last = windows.judged
    most = max(MIN_WINDOWS, MAX_COUNTED // max(1, len(numbers)))
    first, last = max(min(first, 0), -most), min(max(last, 0), most)
    edges = np.searchsorted(lines.time_s, windows.window[0] + windows.length_s * np.arange(first, last + 2))
    edges[1 - first] = max(edges[1 - first], lines.between(windows.window).stop)  # both ends belong to the window
    place = np.full(len(lines.ids), len(numbers), np.int64)
    place[numbers] = np.arange(len(numbers))
    count = np.zeros((last - first + 1, len(numbers)), np.int32)
    for row, (lo, hi) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        if hi > lo:
            found = np.bincount(lines.group[lo:hi], minlength=len(lines.ids))
            count[row] = found if len(numbers) == len(found) else found[numbers]
    return TemplateCounts(numbers, np.arange(first, last + 1), count)


def _counted(lines: NumberedLines, windows: TiledWindows) -> LineInts:
    """All templates; of very many those of the window, and the most frequent others."""
    if len(lines.ids) <= MAX_FREQUENT:
        return np.arange(len(lines.ids))
    inside = np.bincount(lines.group[lines.between(windows.window)], minlength=len(lines.ids))
    return np.sort(np.lexsort((-lines.total, -inside))[:MAX_FREQUENT])


def score_of(count: NDArray[np.integer], most: NDArray[np.integer]) -> LineFloats:
    """How far a count lies beyond the most elsewhere: in counts where there are few, in shares where there are many."""
    score: LineFloats = np.maximum(0.0, (count - most) / np.sqrt(1.0 + most + np.square(SPREAD * most)))
    return score


def _largest(count: NDArray[np.int32], windows: LineInts) -> tuple[LineInts, LineFloats]:
    """Of each template, the window that has the most of it, and its excess over all others."""
    first = count.argmax(axis=0)
    columns = np.arange(count.shape[1])
    most = count[first, columns]
    rest = count.copy()
    rest[first, columns] = 0
    return windows[first], score_of(most, rest.max(axis=0))


def _exactly(
    number: int, grouped: LinesByTemplate, windows: TiledWindows, others: NDArray[np.int32], weight: float, limit: float
) -> TemplateBurst:
    """With the most of any window of the length, wherever it begins."""
    lo, hi = windows.window
    times = grouped.times_of(number)
    before, after = times[times < lo], times[times > hi]
    count = len(times) - len(before) - len(after)
    most = max(_most(before, windows.length_s), _most(after, windows.length_s))
    score = weight * float(score_of(np.array([count]), np.array([most]))[0])
    usual = np.percentile(others, (5, 95)) if len(others) else np.zeros(2)
    first_s = float(times[len(before)])
    return TemplateBurst(
        number,
        count,
        most,
        (float(usual[0]), float(usual[1])),
        bool(len(before)),
        bool(len(after)),
        first_s,
        score,
        limit,
    )


def _most(times: LineFloats, length_s: float) -> int:
    return int((np.searchsorted(times, times + length_s, "right") - np.arange(len(times))).max(initial=0))


# Which templates a window misses: their pause is longer than any other, and the next line was due in the window.

MIN_PAUSES = 5  # besides the long one
LONGER = 1.5  # times the longest of the others
REGULAR = 0.1  # of the longest pause: how much longer is not remarkable however regular the others are
RESOLUTION_S = 0.05
MIN_SILENCE_SCORE = 6.0
EVERY = -1  # in place of a template: any line at all
NEARBY = 250_000  # lines on each side of the window whose pauses are looked at first


class TemplateSilence(NamedTuple):
    """A template that did not come."""

    number: int  # in `NumberedLines`, or EVERY
    count: int  # type: ignore[assignment]  # in the window
    since_s: float  # its last line
    pause_s: float
    usual_s: float  # the median of the other pauses,
    longest_s: float  # and the longest
    score: float
    limit: float


class Pauses(NamedTuple):
    """Between two lines of a template, and between its last line and the end of the run. One entry a line."""

    begin_s: LineFloats
    end_s: LineFloats
    touches: NDArray[np.bool_]  # the window

    @property
    def length_s(self) -> LineFloats:
        length: LineFloats = self.end_s - self.begin_s
        return length


def template_silences(lines: NumberedLines, windows: TiledWindows) -> list[TemplateSilence]:
    """The largest excess first.

    Where the whole log paused, and more than one template with it, that is one row, beside those templates that were silent for much longer.
    """
    found = _silent_templates(lines.of_templates(_may_miss(lines, windows)), windows)
    if len(found) < 2:
        return found
    every = LinesByTemplate(np.array([0, len(lines.time_s)]), lines.time_s, np.zeros(len(lines.time_s), np.int64))
    paused = _silent_templates(every, windows)
    if not paused:
        return found
    kept = [row for row in found if row.pause_s - paused[0].pause_s > LONGER * row.longest_s]
    return [paused[0]._replace(number=EVERY), *kept]


def _may_miss(lines: NumberedLines, windows: TiledWindows) -> NDArray[np.bool_]:
    """The templates whose pause at the window is longer than those nearby, and than their mean: about 10 ns a line."""
    inside = lines.between(windows.window)
    pause_s = _pause_at(lines, inside, windows)
    near = slice(max(0, inside.start - NEARBY), inside.stop + NEARBY)
    usual_s = np.zeros(len(lines.ids))
    for part in (slice(near.start, inside.start), slice(inside.stop, near.stop)):
        order = np.argsort(lines.group[part], kind="stable")
        group, time_s = lines.group[part][order], lines.time_s[part][order]
        same = group[1:] == group[:-1]
        np.maximum.at(usual_s, group[1:][same], np.diff(time_s)[same])
    missing: NDArray[np.bool_] = (lines.total > MIN_PAUSES) & (pause_s > LONGER * usual_s)
    return missing


def _pause_at(lines: NumberedLines, inside: slice, windows: TiledWindows) -> LineFloats:
    """Of each template, the longest pause that touches the window; 0 where it had no line before."""
    last_s, next_s = np.full(len(lines.ids), np.inf), np.full(len(lines.ids), windows.ended_s)
    last_s[lines.group[: inside.start]] = lines.time_s[: inside.start]  # of several the last counts
    next_s[lines.group[inside.stop :][::-1]] = lines.time_s[inside.stop :][::-1]
    order = np.argsort(lines.group[inside], kind="stable")
    group, time_s = lines.group[inside][order], lines.time_s[inside][order]
    pause_s: LineFloats = np.maximum(0.0, next_s - last_s)
    if not len(group):
        return pause_s
    begins = np.r_[True, group[1:] != group[:-1]]
    ends = np.r_[begins[1:], True]
    pause_s[group] = 0.0
    np.maximum.at(pause_s, group[1:][~begins[1:]], np.diff(time_s)[~begins[1:]])
    np.maximum.at(pause_s, group[begins], time_s[begins] - last_s[group[begins]])
    np.maximum.at(pause_s, group[ends], next_s[group[ends]] - time_s[ends])
    return pause_s


def _silent_templates(lines: LinesByTemplate, windows: TiledWindows) -> list[TemplateSilence]:
    numbers = np.flatnonzero(np.diff(lines.start))  # of the templates that are there
    if not len(numbers):
        return []
    starts = lines.start[numbers]
    place = np.repeat(np.arange(len(numbers)), np.diff(np.r_[starts, len(lines.time_s)]))
    pauses = pauses_of(lines, starts, windows)
    length = pauses.length_s
    others = np.where(pauses.touches, 0.0, length)
    longest = np.maximum.reduceat(others, starts)
    count = np.maximum(1, np.add.reduceat((~pauses.touches).astype(np.int64), starts))
    mean = np.add.reduceat(others, starts) / count
    spread = np.sqrt(np.maximum(0.0, np.add.reduceat(np.square(others), starts) / count - np.square(mean)))
    enough = count >= MIN_PAUSES
    limit = max(
        limit_of(windows, *_longest(windows, pauses, others, starts, place, longest, spread, enough)),
        MIN_SILENCE_SCORE,
    )
    lo, hi = windows.window
    rows = np.flatnonzero(pauses.touches)
    rows = rows[enough[place[rows]] & (length[rows] > LONGER * longest[place[rows]])]
    due_s = pauses.begin_s[rows] + longest[place[rows]]
    rows = rows[(due_s >= lo - windows.length_s) & (due_s <= hi)]
    score = silence_score(length[rows], longest[place[rows]], spread[place[rows]])
    found = []
    for row, size in zip(rows.tolist(), score.tolist(), strict=True):
        if size > limit:
            at = int(place[row])
            mine = slice(int(starts[at]), int(lines.start[numbers[at] + 1]))
            inside = int(((lines.time_s[mine] >= lo) & (lines.time_s[mine] <= hi)).sum())
            usual_s = float(np.median(length[mine][~pauses.touches[mine]]))
            since_s, pause_s = float(pauses.begin_s[row]), float(length[row])
            found.append(
                TemplateSilence(int(numbers[at]), inside, since_s, pause_s, usual_s, float(longest[at]), size, limit)
            )
    return sorted(found, key=lambda silence: -silence.score)


def pauses_of(lines: LinesByTemplate, starts: LineInts, windows: TiledWindows) -> Pauses:
    end_s = np.r_[lines.time_s[1:], windows.ended_s]
    end_s[np.r_[starts[1:], len(end_s)] - 1] = windows.ended_s
    lo, hi = windows.window
    return Pauses(lines.time_s, end_s, (lines.time_s < hi) & (end_s > lo))


def silence_score(length: LineFloats, longest: LineFloats, spread: LineFloats) -> LineFloats:
    score: LineFloats = np.maximum(0.0, (length - longest) / (spread + REGULAR * longest + RESOLUTION_S))
    return score


def _longest(
    windows: TiledWindows,
    pauses: Pauses,
    others: LineFloats,
    starts: LineInts,
    place: LineInts,
    longest: LineFloats,
    spread: LineFloats,
    enough: NDArray[np.bool_],
) -> tuple[LineInts, LineFloats]:
    """Of each template, its longest pause besides the window: in which window its next line was due, and its excess over all others."""
    first = np.flatnonzero(others == longest[place])
    first = first[np.searchsorted(place[first], np.arange(len(starts)))]
    rest = others.copy()
    rest[first] = 0.0
    second = np.maximum.reduceat(rest, starts)
    counts = np.diff(np.r_[starts, len(others)])
    left = np.sqrt(
        np.maximum(0.0, np.square(spread) - np.square(longest - second) / counts)
    )  # about: without the longest
    score = np.where(enough & (longest > LONGER * second), silence_score(longest, second, left), 0.0)
    return windows.number(pauses.begin_s[first] + second), score


# The sentence on what a log says in a window: `"retrying shard" 214 times in 8 s, never before; "saved checkpoint" did not come (usually every 40 s).`

SAID = 3  # changes


def sentence_of(changes: Sequence[LogChange], length_s: float, lines_before: int | None = None) -> str:
    """Of the changes, the first that matter; "" without any. `lines_before` is how many earlier lines were looked at, where not all were."""
    if not changes:
        return ""
    said = "; ".join(_part(change, length_s, lines_before) for change in changes[:SAID])
    more = len(changes) - SAID
    return f"{said}{f'; and {more} more' if more > 0 else ''}."


def duration(seconds: float) -> str:
    """`0.25 -> "0.25 s"`, `40.2 -> "40 s"`, `900 -> "15 min"`"""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 and value == int(value) and abs(value) < 1e12 else f"{value:.4g}"


def _part(change: LogChange, length_s: float, lines_before: int | None) -> str:
    if change.kind == "silent":
        usually = f"usually every {duration(change.every_s or 0.0)}"
        if change.template is None:
            return f"no line at all for {duration(change.pause_s or 0.0)} ({usually})"
        again = "did not come" if change.count == 0 else f"did not come for {duration(change.pause_s or 0.0)}"
        return f'"{message_of(change.text)}" {again} ({usually})'
    if change.kind == "number" and change.usual is not None and change.value is not None:
        lo, hi = figure(change.usual[0]), figure(change.usual[1])
        otherwise = lo if lo == hi else f"{lo} to {hi}"
        jumped = " changed by" if change.is_step else ""
        return f'"{message_of(change.text)}"{_which(change)}{jumped} {figure(change.value)}, otherwise {otherwise}'
    how_often = "once" if change.count == 1 else f"{change.count:,} times"
    return f'"{message_of(change.text)}" {how_often} in {duration(length_s)}, {_otherwise(change, lines_before)}'


def _which(change: LogChange) -> str:
    """The word in front of a number, where a template has several: `": loss"`."""
    if change.field is None or change.text.count(PLACE) < 2:
        return ":"
    return f": {word_before(change.text, change.field) or f'number {change.field + 1}'}"


def _otherwise(change: LogChange, lines_before: int | None) -> str:
    if change.kind == "new":
        if lines_before is not None:
            return f"not in the {lines_before:,} lines before"
        return "never before" if not change.before else "never otherwise"
    lo, hi = round(change.expected[0]), round(change.expected[1])
    if not hi:
        return "hardly ever otherwise"
    return f"usually {hi}" if lo == hi else f"usually {lo} to {hi}"


# What the log says in a window that it does not say otherwise: templates that are new, more frequent, silent, or have another number.
#
#     columns of all lines, a window -> LogDifference("retrying shard" 214 times in 8 s, never before; ..., rows)
#
# Pure: `analysis/logs/columns.py` says how chance is judged, docs/design/log-lines.md#0214-what-a-log-says-otherwise how the limits were found.

LOUD = 30  # a warning
FEW_WINDOWS = 10  # a run with fewer besides the window is too short to say what is usual
MAX_ROWS = 50
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
    more, missing = template_bursts(numbered, windows), template_silences(numbered, windows)
    other = field_changes(numbered, windows, templates, values) if values else []
    mixed = {row.number for row in more}  # with more lines between its lines, no number goes on from one to the next
    other = [row for row in other if not (row.is_trend and row.number in mixed)]
    found = [
        *(_more(row, numbered, templates) for row in more),
        *(_silent(row, numbered, windows, templates) for row in missing),
        *(_number(row, numbered, templates) for row in other),
    ]
    found = sorted(found, key=lambda change: -change.times)
    return LogDifference(sentence_of(found, hi - lo, lines_before), found[:MAX_ROWS], windows.baseline)


def _known(number: int, lines: NumberedLines, templates: MaskedTemplates) -> tuple[int, MaskedTemplate]:
    template = int(lines.ids[number])
    return template, templates.get(template, MaskedTemplate(f"template {template}", ""))


def _more(row: TemplateBurst, lines: NumberedLines, templates: MaskedTemplates) -> LogChange:
    template, (text, example) = _known(row.number, lines, templates)
    kind: ChangeKind = "more" if row.most else "new"
    times = row.score / row.limit
    return LogChange(
        kind, template, text, example, row.count, row.usual, row.first_s, _sure(times), times, row.before, row.after
    )


def _silent(row: TemplateSilence, lines: NumberedLines, windows: TiledWindows, templates: MaskedTemplates) -> LogChange:
    template, (text, example) = (
        (None, MaskedTemplate("", "")) if row.number == EVERY else _known(row.number, lines, templates)
    )
    times = row.score / row.limit
    expected = (windows.length_s / row.longest_s, windows.length_s / max(row.usual_s, 1e-6))
    change = LogChange(
        "silent", template, text, example, row.count, expected, row.since_s, _sure(times), times, before=True
    )
    return change._replace(every_s=row.usual_s, pause_s=row.pause_s)


def _number(row: FieldChange, lines: NumberedLines, templates: MaskedTemplates) -> LogChange:
    template, (text, example) = _known(row.number, lines, templates)
    times = row.score / row.limit
    many = (float(row.count), float(row.count))
    change = LogChange("number", template, text, example, row.count, many, row.since_s, _sure(times), times, True)
    return change._replace(field=row.field, value=row.value, usual=row.usual, is_step=row.is_trend)


def _sure(times: float) -> Surety:
    return "high" if times >= SURE else "medium" if times >= FAIRLY_SURE else "low"
