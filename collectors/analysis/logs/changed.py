"""Which numbers of a template's lines lie, in a window, where they lie at no other time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from .columns import LineFloats, LineInts, MaskedTemplates, NumberedLines
from .windows import TiledWindows, limit_of
from .words import PLACE, fields_of_clock

MOST_TEMPLATES, MOST_FIELDS, MOST_LOOKED_AT = (
    60,
    24,
    400,
)  # looked at: templates of the window, those with the fewest lines first; fields of each; of all
MOST_VALUES = 4000  # of a field besides those of the window; of more, every so manieth
LEAST_OTHERS = 8
TREND, TRENDED = (
    0.9,
    2000,
)  # a rank correlation with time beyond this is a trend, by so many values: a step, a falling loss
ROUNDING = 0.05  # of a value: how far it may lie beyond the others
LEAST_SCORE = 1.5  # times the distance from the middle to the farthest of the others; of a single value twice as much

FieldValues: TypeAlias = Callable[[int, int], LineFloats]
"""By the id of a template and the number of a field: the values of all its lines, in order of time; NaN where there is none."""


class Changed(NamedTuple):
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


def changed(
    lines: NumberedLines, windows: TiledWindows, templates: MaskedTemplates, values: FieldValues
) -> list[Changed]:
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
    limit = max(limit_of(windows, np.array(numbers, np.int64), np.array(scores, np.float64)), LEAST_SCORE)
    kept = [row._replace(limit=max(limit, LEAST_SCORE * (1 + 1 / row.count))) for row in found]
    kept = [row for row in kept if row.score > row.limit]
    return sorted(kept, key=lambda row: -row.score)


def _looked_at(lines: NumberedLines, windows: TiledWindows, templates: MaskedTemplates) -> list[int]:
    """The templates of the window that have numbers, those with the fewest lines first."""
    inside = np.unique(lines.group[lines.between(windows.window)])
    few_first = inside[np.argsort(lines.total[inside], kind="stable")].tolist()
    with_numbers = [
        number for number in few_first if (known := templates.get(int(lines.ids[number]))) and PLACE in known.text
    ]
    return with_numbers[:MOST_TEMPLATES]


def _places(lines: NumberedLines, looked_at: Sequence[int], templates: MaskedTemplates) -> list[tuple[int, int]]:
    """Template and field."""
    texts = {number: templates[int(lines.ids[number])].text for number in looked_at}
    places = [
        (number, field)
        for number, text in texts.items()
        for field in range(fields_of_clock(text), min(MOST_FIELDS, text.count(PLACE)))
    ]
    return places[:MOST_LOOKED_AT]


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
    if len(others) < LEAST_OTHERS or len(others) == len(number):
        return None
    every = -(-len(others) // MOST_VALUES)
    chosen = np.sort(np.r_[np.flatnonzero(number == 0)[:MOST_VALUES], others[::every]])
    return FieldColumn(values[chosen], number[chosen], is_trend)


def has_trend(values: LineFloats) -> bool:
    """Whether they go up or down with time, as a step or a falling loss does."""
    if len(values) < LEAST_OTHERS:
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
        if len(rest) >= LEAST_OTHERS and (score := beyond(float(middle[at]), rest)) > found[1]:
            found = (int(number[first[at]]), score)
    return found


def beyond(value: float, others: LineFloats) -> float:
    """How far a value lies outside of others: 1 where it lies as far beyond the farthest of them as that lies from their median."""
    least, middle, most = float(others.min()), float(np.median(others)), float(others.max())
    if value > most:
        return (value - most) / (most - middle + ROUNDING * max(abs(most), abs(value)) + 1e-300)
    if value < least:
        return (least - value) / (middle - least + ROUNDING * max(abs(least), abs(value)) + 1e-300)
    return 0.0


def _row(times: LineFloats, windows: TiledWindows, template: int, place: int, field: FieldColumn) -> Changed | None:
    inside = field.values[field.window == 0]
    others = field.values[field.window != 0]
    value = float(inside[np.argmax(np.abs(inside))]) if field.is_trend else float(np.median(inside))
    score = beyond(value, others)
    if score <= LEAST_SCORE:
        return None
    since_s = float(times[np.searchsorted(times, windows.window[0])])
    usual = (float(others.min()), float(others.max()))
    return Changed(template, place, len(inside), value, usual, field.is_trend, since_s, score, 0.0)
